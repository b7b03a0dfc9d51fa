"""
From the click to the first result on a cluster, stage by stage, beside KubeSpawner as it comes.

The cluster is the fake one, or with ``CAESARION_TEST_CLUSTER=1`` the one that
``KUBECONFIG`` names, as for the tests. On the fake one everything shares this
machine's processor, so that many at once measure its work more than its time; and
each user's disk is an ``emptyDir``, since making a volume is the cloud's time.

The bare side is a second release of the chart with KubeSpawner's own class,
JupyterHub's own command, none of our extensions and, as in zero-to-jupyterhub, no
limit of the processor. There the first result is a kernel's that is asked for over
Jupyter's own API; ours is that of a conversation. Nobody opens a browser: a page
of JupyterLab takes as long on both.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from tests import helm
from tests.bench.figures import Row
from tests.cluster.harness import AnyCluster, Installation, eventually, open_any_cluster
from tests.fakes.kubernetes.cluster import Cluster

_AT_ONCE = {1: 7, 10: 2, 40: 1}
"""How often so many click at once."""

STAGES = ("click accepted", "pod runs", "server listens", "user is told", "first result")
BOTH = {"singleuser": {"storage": {"type": "none"}, "extraEnv": {"TZ": "UTC"}}}
_NO_BURST = {"singleuser": {"cpu": {"startLimit": None}}}
_EXTENSIONS = (
    "caesarion",
    "jupyter_ai_chat_commands",
    "jupyter_ai_persona_manager",
    "jupyter_ai_router",
    "jupyterlab_chat",
)
_BARE = {
    "singleuser": {"cpu": {"limit": None}},
    "hub": {
        "config": {
            "JupyterHub": {"spawner_class": "kubespawner.KubeSpawner"},
            "KubeSpawner": {
                "cmd": ["jupyterhub-singleuser"],
                # JupyterHub's own 30 s are over when many share a processor.
                "http_timeout": 300,
                "args": [
                    "--KernelManager.transport=ipc",  # as ours: see tests/cluster/harness.py
                    *(f"--ServerApp.jpserver_extensions={name}=False" for name in _EXTENSIONS),
                ],
            },
        }
    },
}
_USER = "hub.jupyter.org/username"
_POD = "{.metadata.annotations.hub\\.jupyter\\.org/username} {.status..state.running.startedAt}"
# In UTC, and no JSON: the tests' arguments of servers stand in the place of the chart's.
_LISTENS = re.compile(r"\[I (\S+ \S+) ServerApp\] Jupyter Server \S+ is running at")

Headers = Mapping[str, str]
Run = Callable[[aiohttp.ClientSession, str, Headers], Awaitable[None]]


@dataclass(frozen=True)
class Person:
    """Somebody who has logged in and may click."""

    name: str
    token: str

    @property
    def headers(self) -> Headers:
        return {"Authorization": f"token {self.token}"}


@dataclass
class Figures:
    """What one side took: seconds since the click by stage, and the hub's part."""

    stages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    cpu: list[float] = field(default_factory=list)
    """Milliseconds of the hub's processor for each start, everything until the result."""
    memory: list[float] = field(default_factory=list)
    """MB of the hub while all servers run."""


