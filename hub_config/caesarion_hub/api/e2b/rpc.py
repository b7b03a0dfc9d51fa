"""
E2B's files and commands in the Connect protocol, as JSON.

A unary call is a JSON body; a stream is frames, each with five bytes before its JSON: flags and
length. The last frame of a stream has the flag 2, and an error if there was one
(https://connectrpc.com/docs/protocol).
"""

import contextlib
import json
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from caesarion_hub.api.e2b.caller import sandbox_of
from caesarion_hub.api.e2b.errors import connect_answered, connect_error, not_there
from caesarion_hub.api.errors import ApiError
from caesarion_hub.api.hub import Caller, Server
from caesarion_hub.api.servers import Call, body_of, lines_of
from caesarion_hub.api.state import DEFAULT_WAIT, State, state_of
from caesarion_hub.api.streams import Stream, unless_gone

FILES = "caesarion/api/files"
COMMANDS = "caesarion/api/commands"

Json = dict[str, Any]


def frame(message: Json, flags: int = 0) -> bytes:
    """Return a message of a stream."""
    data = json.dumps(message).encode()
    return struct.pack(">BI", flags, len(data)) + data


def last_frame(error: ApiError) -> bytes:
    """Return the end of a stream that failed."""
    return frame({"error": connect_error(error)}, flags=2)


async def call(request: Request) -> Response:
    """Answer ``POST /SERVICE/METHOD``."""
    name = f"{request.path_params['service']}/{request.path_params['method']}"
    is_stream = request.headers.get("Content-Type", "").startswith("application/connect+")
    try:
        caller, server = await sandbox_of(request)
        body = await _body(request, is_stream=is_stream)
        if (stream := STREAMS.get(name)) and is_stream:
            return await _streamed(request, caller, server, stream(request, body))
        if (unary := UNARY.get(name)) and not is_stream:
            ask = Sandbox(request, state_of(request), caller, server)
            return JSONResponse(await unary(ask, body))
        raise not_there(request)
    except ApiError as error:
        if is_stream:
            return Response(last_frame(error), media_type="application/connect+json")
        return connect_answered(error)


class Sandbox:
    """A sandbox's server, to be asked."""

    def __init__(self, request: Request, state: State, caller: Caller, server: Server) -> None:
        self._request, self._state = request, state
        self._caller, self._server = caller, server

    async def ask(self, one: Call) -> Any:
        """Return the JSON of an answer, None for none."""
        answer = await unless_gone(
            self._request,
            self._state.servers.read(self._caller, self._server, one, DEFAULT_WAIT),
        )
        return answer.json() if answer.content else None


async def _body(request: Request, *, is_stream: bool) -> Json:
    data = await request.body()
    if is_stream:
        if len(data) < 5 or data[0]:
            raise ApiError(400, "The body is not one frame of the Connect protocol.")
        data = data[5:]
    try:
        body = json.loads(data or b"{}")
    except (ValueError, RecursionError) as error:
        raise ApiError(400, "The body is not JSON, which is the only encoding here.") from error
    if not isinstance(body, dict):
        raise ApiError(400, "The body is not a JSON object.")
    return body


def _text(body: Json, name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str) or not value:
        raise ApiError(400, f"{name} is missing.")
    return value


def _entry(found: Json) -> Json:
    """Return an entry as E2B's EntryInfo; protobuf's JSON writes 64-bit numbers as texts."""
    entry = {
        "name": found["name"],
        "path": found["path"],
        "type": "FILE_TYPE_DIRECTORY" if found["type"] == "dir" else "FILE_TYPE_FILE",
        "size": str(found["size"]),
        "mode": found["mode"],
        "permissions": found["permissions"],
        "owner": found["owner"],
        "group": found["group"],
        "modifiedTime": found["modified"].replace("+00:00", "Z"),
    }
    if found["link"] is not None:
        entry |= {"symlinkTarget": found["link"], "type": "FILE_TYPE_SYMLINK"}
    return entry


async def _list_dir(server: Sandbox, body: Json) -> Json:
    depth = body.get("depth") or 1
    params = {"path": _text(body, "path"), "depth": depth}
    found = await server.ask(Call("GET", FILES, params=params))
    return {"entries": [_entry(one) for one in found]}


async def _stat(server: Sandbox, body: Json) -> Json:
    found = await server.ask(Call("GET", FILES, params={"path": _text(body, "path")}))
    return {"entry": _entry(found)}


async def _make_dir(server: Sandbox, body: Json) -> Json:
    change = {"operation": "make_dir", "path": _text(body, "path")}
    return {"entry": _entry(await server.ask(Call("POST", FILES, json=change)))}


async def _move(server: Sandbox, body: Json) -> Json:
    change = {
        "operation": "move",
        "path": _text(body, "source"),
        "target": _text(body, "destination"),
    }
    return {"entry": _entry(await server.ask(Call("POST", FILES, json=change)))}


