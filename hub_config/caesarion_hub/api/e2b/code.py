"""
E2B's runs of code, in contexts: a context is a kernel, and the default one a session of ours.

Contexts are kernels with a session of Jupyter Server's, whose name holds what E2B knows of it.
"""

import contextlib
import json
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import uuid4

from pydantic import Field, StringConstraints
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from caesarion_hub.api.e2b.caller import read_form, sandbox_of
from caesarion_hub.api.e2b.errors import line_error
from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.hub import Caller, Server
from caesarion_hub.api.rest.models import Environment, KernelId, Text
from caesarion_hub.api.servers import Call, body_of, lines_of
from caesarion_hub.api.state import DEFAULT_WAIT, State, state_of
from caesarion_hub.api.streams import Stream, unless_gone
from caesarion_hub.bodies import Bounded

SESSION = "e2b"
"""The session of ours that is E2B's default context."""

KIND = "e2b-context"
"""The type of the sessions of Jupyter Server that are contexts."""

LANGUAGES = ("python", "python3", "")

_FORMATS = {
    "text/plain": "text",
    "text/html": "html",
    "text/markdown": "markdown",
    "image/svg+xml": "svg",
    "image/png": "png",
    "image/jpeg": "jpeg",
    "application/pdf": "pdf",
    "text/latex": "latex",
    "application/json": "json",
    "application/javascript": "javascript",
}
"""The fields of a result in which E2B has a media type."""


Language = Annotated[str, StringConstraints(max_length=100)]


class Execute(Bounded):
    """A run of code."""

    code: Text
    context_id: KernelId | None = None
    language: Language | None = None
    env_vars: Environment | None = None


class NewContext(Bounded):
    """A context to be made."""

    cwd: str | None = Field(None, max_length=4096)
    language: Language | None = None


async def execute(request: Request) -> Response:
    """``POST /execute``: one JSON object a line; a client that leaves stops the run."""
    asked = await read_form(request, Execute)
    _check_language(asked.language)
    caller, server = await sandbox_of(request)
    state = state_of(request)
    where = {"kernel_id": asked.context_id} if asked.context_id else {"session_id": SESSION}
    if asked.context_id == SESSION:
        where = {"session_id": SESSION}
    code = asked.code
    if asked.env_vars:
        code = _with_variables(code, asked.env_vars)
    call = Call("POST", "caesarion/api/execute", json={"code": code, **where})
    response = await unless_gone(request, state.servers.ask(caller, server, call, DEFAULT_WAIT))
    lines = _translated(body_of(response))
    return Stream(
        lines, line_error, state.stopping, headers={"Content-Type": "application/x-ndjson"}
    )


def _with_variables(code: str, variables: dict[str, str]) -> str:
    """
    Return code that has environment variables while it runs.

    IPython runs a cell's last expression as its result only at the top of the cell, so the
    code stays there, and a callback takes the variables away after the cell.
    """
    prelude = (
        "def _caesarion_environment():\n"
        "    import os\n"
        f"    values = {variables!r}\n"
        "    before = {name: os.environ.get(name) for name in values}\n"
        "    os.environ.update(values)\n"
        "    events = get_ipython().events\n"
        "    def restore(*_):\n"
        "        events.unregister('post_run_cell', restore)\n"
        "        for name, value in before.items():\n"
        "            os.environ.pop(name, None)\n"
        "            if value is not None:\n"
        "                os.environ[name] = value\n"
        "    events.register('post_run_cell', restore)\n"
        "_caesarion_environment()\n"
        "del _caesarion_environment\n"
    )
    return prelude + code


