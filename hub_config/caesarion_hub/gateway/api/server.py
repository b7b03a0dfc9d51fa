"""
The HTTP server below the API: connections, the limits of a request's head, and what is no HTTP.

Built by ``__main__`` around an :class:`~caesarion_hub.gateway.api.application.Application`. It is
aiohttp's low-level server, without a router: the API's routes are a table of exact paths.
"""

import asyncio
import secrets
from typing import Any

from aiohttp import web

from caesarion_hub.gateway.authentication import Caller
from caesarion_hub.gateway.errors import GatewayError

REQUEST_HEADER = "X-Caesarion-Request"
"""Carries the request's id, under which the log and the ledger have it."""

_MAX_HEAD = 65_536  # bytes of a request's first line, and of each header


class Request(web.BaseRequest):
    """
    A request to the gateway: ``id``, and the owner of its token as ``caller`` once it is known.

    ``receipt`` is known to us and to the process that asked, and lies nowhere else: with it that
    process reports the outcomes of the calls in the answer. ``answer`` is there once an answer
    has begun that comes in pieces.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.id = secrets.token_hex(16)
        self.receipt = secrets.token_urlsafe()
        self.caller = Caller("")
        self.answer: web.StreamResponse | None = None

    async def _prepare_hook(self, resp: web.StreamResponse) -> None:
        """Do not name the server and its version; aiohttp 3.14 has no public way to do this."""
        resp.headers.pop("Server", None)


class Server(web.Server):
    """Serves ``handler``, which is cancelled when its client disconnects."""

    def __init__(self, handler: Any) -> None:
        super().__init__(handler, request_factory=self._request, handler_cancellation=True)

    def __call__(self) -> "_Connection":
        """Return the protocol of a new connection."""
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type] # documented
            max_line_size=_MAX_HEAD,
            max_field_size=_MAX_HEAD,
            auto_decompress=False,  # a short body could hold a very long one
        )

    @staticmethod
    def _request(*parts: Any) -> Request:
        return Request(*parts, asyncio.get_running_loop())


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP. Not logged: an address that is quoted may hold a token."""
        response = error_response(request, not_http())
        response.force_close()
        return response


def not_http() -> GatewayError:
    """Return the error for bytes that are no request."""
    return GatewayError(400, "invalid_request", "The request is not valid HTTP.")


def error_response(request: web.BaseRequest, error: GatewayError) -> web.Response:
    """Return the answer that ``error`` is, in OpenAI's shape."""
    headers = {**error.headers, "Content-Type": "application/json"}
    if isinstance(request, Request):
        headers[REQUEST_HEADER] = request.id
    return web.Response(status=error.status, body=error.body(), headers=headers)
