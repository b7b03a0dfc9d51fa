"""
Calls of a user's server: started if it sleeps, then asked through the proxy.

Used by ``rest`` and ``e2b``; calls ``hub`` for starts. The caller's own token goes along, and
the server decides with it. Invariant: a token is sent to servers of its owner alone, since their
user's code may come to read it. Raises :class:`~caesarion_hub.api.errors.ApiError`.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import httpx

from caesarion_hub.api.errors import ApiError, from_answer
from caesarion_hub.api.hub import Caller, Hub, Server, sandboxes_of
from caesarion_hub.sandboxes import is_sandbox

HOME = "home"
"""The id under which a program means the user's own server."""

MAX_LINE = 64 * 2**20
"""Bytes of one line of a server's answer; a made-up number."""

MAX_ERROR = 65_536
"""Bytes of a refusal that are read."""

_AWAY = (424, 502, 503, 504)
"""What the proxy and the hub answer for a server that does not run, or is not reached."""

_BROKEN = ApiError(
    502,
    "The connection to the server broke: it was stopped, or it has ended. Ask again; a server "
    "that sleeps is started.",
)

Starting = Callable[[dict[str, Any]], bytes]
"""Return what a stream says of a server that starts, ``{"progress", "message"}``."""


@dataclass(frozen=True)
class Call:
    """A call of a user's server; ``path`` is below the server's address."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    content: AsyncIterable[bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Servers:
    """The users' servers behind the proxy."""

    def __init__(self, hub: Hub, proxy_url: str, http: httpx.AsyncClient, limit: float) -> None:
        self.hub = hub
        self._proxy_url = proxy_url
        self._http = http
        self._start_limit = limit

    async def find(self, caller: Caller, server_id: str) -> tuple[Caller, Server]:
        """
        Return the server ``home``, or a sandbox of the caller's, with what is newly known of them.

        Raises 404 for a sandbox that is not there, or is another user's, which for an
        administrator is a 403.
        """
        caller, server = await self.find_any(caller, server_id)
        check_is_own(caller, server)
        return caller, server

    async def find_any(self, caller: Caller, server_id: str) -> tuple[Caller, Server]:
        """Return as ``find`` does, for an administrator also a sandbox of another user's."""
        if server_id in ("", HOME):
            return caller, caller.home()
        missing = ApiError(
            404, f"There is no sandbox '{server_id[:100]}': it has ended, or it is not yours."
        )
        if not is_sandbox(server_id):
            raise missing
        if server_id not in caller.servers:
            caller = await self.hub.caller(caller.token, fresh=True)
        if server_id in caller.servers:
            return caller, caller.servers[server_id]
        if caller.sees_all:
            for server in sandboxes_of(await self.hub.all_servers(caller)):
                if server.name == server_id:
                    return caller, server
        raise missing

    async def starting(
        self, caller: Caller, server: Server
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Start a server that sleeps, and yield its progress; raise 502 if it does not start."""
        if not is_sandbox(server.name):
            await self.hub.start(caller, server)
        try:
            async with (
                asyncio.timeout(self._start_limit),
                contextlib.aclosing(self.hub.progress(caller, server)) as events,
            ):
                async for event in events:
                    if event.get("failed"):
                        reason = str(event.get("message") or "It did not start.")
                        raise ApiError(502, reason, "start_failed")
                    yield {
                        "progress": event.get("progress", 0),
                        "message": str(event.get("message") or ""),
                    }
                    if event.get("ready"):
                        return
        except TimeoutError as error:
            raise ApiError(
                504, f"The server did not start within {self._start_limit:g} seconds.", "timeout"
            ) from error
        raise ApiError(502, "The server did not start. Try again.", "start_failed")

    async def wait(self, caller: Caller, server: Server, seconds: float) -> None:
        """Wait until a server runs, started if it sleeps; raise 503 after ``seconds``."""
        try:
            async with (
                asyncio.timeout(seconds),
                contextlib.aclosing(self.starting(caller, server)) as events,
            ):
                async for _ in events:
                    pass
        except TimeoutError as error:
            raise ApiError(
                503, f"The server still starts after {seconds:g} seconds. Ask again."
            ) from error

    async def refreshed(self, caller: Caller, server: Server) -> Server:
        """Return a server as the hub knows it now: its address is known when it has started."""
        caller = await self.hub.caller(caller.token, fresh=True)
        return caller.servers.get(server.name, server)

    async def open(self, caller: Caller, server: Server, call: Call) -> httpx.Response:
        """Send a call to a server that runs, and return its answer with a body to be read."""
        check_is_own(caller, server)
        parts = urlsplit(server.url)
        headers = {"Authorization": f"token {caller.token}", "Accept": "*/*", **call.headers}
        if parts.netloc:
            headers["Host"] = parts.netloc  # the proxy knows users by their host names
        content: bytes | AsyncIterable[bytes] | None = call.content
        if call.json is not None:
            content = json.dumps(call.json).encode()
            headers["Content-Type"] = "application/json"
        request = self._http.build_request(
            call.method,
            f"{self._proxy_url}{parts.path}{call.path}",
            params=dict(call.params) or None,
            content=content,
            headers=headers,
        )
        try:
            return await self._http.send(request, stream=True)
        except httpx.HTTPError as error:
            raise _BROKEN from error

    async def ask(self, caller: Caller, server: Server, call: Call, wait: float) -> httpx.Response:
        """
        Send a call, to a server that is started first if it sleeps; raise what it refuses.

        A server that is known to run is asked at once. If it does not after all, it is started,
        and asked again, unless the body of the call has been sent.
        """
        if not server.ready:
            await self.wait(caller, server, wait)
            server = await self.refreshed(caller, server)
        response = await self.open(caller, server, call)
        if response.status_code in _AWAY and call.content is None and _is_of_hub(response):
            await response.aclose()
            await self._check(caller, server)
            await self.wait(caller, server, wait)
            server = await self.refreshed(caller, server)
            response = await self.open(caller, server, call)
        await raise_refusal(response)
        return response

    async def _check(self, caller: Caller, server: Server) -> None:
        """Raise 404 for a sandbox that has ended since."""
        self.hub.forget(caller.token)
        if server.name:
            await self.find(await self.hub.caller(caller.token, fresh=True), server.name)

    async def read(self, caller: Caller, server: Server, call: Call, wait: float) -> httpx.Response:
        """Return an answer, read to its end."""
        response = await self.ask(caller, server, call, wait)
        try:
            await response.aread()
        except httpx.HTTPError as error:
            raise _BROKEN from error
        finally:
            await response.aclose()
        return response

    async def stream(
        self, caller: Caller, server: Server, call: Call, starting: Starting
    ) -> AsyncGenerator[bytes, None]:
        """Yield how a server starts, if it sleeps, and then the body of its answer."""
        if not server.ready:
            async with contextlib.aclosing(self.starting(caller, server)) as events:
                async for event in events:
                    yield starting(event)
            server = replace(await self.refreshed(caller, server), ready=True)
        response = await self.ask(caller, server, call, self._start_limit)
        async with contextlib.aclosing(body_of(response)) as body:
            async for piece in body:
                yield piece


def check_is_own(caller: Caller, server: Server) -> None:
    """Raise 403 for a server of another user's."""
    if server.user != caller.name:
        raise ApiError(
            403,
            f"The sandbox is {server.user}'s. An administrator may list and describe it, move its "
            "deadline and end it; only its owner may use it.",
        )


async def body_of(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Yield the body of an answer as it comes; close it at the end, or when nobody wants more."""
    try:
        async for piece in response.aiter_raw():
            yield piece
    except httpx.HTTPError as error:
        raise _BROKEN from error
    finally:
        await response.aclose()


async def lines_of(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield the whole lines of a body without their ends; raise ApiError if one is too long."""
    begun: list[bytes] = []
    size = 0
    async with contextlib.aclosing(body):
        async for piece in body:
            *lines, rest = piece.split(b"\n")
            if lines:
                lines[0] = b"".join((*begun, lines[0]))
                begun, size = [], 0
            begun.append(rest)
            size += len(rest)
            if size > MAX_LINE:
                raise ApiError(502, "An output is too long to be passed on.")
            for line in lines:
                yield line


async def raise_refusal(response: httpx.Response) -> None:
    """Raise what a server has refused, and close its answer."""
    if response.status_code < 300:
        return
    body = b""
    try:
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MAX_ERROR:
                break
    except httpx.HTTPError as error:
        raise _BROKEN from error
    finally:
        await response.aclose()
    raise from_answer(response.status_code, body)


def _is_of_hub(response: httpx.Response) -> bool:
    """Return whether the proxy or the hub answers in the place of a server."""
    return "application/json" not in response.headers.get("Content-Type", "") or (
        response.status_code == 424
    )
