"""
The base of the API's routes, and how an answer of the model is sent.

Subclassed by the other modules of this package, whose instances ``application`` calls.
"""

import json
import logging
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from aiohttp import web
from caesarion_dialects.reader import DONE

from caesarion_hub.gateway.api.server import REQUEST_HEADER, Request
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.upstream.backend import Response

SILENCE_HEADER = "X-Caesarion-Silence"
"""
Carries the seconds for which an answer may be silent before the gateway gives it up.

Users' servers wait a little longer, so that the user reads the gateway's own sentence.
"""

RECEIPT_HEADER = "X-Caesarion-Receipt"
"""
Carries a random value that an outcome of a call in the answer must name.

A kernel has its server's token, so the token does not show which of the two reports; the kernel
does not see the answers that the server gets.
"""

log = logging.getLogger("gateway")


class Handler(ABC):
    """
    One method of one path, for requests with bodies of ``max_body_bytes`` bytes.

    ``is_for_users``: only for callers whose token may use the model.
    """

    method: ClassVar[str] = "GET"
    is_for_users: ClassVar[bool] = False
    max_body_bytes: ClassVar[int] = 2**20

    async def check_before_body(self, request: Request) -> None:  # noqa: B027 - most need none
        """Raise GatewayError for a request whose body need not be read; by default never."""

    @abstractmethod
    async def answer(self, request: Request, body: bytes) -> web.StreamResponse:
        """Return the answer, or one that is sent already; raise GatewayError if there is none."""


def json_answer(request: Request, value: Any, status: int = 200) -> web.Response:
    """Return ``value`` as JSON."""
    headers = {REQUEST_HEADER: request.id, "Content-Type": "application/json"}
    return web.Response(status=status, body=json.dumps(value).encode(), headers=headers)


class _Stream(web.StreamResponse):
    """A response whose head leaves with its first piece: a write takes longer than a chunk."""

    _send_headers_immediately = False  # aiohttp 3.14; without it there is one more write


async def send(request: Request, response: Response, silence: float) -> None:
    """Send ``response`` as it comes: it is ``request.answer``."""
    headers = {
        REQUEST_HEADER: request.id,
        SILENCE_HEADER: f"{silence:g}",
        **response.headers,
        RECEIPT_HEADER: request.receipt,
    }
    if response.is_stream:
        headers |= {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    try:
        async for piece in response.content:
            is_last = not response.is_stream or piece.data.endswith(DONE)
            if request.answer is None:
                if is_last:
                    request.answer = web.Response(
                        status=response.status, body=piece.data, headers=headers
                    )
                    await request.answer.prepare(request)
                    await request.answer.write_eof()
                    continue
                request.answer = _Stream(status=response.status, headers=headers)
                await request.answer.prepare(request)
            if is_last:
                # In one write with the end of the body.
                await request.answer.write_eof(piece.data)
            else:
                await request.answer.write(piece.data)
    except GatewayError as error:
        if request.answer is None:
            raise
        # Only a stream comes in pieces, and each of them is whole events.
        warn(request, error, ", after the answer had begun")
        await request.answer.write_eof(error.event())


def warn(request: Request, error: GatewayError, when: str = "") -> None:
    """Log why a request has no answer, or no whole one."""
    fields = {"request": request.id, "user": request.caller.name, "error": error.code}
    log.warning("%s%s", error.message.rstrip("."), when, extra=fields)
