"""
Redraw the dashboards' pictures, ``docs/dashboard-*.png``: ``.venv/bin/python docs/dashboards.py``.

Installs the chart on the tests' cluster, with a scripted provider, and lets some people work for
several minutes. A real Prometheus scrapes hub, gateway and proxy, and ``drawing`` draws what
it answers to the dashboards' queries. What kube-state-metrics and the kubelet would say of the
cluster's pods is said by :func:`exposition`.
"""

import asyncio
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil

DOCS = Path(__file__).resolve().parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]

from drawing import Drawing  # noqa: E402

from tests.chat import Chat, open_chat, shown  # noqa: E402
from tests.cluster.harness import Installation, Json, eventually  # noqa: E402
from tests.cluster.test_monitoring import (  # noqa: E402
    KINDS,
    definition,
    provider_inside,
    targets,
)
from tests.fakes.kubernetes.cluster import Cluster, running_cluster  # noqa: E402
from tests.fakes.kubernetes.quantities import quantity  # noqa: E402
from tests.hub import Session  # noqa: E402
from tests.prometheus import DASHBOARDS, Prometheus, Target, running_prometheus  # noqa: E402

NAMESPACE = "caesarion"
MINUTES = 7
PEOPLE = ("ada", "grace", "emmy", "hypatia", "maryam")
PHASES = ("Pending", "Running", "Succeeded", "Failed", "Unknown")
GOOD_CODE = ("sum(range(10**6))", "import math; math.factorial(200)", "print('hello')")
BAD_CODE = ("1/0", "undefined_name", "open('nothing.csv')")
WORDS = ["Here", "is", "what", "the", "data", "says", "in", "a", "few", "words."]
VALUES: Json = {
    "monitoring": {"serviceMonitor": {"enabled": True}},
    # Active users are counted once an hour otherwise.
    "hub": {"config": {"PeriodicMetricsCollector": {"active_users_update_interval": 30}}},
    "gateway": {
        "model": "gpt-4.1",
        "prices": {
            "gpt-4.1": {"prompt": 2, "completion": 8},
            "gpt-4.1-mini": {"prompt": 0.4, "completion": 1.6},
        },
        "budgets": [
            {"scope": "everyone", "window": "day", "tokens": 8_000_000},
            {"scope": "everyone", "window": "month", "money": 15},
            {"scope": "user", "name": "maryam", "window": "day", "tokens": 300_000},
        ],
        "limits": {"models": ["gpt-4.1", "gpt-4.1-mini"]},
    },
    "singleuser": {
        "profileList": [
            {"display_name": "Usual", "default": True},
            {
                "display_name": "Broken",
                "kubespawner_override": {"image": "registry.invalid/no/such:1"},
            },
        ]
    },
}


def replies(chance: random.Random) -> Iterator[Json]:
    """Yield what the provider answers: words, calls of which some fail, and a few faults."""
    for _ in range(500):
        draw = chance.random()
        code = {"code": chance.choice(GOOD_CODE if draw < 0.8 else BAD_CODE)}
        words = [f"{word} " for word in WORDS * chance.randint(1, 6)]
        usage = {
            "prompt_tokens": chance.randint(900, 6000),
            "completion_tokens": chance.randint(40, 700),
        }
        if draw < 0.5:
            yield {"text": words, "delay": chance.uniform(0.005, 0.04), "usage": usage}
        elif draw < 0.94:
            calls = [{"name": "python_interpreter", "arguments": code}]
            yield {"calls": calls, "usage": usage}
        elif draw < 0.98:
            place = {"latitude": 38.7, "longitude": -9.1}
            yield {"calls": [{"name": "get_current_weather", "arguments": place}]}
        else:
            yield {"fault": 503}


