"""
The pages behind the API's server: Tornado's handlers, for requests that aiohttp has received.

Called by ``api.application`` with a request and its body. JupyterHub's own handlers, from which
the pages are made, are Tornado's; this speaks Tornado's interface between a connection and
handlers (``HTTPConnection``, ``HTTPMessageDelegate``) in place of its HTTP/1 server.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiohttp import web
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.pages.routes import Route


class PagesApplication(Application):
    """The pages; ``token`` is the gateway's, of which replicas derive one cookie secret."""

    def __init__(self, routes: Sequence[Route], token: str) -> None:
        super().__init__(
            [*routes], cookie_secret=hashlib.sha256(b"cookies of " + token.encode()).digest()
        )
        self._paths = re.compile("|".join(f"(?:{pattern})" for pattern, *_ in routes))

    def log_request(self, handler: RequestHandler) -> None:
        """Write no access log."""

    def serves(self, path: str) -> bool:
        """Return whether ``path`` is a page's."""
        return self._paths.fullmatch(path) is not None

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        """Answer a request to a page."""
        connection = _Connection()
        headers = HTTPHeaders()
        delegate = self.start_request(connection, connection)
        try:
            for name, value in request.raw_headers:
                headers.add(name.decode("latin-1"), value.decode("latin-1"))
            delegate.headers_received(
                RequestStartLine(request.method, request.raw_path, "HTTP/1.1"), headers
            )
        except HTTPInputError as error:
            message = "The request is not valid HTTP."
            raise GatewayError(400, "invalid_request", message) from error
        delegate.data_received(body)
        delegate.finish()
        return await connection.relay(request)


@dataclass
class _Write:
    """What a handler writes: a response's head, if it is the first, and bytes of its body."""

    head: tuple[ResponseStartLine, HTTPHeaders] | None
    data: bytes
    written: "asyncio.Future[None]"


class _Connection(HTTPConnection):
    """What a handler of Tornado's takes for its connection: it hands on what is written."""

    def __init__(self) -> None:
        self._writes: asyncio.Queue[_Write | None] = asyncio.Queue()
        self._is_closed = False
        self._is_broken = False
        self._on_close: Callable[[], None] | None = None

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` when the client disconnects."""
        self._on_close = callback

    def write_headers(
        self,
        start_line: RequestStartLine | ResponseStartLine,
        headers: HTTPHeaders,
        chunk: bytes | None = None,
    ) -> "asyncio.Future[None]":
        """Write the head of a response, and the first bytes of its body."""
        assert isinstance(start_line, ResponseStartLine)
        return self._put((start_line, headers), chunk or b"")

    def write(self, chunk: bytes) -> "asyncio.Future[None]":
        """Write the next bytes of the body."""
        return self._put(None, chunk)

    def finish(self) -> None:
        """End the body."""
        self._writes.put_nowait(None)

    def detach(self) -> "_Connection":
        """Return what a handler closes to break off a response."""
        return self

    def close(self) -> None:
        """Break the response off, so that it does not look whole."""
        self._is_broken = True
        self.finish()

    async def relay(self, request: web.BaseRequest) -> web.StreamResponse:
        """Send what the handler writes, and return the response."""
        response = web.StreamResponse()
        one: _Write | None = None
        try:
            while one := await self._writes.get():
                if one.head:
                    line, headers = one.head
                    response = web.StreamResponse(
                        status=line.code, reason=line.reason, headers=list(headers.get_all())
                    )
                    await response.prepare(request)
                if one.data:
                    await response.write(one.data)
                if not one.written.done():
                    one.written.set_result(None)
        except BaseException:
            self._close(one)
            raise
        if self._is_broken and request.transport:
            request.transport.abort()
        return response

    def _put(
        self, head: tuple[ResponseStartLine, HTTPHeaders] | None, data: bytes
    ) -> "asyncio.Future[None]":
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._is_closed:
            written.set_exception(StreamClosedError())
            written.exception()  # handlers need not look at it
        else:
            self._writes.put_nowait(_Write(head, data, written))
        return written

    def _close(self, one: _Write | None) -> None:
        """Tell the handler that the client has disconnected: ``one``, and the rest, is not sent."""
        self._is_closed = True
        lost = [one]
        while not self._writes.empty():
            lost.append(self._writes.get_nowait())
        for write in lost:
            if write and not write.written.done():
                write.written.set_exception(StreamClosedError())
                write.written.exception()
        if self._on_close:
            self._on_close()
