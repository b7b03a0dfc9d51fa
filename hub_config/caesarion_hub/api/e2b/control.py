"""E2B's sandboxes: create, connect, list, describe, move the deadline, end."""

from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from caesarion_hub.api.e2b.caller import called_by, read_form
from caesarion_hub.api.e2b.errors import NOT_THERE
from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.hub import Caller, Server, sandboxes_of
from caesarion_hub.api.rest.models import Environment, Metadata, NewSandbox
from caesarion_hub.api.rest.sandboxes import found_sandbox, made, moved
from caesarion_hub.api.servers import check_is_own
from caesarion_hub.api.state import state_of
from caesarion_hub.bodies import Bounded

DEFAULT_TIMEOUT = 300
"""Seconds after which a sandbox ends that names no timeout, as E2B's SDK documents."""

DEFAULT_TEMPLATES = ("", "base", "code-interpreter-v1")
"""Templates of E2B's that mean the operator's own default; others name a profile."""

START_WAIT = 50.0
"""Seconds that ``create`` waits until the sandbox runs; the SDK waits 60."""

ENVD_VERSION = "0.5.7"
"""The version of E2B's daemon in a sandbox whose calls are answered."""

LIMIT = 100


class New(Bounded):
    """A request for a sandbox. What would widen or narrow its rights is refused below."""

    model_config = ConfigDict(extra="ignore")

    template: str = Field("", max_length=256, alias="templateID")
    timeout: int | None = Field(None, ge=1)
    metadata: Metadata = Field({})
    env: Environment = Field({}, alias="envVars")
    auto_pause: bool = Field(False, alias="autoPause")
    mcp: Any = None
    network: Any = None
    iam: Any = None
    volumes: Any = Field(None, alias="volumeMounts")
    internet: bool | None = Field(None, alias="allowInternetAccess")


class Timeout(Bounded):
    """A new deadline, in seconds from now."""

    timeout: int | None = Field(None, ge=1)


async def create(request: Request) -> Response:
    """``POST /v2/sandboxes``: 201 when the sandbox runs, or after a while in which it starts."""
    caller = await called_by(request)
    asked = await read_form(request, New)
    _refuse_what_is_not_there(asked)
    state = state_of(request)
    profile = None if asked.template in DEFAULT_TEMPLATES else asked.template
    body = NewSandbox(
        profile=profile,
        timeout=asked.timeout or DEFAULT_TIMEOUT,
        metadata=asked.metadata,
        env=asked.env,
    )
    server = await made(state, caller, body)
    if not server.ready:
        try:
            await state.servers.wait(caller, server, START_WAIT)
        except ApiError as error:
            if error.status != 503:
                await state.hub.stop(caller, server)
                raise
    return JSONResponse(_handle(caller, server), 201)


def _refuse_what_is_not_there(asked: New) -> None:
    missing = {
        "mcp": asked.mcp,
        "network": asked.network,
        "iam": asked.iam,
        "volume_mounts": asked.volumes,
        "auto_pause": asked.auto_pause,
    }
    for name, value in missing.items():
        if value:
            raise ApiError(400, NOT_THERE.format(name))


async def connect(request: Request) -> Response:
    """``POST /v2/sandboxes/ID/connect``: as ``create``, for one that runs."""
    caller = await called_by(request)
    asked = await read_form(request, Timeout)
    state = state_of(request)
    caller, server = await found_sandbox(state, caller, _id(request), fresh=True)
    check_is_own(caller, server)
    if asked.timeout and _left(server) < asked.timeout:  # E2B's connect only prolongs
        server = await moved(state, caller, server, asked.timeout)
    return JSONResponse(_handle(caller, server))


async def set_timeout(request: Request) -> Response:
    """``POST /sandboxes/ID/timeout``: 204."""
    caller = await called_by(request)
    asked = await read_form(request, Timeout)
    if asked.timeout is None:
        raise ApiError(400, "timeout is missing; it is a number of seconds.")
    state = state_of(request)
    caller, server = await found_sandbox(state, caller, _id(request))
    await moved(state, caller, server, asked.timeout)
    return Response(status_code=204)


async def kill(request: Request) -> Response:
    """``DELETE /sandboxes/ID``: 204."""
    caller = await called_by(request)
    state = state_of(request)
    caller, server = await found_sandbox(state, caller, _id(request), fresh=True)
    await state.hub.stop(caller, server)
    return Response(status_code=204)


async def show(request: Request) -> Response:
    """``GET /sandboxes/ID``."""
    caller = await called_by(request)
    _, server = await found_sandbox(state_of(request), caller, _id(request), fresh=True)
    return JSONResponse(_described(server))


async def listed(request: Request) -> Response:
    """``GET /v2/sandboxes``: the caller's own, filtered and in pages."""
    caller = await called_by(request)
    caller = await state_of(request).hub.caller(caller.token, fresh=True)
    query = request.query_params
    # The SDK quotes each name and value, and then both again.
    wanted = {unquote(k): unquote(v) for k, v in parse_qsl(query.get("metadata", ""))}
    states = [state for state in query.get("state", "").split(",") if state]
    found = [_described(server) for server in sandboxes_of(caller.servers)]
    if query.get("order") == "asc":
        found.reverse()
    if after := query.get("startedAfter"):
        found = [one for one in found if _moment(one["startedAt"]) > _moment(after)]
    found = [
        one
        for one in found
        if wanted.items() <= one["metadata"].items()
        and (not states or one["state"] in states)
        and query.get("template", one["templateID"]) == one["templateID"]
    ]
    first = _number(query.get("nextToken"), 0)
    limit = min(max(_number(query.get("limit"), LIMIT), 1), LIMIT)
    page = found[first : first + limit]
    headers = {"x-next-token": str(first + limit)} if first + limit < len(found) else None
    return JSONResponse(page, headers=headers)


def _number(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise ApiError(400, f"'{text[:50]}' is not a number.")
    return int(text)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ApiError(400, f"'{text[:50]}' is not a time in ISO 8601.") from error
    return moment.astimezone()


def _id(request: Request) -> str:
    return str(request.path_params["sandbox_id"])


def _left(server: Server) -> float:
    ends = _moment(server.options["sandbox"]["expires_at"])
    return (ends - datetime.now().astimezone()).total_seconds()


def _handle(caller: Caller, server: Server) -> dict[str, Any]:
    """Return what the SDK keeps of a sandbox: both tokens are the caller's own."""
    return {
        "sandboxID": server.name,
        "templateID": server.options.get("profile") or "base",
        "clientID": server.user,
        "envdVersion": ENVD_VERSION,
        "envdAccessToken": caller.token,
        "trafficAccessToken": caller.token,
        "domain": None,
    }


def _described(server: Server) -> dict[str, Any]:
    sandbox = server.options.get("sandbox") or {}
    return {
        "sandboxID": server.name,
        "templateID": server.options.get("profile") or "base",
        "clientID": server.user,
        "startedAt": sandbox.get("created_at", "1970-01-01T00:00:00Z"),
        "endAt": sandbox.get("expires_at", "1970-01-01T00:00:00Z"),
        "metadata": sandbox.get("metadata") or {},
        "state": "running",
        "envdVersion": ENVD_VERSION,
        # Kubernetes' limits are those of the profile, which only the operator's values know.
        "cpuCount": 0,
        "memoryMB": 0,
        "diskSizeMB": 0,
    }