async def work(caesarion: Installation, user: str, end: float, chance: random.Random) -> None:
    """Be a person: start a server, ask in a chat, let a program ask, and go, until the ``end``."""
    while time.monotonic() < end:
        session = await asyncio.to_thread(caesarion.login, user)
        await asyncio.to_thread(session.start_server)
        server = await asyncio.to_thread(caesarion.server_of, session)
        mode = "ask" if user in ("ada", "emmy") else "auto"
        async with open_chat(server, f"{user}.chat") as chat, httpx.AsyncClient() as http:
            leaves = min(end, time.monotonic() + chance.uniform(90, 300))
            while time.monotonic() < leaves:
                with contextlib.suppress(AssertionError):  # a turn that takes long goes on
                    deciding = asyncio.create_task(decide(session, chat, chance))
                    await chat.ask("what does the data say?", 60, approval=mode)
                    deciding.cancel()
                for _ in range(chance.randint(0, 4)):
                    await ask(http, caesarion, server.token, chance)
                await asyncio.sleep(chance.expovariate(1 / 4))
        await asyncio.to_thread(session.stop_server)
        await asyncio.sleep(chance.uniform(5, 40))


async def decide(session: Session, chat: Chat, chance: random.Random) -> None:
    """Be the person who accepts most of the calls that wait, and refuses some."""
    while True:
        await asyncio.sleep(1.5)
        for message in list(chat.messages.values()):
            call = message.get("metadata", {}).get("caesarion", {})
            if pending := call.get("approval_id"):
                path = f"/user/{session.user}/caesarion/api/approvals/{pending}"
                decision = "run" if chance.random() < 0.8 else "refuse"
                body = {"decision": decision, "shown": shown(call)}
                await asyncio.to_thread(session.post, path, json=body)


async def ask(
    http: httpx.AsyncClient, caesarion: Installation, token: str, chance: random.Random
) -> None:
    """Ask the gateway as a program does; now and then for a model that nobody may use."""
    model = chance.choices(("gpt-4.1-mini", "gpt-4.1", "gpt-5"), (8, 3, 1))[0]
    body = {"model": model, "messages": [{"role": "user", "content": "Hello " * 300}]}
    with contextlib.suppress(httpx.HTTPError):
        await http.post(
            f"{caesarion.url}/services/gateway/v1/chat/completions",
            json={**body, "stream": True},
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
        )


def fail_to_start(caesarion: Installation, user: str) -> None:
    """Be somebody who chooses the broken profile."""
    session = caesarion.login(user)
    server = f"/hub/api/users/{user}"
    session.post(f"{server}/server", json={"profile": "broken"}).raise_for_status()
    eventually(lambda: not session.get(server).json()["servers"], 60)


def exposition(cluster: Cluster) -> Iterator[str]:
    """Yield what kube-state-metrics, the kubelet and cAdvisor would say of the cluster."""
    kinds = "nodes,pods,persistentvolumeclaims,persistentvolumes"
    text = cluster.kubectl("get", kinds, "--all-namespaces", "-o", "json")
    found: dict[str, list[Json]] = {}
    for one in json.loads(text)["items"]:
        found.setdefault(one["kind"], []).append(one)
    for node in found["Node"]:
        for resource in ("cpu", "memory"):
            amount = quantity(node["status"]["allocatable"][resource])
            yield f'kube_node_status_allocatable{{resource="{resource}"}} {float(amount)}'
    for pod in found["Pod"]:
        name = f'namespace="{pod["metadata"]["namespace"]}",pod="{pod["metadata"]["name"]}"'
        for phase in PHASES:
            is_it = int(pod["status"]["phase"] == phase)
            yield f'kube_pod_status_phase{{{name},phase="{phase}"}} {is_it}'
        for one in pod["status"].get("containerStatuses", []):
            labels = f'{name},container="{one["name"]}"'
            yield f"kube_pod_container_status_restarts_total{{{labels}}} {one['restartCount']}"
        for container in pod["spec"]["containers"]:
            labels = f'{name},container="{container["name"]}"'
            for resource, amount in container.get("resources", {}).get("requests", {}).items():
                yield (
                    f'kube_pod_container_resource_requests{{{labels},resource="{resource}"}} '
                    f"{float(quantity(amount))}"
                )
            yield from _use(pod["metadata"]["uid"], labels)
    folders = {
        volume["metadata"]["name"]: volume["spec"]["csi"]["volumeHandle"]
        for volume in found["PersistentVolume"]
    }
    for claim in found["PersistentVolumeClaim"]:
        name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
        folder = Path(folders[claim["spec"]["volumeName"]])
        capacity = float(quantity(claim["spec"]["resources"]["requests"]["storage"]))
        used = sum(file.lstat().st_size for file in folder.rglob("*"))
        labels = f'{{namespace="{namespace}",persistentvolumeclaim="{name}"}}'
        yield f"kubelet_volume_stats_capacity_bytes{labels} {capacity}"
        yield f"kubelet_volume_stats_available_bytes{labels} {capacity - used}"


