"""Sandboxes: named servers of the caller's that end at a deadline."""

import secrets
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.hub import Caller, Server, sandboxes_of
from caesarion_hub.api.rest.calls import LINES, Called, Shared, errors, streamed
from caesarion_hub.api.rest.models import (
    Execute,
    Json,
    Metadata,
    NewSandbox,
    Sandbox,
    SandboxId,
    Timeout,
)
from caesarion_hub.api.servers import HOME, Call
from caesarion_hub.api.state import State
from caesarion_hub.sandboxes import PREFIX

ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"

router = APIRouter(tags=["sandboxes"])

_LINES: Json = {"content": {"application/x-ndjson": {"schema": {}}}}


@router.post("/sandboxes", summary="Create", status_code=201, responses=errors(429))
async def create(body: NewSandbox, caller: Called, state: Shared) -> Sandbox:
    """Create a sandbox; it starts in the background, and calls of it wait for that."""
    return described(await made(state, caller, body))


async def made(state: State, caller: Caller, body: NewSandbox) -> Server:
    """Create a sandbox, and return its server, which may still start."""
    name = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(16))
    profile = body.profile or state.config.profile
    sandbox = body.model_dump(exclude={"profile"}, exclude_none=True)
    options = {**({"profile": profile} if profile else {}), "sandbox": sandbox}
    start = {"display_name": name, "user_options": options}
    server = Server(caller.name, name, "", ready=False)
    try:
        await state.hub.start(caller, server, start)
    except ApiError as error:
        if error.status < 500:
            raise
        raise ApiError(502, error.message, "start_failed") from error
    _, server = await state.servers.find(await state.hub.caller(caller.token, fresh=True), name)
    return server


@router.get("/sandboxes", summary="List", responses=errors())
async def listed(
    caller: Called,
    state: Shared,
    in_state: Annotated[
        Literal["starting", "ready", "stopping"] | None, Query(alias="state")
    ] = None,
    metadata: Annotated[
        str | None, Query(description="`key=value`; several, separated by `&`.")
    ] = None,
) -> list[Sandbox]:
    """List the caller's sandboxes, the newest first; an administrator's token sees all users'."""
    wanted = wanted_metadata(metadata)
    caller = await state.hub.caller(caller.token, fresh=True)
    servers = await state.hub.all_servers(caller) if caller.sees_all else caller.servers
    found = [described(server) for server in sandboxes_of(servers)]
    return [
        one
        for one in found
        if in_state in (None, one.state) and wanted.items() <= one.metadata.items()
    ]


def wanted_metadata(text: str | None) -> Metadata:
    """Return the pairs of ``key=value&key=value``."""
    pairs = [pair.partition("=") for pair in (text or "").split("&") if pair]
    return {key: value for key, _, value in pairs}


@router.get("/sandboxes/{sandbox_id}", summary="Describe", responses=errors())
async def shown(sandbox_id: SandboxId, caller: Called, state: Shared) -> Sandbox:
    """Describe a sandbox as it is now."""
    _, server = await found_sandbox(state, caller, sandbox_id, fresh=True)
    return described(server)


@router.delete("/sandboxes/{sandbox_id}", summary="Delete", status_code=204, responses=errors())
async def deleted(sandbox_id: SandboxId, caller: Called, state: Shared) -> Response:
    """End a sandbox, with its files."""
    caller, server = await found_sandbox(state, caller, sandbox_id, fresh=True)
    await state.hub.stop(caller, server)
    return Response(status_code=204)


@router.post("/sandboxes/{sandbox_id}/timeout", summary="Move the deadline", responses=errors())
async def timeout(sandbox_id: SandboxId, body: Timeout, caller: Called, state: Shared) -> Sandbox:
    """End a sandbox `timeout` seconds from now, earlier or later than it would have."""
    caller, server = await found_sandbox(state, caller, sandbox_id)
    return described(await moved(state, caller, server, body.timeout))


async def moved(state: State, caller: Caller, server: Server, seconds: int) -> Server:
    """Move the deadline of a sandbox, and return its server."""
    path = f"users/{quote(server.user, safe='')}/sandboxes/{server.name}/timeout"
    await state.hub.call("POST", path, caller.token, {"timeout": seconds})
    state.hub.forget(caller.token)
    _, server = await found_sandbox(state, caller, server.name, fresh=True)
    return server


@router.post(
    "/sandboxes/{sandbox_id}/execute",
    summary="Run code",
    responses={
        200: {**_LINES, "description": "One output a line, and last the status."},
        202: {"description": "With `background`: the run, which goes on alone."},
        **errors(409),
    },
    response_class=Response,
)
async def execute(
    request: Request, sandbox_id: SandboxId, body: Execute, caller: Called, state: Shared
) -> Response:
    """
    Run code in a sandbox, or in the user's own server, `home`.

    A server that sleeps is started first, with lines `{"starting": ...}` meanwhile. A client
    that disconnects interrupts the run.
    """
    caller, server = await state.servers.find(caller, sandbox_id)
    run = body.model_dump(exclude_unset=True)
    call = Call("POST", "caesarion/api/execute", json=run)
    return await streamed(request, state, caller, server, call, LINES)


async def found_sandbox(
    state: State, caller: Caller, sandbox_id: str, *, fresh: bool = False
) -> tuple[Caller, Server]:
    """
    Return a sandbox, for an administrator any; nothing is sent to it.

    Raises 404 if it is not there, and 400 for the user's own server.
    """
    if sandbox_id == HOME:
        raise ApiError(400, "'home' is your own server, not a sandbox. Name a sandbox.")
    if fresh:
        caller = await state.hub.caller(caller.token, fresh=True)
    return await state.servers.find_any(caller, sandbox_id)


def described(server: Server) -> Sandbox:
    """Return a server as a sandbox."""
    sandbox = server.options.get("sandbox") or {}
    stopping = server.pending == "stop"
    return Sandbox(
        id=server.name,
        owner=server.user,
        profile=server.options.get("profile"),
        state="stopping" if stopping else "ready" if server.ready else "starting",
        created_at=sandbox.get("created_at", ""),
        expires_at=sandbox.get("expires_at", ""),
        metadata=sandbox.get("metadata") or {},
        url=server.url,
    )
