"""Warm pods and their claims: a pod has one user at most, whatever dies, races or refuses."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from caesarion_hub.pods.spawner import PodSpawner
from caesarion_hub.pods.warm import pool as pools
from prometheus_client import REGISTRY

from tests.fakes.kubernetes.apiserver.faults import Fault
from tests.fakes.kubernetes.client import ApiError
from tests.integration.spawning import NAMESPACE, Cluster, answering, cluster, container
from tests.spawners import make_hub

__all__ = ["answering", "cluster"]

Json = dict[str, Any]


class WarmServer:
    """What runs in a warm pod: it waits for one claim, and is then its user's."""

    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        self.environment: Json = {}
        self.is_picky = False
        """It refuses every environment."""
        self.serving: set[asyncio.Task[None]] = set()
        self.asked = asyncio.Event()
        """A claim has come."""
        self.takes, self.answers = asyncio.Event(), asyncio.Event()
        """It may take the claim, and it may answer it."""
        self.takes.set()
        self.answers.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.ensure_future(self._serve(reader, writer))
        self.serving.add(serving)
        try:
            await serving
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, body = ("200 OK", "") if self.environment else ("503 No", "")
        if head.startswith("POST /claim") and not self.environment:
            self.asked.set()
            await self.takes.wait()
            length = int(head.lower().partition("content-length:")[2].split()[0])
            sent = json.loads(await reader.readexactly(length))
            if self.is_picky:
                status = "400 Bad Request"
            elif f"Bearer {self.nonce}" in head:
                self.environment = sent["environment"]
                status, body = "200 OK", '{"claimed": true}'
            else:
                status = "403 Forbidden"
            await self.answers.wait()
        writer.write(
            f"HTTP/1.1 {status}\r\nX-Caesarion-Warm: unclaimed\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        )
        with contextlib.suppress(ConnectionError):
            await writer.drain()


class Node:
    """Runs warm pods, each at an address of its own; ``servers`` are by the pod's name."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self.cluster, self.port = cluster, port
        self.servers: dict[str, WarmServer] = {}
        self.has_room = True
        self._listening: list[asyncio.Server] = []
        self._task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            for pod in await self.pods():
                name = pod["metadata"]["name"]
                if "deletionTimestamp" in pod["metadata"]:
                    with contextlib.suppress(ApiError):
                        await self.cluster.api.delete("pods", NAMESPACE, name, gracePeriodSeconds=0)
                    continue
                if name not in self.servers and "-warm-" in name and self.has_room:
                    [container] = pod["spec"]["containers"]
                    env = {each["name"]: each["value"] for each in container["env"]}
                    server = self.servers[name] = WarmServer(env["CAESARION_CLAIM_NONCE"])
                    ip = f"127.1.0.{len(self.servers)}"
                    self._listening.append(await asyncio.start_server(server.serve, ip, self.port))
                    binding = {
                        "target": {"kind": "Node", "name": "node"},
                        "metadata": {"name": name},
                    }
                    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/binding"
                    with contextlib.suppress(ApiError):
                        await self.cluster.api.send("POST", path, binding)
                        await self.cluster.run(name, ip)
            await asyncio.sleep(0.02)

    async def pods(self) -> list[Json]:
        listed = await self.cluster.api.send("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")
        return list(listed["items"])

    async def warm(self) -> list[str]:
        """Return the names of the pods that wait."""
        return [
            pod["metadata"]["name"]
            for pod in await self.pods()
            if pod["metadata"].get("labels", {}).get("caesarion.org/state") == "warm"
            and "deletionTimestamp" not in pod["metadata"]
        ]

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        for listening in self._listening:
            listening.close()
        for server in self.servers.values():
            server.takes.set()
            server.answers.set()
            await asyncio.gather(*server.serving, return_exceptions=True)


class Hub:
    """A hub's process: its class of spawners, with a pool of its own."""

    def __init__(self, node: Node, **changes: Any) -> None:
        self.node = node
        config = {"config": {"KubeSpawner": {"port": node.port}}}
        self.values = {"hub": config, "singleuser": values(**changes)}
        self.spawners: Any = type("Hub", (PodSpawner,), {"pool": None})

    async def start(self, ready: int | None = None) -> "Hub":
        await self.spawners.keep_warm(make_hub(**self.values))
        wanted = self.values["singleuser"]["warm"]["replicas"] if ready is None else ready
        await until(lambda: len(self.pool._ready) >= wanted)
        return self

    @property
    def pool(self) -> pools.WarmPool:
        pool: pools.WarmPool = self.spawners.pool
        return pool

    def spawner(self, user: str) -> PodSpawner:
        made = self.node.cluster.spawner(user, **self.values)
        made.__class__ = self.spawners
        return made

    async def die(self) -> None:
        if self.spawners.pool:
            assert self.pool._task
            self.pool._task.cancel()
            for check in self.pool._checks.values():
                check.cancel()
        self.spawners.pool = None


def values(replicas: int = 1, **changes: Any) -> Json:
    return {"storage": {"type": "none"}, "warm": {"replicas": replicas}, **changes}


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while True:
            found = condition()
            if (await found) if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.02)


