"""
What the routes share: the caller, the documented errors, and how answers are passed on.

Called by the other modules of ``rest``; calls ``servers`` and ``streams``.
"""

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from fastapi.responses import Response
from fastapi.security import APIKeyHeader, HTTPBearer

from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.hub import Caller, Server
from caesarion_hub.api.rest.models import Error
from caesarion_hub.api.servers import Call, body_of
from caesarion_hub.api.state import DEFAULT_WAIT, State, caller_of, state_of, wait_of
from caesarion_hub.api.streams import LastWords, Stream, unless_gone

_SENTENCES = {
    400: "The request is not right.",
    401: "There is no token, or nobody owns it.",
    403: "The token's scopes do not allow this.",
    404: "There is no such thing, or it is not yours.",
    409: "It cannot be used as it is.",
    413: "The request is too large.",
    415: "The media type is not supported.",
    429: "You have as many as are allowed.",
    502: "The server has ended, or did not start.",
    503: "The server still starts, or the hub is away.",
    504: "The server did not start in time.",
    507: "The disk is full.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the documented errors of a route: those given, and those that every route has."""
    every = sorted({400, 401, 403, 404, 413, 502, 503, 504, *statuses})
    return {status: {"model": Error, "description": _SENTENCES[status]} for status in every}


async def _caller(
    request: Request,
    _bearer: Annotated[Any, Depends(HTTPBearer(auto_error=False, description="A Hub token."))],
    _key: Annotated[Any, Depends(APIKeyHeader(name="X-API-Key", auto_error=False))],
) -> Caller:
    return await caller_of(request)


def _wait(
    request: Request,
    _seconds: Annotated[
        float | None,
        Query(
            alias="wait",
            ge=0,
            le=DEFAULT_WAIT,
            description="Seconds to wait for a server that starts.",
        ),
    ] = None,
) -> float:
    return wait_of(request)


Called = Annotated[Caller, Depends(_caller)]
Wait = Annotated[float, Depends(_wait)]
Shared = Annotated[State, Depends(state_of)]


def server_sent(name: str, data: dict[str, Any]) -> bytes:
    """Return a server-sent event (WHATWG HTML, section 9.2)."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def line(data: dict[str, Any]) -> bytes:
    """Return a line of JSON."""
    return json.dumps(data).encode() + b"\n"


def last_event(error: ApiError) -> bytes:
    """Return the events that end a turn which could not go on."""
    failure = {"code": error.code, "message": error.message}
    return b"\n\n" + server_sent("error", failure) + server_sent("done", {"reason": "error"})


def last_line(error: ApiError) -> bytes:
    """Return the line that ends a run which could not go on."""
    end = {"status": "error", "execution_count": None, **error.body(), "message": error.message}
    return b"\n" + line(end)


Form = tuple[str, LastWords, Callable[[dict[str, Any]], bytes]]
EVENTS: Form = ("text/event-stream", last_event, lambda event: server_sent("starting", event))
LINES: Form = ("application/x-ndjson", last_line, lambda event: line({"starting": event}))


async def streamed(
    request: Request, state: State, caller: Caller, server: Server, call: Call, form: Form
) -> Response:
    """
    Answer with the stream of a user's server, as it comes.

    If the server runs, its refusal is ours, with its status. If it has to start first, the
    stream begins at once, with how that goes, and a refusal is its last words. A run in the
    background is answered in one piece.
    """
    if call.json and call.json.get("background"):
        return await passed_on(request, state, caller, server, call, DEFAULT_WAIT)
    media_type, last_words, starting = form
    headers = {"Content-Type": media_type}
    if not server.ready:
        pieces = state.servers.stream(caller, server, call, starting)
        return Stream(pieces, last_words, state.stopping, headers=headers)
    response = await unless_gone(request, state.servers.ask(caller, server, call, DEFAULT_WAIT))
    return Stream(body_of(response), last_words, state.stopping, headers=headers)


async def passed_on(
    request: Request, state: State, caller: Caller, server: Server, call: Call, wait: float
) -> Response:
    """Answer as a user's server does."""
    answer = await unless_gone(request, state.servers.read(caller, server, call, wait))
    if answer.status_code == 204:
        return Response(status_code=204)
    kind = answer.headers.get("Content-Type", "application/json")
    return Response(answer.content, answer.status_code, media_type=kind)
