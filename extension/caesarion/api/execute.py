"""
``POST caesarion/api/execute``: run code in a kernel, one JSON line an output.

Called by programs; :mod:`caesarion.kernels.kernel` runs the code.
"""

import contextlib
import functools
import json
from typing import Any

from jupyter_server.auth.decorator import authorized
from pydantic import Field
from tornado import web

from caesarion.api import background
from caesarion.api.base import BaseHandler
from caesarion.api.kernel_choice import KernelName, check_kernel, chosen_kernel
from caesarion.api.streaming import StreamHandler
from caesarion.events import RunStart, StatusChange
from caesarion.kernels.run import RunEnd
from caesarion.runs.recording import Recording
from caesarion.runs.run import Subject, title_of
from caesarion.runs.store import Work
from caesarion.services import Services

# How a run ended that did not end well: a code, and a sentence if the kernel has said nothing.
_FAILED = {
    "error": ("code_error", "The code failed."),
    "timeout": ("timeout", "The code took too long and was stopped."),
    "aborted": ("aborted", "The code was not run."),
    "dead": ("kernel_died", "The kernel died while it ran the code."),
}


class Code(KernelName, background.Keyed):
    """Code, and where it is to run."""

    code: str = Field(max_length=1_048_576)


class ExecuteRequest(Code, background.MayStream):
    """The body of ``POST caesarion/api/execute``."""


class ExecuteHandler(StreamHandler):
    """``POST caesarion/api/execute``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """
        Stream the outputs; 400, 404, 409 or 413 with a sentence before the run begins.

        With ``background``, answer 202 and the run.
        """
        request = self.body(ExecuteRequest)
        if request.background:
            await begin(self, request)
        else:
            await self.stream(self._run(request))

    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """Return the line that ends a run which could not go on."""
        status = "aborted" if stopped else "error"
        return json.dumps({"status": status, "execution_count": None, "message": sentence}) + "\n"

    async def _run(self, request: Code) -> None:
        async with chosen_kernel(self.services.kernels, request) as find:
            kernel = await find()
            self.begin_stream("application/x-ndjson")
            with self.services.activity.under_way():
                async with contextlib.aclosing(kernel.run(request.code)) as steps:
                    async for step in steps:
                        if not isinstance(step, StatusChange | RunStart):
                            await self.send(_line(step))


async def begin(handler: BaseHandler, request: Code) -> None:
    """Begin a run of code in the background."""
    services = handler.services
    subject = Subject(
        "execute",
        title=title_of(request.code),
        session_id=request.session_id or "",
        kernel_id=request.kernel_id or "",
        notebook_path=(request.notebook_path or "").lstrip("/"),
    )
    check = functools.partial(check_kernel, services.kernels, request)
    await background.begin(handler, subject, request, background_code(services, request), check)


def background_code(services: Services, request: Code) -> Work:
    """Return the work of a run of code."""

    async def work(recording: Recording) -> None:
        async with chosen_kernel(services.kernels, request) as find:
            kernel = await find()
            await recording.begin()
            said = ""
            with services.activity.under_way(recording.is_activity):
                async with contextlib.aclosing(kernel.run(request.code)) as steps:
                    async for step in steps:
                        if isinstance(step, RunEnd):
                            await _end(recording, step, said)
                        elif not isinstance(step, StatusChange):
                            recording.step(step)
                            if isinstance(step, dict) and step["output_type"] == "error":
                                said = f"{step['ename']}: {step['evalue']}"

    return work


async def _end(recording: Recording, end: RunEnd, said: str) -> None:
    recording.write("result", _result(end))
    if end.status == "ok":
        await recording.end("completed")
    else:
        code, sentence = _FAILED[end.status]
        await recording.end("failed", error=(code, said or end.note or sentence))


def _line(step: RunEnd | dict[str, Any]) -> str:
    return json.dumps(_result(step) if isinstance(step, RunEnd) else step) + "\n"


def _result(end: RunEnd) -> dict[str, Any]:
    return {"status": end.status, "execution_count": end.execution_count}
