"""
A test double: a scripted OpenAI-compatible server over real HTTP and SSE.

It is no model: it answers what a test wrote down, in that order, and refuses
what it does not know. In a test::

    async with OpenAIServer([Text("Hel", "lo"), Fault(429, retry_after=1)]) as server:
        client = openai.AsyncOpenAI(base_url=server.base_url, api_key="any")
        ...
        assert server.requests[0].body["model"] == "gpt-4.1"

As a program, for browsers and benchmarks, it prints its base URL and serves
until SIGTERM; without a script it echoes (see :func:`echo`)::

    python -m tests.fakes.openai_server --port 0 [--script replies.json]

The script is a JSON list of ``{"text": ["Hel", "lo"], "delay": 0.005}``,
``{"calls": [{"name": ..., "arguments": {...}}], "text": "", "split": 4}``,
``{"fault": 429, "retry_after": 1}`` and ``{"raw": [...chunks...]}``.
The replies are in ``openai_replies``, the refusals in ``openai_rules``.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from aiohttp import web

from tests.fakes.openai_replies import (
    Call,
    Fault,
    Json,
    Raw,
    Reply,
    Stream,
    Text,
    ToolCalls,
    Usage,
    call,
    make_stream,
)
from tests.fakes.openai_rules import (
    Body,
    RefusedError,
    check_body,
    check_needed,
    without_fields,
)
from tests.fakes.openai_wire import (
    BrokenOffError,
    answer_stream,
    answer_whole,
    error_answer,
    reset,
    status_answer,
)

__all__ = [
    "Call",
    "Fault",
    "OpenAIServer",
    "Raw",
    "Reply",
    "Request",
    "Text",
    "ToolCalls",
    "Usage",
    "call",
    "echo",
]

Script = Iterable[Reply] | Callable[[Json], Reply]


@dataclass
class Request:
    """
    A request as it came: headers and query, the raw and the parsed body, and from where.

    The case of a header's name does not matter.

    ``ended`` is set when the answer was sent whole or the client went away, and
    ``client_gone`` says which.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    raw: bytes
    body: Json
    peer: tuple[str, int]
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    client_gone: bool = False