@pytest.fixture
async def node(
    cluster: Cluster, answering: int, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Node]:
    monkeypatch.setattr(pools, "SETTLE", 0.01)
    monkeypatch.setattr(pools, "HEARTBEAT", 0.05)
    monkeypatch.setattr(pools, "QUIET", 0.0)
    monkeypatch.setattr(pools, "BUSY", 0.0)
    node = Node(cluster, answering)
    yield node
    await node.close()


@pytest.fixture
async def make(node: Node) -> AsyncIterator[Callable[..., Hub]]:
    hubs: list[Hub] = []

    def make(**changes: Any) -> Hub:
        hubs.append(Hub(node, **changes))
        return hubs[-1]

    yield make
    for hub in hubs:
        await hub.die()


async def started(spawner: PodSpawner) -> str:
    async with asyncio.timeout(90):
        url: str = await spawner.start()
    return url


async def started_cold(cluster: Cluster, spawner: PodSpawner) -> str:
    name = f"jupyter-{spawner.user.name}"
    start = asyncio.create_task(started(spawner))
    await cluster.pod(name)
    await cluster.run(name)
    return await start


def users(node: Node) -> dict[str, str]:
    """Return who has which pod, by the identity that its server has."""
    return {
        server.environment["JUPYTERHUB_USER"]: name
        for name, server in node.servers.items()
        if server.environment
    }


async def test_a_start_claims_a_warm_pod_and_another_takes_its_place(
    node: Node, make: Callable[..., Hub]
) -> None:
    hub = await make().start()
    [name] = await node.warm()
    before = await node.cluster.pod(name)
    assert "lovelace" not in json.dumps(before)
    spawner = hub.spawner("lovelace")
    url = await started(spawner)
    assert spawner.pod_name == name
    assert spawner.is_claimed
    assert users(node) == {"lovelace": name}
    after = await node.cluster.pod(name)
    assert url == f"http://{after['status']['podIP']}:{node.port}"
    assert after["metadata"]["annotations"]["hub.jupyter.org/username"] == "lovelace"
    assert after["metadata"]["labels"]["hub.jupyter.org/username"] == "lovelace"
    assert "caesarion.org/state" not in after["metadata"]["labels"]
    assert await spawner.poll() is None
    await until(lambda: node.servers[name].environment and len(hub.pool._ready) == 1)
    assert await node.warm() != [name]
    await spawner.stop()
    spawner.clear_state()
    assert spawner.pod_name == "jupyter-lovelace"


async def test_a_user_with_another_pod_starts_cold(node: Node, make: Callable[..., Hub]) -> None:
    hub = await make().start()
    spawner = hub.spawner("ada")
    spawner.mem_guarantee = 2**30
    await started_cold(node.cluster, spawner)
    assert spawner.pod_name == "jupyter-ada"
    assert len(await node.warm()) == 1


async def test_a_pool_that_is_empty_delays_nobody(node: Node, make: Callable[..., Hub]) -> None:
    node.has_room = False
    hub = await make().start(ready=0)
    await started_cold(node.cluster, hub.spawner("ada"))


