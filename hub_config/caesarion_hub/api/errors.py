"""
How a call fails: an :class:`ApiError` with a status, a code and a sentence for the program.

Used by all of the package; imports nothing of ours. ``rest`` and ``e2b`` write it each in
their own shape.
"""

import json
from http import HTTPStatus

CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    409: "conflict",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid_request",
    429: "too_many",
    499: "client_gone",
    500: "internal_error",
    501: "not_implemented",
    502: "server_unavailable",
    503: "server_starting",
    504: "timeout",
    507: "insufficient_storage",
}
"""The code of a failure by its status, where nothing more precise is known."""


class ApiError(Exception):
    """A call that failed; ``message`` is a sentence that says what to do."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES.get(status, "error")

    def body(self) -> dict[str, object]:
        """Return the one shape of errors of the REST API."""
        return {"error": {"code": self.code, "message": self.message}}


def from_answer(status: int, body: bytes) -> ApiError:
    """Return the error that a user's server, or the hub, has answered with."""
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    message = answer.get("message") if isinstance(answer, dict) else None
    if status in (301, 302, 303, 307, 401):
        status, message = 403, None
    if not isinstance(message, str) or not message:
        known = "Your token does not allow this." if status == 403 else _phrase(status)
        message = known
    return ApiError(status if status >= 400 else 502, message)


def _phrase(status: int) -> str:
    try:
        return f"The server answered: {HTTPStatus(status).phrase}."
    except ValueError:
        return f"The server answered with the status {status}."
