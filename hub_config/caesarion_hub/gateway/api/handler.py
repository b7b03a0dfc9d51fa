"""
The handlers that all routes of the API build on.

``BaseHandler`` answers errors in OpenAI's shape. ``UserHandler`` authenticates the caller
before it reads the body, and sends what the model answers. Subclassed by the other modules
of this package; calls ``authentication``.
"""

import asyncio
import logging
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError, RequestHandler, stream_request_body

from caesarion_hub.gateway.api.body import Body
from caesarion_hub.gateway.authentication import Caller
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.upstream.backend import Response

if TYPE_CHECKING:
    from caesarion_hub.gateway.api.application import GatewayApplication

REQUEST_HEADER = "X-Caesarion-Request"
"""Carries the request's id, under which the log and the ledger have it."""

MAX_DISCARDED = 64 * 2**20
"""Bytes of a body that are received and thrown away; of a longer one the connection is closed."""

SILENCE_HEADER = "X-Caesarion-Silence"
"""
Carries the seconds for which an answer may be silent before the gateway gives it up.

Users' servers wait a little longer, so that the user reads the gateway's own sentence.
"""

log = logging.getLogger("gateway")


class BaseHandler(RequestHandler):
    """Answers errors in OpenAI's shape, and discloses nothing about the server."""

    application: "GatewayApplication"
    id = ""

    def set_default_headers(self) -> None:
        """Send the request's id; do not name the server and its version."""
        self.id = self.id or uuid4().hex
        self.set_header(REQUEST_HEADER, self.id)
        self.clear_header("Server")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with the error that ended the request."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if not isinstance(error, GatewayError):
            error = _http_error(status_code, self.request.method or "", self.request.path)
        self.set_status(error.status)
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "application/json")
        self.finish(error.body())

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log defects of the gateway, without the request itself, which may hold secrets."""
        if not isinstance(value, GatewayError | HTTPError):
            log.error("%s failed", self.request.path, exc_info=(typ, value, tb))


class NotFoundHandler(BaseHandler):
    """Any path without a route."""

    def prepare(self) -> None:
        """Answer 404."""
        raise HTTPError(404)


@stream_request_body
class UserHandler(BaseHandler):
    """
    A route for users, which reads bodies of ``max_body_bytes`` bytes.

    ``caller`` is the owner of the request's token.
    """

    max_body_bytes = 2**20

    def initialize(self) -> None:
        """Start without a caller, a body or an answer."""
        self.caller = Caller("")
        self._body: Body | None = None
        self._refusal: GatewayError | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """
        Authenticate the caller, and check what can be checked before the body.

        A refusal is sent after the body was received and discarded: a client that is still
        sending may not read an answer.
        """
        application = self.application
        self._deadline = asyncio.get_running_loop().call_later(
            application.config.values.requests.timeout, self._time_out
        )
        if isinstance(self.request.connection, HTTP1Connection):
            self.request.connection.set_max_body_size(MAX_DISCARDED)
        try:
            self.caller = await application.hub.authenticate(
                self.request.headers.get("Authorization", "")
            )
            await self.check_before_body()
        except GatewayError as refusal:
            self._refusal = refusal
        self._body = Body(application.body_memory, self.caller.name, self.max_body_bytes)

    async def check_before_body(self) -> None:
        """Raise GatewayError for a caller whose request need not be read; by default never."""

    def data_received(self, chunk: bytes) -> None:
        """Keep a piece of the body, unless the request is refused already."""
        if self._refusal or not self._body:
            return
        try:
            self._body.add(chunk)
        except GatewayError as refusal:
            self._refusal = refusal
            self._body.close()

    def read_body(self) -> bytes:
        """Return the body; raise the refusal that was found before or while it was received."""
        if self._deadline:
            self._deadline.cancel()
        if self._refusal:
            raise self._refusal
        return self._body.read() if self._body else b""

    def on_finish(self) -> None:
        """Release the body's memory."""
        if self._deadline:
            self._deadline.cancel()
        if self._body:
            self._body.close()

    def _time_out(self) -> None:
        """Answer 408 to a body that does not arrive; tornado then closes the connection."""
        seconds = self.application.config.values.requests.timeout
        error = GatewayError(
            408,
            "request_timeout",
            f"The request was not received within {seconds:g} seconds. Send it again, or send "
            "less.",
        )
        self.send_error(error.status, exc_info=(GatewayError, error, None))

    def on_connection_close(self) -> None:
        """Cancel the answer when the client disconnects."""
        self.on_finish()
        if self._sending:
            self._sending.cancel()

    async def send_response(self, response: AbstractAsyncContextManager[Response]) -> None:
        """Send ``response`` as it comes; return early if the client disconnects."""
        self._sending = asyncio.create_task(self._send_response(response))
        self.application.in_progress.add(self._sending)
        self._sending.add_done_callback(self.application.in_progress.discard)
        try:
            await self._sending
        except asyncio.CancelledError:
            if not self._sending.cancelled():
                raise

    async def _send_response(self, opening: AbstractAsyncContextManager[Response]) -> None:
        try:
            async with opening as response:
                self.set_status(response.status)
                self.set_header(SILENCE_HEADER, f"{self.application.metering.silence:g}")
                for name, value in response.headers.items():
                    self.set_header(name, value)
                if response.is_stream:
                    self.set_header("Cache-Control", "no-cache")
                    self.set_header("X-Accel-Buffering", "no")
                    self._disable_nagle()
                await self._send_content(response)
        except StreamClosedError:
            pass  # the client has disconnected
        except GatewayError as error:
            self._warn(error)
            raise

    async def _send_content(self, response: Response) -> None:
        try:
            async for piece in response.content:
                self.write(piece.data)
                await self.flush()
        except GatewayError as error:
            # Only a stream comes in pieces, and each of them is whole events.
            self._warn(error, ", after the answer had begun")
            await self.finish(error.event())

    def _disable_nagle(self) -> None:
        """Send small chunks at once: Nagle's algorithm holds them for up to 40 ms."""
        if isinstance(self.request.connection, HTTP1Connection):
            self.request.connection.stream.set_nodelay(True)

    def _warn(self, error: GatewayError, when: str = "") -> None:
        fields = {"request": self.id, "user": self.caller.name, "error": error.code}
        log.warning("%s%s", error.message.rstrip("."), when, extra={"fields": fields})


def _http_error(status: int, method: str, path: str) -> GatewayError:
    match status:
        case 404:
            return GatewayError(404, "not_found", f"There is nothing at {path}.")
        case 405:
            return GatewayError(405, "method_not_allowed", f"{path} does not take {method}.")
        case _ if status < 500:
            return GatewayError(status, "invalid_request", "The request is not valid HTTP.")
    message = "The gateway failed; its log says why. Ask again."
    return GatewayError(status, "internal_error", message, "server_error")
