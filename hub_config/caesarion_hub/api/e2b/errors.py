"""E2B's two shapes of errors: of its HTTP API, and of the Connect protocol."""

import json

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from caesarion_hub.api.errors import ApiError

CONNECT_CODES = {
    400: "invalid_argument",
    401: "unauthenticated",
    403: "permission_denied",
    404: "not_found",
    409: "already_exists",
    413: "resource_exhausted",
    429: "resource_exhausted",
    501: "unimplemented",
    502: "unavailable",
    503: "unavailable",
    504: "deadline_exceeded",
    507: "resource_exhausted",
}
"""Connect's codes by HTTP status; any other status is ``internal``."""

NOT_THERE = "This is not available here: {}. docs/api.md lists what of E2B's API is."


def answered(error: ApiError) -> Response:
    """Return an error in the shape of E2B's HTTP API."""
    # E2B's SDK understands 502 as "the sandbox does not run".
    body = {"code": error.status, "message": error.message}
    headers = {"Retry-After": "2"} if error.status == 503 else None
    return JSONResponse(body, error.status, headers)


def connect_error(error: ApiError) -> dict[str, str]:
    """Return an error in the shape of the Connect protocol."""
    return {"code": CONNECT_CODES.get(error.status, "internal"), "message": error.message}


def connect_answered(error: ApiError) -> Response:
    """Return the answer of a unary call that failed."""
    return JSONResponse(connect_error(error), error.status)


def not_there(request: Request) -> ApiError:
    """Return the error of a call that E2B has, and we do not."""
    return ApiError(501, NOT_THERE.format(f"{request.method} {request.url.path[:200]}"))


def line_error(error: ApiError) -> bytes:
    """Return the last line of a run of code that could not go on."""
    failure = {
        "type": "error",
        "name": "SandboxError",
        "value": error.message,
        "traceback": error.message,
    }
    return b"\n" + json.dumps(failure).encode() + b"\n"
