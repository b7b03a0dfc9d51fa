"""
Responses that are sent piece by piece while the work goes on.

The base of the handlers of ``chat``, ``execute`` and ``notebooks/run``.
"""

import asyncio
import contextlib
import functools
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from caesarion.api.base import BaseHandler
from caesarion.errors import KernelError

# Seconds of silence after which something is sent, as proxies and clients give up a silent
# connection; the shortest limit of the usual proxies is 30 s.
_HEARTBEAT = 5.0


_INSIDE = "Something went wrong inside Caesarion ({}). Ask again; the server's log has the details."
_STOPPED = "The server is being stopped."


class StreamHandler(BaseHandler):
    """A route that streams its response, which ends with a status whatever happens."""

    def initialize(self) -> None:
        """Prepare the heartbeat."""
        self._sent = asyncio.Event()

    @abstractmethod
    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """
        Return the end of a response that has begun, and whose work cannot go on.

        ``sentence`` says why; ``stopped`` whether because the server is being stopped.
        """

    async def stream(self, work: Coroutine[Any, Any, None]) -> None:
        """Await ``work``, which streams the response, as long as its client is connected."""
        await self.while_connected(self._to_its_end(work))

    def begin_stream(self, content_type: str) -> None:
        """Set the content type, and send each piece at once."""
        self.set_header("Content-Type", content_type)
        if isinstance(self.request.connection, HTTP1Connection):
            # Else Nagle's algorithm holds a piece back until the one before is
            # acknowledged, for up to 40 ms.
            self.request.connection.stream.set_nodelay(True)

    def begin_events(self) -> None:
        """Set what server-sent events need."""
        self.begin_stream("text/event-stream")
        self.set_header("Cache-Control", "no-cache")
        # nginx would collect the events before it passes them on.
        self.set_header("X-Accel-Buffering", "no")

    def stop_with_server(self, task: "asyncio.Task[None]") -> None:
        """Stop the work, as the server is being stopped."""
        task.cancel()

    async def send(self, piece: str) -> None:
        """Send ``piece`` of the response."""
        self._sent.set()
        self.write(piece)
        await self.flush()

    def send_late(self, piece: str) -> None:
        """Send ``piece`` from a callback; after the end of the response it is dropped."""
        if not self._finished:
            self.write(piece)
            self.flush()

    @contextlib.asynccontextmanager
    async def heartbeat(self, sign_of_life: Callable[[], str]) -> AsyncIterator[None]:
        """Send ``sign_of_life()`` in the block whenever nothing was sent for some seconds."""
        beat = asyncio.create_task(self._beat(sign_of_life))
        try:
            yield
        finally:
            beat.cancel()

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.services.responses[task] = functools.partial(self.stop_with_server, task)
        try:
            await work
        except asyncio.CancelledError:
            if not self._client_gone:
                self._end(503, _STOPPED, stopped=True)
            raise
        except StreamClosedError:
            raise
        except KernelError as error:
            if not self._headers_written:
                raise
            self._end(409, str(error))
        except Exception as error:
            self.log.exception("A response could not be completed.")
            self._end(500, _INSIDE.format(type(error).__name__))
        finally:
            del self.services.responses[task]

    def _end(self, status: int, sentence: str, *, stopped: bool = False) -> None:
        """End the response with ``sentence``; it is a refusal if nothing was sent before."""
        if self._headers_written:
            self.finish(self.last_words(sentence, stopped=stopped))
        else:
            self.refuse(status, sentence)

    async def _beat(self, sign_of_life: Callable[[], str]) -> None:
        with contextlib.suppress(StreamClosedError):
            while True:
                self._sent.clear()
                try:
                    async with asyncio.timeout(_HEARTBEAT):
                        await self._sent.wait()
                except TimeoutError:
                    await self.send(sign_of_life())