@dataclass
class Side:
    """One of the two that are compared: an installation, and how its users run code."""

    caesarion: Installation
    run: Run
    people: list[Person] = field(default_factory=list)
    operator: Person = Person("", "")

    async def prepare(self, count: int) -> None:
        """Log ``count`` people in, and the administrator."""
        password = self.caesarion.key("user_password")
        for number in range(count):
            session = self.caesarion.login(f"bench-{number}", password)
            self.people.append(Person(session.user, session.token()))
        self.operator = Person("admin", self.caesarion.login("admin").token())

    async def measure(self, count: int, figures: Figures) -> None:
        """Let so many click at once, add what it took, and stop their servers."""
        people = self.people[:count]
        # The proxy closes connections that are kept for long, at the moment of their next use.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector) as http:
            before = await self.metric(http, "process_cpu_seconds_total")
            async with self._watched() as running:
                clicked = await asyncio.gather(*(self._click(http, one) for one in people))
            after = await self.metric(http, "process_cpu_seconds_total")
            figures.cpu.append((after - before) / count * 1000)
            figures.memory.append(await self.metric(http, "process_resident_memory_bytes") / 1e6)
            listening = await asyncio.to_thread(self._listening)
            for person, (began, accepted, told, result) in zip(people, clicked, strict=True):
                moments = (accepted, running[person.name], listening[person.name], told, result)
                for stage, moment in zip(STAGES, moments, strict=True):
                    figures.stages[stage].append(moment - began)
            await asyncio.gather(*(self._stop(http, one) for one in people))
        await asyncio.to_thread(eventually, lambda: not self._pods(), 120)

    async def _click(self, http: aiohttp.ClientSession, person: Person) -> tuple[float, ...]:
        """Return when it began, was accepted, when its user was told of its end, and the result."""
        server = f"{self._api}/users/{person.name}/server"
        began = time.time()
        async with http.post(server, headers=person.headers) as answer:
            answer.raise_for_status()
        accepted = time.time()
        async with http.get(f"{server}/progress", headers=person.headers) as events:
            async for line in events.content:
                if b'"ready": true' in line:
                    break
            else:
                raise AssertionError(f"the server of {person.name} did not start")
        told = time.time()
        url = f"{self.caesarion.url}/user/{person.name}"
        await self.run(http, url, person.headers)
        return began, accepted, told, time.time()

    async def _stop(self, http: aiohttp.ClientSession, person: Person) -> None:
        server = f"{self._api}/users/{person.name}/server"
        async with http.delete(server, headers=person.headers) as answer:
            answer.raise_for_status()

    async def metric(self, http: aiohttp.ClientSession, name: str) -> float:
        """Return one of the hub's own metrics, with its labels as it writes them."""
        url = f"{self.caesarion.url}/hub/metrics"
        async with http.get(url, headers=self.operator.headers) as answer:
            answer.raise_for_status()
            text = await answer.text()
        return float(re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[0])

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[dict[str, float]]:
        """Provide when each user's pod was first seen to run."""
        running: dict[str, float] = {}
        process = await asyncio.create_subprocess_exec(
            *(helm.path_of("kubectl"), *_kubeconfig(self.caesarion.cluster)),
            *("--namespace", self.caesarion.namespace, "get", "pods", "--watch"),
            *("--selector", "component=singleuser-server", "--output", f'jsonpath={_POD}{{"\\n"}}'),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout
        reading = asyncio.ensure_future(_note(process.stdout, running))
        await asyncio.sleep(1)  # nothing tells that it watches
        try:
            yield running
        finally:
            process.terminate()
            await process.wait()
            await reading

    def _listening(self) -> dict[str, float]:
        """Return when each user's server says that it listens, by its node's clock."""
        listening = {}
        for pod in self._pods():
            user = pod["metadata"]["annotations"][_USER]
            log = self.caesarion.cluster.kubectl(
                "logs", "--namespace", self.caesarion.namespace, pod["metadata"]["name"]
            )
            [moment] = _LISTENS.findall(log)
            listening[user] = datetime.fromisoformat(f"{moment}+00:00").timestamp()
        return listening

    def _pods(self) -> list[dict[str, Any]]:
        pods = self.caesarion.pods("singleuser-server")
        return [pod for pod in pods if _USER in pod["metadata"]["annotations"]]

    @property
    def _api(self) -> str:
        return f"{self.caesarion.url}/hub/api"


async def measure(folder: Path) -> list[Row]:
    """Measure both sides in turn, and ours without the burst."""
    with (
        open_any_cluster(folder) as cluster,
        Installation.installed(cluster, "bench-ours", BOTH) as chart,
        Installation.installed(cluster, "bench-bare", BOTH, _BARE) as bare_chart,
    ):
        ours, bare = Side(chart, converse), Side(bare_chart, _start_kernel)
        for side in (bare, ours):
            await side.prepare(max(_AT_ONCE))
        return [*await _compare(ours, bare), *await _without_burst(ours)]


async def _compare(ours: Side, bare: Side) -> list[Row]:
    rows = []
    for side in (bare, ours):
        await side.measure(1, Figures())  # reads the disk, and is not counted
    for count, runs in _AT_ONCE.items():
        here, there = Figures(), Figures()
        for _ in range(runs):
            await bare.measure(count, there)
            await ours.measure(count, here)
        rows += _rows(count, here, there)
    return rows


async def _without_burst(ours: Side) -> list[Row]:
    with_burst, without = Figures(), Figures()
    for _ in range(_AT_ONCE[1]):
        await ours.measure(1, with_burst)
    ours.caesarion.upgrade(values=(_NO_BURST,))
    for _ in range(_AT_ONCE[1]):
        await ours.measure(1, without)
    stage = "first result"
    return [
        Row(f"1: {stage}", "s", with_burst.stages[stage], "no burst", without.stages[stage], "")
    ]


def _rows(count: int, here: Figures, there: Figures) -> list[Row]:
    name = "KubeSpawner"
    aims = {"first result": "2.5 s or less"} if count == 1 else {}
    return [
        *(
            Row(f"{count}: {stage}", "s", here.stages[stage], name, there.stages[stage], aim)
            for stage in STAGES
            for aim in (aims.get(stage, ""),)
        ),
        Row(
            f"{count}: the hub's CPU for each", "ms", here.cpu, name, there.cpu, "ratio 1.2 or less"
        ),
        Row(f"{count}: the hub's memory", "MB", here.memory, name, there.memory, ""),
    ]


async def converse(http: aiohttp.ClientSession, url: str, headers: Headers) -> None:
    """Return when ``1+1`` has run in the kernel of a conversation."""
    body = {"code": "1+1", "session_id": "bench"}
    api = f"{url}/caesarion/api/execute"
    async with http.post(api, json=body, headers=headers) as answer:
        answer.raise_for_status()
        first = await answer.content.readline()
        assert b'"2"' in first, first


async def _start_kernel(http: aiohttp.ClientSession, url: str, headers: Headers) -> None:
    """Return when ``1+1`` has run in a kernel that was asked for as JupyterLab does."""
    async with http.post(f"{url}/api/kernels", json={}, headers=headers) as answer:
        answer.raise_for_status()
        kernel = (await answer.json())["id"]
    channels = f"{url}/api/kernels/{kernel}/channels"
    while not await _answered(http, channels, headers):
        pass  # Jupyter closes those of a kernel that starts slowly; JupyterLab opens them again.


async def _answered(http: aiohttp.ClientSession, channels: str, headers: Headers) -> bool:
    """Run ``1+1``; return whether its result came before the channels were closed."""
    async with http.ws_connect(channels, headers=headers) as socket:
        await socket.send_json(_request("1+1"))
        async for message in socket:
            told = message.json() if message.type is aiohttp.WSMsgType.TEXT else {}
            if told.get("msg_type") == "execute_result":
                assert told["content"]["data"]["text/plain"] == "2"
                return True
    return False


def _request(code: str) -> dict[str, Any]:
    header = {
        "msg_id": uuid4().hex,
        "msg_type": "execute_request",
        "username": "",
        "session": uuid4().hex,
        "date": "",
        "version": "5.3",
    }
    content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
    return {
        "channel": "shell",
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "buffers": [],
    }


async def _note(lines: asyncio.StreamReader, running: dict[str, float]) -> None:
    async for line in lines:
        user, _, since = line.decode().strip().partition(" ")
        if since:
            running.setdefault(user, time.time())


def _kubeconfig(cluster: AnyCluster) -> Sequence[str]:
    return ("--kubeconfig", str(cluster.kubeconfig)) if isinstance(cluster, Cluster) else ()
