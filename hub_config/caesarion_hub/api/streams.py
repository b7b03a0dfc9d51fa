"""
Answers that come in pieces: sent as they come, and ended with a status whatever happens.

Used by ``rest`` and ``e2b``. A client that disconnects ends the source of its stream, which
stops the run behind it; a source that breaks off, or the end of the service, is told to the
client in the form of its stream.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from caesarion_hub.api.errors import ApiError

log = logging.getLogger("api")

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""nginx, and what imitates it, would collect the pieces before they go on."""

_STOPPING = ApiError(
    503, "The api service is being stopped. Ask again; the run was stopped, too.", "stopping"
)
_FAILED = ApiError(500, "The api service failed; its log says why. Ask again.")

Result = TypeVar("Result")
LastWords = Callable[[ApiError], bytes]
"""Return the end of a stream that could not go on."""


class Stopping:
    """Whether the service is being stopped; set once, by ``__main__``."""

    def __init__(self) -> None:
        self.event = asyncio.Event()


class Stream(Response):
    """
    An answer whose ``pieces`` are sent as they come.

    Each piece waits until the one before it is on its way, so a slow client slows its source.
    """

    def __init__(
        self,
        pieces: AsyncGenerator[bytes, None],
        last_words: LastWords,
        stopping: Stopping,
        *,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._pieces = pieces
        self._last_words = last_words
        self._stopping = stopping
        self.background = None
        self.status_code = status_code
        self.init_headers({**HEADERS, **(headers or {})})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the pieces until they end, the client goes, or the service stops."""
        sending = asyncio.create_task(self._send(send))
        gone = asyncio.create_task(_disconnected(receive))
        stopping = asyncio.create_task(self._stopping.event.wait())
        try:
            await asyncio.wait({sending, gone, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done() and not gone.done():
                await _cancelled(sending)
                await self._end(send, _STOPPING)
        finally:
            for task in (sending, gone, stopping):
                await _cancelled(task)

    async def _send(self, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        await send(start)
        try:
            async with contextlib.aclosing(self._pieces) as pieces:
                async for piece in pieces:
                    if piece:
                        body = {"type": "http.response.body", "body": piece, "more_body": True}
                        await send(body)
        except ApiError as error:
            await self._end(send, error)
        except OSError:
            return  # the client is gone
        except Exception:
            log.exception("A stream has failed.")
            await self._end(send, _FAILED)
        else:
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _end(self, send: Send, error: ApiError) -> None:
        with contextlib.suppress(OSError):
            await send({"type": "http.response.body", "body": self._last_words(error)})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    """Cancel a task, and wait until it has ended."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """
    Await ``work``; cancel it, and raise ApiError 499, when the client disconnects first.

    Only for requests whose body has been read: what comes next is the end of the connection.
    """
    working = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnected(request.receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ApiError(499, "The client has disconnected.")
    finally:
        gone.cancel()
        await _cancelled(working)