def _use(uid: str, labels: str) -> Iterator[str]:
    """Yield the memory and the CPU time of a pod's processes, which are in cgroups of its id."""
    memory, seconds = 0, 0.0
    for file in Path("/sys/fs/cgroup").glob(f"**/{uid}/**/cgroup.procs"):
        if "/cpu" in str(file):  # one of version 1's hierarchies is enough
            continue
        for pid in file.read_text().split():
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(int(pid))
                memory += process.memory_info().rss
                times = process.cpu_times()
                seconds += times.user + times.system
    yield f"container_memory_working_set_bytes{{{labels}}} {memory}"
    yield f"container_cpu_usage_seconds_total{{{labels}}} {seconds}"


@contextlib.contextmanager
def exporter(cluster: Cluster) -> Iterator[str]:
    """Serve :func:`exposition`, made anew every few seconds; yield the address."""
    said, stopped = [b""], threading.Event()

    def follow() -> None:
        while not stopped.wait(3):
            with contextlib.suppress(LookupError, OSError):  # of what has just gone
                said[0] = "\n".join([*exposition(cluster), ""]).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(said[0])

        def log_message(self, *_: object) -> None:
            pass

    following = threading.Thread(target=follow)
    following.start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        stopped.set()
        following.join()


async def live(caesarion: Installation, seconds: float) -> None:
    """Let everybody work for so many ``seconds``."""
    end = time.monotonic() + seconds
    people = []
    for number, user in enumerate(PEOPLE):
        chance = random.Random(number)  # noqa: S311 - people, not keys
        people.append(asyncio.create_task(work(caesarion, user, end, chance)))
        await asyncio.sleep(seconds / 30)
        if number in (2, 4):
            await asyncio.to_thread(fail_to_start, caesarion, f"unlucky-{number}")
    await asyncio.gather(*people, return_exceptions=True)


@contextlib.contextmanager
def monitored(folder: Path) -> Iterator[tuple[Installation, Prometheus]]:
    """Run a release of the chart, and a Prometheus that scrapes it."""
    script = list(replies(random.Random(7)))  # noqa: S311
    models = ("--loop", "--model=gpt-4.1", "--model=gpt-4.1-mini")
    with running_cluster(folder / "cluster") as cluster:
        for kind, plural in KINDS.items():
            cluster.kubectl("create", "--filename=-", text=json.dumps(definition(kind, plural)))
        with provider_inside(cluster, folder / "script.json", script, *models) as address:
            values = {"gateway": {"upstreams": [{"name": "provider", "baseUrl": address}]}}
            with (
                Installation.installed(cluster, NAMESPACE, VALUES, values) as caesarion,
                exporter(cluster) as exported,
            ):
                others = Target("kube-state-metrics", exported, "/metrics", honor=True)
                found = [*targets(cluster, NAMESPACE), others]
                with running_prometheus(folder, found, interval="5s") as prometheus:
                    yield caesarion, prometheus


def draw(prometheus: Prometheus, begin: float, end: float, folder: Path) -> None:
    """Write the pictures of what was between two moments to ``folder``."""
    drawing = Drawing(prometheus, NAMESPACE, NAMESPACE, begin, end)
    for file in DASHBOARDS:
        drawing.draw(json.loads(file.read_text("utf-8")), folder / f"dashboard-{file.stem}.png")


def take(folder: Path, seconds: float) -> None:
    """Write the pictures of so many ``seconds`` of work to ``folder``."""
    with (
        tempfile.TemporaryDirectory() as state,
        monitored(Path(state)) as (caesarion, prometheus),
    ):
        begin = time.time()
        asyncio.run(live(caesarion, seconds))
        draw(prometheus, begin, begin + seconds, folder)


if __name__ == "__main__":
    take(DOCS, 60 * (float(sys.argv[1]) if len(sys.argv) > 1 else MINUTES))