class OpenAIServer:
    """
    Serves the replies of ``script`` one by one, or what ``script(body)`` returns.

    With a ``key`` any other bearer is refused; a model outside ``models`` is 404.
    ``own_fields`` are the provider's own fields of the assistant's messages and calls, which
    OpenAI refuses; ``needs`` is the one that no message with calls may be without.
    Under ``azure_url`` the models are deployments of Azure's. A port of 0 lets the
    system choose. A request beyond the script is 500.
    """

    def __init__(
        self,
        script: Script = (),
        *,
        key: str | None = None,
        models: Iterable[str] = ("gpt-4.1",),
        own_fields: Iterable[str] = (),
        needs: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.requests: list[Request] = []
        # Requests for the list of models: pages look now and then, whatever a test is about.
        self.looks: list[Request] = []
        self.replies_left: list[Reply] = [] if callable(script) else list(script)
        self._answer = script if callable(script) else self._next_reply
        self._served = 0
        self._key = key
        self._models = tuple(models)
        self._own_fields = frozenset((*own_fields, needs))
        self._needs = needs
        self._address = (host, port)
        self._runner: web.AppRunner | None = None
        self._arrival = asyncio.Condition()
        self.base_url = ""
        self.azure_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 2**20, middlewares=[self._record])
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/openai/deployments/{model}/chat/completions", self._complete)
        # Stalls end with the server, and a client that leaves ends its handler.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, shutdown_timeout=0, access_log=None
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, *self._address).start()
        host, port = self._runner.addresses[0][:2]
        self.base_url = f"http://{host}:{port}/v1"
        self.azure_url = f"http://{host}:{port}/openai/deployments/{{model}}?api-version=2024-10-21"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner:
            await self._runner.cleanup()

    def add(self, *replies: Reply) -> None:
        """Append replies to the script."""
        self.replies_left.extend(replies)

    async def request(self, number: int = 0, seconds: float = 60.0) -> Request:
        """Wait until the request of this number, counted from 0, has come; return it."""
        async with asyncio.timeout(seconds), self._arrival:
            await self._arrival.wait_for(lambda: len(self.requests) > number)
        return self.requests[number]

    def _next_reply(self, _: Json) -> Reply:
        if self.replies_left:
            return self.replies_left.pop(0)
        return Fault(500, message=f"The script is exhausted: it had {self._served} replies.")

    @web.middleware
    async def _record(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        raw = await request.read()
        body: Json = {}
        with contextlib.suppress(ValueError):
            parsed = json.loads(raw)
            body = parsed if isinstance(parsed, dict) else {}
        peer = request.get_extra_info("peername", ("", 0))[:2]
        recorded = Request(
            request.method, request.path, request.headers, request.query, raw, body, peer
        )
        async with self._arrival:
            is_look = (request.method, request.path) == ("GET", "/v1/models")
            (self.looks if is_look else self.requests).append(recorded)
            self._arrival.notify_all()
        try:
            refusal = self._check_key(request)
            return await handler(request) if refusal is None else refusal
        except web.HTTPException as error:
            message = f"Invalid URL ({request.method} {request.path})"
            return error_answer(error.status, "invalid_request_error", message)
        except BrokenOffError:
            return web.Response()  # to nobody: the connection is closed
        except ConnectionError:
            recorded.client_gone = True
            return web.Response()  # to nobody, again
        except asyncio.CancelledError:
            recorded.client_gone = True
            raise
        finally:
            recorded.ended.set()

    def _check_key(self, http: web.Request) -> web.Response | None:
        bearer = http.headers.get("Authorization", "").removeprefix("Bearer ")
        if http.path.startswith("/openai/"):
            bearer = http.headers.get("api-key", "")
            if "api-version" not in http.query:
                return error_answer(404, "invalid_request_error", "Resource not found")
        if self._key is None or bearer == self._key:
            return None
        if not bearer:
            message = "You didn't provide an API key."
            return error_answer(401, "invalid_request_error", message)
        return status_answer(Fault(401), bearer)

    async def _list_models(self, _: web.Request) -> web.Response:
        data = [
            {"id": model, "object": "model", "created": 0, "owned_by": "script"}
            for model in self._models
        ]
        return web.json_response({"object": "list", "data": data})

    async def _complete(self, http: web.Request) -> web.StreamResponse:
        raw = await http.read()
        try:
            if self._needs:
                check_needed(raw, self._needs)
            body = check_body(without_fields(raw, self._own_fields))
        except RefusedError as refused:
            return error_answer(
                400, "invalid_request_error", str(refused), refused.code, param=refused.param
            )
        model = http.match_info.get("model", body.model)
        if model not in self._models:
            message = f"The model `{model}` does not exist or you do not have access to it."
            code = "DeploymentNotFound" if "model" in http.match_info else "model_not_found"
            return error_answer(404, "invalid_request_error", message, code)
        reply = self._answer(json.loads(raw))
        self._served += 1
        if isinstance(reply, Fault) and isinstance(reply.kind, int):
            return status_answer(
                reply, http.headers.get("Authorization", "").removeprefix("Bearer ")
            )
        if isinstance(reply, Fault) and reply.kind == "reset_before_headers":
            reset(http)
            raise BrokenOffError
        if isinstance(reply, Fault) and reply.kind == "stall_before_headers":
            await asyncio.sleep(reply.seconds)
        chunks = list(self._chunks(reply, body))
        if not body.stream:
            return await answer_whole(http, reply, chunks)
        return await answer_stream(http, reply, chunks)

    def _chunks(self, reply: Reply, body: Body) -> Iterator[Json]:
        """Yield the reply's chunks; with the usage last, if it is asked for."""
        if isinstance(reply, Raw):
            yield from reply.chunks
            return
        head: Json = {
            "id": f"chatcmpl-{self._served}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": body.model,
            "service_tier": "default",
            "system_fingerprint": None,
        }
        stream: Stream = make_stream(reply, self._served)
        counted = not body.stream or bool(body.stream_options and body.stream_options.include_usage)
        nothing_yet = {"usage": None} if counted else {}
        for choices in stream.choices:
            yield {**head, "choices": choices, **nothing_yet}
        if counted and stream.usage:
            yield {**head, "choices": [], "usage": stream.usage.as_json()}


def echo(body: Json) -> Reply:
    """
    Answer without a script: run "run <code>" by ``python_interpreter``, else repeat.

    A tool's result is repeated too, so that a tool loop comes to its end.
    """
    last = body["messages"][-1]
    content = last["content"]
    text = (
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    )
    if last["role"] == "tool":
        return Text("The tool said: ", *_words(text[:200]))
    tools = {tool["function"]["name"] for tool in body.get("tools") or []}
    code = re.search(r"^run\s+(.*)", text, re.DOTALL | re.IGNORECASE | re.MULTILINE)
    if code and "python_interpreter" in tools:
        return ToolCalls(call("python_interpreter", {"code": code[1]}), split=8)
    return Text("You said: ", *_words(text))


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


def read_script(path: Path) -> list[Reply]:
    """Read a script's JSON; its form is in this module's docstring."""
    return [_read_reply(entry) for entry in json.loads(path.read_text("utf-8"))]


def _read_reply(entry: Json) -> Reply:
    entry = dict(entry)
    if "usage" in entry and entry["usage"] is not None:
        entry["usage"] = Usage(**entry["usage"])
    if "after" in entry:
        after = _read_reply(entry["after"])
        assert isinstance(after, Text | ToolCalls)
        entry["after"] = after
    if "calls" in entry:
        return ToolCalls(*(call(**made) for made in entry.pop("calls")), **entry)
    if "text" in entry:
        return Text(*entry.pop("text"), **entry)
    if "raw" in entry:
        return Raw(entry.pop("raw"), **entry)
    return Fault(entry.pop("fault"), **entry)


async def _main() -> None:
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible server for tests.")
    parser.add_argument("--port", type=int, default=0, help="0 lets the system choose")
    parser.add_argument("--script", type=Path, help="a JSON list of replies; without it, echo")
    parser.add_argument("--loop", action="store_true", help="begin the script again at its end")
    parser.add_argument("--key", help="refuse any other bearer")
    parser.add_argument("--model", action="append", help="a model to serve (default gpt-4.1)")
    options = parser.parse_args()
    script: Script = read_script(options.script) if options.script else echo
    if options.script and options.loop:
        replies = itertools.cycle(read_script(options.script))
        script = lambda _: next(replies)  # noqa: E731
    server = OpenAIServer(
        script, key=options.key, models=options.model or ("gpt-4.1",), port=options.port
    )
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with server:
        print(server.base_url, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(_main())