async def test_of_two_hubs_that_claim_one_pod_one_wins(
    node: Node, make: Callable[..., Hub]
) -> None:
    first = await make(replicas=1).start()
    second = await make(replicas=1).start()
    [name] = await node.warm()
    ada, bob = first.spawner("ada"), second.spawner("bob")
    failed = failed_claims()
    slow = Fault(delay=0.3, verbs={"patch"}, resources={"pods"})
    with node.cluster.server.faults.during(slow):
        starts = [asyncio.create_task(started(each)) for each in (ada, bob)]
        # Each has handed the same pod out before the API server hears of either.
        await until(lambda: slow.met == 2)
        nobodys = asyncio.create_task(run_cold_pods(node.cluster, ["ada", "bob"]))
        await asyncio.gather(*starts)
        nobodys.cancel()
    assert {ada.pod_name, bob.pod_name} >= {name}
    assert ada.pod_name != bob.pod_name
    assert name in users(node).values()
    assert name in await node.cluster.names("pods")
    assert failed_claims() == failed  # the loser has sent nothing


async def run_cold_pods(cluster: Cluster, people: list[str]) -> None:
    while True:
        for name in await cluster.names("pods"):
            if name.removeprefix("jupyter-") in people:
                await cluster.run(name)
        await asyncio.sleep(0.02)


async def die_in_claim(node: Node, hub: Hub, step: str) -> tuple[str, Json]:
    """Let a hub die in a claim for ada at ``step``; return the pod's name, and the saved state."""
    [name] = await node.warm()
    server, spawner = node.servers[name], hub.spawner("ada")
    assert hub.pool._task
    hub.pool._task.cancel()  # No other pod takes its place.
    saved: list[Json] = []
    spawner._save_state = lambda: saved.append(spawner.get_state())  # type: ignore[method-assign]
    fault = Fault(503, delay=60, verbs={"patch"}, resources={"pods"})
    with contextlib.ExitStack() as faults:
        if step == "saved":
            faults.enter_context(node.cluster.server.faults.during(fault))
        elif step == "patched":
            server.takes.clear()
        else:
            server.answers.clear()
        start = asyncio.ensure_future(spawner.start())
        await until(
            lambda: {"saved": fault.met, "patched": server.asked.is_set()}.get(
                step, server.environment
            )
        )
        await hub.die()
        start.cancel()
        await asyncio.wait([start])
    await PodSpawner._stop_all_reflectors()
    return name, saved[-1]


async def test_a_hub_that_dies_before_the_patch_leaves_the_pod_in_the_pool(
    node: Node, make: Callable[..., Hub]
) -> None:
    name, state = await die_in_claim(node, await make().start(), "saved")
    assert state["pod_name"] == name
    hub = await make().start()
    left = hub.spawner("ada")
    left.load_state(state)
    assert await left.poll() == 1
    bob = hub.spawner("bob")
    await started(bob)
    assert bob.pod_name == name
    assert await left.poll() == 1  # it is bob's now
    assert users(node) == {"bob": name}


async def test_a_hub_that_dies_before_the_identity_is_sent_leaves_a_pod_to_delete(
    node: Node, make: Callable[..., Hub]
) -> None:
    name, state = await die_in_claim(node, await make().start(), "patched")
    hub = await make().start()
    left = hub.spawner("ada")
    left.load_state(state)
    assert await left.poll() is None
    async with asyncio.timeout(60):
        assert await left.get_url() == left.server.url
    assert left.http_timeout == 1  # JupyterHub stops the server after that
    await left.stop()
    assert name not in await node.cluster.names("pods")
    assert users(node) == {}


async def test_a_hub_that_dies_after_the_identity_is_sent_leaves_a_server_to_adopt(
    node: Node, make: Callable[..., Hub]
) -> None:
    name, state = await die_in_claim(node, await make().start(), "sent")
    hub = await make().start()
    left = hub.spawner("ada")
    left.load_state(state)
    assert await left.poll() is None
    url = await left.get_url()
    ip = (await node.cluster.pod(name))["status"]["podIP"]
    assert url == f"http://{ip}:{node.port}/user/ada/"
    assert left.http_timeout > 1
    bob = hub.spawner("bob")
    await started(bob)
    assert users(node) == {"ada": name, "bob": bob.pod_name}


