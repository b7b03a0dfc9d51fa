"""
The hub's CPU for each server start, beside JupyterHub alone.

The hub is a process of its own and runs as in a cluster. Everything else is a stand-in in this
process: the API server is the tests' own, pods run as soon as they are created, and one socket
answers as the server of every pod and as the proxy. JupyterHub alone is its own program with a
spawner that starts nothing. Twenty users start at once; creating a volume, an OAuth client, and
stopping the servers is not counted.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import yaml
from aiohttp import web

from tests.bench.figures import Row
from tests.fakes.bare_hub import free_port
from tests.fakes.kubernetes.apiserver import ApiServer
from tests.fakes.kubernetes.apiserver.store import Event
from tests.fakes.kubernetes.client import Api
from tests.hub import REPOSITORY, clean_environment
from tests.values import make_cluster_table

_ROUNDS = 5
_USERS = tuple(f"bench-{number}" for number in range(20))
_NAMESPACE = "people"
_TOKEN = "token-of-the-benchmark-0123456789abcdef"
_KEYS = {"CONFIGPROXY_AUTH_TOKEN": "0" * 64, "JPY_COOKIE_SECRET": "0" * 64}
_SCOPES = ["admin:users", "admin:servers", "tokens"]

_BARE = """
from jupyterhub.spawner import Spawner


class Nothing(Spawner):
    async def start(self):
        return "{server}"

    async def stop(self, now=False):
        pass

    async def poll(self):
        return None


