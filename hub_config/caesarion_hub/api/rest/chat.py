"""Questions to the agent, and the sessions in which their code runs."""

import asyncio
import contextlib
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from caesarion_hub.api.hub import Caller, Server
from caesarion_hub.api.rest.calls import EVENTS, Called, Shared, errors, streamed
from caesarion_hub.api.rest.models import Chat, Initialize, Json, Session, SessionId
from caesarion_hub.api.servers import Call
from caesarion_hub.api.state import State
from caesarion_hub.api.streams import unless_gone

KERNEL_WAIT = 8.0
"""Seconds that a call waits for a session's kernel before it answers that it starts."""

router = APIRouter(tags=["chat"])

_STREAM: Json = {"content": {"text/event-stream": {"schema": {}}}}


@router.post(
    "/chat",
    summary="Ask the agent",
    responses={
        200: {**_STREAM, "description": "The turn, as the events of docs/http.md."},
        202: {"description": "With `background`: the run, which goes on alone."},
        **errors(409),
    },
    response_class=Response,
)
async def chat(request: Request, body: Chat, caller: Called, state: Shared) -> Response:
    """
    Answer the last message, as server-sent events.

    A server that sleeps is started first, with events `starting` meanwhile. A client that
    disconnects stops the turn.
    """
    caller, server = await state.servers.find(caller, body.sandbox_id)
    question = body.model_dump(exclude={"sandbox_id"}, exclude_unset=True)
    headers = {
        name: value for name in ("traceparent",) if (value := request.headers.get(name)) is not None
    }
    call = Call("POST", "caesarion/api/chat", json=question, headers=headers)
    return await streamed(request, state, caller, server, call, EVENTS)


@router.post(
    "/sessions/{session_id}/initialize",
    summary="Start a session ahead",
    response_model=Session,
    responses={202: {"model": Session, "description": "It starts; ask again."}, **errors(409)},
)
async def initialize(
    request: Request,
    session_id: SessionId,
    caller: Called,
    state: Shared,
    body: Initialize | None = None,
) -> Response:
    """Start the server and the session's kernel, so that the first question need not wait."""
    sandbox_id = body.sandbox_id if body else "home"
    caller, server = await state.servers.find(caller, sandbox_id)
    ready = await unless_gone(request, _is_ready(state, caller, server, session_id))
    session = Session(
        session_id=session_id, sandbox_id=sandbox_id, state="ready" if ready else "starting"
    )
    return JSONResponse(session.model_dump(), 200 if ready else 202)


async def _is_ready(state: State, caller: Caller, server: Server, session_id: str) -> bool:
    """Start what is not there yet; return whether the session has its kernel."""
    if not server.ready:
        if not server.pending:
            await state.hub.start(caller, server)
        return False
    params = {"chat_id": f"session {session_id}"}
    status = Call("GET", "caesarion/api/status", params=params)
    answer = await state.servers.read(caller, server, status, KERNEL_WAIT)
    kernel: dict[str, Any] = answer.json().get("kernel") or {}
    if kernel.get("state") in ("ready", "busy"):
        return True
    run = Call("POST", "caesarion/api/execute", json={"code": "", "session_id": session_id})
    # The server lets a kernel start to its end, also when nobody waits for it any more.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(KERNEL_WAIT):
            await state.servers.read(caller, server, run, KERNEL_WAIT)
            return True
    return False
