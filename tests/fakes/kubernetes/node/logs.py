"""
Serves the logs of containers over HTTP, as a kubelet does; the API server asks.

``GET /containerLogs/<namespace>/<pod>/<container>`` with ``follow``, ``tailLines``,
``limitBytes`` and ``previous``. Lines have no times here, so what asks for them
is refused.
"""

import asyncio
import contextlib
import socket
from pathlib import Path

from aiohttp import web

from tests.fakes.kubernetes.client import Cache, Json

REFUSED = ("sinceSeconds", "sinceTime", "timestamps")

LOOK_AGAIN = 0.1
"""Seconds between two looks at a log that is followed."""

CHUNK = 1 << 16


async def serve(
    cache: Cache, folder: Path, listening: socket.socket, closing: contextlib.AsyncExitStack
) -> None:
    """Serve the logs under ``folder`` until ``closing``."""
    application = web.Application()
    logs = Logs(cache, folder)
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    closing.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listening).start()


class Logs:
    """The logs of the pods that the API knows."""

    def __init__(self, cache: Cache, folder: Path) -> None:
        self._cache = cache
        self._folder = folder

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send a log, and what is added to it if it is to be followed."""
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        container, query = request.match_info["container"], request.query
        for option in REFUSED:
            if query.get(option, "false") != "false":
                text = f"The fake node has no times in its logs, so there is no {option}."
                raise web.HTTPNotImplemented(text=text)
        pod = self._cache.find("pods", namespace, name)
        number = _starts(pod, container) - (query.get("previous") == "true")
        uid = pod["metadata"]["uid"] if pod else ""
        file = self._folder / f"{namespace}_{name}_{uid}" / container / f"{number}.log"
        if not file.exists():
            text = f'container "{container}" in pod "{name}" is waiting to start'
            raise web.HTTPBadRequest(text=text)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with file.open("rb") as log:
            whole = log.read()
            await response.write(_tail(whole, query.get("tailLines"), query.get("limitBytes")))
            while query.get("follow") == "true":
                ended = not self._runs(namespace, name, container)
                while added := log.read(CHUNK):
                    await response.write(added)
                if ended:
                    break
                await asyncio.sleep(LOOK_AGAIN)
        return response

    def _runs(self, namespace: str, name: str, container: str) -> bool:
        status = _status(self._cache.find("pods", namespace, name), container)
        return "running" in status.get("state", {})


def _starts(pod: Json | None, container: str) -> int:
    return int(_status(pod, container).get("restartCount", 0))


def _status(pod: Json | None, container: str) -> Json:
    status: Json = (pod or {}).get("status", {})
    for kind in ("containerStatuses", "initContainerStatuses"):
        for one in status.get(kind) or []:
            if one["name"] == container:
                return dict(one)
    return {}


def _tail(text: bytes, lines: str | None, limit: str | None) -> bytes:
    if lines is not None:
        text = b"".join(text.splitlines(keepends=True)[-int(lines) :] if int(lines) else [])
    return text[: int(limit)] if limit is not None else text