c.JupyterHub.spawner_class = Nothing
c.JupyterHub.authenticator_class = "dummy"
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.db_url = "sqlite:///{folder}/bare.sqlite"
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "{server}"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
c.JupyterHub.services = [{{"name": "bench", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [{{"name": "bench", "services": ["bench"], "scopes": {scopes}}}]
"""


@dataclass
class _Hub:
    """A hub that runs, and the milliseconds of CPU that each start has cost."""

    url: str
    process: psutil.Process
    http: aiohttp.ClientSession
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    cpu: list[float] = field(default_factory=list)

    async def prepare(self) -> None:
        """Wait until the hub answers; make the users, and a token for each."""
        async with asyncio.timeout(120):
            while not await self._answers():  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        for name in _USERS:
            await self._send("POST", name, _service())
            made = await self._send("POST", f"{name}/tokens", _service())
            self.headers[name] = {"Authorization": f"token {made['token']}"}

    async def measure(self) -> None:
        """Let all users start a server at once, note what it cost, and stop the servers."""
        before = sum(self.process.cpu_times()[:2])
        await asyncio.gather(*map(self._start, _USERS))
        spent = sum(self.process.cpu_times()[:2]) - before
        self.cpu.append(spent / len(_USERS) * 1000)
        await asyncio.gather(*map(self._stop, _USERS))

    async def _start(self, user: str) -> None:
        headers = self.headers[user]
        await self._send("POST", f"{user}/server", headers)
        progress = f"{self.url}/users/{user}/server/progress"
        async with self.http.get(progress, headers=headers) as events:
            async for line in events.content:
                if b'"ready": true' in line:
                    return
        raise AssertionError(f"the server of {user} did not start")

    async def _stop(self, user: str) -> None:
        await self._send("DELETE", f"{user}/server", self.headers[user])
        async with asyncio.timeout(120):
            while (await self._send("GET", user, self.headers[user]))["servers"]:  # noqa: ASYNC110
                await asyncio.sleep(1)

    async def _send(self, method: str, path: str, headers: Mapping[str, str]) -> Any:
        async with self.http.request(method, f"{self.url}/users/{path}", headers=headers) as answer:
            answer.raise_for_status()
            text = await answer.text()
        return json.loads(text) if text else None

    async def _answers(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self.http.get(f"{self.url}/") as answer:
                return answer.status == 200
        return False


async def measure(folder: Path) -> list[Row]:
    """Measure both hubs in turn; the first round of each is not counted."""
    await asyncio.to_thread(folder.mkdir)
    async with (
        _cluster(folder / "cluster") as kubeconfig,
        _stand_in() as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        with _ours(folder, kubeconfig, server) as ours, _bare(folder, server) as bare:
            hubs = [_Hub(url, process, http) for url, process in (ours, bare)]
            for hub in hubs:
                await hub.prepare()
            for _ in range(_ROUNDS + 1):
                for hub in hubs:
                    await hub.measure()
    here, there = (hub.cpu[1:] for hub in hubs)
    name = "the hub's CPU for each start, 20 at once"
    return [Row(name, "ms", here, "JupyterHub alone", there, "ratio 0.8 or less")]


def _service() -> dict[str, str]:
    return {"Authorization": f"token {_TOKEN}"}


@contextlib.asynccontextmanager
async def _cluster(folder: Path) -> AsyncIterator[Path]:
    """Provide the kubeconfig of a cluster whose pods run at once, all at 127.0.0.1."""
    running: set[asyncio.Task[Any]] = set()

    async with ApiServer(folder) as server, Api.connect(server.kubeconfig) as api:

        def observe(kind: str, event: Event) -> None:
            if kind == "pods" and event.type == "ADDED":
                task = asyncio.create_task(_run(api, event.object["metadata"]["name"]))
                running.add(task)
                task.add_done_callback(running.discard)

        server.state.store.observers.append(observe)
        await api.create("namespaces", None, {"metadata": {"name": _NAMESPACE}})
        yield server.kubeconfig


async def _run(api: Api, pod: str) -> None:
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    container = {
        "name": "notebook",
        "image": "r/i:1",
        "imageID": "",
        "ready": True,
        "restartCount": 0,
        "state": state,
    }
    status = {"phase": "Running", "podIP": "127.0.0.1", "containerStatuses": [container]}
    await api.merge("pods", _NAMESPACE, pod, {"status": status}, "status")


@contextlib.asynccontextmanager
async def _stand_in() -> AsyncIterator[str]:
    """Provide the URL of what answers as every server, and as the proxy's API."""
    routes: dict[str, Any] = {}

    async def answer(request: web.Request) -> web.Response:
        path = request.path.removeprefix("/api/routes")
        if path == request.path:
            return web.Response(headers={"X-JupyterHub-Version": "6.1.1"})
        if request.method == "GET":
            return web.json_response(routes)
        if request.method == "DELETE":
            routes.pop(path, None)
            return web.Response(status=204)
        routes[path] = await request.json()
        return web.Response(status=201)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@contextlib.contextmanager
def _ours(folder: Path, kubeconfig: Path, server: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run our hub as in a cluster; provide the URL of its API, and its process."""
    port = free_port()
    table = make_cluster_table(
        cluster={"hubUrl": f"http://127.0.0.1:{port}", "proxyApiUrl": server},
        cull={"enabled": False},
        hub={
            "services": {"bench": {"apiToken": _TOKEN}},
            "loadRoles": {"bench": {"services": ["bench"], "scopes": _SCOPES}},
            "db": {"url": f"sqlite:///{folder}/ours.sqlite"},
            "config": {
                "JupyterHub": {"hub_bind_url": f"http://127.0.0.1:{port}"},
                "KubeSpawner": {"port": int(server.rpartition(":")[2])},
            },
        },
    )
    values = folder / "values.yaml"
    values.write_text(yaml.safe_dump(table))
    config = REPOSITORY / "hub_config" / "jupyterhub_config.py"
    environment = {"CAESARION_VALUES": str(values), "KUBECONFIG": str(kubeconfig)}
    with _process(["caesarion_hub", "-f", str(config)], folder / "ours", environment) as process:
        yield f"http://127.0.0.1:{port}/hub/api", process


@contextlib.contextmanager
def _bare(folder: Path, server: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run JupyterHub's own program with a spawner that starts nothing."""
    port = free_port()
    config = folder / "bare.py"
    config.write_text(
        _BARE.format(server=server, port=port, folder=folder, token=_TOKEN, scopes=_SCOPES)
    )
    with _process(["jupyterhub", "-f", str(config)], folder / "bare", {}) as process:
        yield f"http://127.0.0.1:{port}/hub/api", process


@contextlib.contextmanager
def _process(
    command: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[psutil.Process]:
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env={**clean_environment(), **_KEYS, **environment},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)