async def test_a_pod_that_refuses_its_claim_is_deleted_and_the_next_one_taken(
    node: Node, make: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    hub = await make(replicas=2).start()
    bad, good = [each["metadata"]["name"] for each in hub.pool._mine()]
    node.servers[bad].nonce = "another"
    before = failed_claims()
    spawner = hub.spawner("ada")
    await started(spawner)
    assert spawner.pod_name == good
    assert users(node) == {"ada": good}
    assert bad not in await node.cluster.names("pods")
    assert failed_claims() == before + 1
    assert f"{bad} was not claimed: The warm server at " in caplog.text
    assert node.servers[good].nonce not in caplog.text


@pytest.mark.parametrize("by", ["warm server", "API server"])
async def test_a_claim_that_every_pod_would_refuse_costs_one(
    node: Node, make: Callable[..., Hub], by: str
) -> None:
    await (hub := make(replicas=3)).start()
    before = set(await node.warm())
    for server in node.servers.values():
        server.is_picky = by == "warm server"
    invalid = Fault(422, verbs={"patch"}, resources={"pods"})
    with contextlib.ExitStack() as faults:
        if by == "API server":
            faults.enter_context(node.cluster.server.faults.during(invalid))
        spawner = hub.spawner("ada")
        await started_cold(node.cluster, spawner)
    assert spawner.pod_name == "jupyter-ada"
    assert not spawner.is_claimed
    assert len(before & set(await node.cluster.names("pods"))) == 2


def failed_claims() -> float:
    return REGISTRY.get_sample_value("caesarion_warm_claims_failed_total") or 0.0


async def test_a_pod_that_has_changed_meanwhile_stays_in_the_pool(
    node: Node, make: Callable[..., Hub]
) -> None:
    hub = await make().start()
    [name] = await node.warm()
    node.has_room = False  # for one that is begun in its place meanwhile
    stale = Fault(409, verbs={"patch"}, resources={"pods"}, times=1)
    with node.cluster.server.faults.during(stale):
        await started_cold(node.cluster, hub.spawner("ada"))

    async def stays() -> bool:
        return await node.warm() == [name]

    await until(stays)
    await node.cluster.api.merge("pods", NAMESPACE, name, {"metadata": {"labels": {"a": "b"}}})
    bob = hub.spawner("bob")
    await until(lambda: next(hub.pool._mine())["metadata"]["labels"].get("a"))
    await started(bob)
    assert bob.pod_name == name


async def test_a_start_that_times_out_in_a_claim_leaves_no_pod(
    node: Node, make: Callable[..., Hub]
) -> None:
    hub = await make().start()
    [name] = await node.warm()
    node.servers[name].takes.clear()
    spawner = hub.spawner("ada")
    start = asyncio.ensure_future(spawner.start())
    await node.servers[name].asked.wait()
    start.cancel()
    await asyncio.wait([start])
    assert await spawner.poll() is None
    await spawner.stop()
    assert name not in await node.cluster.names("pods")


async def test_a_new_template_replaces_the_pods(node: Node, make: Callable[..., Hub]) -> None:
    old = make(replicas=2)
    await old.start()
    before = set(await node.warm())
    await old.die()
    await make(replicas=2, image={"name": "r/i", "tag": "2"}).start()

    async def are_others() -> bool:
        warm = set(await node.warm())
        return len(warm) == 2 and warm.isdisjoint(before)

    await until(are_others)


async def test_fewer_replicas_delete_the_rest(node: Node, make: Callable[..., Hub]) -> None:
    many = make(replicas=3)
    await many.start()
    before = set(await node.warm())
    await many.die()
    await make(replicas=1).start()

    async def is_one() -> bool:
        return len(await node.warm()) == 1

    await until(is_one)
    assert set(await node.warm()) < before


async def test_pods_are_created_when_users_starts_leave_time_for_it(
    node: Node, make: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "BUSY", 1000.0)
    hub = await make(replicas=2).start()
    with hub.pool.user_starting():  # somebody else's server, too
        await started(hub.spawner("ada"))
        await until(lambda: len(hub.pool._ready) == 1)
        await asyncio.sleep(0.2)
        assert len(await node.warm()) == 1
        monkeypatch.setattr(pools, "BUSY", 0.0)
        await until(lambda: len(hub.pool._ready) == 2)


async def test_a_pod_that_ends_is_replaced_later_and_said_once(
    node: Node,
    make: Callable[..., Hub],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "FIRST_RETRY", 0.2)
    hub = await make().start()
    [name] = await node.warm()
    ended = {
        "terminated": {"exitCode": 1, "reason": "Error", "startedAt": None, "finishedAt": None}
    }
    await node.cluster.tell(name, phase="Failed", containerStatuses=[container(state=ended)])

    async def is_another() -> bool:
        return await node.warm() not in ([], [name])

    await until(is_another)
    await until(lambda: len(hub.pool._ready) == 1)
    assert caplog.text.count("Warm servers: ") == 1
    assert f"{name} has ended" in caplog.text


async def test_a_pod_that_does_not_become_ready_is_replaced(
    node: Node, make: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    node.has_room = False
    await make(startTimeout=1).start(ready=0)
    await until(node.warm)
    [name] = await node.warm()

    async def is_another() -> bool:
        return await node.warm() not in ([], [name])

    await until(is_another)
    assert f"Warm servers: {name} was not ready after 1 seconds. Trying again." in caplog.text


async def test_a_full_quota_is_said_once_and_not_asked_again_and_again(
    node: Node, make: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    full = Fault(403, verbs={"create"}, resources={"pods"}, message="exceeded quota: users")
    with node.cluster.server.faults.during(full):
        await make(replicas=2).start(ready=0)
        await until(lambda: full.met)
        await asyncio.sleep(0.5)
        assert full.met == 2
    assert caplog.text.count("Warm servers: 403 exceeded quota: users. Trying again.") == 1


async def test_a_warm_pod_is_given_up_for_a_user_without_room(
    node: Node, make: Callable[..., Hub]
) -> None:
    hub = await make(replicas=2).start()
    before = await node.warm()
    large = hub.spawner("large")
    large.mem_guarantee = 2**32  # the room of a warm pod would not be enough
    ada = hub.spawner("ada")
    ada.mem_guarantee = 2**30
    starts = [asyncio.create_task(started(each)) for each in (large, ada)]
    for name in ("jupyter-large", "jupyter-ada"):
        await node.cluster.pod(name)
        await node.cluster.have_no_room("0/1 nodes are available", name)

    async def is_one() -> bool:
        return len(await node.warm()) == 1

    await until(is_one)
    await asyncio.sleep(0.3)
    assert len(await node.warm()) == 1
    await node.cluster.run("jupyter-ada")
    await until(lambda: len(hub.pool._ready) == 2)
    assert len(set(await node.warm()) & set(before)) == 1
    starts[0].cancel()
    await starts[1]


async def test_a_pod_that_is_to_be_deleted_is_offered_to_nobody(
    node: Node, make: Callable[..., Hub]
) -> None:
    hub = await make(replicas=2).start()
    slow = Fault(delay=0.5, verbs={"delete"}, resources={"pods"})
    with node.cluster.server.faults.during(slow):
        hub.pool._place = replace(hub.pool._place, replicas=0)
        [first, _] = await node.warm()
        await node.cluster.api.merge("pods", NAMESPACE, first, {"metadata": {"labels": {"a": "b"}}})
        await until(lambda: slow.met)
        await started_cold(node.cluster, hub.spawner("ada"))
    assert users(node) == {}


async def test_without_a_template_the_pods_of_before_are_deleted_and_it_is_said_why(
    node: Node, make: Callable[..., Hub], caplog: pytest.LogCaptureFixture
) -> None:
    hub = make()
    await hub.start()
    await hub.die()
    await make(extraPodConfig={"hostname": "{username}"}).start(ready=0)

    async def is_empty() -> bool:
        return await node.warm() == []

    await until(is_empty)
    assert (
        "singleuser.warm keeps no servers ready: spec.hostname depends on the user." in caplog.text
    )


async def test_warm_pods_are_not_looked_at_while_nothing_changes(
    node: Node, make: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = await make().start()
    looks: list[bool] = []
    step = hub.pool._step

    async def counted() -> bool:
        looks.append(await step())
        return looks[-1]

    monkeypatch.setattr(hub.pool, "_step", counted)
    [name] = await node.warm()
    await node.cluster.api.merge("pods", NAMESPACE, name, {"metadata": {"labels": {"a": "b"}}})
    await until(lambda: looks and looks[-1])
    await asyncio.sleep(0.3)  # whatever the API server still has to say of the start
    before = len(looks)
    await asyncio.sleep(0.5)
    assert len(looks) == before
