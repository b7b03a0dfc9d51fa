"""Who calls E2B's routes, and the sandbox that a call means."""

import json
from typing import TypeVar

from pydantic import ValidationError
from starlette.requests import Request

from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.hub import Caller, Server
from caesarion_hub.api.state import caller_of, state_of
from caesarion_hub.bodies import Bounded, first_error

SANDBOX_HEADER = "E2b-Sandbox-Id"

TOKENS = ("X-API-Key", "X-Access-Token", "E2B-Traffic-Access-Token")
"""
The headers in which E2B's SDKs send a token.

The last two come with calls into a sandbox: they hold what ``create`` has answered with, which
is the caller's own token. ``Authorization`` names the system's user there, as Basic.
"""

Form = TypeVar("Form", bound=Bounded)


async def called_by(request: Request) -> Caller:
    """Return who calls."""
    return await caller_of(request, TOKENS)


async def sandbox_of(request: Request) -> tuple[Caller, Server]:
    """Return who calls, and the sandbox that the header names; 502 if it does not run."""
    caller = await called_by(request)
    sandbox_id = request.headers.get(SANDBOX_HEADER, "")
    if not sandbox_id:
        raise ApiError(400, f"The header {SANDBOX_HEADER} is missing. It names the sandbox.")
    try:
        return await state_of(request).servers.find(caller, sandbox_id)
    except ApiError as error:
        if error.status != 404:
            raise
        # The words and the status by which the SDK knows that a sandbox does not run.
        raise ApiError(502, f"The sandbox {sandbox_id[:100]} was not found.") from error


async def read_form(request: Request, form: type[Form]) -> Form:
    """Return the body of a request as ``form``; raise 400 with a sentence."""
    try:
        return form.model_validate(json.loads(await request.body() or b"{}"))
    except (ValueError, RecursionError) as error:
        if not isinstance(error, ValidationError):
            raise ApiError(400, "The body is not JSON. Send a JSON object.") from error
        where, what = first_error(error)
        raise ApiError(400, f"The request is not right: {where}: {what}.") from error
