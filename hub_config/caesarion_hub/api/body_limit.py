"""
The limits of a body while it arrives: its bytes, its time, and what all bodies hold together.

Used by ``application``, around all routes.
"""

import asyncio
import contextlib
from collections import Counter

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY = 1_048_576
"""Bytes of a body that is read as a whole; uploads are not."""

STREAMED = ("/sandboxes/upload", "/e2b/files")
"""The ends of paths whose bodies are passed on while they arrive."""

TIMEOUT = 60.0
"""
Seconds in which a body has to arrive, and between two pieces of one that is passed on.

A made-up number, that of the gateway.
"""

LINGER = 60.0
"""Seconds that a client has to finish a body which is refused already; a made-up number."""

MEMORY = 64 * 2**20
"""Bytes that all bodies which still arrive may hold together; a made-up number."""

MEMORY_OF_TOKEN = 16 * 2**20
"""The same of the bodies that come with one token, or with none."""

_TOKENS = ("Authorization", "X-API-Key", "X-Access-Token", "E2B-Traffic-Access-Token")


class BodyLimit:
    """
    Refuses bodies that are too long or too slow, and new ones while those in progress hold enough.

    Those that are passed on while they arrive have no length, and only their pauses a limit.

    A refusal is sent when the rest of its body has been received and dropped: a client that is
    still sending may not read it, and configurable-http-proxy breaks the connection of one
    whose server has answered too early. To a body that was too slow it is sent at once.
    """

    def __init__(
        self,
        app: ASGIApp,
        timeout: float = TIMEOUT,
        memory: int = MEMORY,
        memory_of_token: int = MEMORY_OF_TOKEN,
    ) -> None:
        self._app = app
        self._timeout = timeout
        self._memory = memory
        self._memory_of_token = memory_of_token
        self._held: Counter[int] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count what is received, and the time that it takes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(self, scope, receive)
        try:
            await self._app(scope, body.receive, lambda message: body.answer(message, send))
        finally:
            body.release()

    def hold(self, key: int, size: int) -> None:
        """Count ``size`` more bytes; raise HTTPException if there is no room for them."""
        if (
            self._held[key] + size > self._memory_of_token
            or self._held.total() + size > self._memory
        ):
            raise HTTPException(
                429,
                "The bodies that the service is receiving hold as much as it takes at once. "
                "Send this one again in a moment.",
                {"Retry-After": "2"},
            )
        self._held[key] += size

    def release(self, key: int, size: int) -> None:
        """Count ``size`` bytes less."""
        self._held[key] -= size
        if self._held[key] <= 0:
            del self._held[key]

    @property
    def timeout(self) -> float:
        """The seconds that a body may take."""
        return self._timeout


class _Body:
    """The body of one request."""

    def __init__(self, limit: BodyLimit, scope: Scope, receive: Receive) -> None:
        headers = Headers(scope=scope)
        self._limit, self._receive = limit, receive
        self._is_streamed = str(scope["path"]).endswith(STREAMED)
        self._key = hash(tuple(headers.get(name) for name in _TOKENS))
        self._received = self._held = 0
        self._ended = self._is_late = False
        self._deadline = asyncio.get_running_loop().time() + limit.timeout

    async def receive(self) -> Message:
        """Return the next message; raise HTTPException if the body is too long or too slow."""
        if self._ended:
            return await self._receive()  # that the client has disconnected
        if self._is_streamed:
            self._deadline = asyncio.get_running_loop().time() + self._limit.timeout
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._take()
        except TimeoutError as error:
            self._ended = self._is_late = True
            self.release()
            raise HTTPException(408, self._too_slow()) from error
        size = len(message.get("body", b""))
        self._received += size
        if not self._is_streamed:
            if self._received > MAX_BODY:
                self.release()
                raise HTTPException(413, f"The body has more than {MAX_BODY:,} bytes.")
            if self._ended:
                self.release()
            else:
                self._limit.hold(self._key, size)
                self._held += size
        return message

    async def answer(self, message: Message, send: Send) -> None:
        """Send a message of the answer; a refusal when the body has ended."""
        if message["type"] == "http.response.start" and message["status"] >= 400:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    while not self._ended:
                        await self._take()
            if self._is_late:
                headers = [*message.get("headers", ()), (b"connection", b"close")]
                message = {**message, "headers": headers}
        await send(message)

    def release(self) -> None:
        """Count the body no more."""
        if self._held:
            self._limit.release(self._key, self._held)
            self._held = 0

    async def _take(self) -> Message:
        message = await self._receive()
        self._ended = not message.get("more_body", False)
        return message

    def _too_slow(self) -> str:
        seconds = f"{self._limit.timeout:g} seconds"
        if self._is_streamed:
            return f"Nothing of the file has arrived for {seconds}. Send it again."
        return f"The body has not arrived within {seconds}. Send it again."
