"""
What all calls share, and who calls: found in the request's application.

Used by ``rest`` and ``e2b``; made by ``application``.
"""

import re
from dataclasses import dataclass

from starlette.requests import Request

from caesarion_hub.api.config import Config
from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.hub import Caller, Hub
from caesarion_hub.api.servers import Servers
from caesarion_hub.api.streams import Stopping

DEFAULT_WAIT = 60.0
"""Seconds that a call without a stream waits for a server that starts; less than proxies do."""

_URL_TOKENS = ("token", "access_token", "api_key", "apikey")
_AUTHORIZATION = re.compile(r"(?:token|bearer) +([!-~]+)", re.IGNORECASE)
_KEY = re.compile(r"[!-~]+")

_IN_URL = ApiError(
    400,
    "The address holds a token, which logs and browsers keep. Send it in a header: "
    "Authorization: Bearer ..., or X-API-Key. Revoke the one that was in the address.",
    "token_in_url",
)
_MISSING = ApiError(
    401,
    "There is no token. Create one at /hub/token, and send it as Authorization: Bearer ..., or "
    "as X-API-Key.",
)


@dataclass(frozen=True)
class State:
    """What the service has: one of each, for all calls."""

    config: Config
    hub: Hub
    servers: Servers
    stopping: Stopping


def state_of(request: Request) -> State:
    """Return what the service has."""
    state: State = request.app.state.shared
    return state


async def caller_of(request: Request, headers: tuple[str, ...] = ("X-API-Key",)) -> Caller:
    """
    Return who calls: the owner of the token in ``Authorization``, or in one of ``headers``.

    Raises 400 for a token in the address, and 401 for none; cookies are not looked at.
    """
    if any(name in request.query_params for name in _URL_TOKENS):
        raise _IN_URL
    found = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", "").strip())
    token = found[1] if found else ""
    for name in headers:
        value = request.headers.get(name, "").strip()
        token = token or (value if _KEY.fullmatch(value) else "")
    if not token:
        raise _MISSING
    return await state_of(request).hub.caller(token)


def wait_of(request: Request) -> float:
    """Return how long a call waits for a server: what the caller says, or the default."""
    text = request.query_params.get("wait") or f"{DEFAULT_WAIT}"
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= DEFAULT_WAIT:
        raise ApiError(400, f"wait must be a number of seconds from 0 to {DEFAULT_WAIT:g}.")
    return seconds
