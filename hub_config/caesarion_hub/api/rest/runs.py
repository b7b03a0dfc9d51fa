"""Runs that go on without their client: those of a server, passed on."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request
from fastapi.responses import Response

from caesarion_hub.api.rest.calls import EVENTS, Called, Shared, Wait, errors, passed_on, streamed
from caesarion_hub.api.rest.models import Json, NewRun, SandboxId
from caesarion_hub.api.servers import HOME, Call

router = APIRouter(tags=["runs"])

Where = Annotated[SandboxId, Query(description="Whose runs: a sandbox's, or `home`.")]
RunId = Annotated[str, Path(pattern="^[A-Za-z0-9_-]{1,64}$", examples=["run_1"])]


@router.post("/runs", summary="Start", status_code=202, responses=errors(409), response_model=Json)
async def created(
    request: Request,
    body: NewRun,
    caller: Called,
    state: Shared,
    wait: Wait,
    sandbox_id: Where = HOME,
) -> Response:
    """Start a run; the same `idempotency_key` again answers with the same run."""
    caller, server = await state.servers.find(caller, sandbox_id)
    run = body.model_dump(exclude_unset=True)
    call = Call("POST", "caesarion/api/runs", json=run)
    return await passed_on(request, state, caller, server, call, wait)


@router.get("/runs", summary="List", responses=errors(), response_model=Json)
async def listed(
    request: Request,
    caller: Called,
    state: Shared,
    wait: Wait,
    sandbox_id: Where = HOME,
    status: str | None = None,
    session_id: str | None = None,
    chat_path: str | None = None,
    after: str | None = None,
    limit: Annotated[int | None, Query(ge=1, le=1000)] = None,
) -> Response:
    """List runs, the newest first."""
    caller, server = await state.servers.find(caller, sandbox_id)
    given = {
        "status": status,
        "session_id": session_id,
        "chat_path": chat_path,
        "after": after,
        "limit": limit,
    }
    params = {name: value for name, value in given.items() if value is not None}
    call = Call("GET", "caesarion/api/runs", params=params)
    return await passed_on(request, state, caller, server, call, wait)


@router.get("/runs/{run_id}", summary="Describe", responses=errors(), response_model=Json)
async def shown(
    request: Request,
    run_id: RunId,
    caller: Called,
    state: Shared,
    wait: Wait,
    sandbox_id: Where = HOME,
) -> Response:
    """Describe a run as it is now."""
    caller, server = await state.servers.find(caller, sandbox_id)
    call = Call("GET", f"caesarion/api/runs/{run_id}")
    return await passed_on(request, state, caller, server, call, wait)


@router.get(
    "/runs/{run_id}/events",
    summary="Follow",
    response_class=Response,
    responses={
        200: {
            "content": {"text/event-stream": {"schema": {}}},
            "description": "The run's events; `id` is the sequence number.",
        },
        **errors(),
    },
)
async def events(
    request: Request,
    run_id: RunId,
    caller: Called,
    state: Shared,
    sandbox_id: Where = HOME,
    starting_after: Annotated[int | None, Query(ge=0)] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Send the events after a number, those of the past first, until the run ends."""
    caller, server = await state.servers.find(caller, sandbox_id)
    params = {} if starting_after is None else {"starting_after": starting_after}
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    call = Call("GET", f"caesarion/api/runs/{run_id}/events", params=params, headers=headers)
    return await streamed(request, state, caller, server, call, EVENTS)


@router.post(
    "/runs/{run_id}/cancel",
    summary="Cancel",
    status_code=202,
    responses=errors(),
    response_model=Json,
)
async def cancelled(
    request: Request,
    run_id: RunId,
    caller: Called,
    state: Shared,
    wait: Wait,
    sandbox_id: Where = HOME,
) -> Response:
    """Cancel a run; one that has ended stays as it is."""
    caller, server = await state.servers.find(caller, sandbox_id)
    call = Call("POST", f"caesarion/api/runs/{run_id}/cancel")
    return await passed_on(request, state, caller, server, call, wait)