async def _translated(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield E2B's lines for ours; raise ApiError for a run that could not go on."""
    async with contextlib.aclosing(lines_of(body)) as lines:
        async for one in lines:
            if one.strip():
                for message in _messages(json.loads(one)):
                    yield json.dumps(message).encode() + b"\n"


def _messages(output: dict[str, Any]) -> list[dict[str, Any]]:
    """Return E2B's messages for an output, or for the end, of a run."""
    now = datetime.now(UTC).isoformat()
    kind = output.get("output_type")
    if kind == "stream":
        return [{"type": output["name"], "text": output["text"], "timestamp": now}]
    if kind == "error":
        return [
            {
                "type": "error",
                "name": output["ename"],
                "value": output["evalue"],
                "traceback": "\n".join(output["traceback"]),
            }
        ]
    if kind in ("display_data", "execute_result", "update_display_data"):
        return [_result(output, is_main=kind == "execute_result")]
    if "status" not in output:
        return []
    if output["status"] in ("timeout", "aborted", "dead"):
        reason = output.get("message") or _ENDS[output["status"]]
        message = {"type": "error", "name": "ExecutionError", "value": reason, "traceback": reason}
        return [message]
    return [{"type": "number_of_executions", "execution_count": output.get("execution_count")}]


_ENDS = {
    "timeout": "The run was stopped at its time limit.",
    "aborted": "The run was stopped.",
    "dead": "The kernel ended.",
}


def _result(output: dict[str, Any], *, is_main: bool) -> dict[str, Any]:
    result: dict[str, Any] = {"type": "result", "is_main_result": is_main}
    extra = {}
    for media, data in (output.get("data") or {}).items():
        if isinstance(data, list):
            data = "".join(map(str, data))
        if media in _FORMATS:
            result[_FORMATS[media]] = data
        else:
            extra[media] = data
    if extra:
        result["extra"] = extra
    return result


def _check_language(language: str | None) -> None:
    if (language or "").lower() not in LANGUAGES:
        raise ApiError(400, f"'{language}' is not a language here. Use python.")


async def contexts(request: Request) -> Response:
    """``GET /contexts``: the default one, and those that were made."""
    caller, server = await sandbox_of(request)
    found = [_default(), *[_shown(one) for one in await _made(state_of(request), caller, server)]]
    return JSONResponse(found)


async def new_context(request: Request) -> Response:
    """``POST /contexts``: start a kernel in a folder."""
    asked = await read_form(request, NewContext)
    _check_language(asked.language)
    caller, server = await sandbox_of(request)
    session = {
        "path": f"{KIND}-{uuid4().hex}",
        "type": KIND,
        "name": json.dumps({"cwd": asked.cwd or "", "language": "python"}),
        "kernel": {"name": "python3"},
    }
    answer = await _ask(request, caller, server, Call("POST", "api/sessions", json=session))
    shown = _shown(answer)
    try:
        await _enter(request, caller, server, shown)
    except ApiError:
        await _ask(request, caller, server, Call("DELETE", f"api/sessions/{answer['id']}"))
        raise
    return JSONResponse(shown, 201)


async def _enter(request: Request, caller: Caller, server: Server, context: dict[str, str]) -> None:
    """Take a context's kernel to its folder; raise 400 if there is none."""
    if not context["cwd"]:
        return
    code = f"import os as _os\n_os.chdir(_os.path.expanduser({context['cwd']!r}))\ndel _os"
    run = {"code": code, "kernel_id": context["id"]}
    state, call = state_of(request), Call("POST", "caesarion/api/execute", json=run)
    answer = await unless_gone(request, state.servers.read(caller, server, call, DEFAULT_WAIT))
    if json.loads(answer.content.splitlines()[-1])["status"] != "ok":
        raise ApiError(400, f"cwd is '{context['cwd'][:200]}', which is not a folder here.")


async def remove_context(request: Request) -> Response:
    """``DELETE /contexts/ID``: 204."""
    caller, server = await sandbox_of(request)
    context_id = _context_id(request)
    for one in await _made(state_of(request), caller, server):
        if one["kernel"]["id"] == context_id:
            await _ask(request, caller, server, Call("DELETE", f"api/sessions/{one['id']}"))
            return Response(status_code=204)
    raise ApiError(404, f"There is no context '{context_id}'.")


async def restart_context(request: Request) -> Response:
    """``POST /contexts/ID/restart``: 204, with no variable left."""
    caller, server = await sandbox_of(request)
    context_id = _context_id(request)
    made = await _made(state_of(request), caller, server)
    known = {one["kernel"]["id"]: _shown(one) for one in made}
    if context_id == SESSION:
        kernel_id = await _default_kernel(request, caller, server)
        known[context_id] = {"id": kernel_id, "cwd": ""}
    if context_id not in known:
        raise ApiError(404, f"There is no context '{context_id}'.")
    context = known[context_id]
    await _ask(request, caller, server, Call("POST", f"api/kernels/{context['id']}/restart"))
    await _enter(request, caller, server, context)
    return Response(status_code=204)


async def _default_kernel(request: Request, caller: Caller, server: Server) -> str:
    params = {"chat_id": f"session {SESSION}"}
    status = await _ask(request, caller, server, Call("GET", "caesarion/api/status", params=params))
    if not status.get("kernel"):
        raise ApiError(404, "The default context has not been used yet.")
    return str(status["kernel"]["id"])


async def _made(state: State, caller: Caller, server: Server) -> list[dict[str, Any]]:
    answer = await state.servers.read(caller, server, Call("GET", "api/sessions"), DEFAULT_WAIT)
    return [one for one in answer.json() if one["type"] == KIND and one.get("kernel")]


async def _ask(request: Request, caller: Caller, server: Server, call: Call) -> Any:
    state = state_of(request)
    answer = await unless_gone(request, state.servers.read(caller, server, call, DEFAULT_WAIT))
    return answer.json() if answer.content else None


def _context_id(request: Request) -> str:
    return str(request.path_params["context_id"])


def _default() -> dict[str, str]:
    return {"id": SESSION, "language": "python", "cwd": ""}


def _shown(session: dict[str, Any]) -> dict[str, str]:
    about: dict[str, str] = {}
    with contextlib.suppress(ValueError):
        about = json.loads(session["name"])
    return {
        "id": session["kernel"]["id"],
        "language": about.get("language", "python"),
        "cwd": about.get("cwd", ""),
    }