async def _remove(server: Sandbox, body: Json) -> Json:
    change = {"operation": "remove", "path": _text(body, "path")}
    await server.ask(Call("POST", FILES, json=change))
    return {}


async def _processes(server: Sandbox, _: Json) -> Json:
    found = await server.ask(Call("GET", COMMANDS))
    return {
        "processes": [
            {
                "pid": one["pid"],
                **({"tag": one["tag"]} if one["tag"] else {}),
                "config": {key: one[key] for key in ("cmd", "args", "envs", "cwd")},
            }
            for one in found
        ]
    }


async def _signal(server: Sandbox, body: Json) -> Json:
    name = str(body.get("signal") or "").removeprefix("SIGNAL_")
    await server.ask(Call("POST", _command(body), json={"signal": name}))
    return {}


async def _input(server: Sandbox, body: Json) -> Json:
    given = body.get("input")
    data = given.get("stdin") if isinstance(given, dict) else None
    if not isinstance(data, str):
        raise ApiError(400, "input.stdin is missing; terminals are not available here.")
    # Protobuf's JSON allows base64 without its padding, and in the alphabet of addresses.
    padded = data.replace("-", "+").replace("_", "/") + "=" * (-len(data) % 4)
    await server.ask(Call("POST", _command(body), json={"stdin": padded}))
    return {}


async def _close_input(server: Sandbox, body: Json) -> Json:
    await server.ask(Call("POST", _command(body), json={"close_stdin": True}))
    return {}


def _command(body: Json) -> str:
    process = body.get("process")
    pid = process.get("pid") if isinstance(process, dict) else None
    if not isinstance(pid, int) or isinstance(pid, bool) or pid < 0:
        raise ApiError(400, "process.pid is missing; commands are named by their pid here.")
    return f"{COMMANDS}/{pid}"


def _start(request: Request, body: Json) -> Call:
    if body.get("pty"):
        raise ApiError(501, "Terminals (pty) are not available here. Use commands.")
    process = body.get("process")
    if not isinstance(process, dict):
        raise ApiError(400, "process is missing.")
    command = {
        "cmd": process.get("cmd", ""),
        "args": process.get("args") or [],
        "envs": process.get("envs") or {},
        "cwd": process.get("cwd") or "",
        "tag": body.get("tag"),
        "stdin": bool(body.get("stdin", False)),
        "timeout": _timeout(request),
    }
    return Call("POST", COMMANDS, json=command)


def _timeout(request: Request) -> float | None:
    """Return the seconds that the client gives a stream, after which its command is killed."""
    text = request.headers.get("Connect-Timeout-Ms", "")
    return int(text) / 1000 if text.isascii() and text.isdecimal() and int(text) else None


def _connect(_: Request, body: Json) -> Call:
    return Call("GET", _command(body))


async def _streamed(request: Request, caller: Caller, server: Server, one: Call) -> Response:
    state = state_of(request)
    response = await unless_gone(request, state.servers.ask(caller, server, one, DEFAULT_WAIT))
    pieces = _frames(body_of(response))
    headers = {"Content-Type": "application/connect+json"}
    return Stream(pieces, last_frame, state.stopping, headers=headers)


async def _frames(body: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield the frames for the lines of a command; raise ApiError if they end too early."""
    async with contextlib.aclosing(lines_of(body)) as lines:
        async for text in lines:
            line = json.loads(text)
            if line.get("timed_out"):
                raise ApiError(504, "The command was killed at its time limit.")
            if "error" in line:
                raise ApiError(502, line["error"])
            if event := _event(line):
                yield frame({"event": event})
            if "exit_code" in line:
                yield frame({}, flags=2)
                return
    raise ApiError(502, "The connection to the sandbox broke. It has ended, or was restarted.")


def _event(line: Json) -> Json:
    if "pid" in line:
        return {"start": {"pid": line["pid"]}}
    if "exit_code" in line:
        code = int(line["exit_code"])
        status = f"exit status {code}" if code >= 0 else f"signal {-code}"
        end: Json = {"exitCode": code, "exited": code >= 0, "status": status}
        return {"end": end | ({"error": status} if code else {})}
    if "alive" in line:
        return {"keepalive": {}}
    return {"data": {name: line[name] for name in ("stdout", "stderr") if name in line}}


Unary = Callable[[Sandbox, Json], Awaitable[Json]]

UNARY: dict[str, Unary] = {
    "filesystem.Filesystem/ListDir": _list_dir,
    "filesystem.Filesystem/Stat": _stat,
    "filesystem.Filesystem/MakeDir": _make_dir,
    "filesystem.Filesystem/Move": _move,
    "filesystem.Filesystem/Remove": _remove,
    "process.Process/List": _processes,
    "process.Process/SendSignal": _signal,
    "process.Process/SendInput": _input,
    "process.Process/CloseStdin": _close_input,
}

STREAMS: dict[str, Callable[[Request, Json], Call]] = {
    "process.Process/Start": _start,
    "process.Process/Connect": _connect,
}
