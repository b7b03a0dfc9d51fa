"""E2B's contents of files: read and written as they come."""

from collections.abc import AsyncGenerator
from typing import Any
from zlib import MAX_WBITS, decompressobj
from zlib import error as zlib_error

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from caesarion_hub.api.e2b.caller import sandbox_of
from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.forms import NO_FILE, Form
from caesarion_hub.api.hub import Caller, Server
from caesarion_hub.api.rest.files import cut_off, running
from caesarion_hub.api.servers import Call, body_of
from caesarion_hub.api.state import DEFAULT_WAIT, State, state_of
from caesarion_hub.api.streams import Stream, unless_gone

CONTENT = "caesarion/api/files/content"


async def read(request: Request) -> Response:
    """``GET /files?path=``: the content, as it is read."""
    caller, server = await sandbox_of(request)
    state = state_of(request)
    call = Call("GET", CONTENT, params={"path": _path(request)})
    response = await unless_gone(request, state.servers.ask(caller, server, call, DEFAULT_WAIT))
    headers = {"Content-Type": "application/octet-stream"}
    if length := response.headers.get("Content-Length"):
        headers["Content-Length"] = length
    return Stream(body_of(response), cut_off, state.stopping, headers=headers)


async def write(request: Request) -> Response:
    """``POST /files?path=``: a form of files, or the content itself; 200 with a list."""
    caller, server = await sandbox_of(request)
    state = state_of(request)
    caller, server = await running(state, caller, server, DEFAULT_WAIT)
    kind = request.headers.get("Content-Type", "")
    if not kind.startswith("multipart/"):
        content = _unzipped(request)
        return JSONResponse([await _written(state, caller, server, _path(request), content)])
    form = Form(kind, request.stream())
    done: list[dict[str, Any]] = []
    while (name := await form.next_file()) is not None:
        path = request.query_params.get("path") or name
        done.append(await _written(state, caller, server, path, form.content()))
    if not done:
        raise NO_FILE
    return JSONResponse(done)


async def _written(
    state: State, caller: Caller, server: Server, path: str, content: AsyncGenerator[bytes, None]
) -> dict[str, Any]:
    call = Call("PUT", CONTENT, params={"path": path}, content=content)
    entry = (await state.servers.read(caller, server, call, DEFAULT_WAIT)).json()
    return {"name": entry["name"], "type": entry["type"], "path": entry["path"]}


async def _unzipped(request: Request) -> AsyncGenerator[bytes, None]:
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding not in ("identity", "gzip"):
        raise ApiError(415, f"The encoding '{encoding[:50]}' is not known. Use gzip, or none.")
    unzip = decompressobj(MAX_WBITS | 16) if encoding == "gzip" else None
    async for chunk in request.stream():
        if unzip is None:
            yield chunk
            continue
        try:
            while chunk:  # in pieces: a small one may become a large one
                yield unzip.decompress(chunk, 2**20)
                chunk = unzip.unconsumed_tail
        except zlib_error as error:
            raise ApiError(400, "The body is not gzip.") from error


def _path(request: Request) -> str:
    path = request.query_params.get("path", "")
    if not path:
        raise ApiError(400, "path is missing; it names the file.")
    return path
