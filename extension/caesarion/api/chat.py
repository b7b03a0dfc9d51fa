"""
The HTTP door: ask, run code, look at the state; for programs and for the labextension.

Finds the services in the server's settings. Every route is authenticated
and authorised as Jupyter Server's own. What is sent back is one JSON sentence
where a request is wrong: ``{"message": ...}``.
"""

import asyncio
import contextlib
import json
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Literal

from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado import web
from tornado.iostream import StreamClosedError

from caesarion.agent import approval, prompt
from caesarion.agent.model import Source
from caesarion.api.base import BaseHandler, Where, problem
from caesarion.config import Mode
from caesarion.errors import KernelError
from caesarion.events import (
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallStart,
    Done,
    Event,
    Failure,
    Notice,
    Output,
    RunStart,
    Text,
    ToolCall,
    Usage,
)
from caesarion.kernels import variables
from caesarion.kernels.kernel import Kernel, RunEnd

# Seconds of silence after which a comment keeps proxies and clients from giving up.
_HEARTBEAT = 5.0

_INSIDE = "Something went wrong inside Caesarion ({}). Ask again; the server's log has the details."


class Looked(Where):
    """The query of ``GET caesarion/api/variables``."""

    chat_id: str | None = None


class Said(BaseModel):
    """One message of the history."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1)


class Question(Where):
    """The body of ``POST caesarion/api/chat``."""

    messages: list[Said] = Field(min_length=1)
    approval: Mode | None = None


class Run(Where):
    """The body of ``POST caesarion/api/execute``."""

    code: str


class ChatHandler(BaseHandler):
    """``POST caesarion/api/chat``: answer the last message, as server-sent events."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Stream the turn; 400, 404, 409 or 413 with a sentence before it begins."""
        question = self.body(Question)
        if question.messages[-1].role != "user":
            self.refuse(400, "The last message is the assistant's. Send one of the user's last.")
            return
        await self.while_connected(self._answer(question))

    async def _answer(self, question: Question) -> None:
        history = [prompt.system_message(), *(said.model_dump() for said in question.messages)]
        async with self.kernel(question) as find:
            self.begin_stream("text/event-stream")
            self.set_header("Cache-Control", "no-cache")
            self.set_header("X-Accel-Buffering", "no")
            await self.flush()
            spoke = asyncio.Event()
            beat = asyncio.create_task(self._beat(spoke))
            try:
                agent = self.services.agent(find, question.approval)
                source = Source(f"session {question.session_id}" if question.session_id else "")
                async with contextlib.aclosing(agent.run(history, source)) as events:
                    async for event in events:
                        spoke.set()
                        self.write(server_sent(event))
                        await self.flush()
            except asyncio.CancelledError:
                self.write(server_sent(Done("cancelled")))
                raise
            except StreamClosedError:
                raise
            except Exception as error:
                self.log.exception("A turn failed.")
                self.write(server_sent(Failure(_INSIDE.format(type(error).__name__))))
                self.write(server_sent(Done("error")))
            finally:
                beat.cancel()

    async def _beat(self, spoke: asyncio.Event) -> None:
        while not self._client_gone:
            spoke.clear()
            try:
                async with asyncio.timeout(_HEARTBEAT):
                    await spoke.wait()
            except TimeoutError:
                self.write(": still at work\n\n")
                with contextlib.suppress(StreamClosedError):
                    await self.flush()


class ExecuteHandler(BaseHandler):
    """``POST caesarion/api/execute``: run code, one output a line as it appears."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Stream the outputs; 400, 404, 409 or 413 with a sentence before the run begins."""
        run = self.body(Run)
        await self.while_connected(self._run(run))

    async def _run(self, run: Run) -> None:
        async with self.kernel(run) as find:
            kernel = await find()
            self.begin_stream("application/x-ndjson")
            async with contextlib.aclosing(kernel.run(run.code)) as steps:
                async for step in steps:
                    if isinstance(step, Notice | RunStart):
                        continue
                    if isinstance(step, RunEnd):
                        line: dict[str, Any] = {
                            "status": step.status,
                            "execution_count": step.execution_count,
                        }
                    else:
                        line = step
                    self.write(json.dumps(line) + "\n")
                    await self.flush()


class VariablesHandler(BaseHandler):
    """``GET caesarion/api/variables``: the names, types and shapes in a kernel that runs."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer with a list; 400, 404 or 409 (also for a kernel that is busy) with a sentence."""
        try:
            asked = {name: self.get_query_argument(name) for name in self.request.query_arguments}
            where = Looked.model_validate(asked)
        except ValidationError as error:
            self.refuse(400, problem(error, "query"))
            return
        await self.while_connected(self._list(where))

    async def _list(self, where: Looked) -> None:
        kernels = self.services.kernels
        kernel: Kernel | None
        if where.kernel_id:
            kernel = await kernels.of_id(where.kernel_id)
        elif where.notebook_path:
            kernel = await kernels.running_of_notebook(where.notebook_path.lstrip("/"))
        elif where.session_id:
            kernel = kernels.running_of_conversation(f"session {where.session_id}")
        else:
            kernel = kernels.running_of_conversation(where.chat_id or "")
        # Without a kernel there are no variables; none is started to find that out.
        self.finish(json.dumps(await variables.listed(kernel) if kernel else []))


class StatusHandler(BaseHandler):
    """``GET caesarion/api/status``: version, model, modes, gateway, kernels, uploads and limits."""

    # Pages ask again and again while nobody is there, which must not keep an idle server alive.
    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer in one JSON object; with ``kernel_id`` or ``chat_id``, also of that kernel."""
        services = self.services
        endpoint = await services.model.look()
        self.finish(
            {
                "version": version("caesarion"),
                "model": endpoint.model,
                "approval": {
                    "default": approval.mode(services.agent_settings),
                    "allowed": approval.allowed(services.agent_settings),
                },
                "gateway_reachable": endpoint.reachable,
                "problem": endpoint.problem,
                "kernel": await self._kernel(),
                "kernels": await services.kernels.running(),
                "uploads": await asyncio.to_thread(services.uploads.files),
                "upload_limits": {
                    "max_size": services.uploads.max_size,
                    "types": services.uploads.types,
                },
            }
        )

    async def _kernel(self) -> dict[str, str] | None:
        """Return the kernel that a question would use now."""
        kernels = self.services.kernels
        kernel: Kernel | None = None
        with contextlib.suppress(KernelError):
            kernel = await kernels.of_id(self.get_query_argument("kernel_id", ""))
        kernel = kernel or kernels.running_of_conversation(self.get_query_argument("chat_id", ""))
        return {"id": kernel.id, "state": await kernel.state()} if kernel else None


def server_sent(event: Event) -> str:
    """Return ``event`` in the form of a server-sent event (WHATWG HTML, section 9.2)."""
    data = asdict(event)
    match event:
        case Notice(text):
            return f": {text}\n\n"
        case Text():
            name = "text"
        case ToolCall():
            name = "tool_call"
        case CallStart():
            name = "running"
            data |= data.pop("run")
        case ApprovalRequest():
            name = "waiting"
        case ApprovalDecision():
            name = "decided"
        case Output():
            name = event.output["output_type"]
            name = name if name in ("clear_output", "update_display_data") else "output"
        case CallEnd():
            name = "tool_result"
        case Usage():
            name = "usage"
            data["prompt_tokens_details"] = {"cached_tokens": data.pop("cached_tokens")}
        case Failure():
            name = "error"
        case Done():
            name = "done"
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
