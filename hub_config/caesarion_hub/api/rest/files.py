"""Files of a server: uploads, and what its code has written."""

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.forms import NO_FILE, Form, NewForm
from caesarion_hub.api.hub import Caller, Server
from caesarion_hub.api.rest.calls import Called, Shared, Wait, errors, passed_on
from caesarion_hub.api.rest.models import File, Json, SandboxId, Upload
from caesarion_hub.api.servers import HOME, Call, body_of
from caesarion_hub.api.state import State
from caesarion_hub.api.streams import Stream, unless_gone

router = APIRouter(tags=["files"])

FilePath = Annotated[
    str,
    Path(
        description=(
            "An upload's name, a path below the server's root, or an absolute path, which begins "
            "with `%2f`."
        ),
        examples=["rain.csv"],
        max_length=4096,
    ),
]

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "sandbox_id": {"type": "string", "default": HOME},
                        "session_id": {"type": "string"},
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


@router.post(
    "/sandboxes/upload",
    summary="Upload a file",
    status_code=201,
    responses=errors(409, 415, 507),
    openapi_extra=_FORM,
    response_model=Upload,
)
async def upload(request: Request, caller: Called, state: Shared, wait: Wait) -> Response:
    """
    Put a file into a server's folder of uploads.

    The form's fields `sandbox_id` and `session_id` come before its `file`. With `session_id`
    the model is told about the file with that session's next question.
    """
    form = Form(request.headers.get("Content-Type", ""), request.stream())
    filename = await form.next_file()
    if filename is None:
        raise NO_FILE
    caller, server = await state.servers.find(caller, form.fields.get("sandbox_id", HOME))
    caller, server = await running(state, caller, server, wait)
    limits = Call("GET", "caesarion/api/status")
    status = (await state.servers.read(caller, server, limits, wait)).json()
    content = _accepted(form, filename, status["upload_limits"])
    session = form.fields.get("session_id")
    out = NewForm(filename)
    call = Call(
        "POST",
        "caesarion/api/uploads",
        params={"session_id": session} if session else {},
        content=out.body(content),
        headers={"Content-Type": out.content_type},
    )
    answer = await state.servers.read(caller, server, call, wait)
    return Response(answer.content, 201, media_type="application/json")


def _accepted(form: Form, filename: str, limits: Json) -> AsyncGenerator[bytes, None]:
    """
    Return the content of a file that the server takes; raise 415, or 413 in its middle.

    The server refuses the same, but httpx reads no answer before its body is sent, and the
    proxy drops the answer of a server that has stopped reading.
    """
    ending = filename.rpartition(".")[2].strip().lower()
    if "." in filename and ending.isascii() and ending not in limits["types"]:
        types = ", ".join(limits["types"]) or "none"
        raise ApiError(
            415, f"Files like '{filename[-100:]}' are not accepted. Accepted types: {types}."
        )
    return _limited(form, int(limits["max_size"]))


async def _limited(form: Form, max_size: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for piece in form.content():
        size += len(piece)
        if size > max_size:
            raise ApiError(413, f"The file is larger than {max_size:,} bytes. Send a smaller one.")
        yield piece
    if await form.next_file() is not None:
        raise ApiError(400, "The form contains more than one file. Send each by itself.")


async def running(
    state: State, caller: Caller, server: Server, wait: float
) -> tuple[Caller, Server]:
    """Return a server that runs as far as the hub knows now; a body cannot be sent twice."""
    caller = await state.hub.caller(caller.token, fresh=True)
    if server.user == caller.name:
        server = caller.servers.get(server.name, server)
    if not server.ready:
        await state.servers.wait(caller, server, wait)
        caller, server = await state.servers.find(
            await state.hub.caller(caller.token, fresh=True), server.name or HOME
        )
    return caller, server


@router.get(
    "/sandboxes/{sandbox_id}/files",
    summary="List uploads",
    response_model=list[File],
    responses=errors(),
)
async def listed(
    request: Request, sandbox_id: SandboxId, caller: Called, state: Shared, wait: Wait
) -> Response:
    """List the files in a server's folder of uploads."""
    caller, server = await state.servers.find(caller, sandbox_id)
    call = Call("GET", "caesarion/api/uploads")
    return await passed_on(request, state, caller, server, call, wait)


@router.get(
    "/sandboxes/{sandbox_id}/files/{path:path}",
    summary="Download a file",
    response_class=Response,
    responses={
        200: {
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
            "description": "The file's content, as it is read.",
        },
        **errors(409),
    },
)
async def download(
    request: Request,
    sandbox_id: SandboxId,
    path: FilePath,
    caller: Called,
    state: Shared,
    wait: Wait,
) -> Response:
    """Send the content of a file, which may be of any size."""
    caller, server = await state.servers.find(caller, sandbox_id)
    call = Call("GET", "caesarion/api/files/content", params={"path": path, "uploads": "true"})
    response = await unless_gone(request, state.servers.ask(caller, server, call, wait))
    headers = {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}
    if length := response.headers.get("Content-Length"):
        headers["Content-Length"] = length
    return Stream(body_of(response), cut_off, state.stopping, headers=headers)


def cut_off(error: ApiError) -> bytes:
    """Break the connection: a file that ends early must not look whole."""
    raise ConnectionAbortedError(error.message)


@router.delete(
    "/sandboxes/{sandbox_id}/files/{path:path}",
    summary="Delete a file",
    status_code=204,
    response_class=Response,
    responses=errors(409),
)
async def deleted(
    request: Request,
    sandbox_id: SandboxId,
    path: FilePath,
    caller: Called,
    state: Shared,
    wait: Wait,
) -> Response:
    """Delete a file; a folder is refused."""
    caller, server = await state.servers.find(caller, sandbox_id)
    call = Call("DELETE", "caesarion/api/files/content", params={"path": path, "uploads": "true"})
    return await passed_on(request, state, caller, server, call, wait)
