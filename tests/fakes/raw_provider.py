"""A model server whose answers are bytes that a test chooses, for each request anew."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True)
class RawAnswer:
    """An answer: its body in pieces that are sent one by one, ``pause`` seconds apart."""

    pieces: Sequence[bytes]
    content_type: str = "text/event-stream"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0
    stays_open: bool = False


class RawProvider:
    """Answers each request with what ``answer`` makes of its body; keeps bodies and paths."""

    def __init__(self, answer: Callable[[dict[str, Any]], RawAnswer], port: int = 0) -> None:
        self._answer = answer
        self._port = port
        self.requests: list[dict[str, Any]] = []
        self.paths: list[str] = []

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """What a gateway is told."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def _serve(self, http: web.Request) -> web.StreamResponse:
        body = json.loads(await http.read() or b"{}")
        self.requests.append(body)
        self.paths.append(http.raw_path)
        answer = self._answer(body)
        headers = dict(answer.headers)
        if answer.content_type:
            headers["Content-Type"] = answer.content_type
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(http)
        for piece in answer.pieces:
            await response.write(piece)
            await asyncio.sleep(answer.pause)
        if answer.stays_open:
            await asyncio.Event().wait()
        await response.write_eof()
        return response


def refusal(status: int, body: Any) -> RawAnswer:
    """Return an error's answer, whose body is JSON."""
    return RawAnswer([json.dumps(body).encode()], "application/json", status)
