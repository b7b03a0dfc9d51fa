"""
Makes what the API says of a node's pods true on this machine.

Called by ``node.__main__``; starts, updates and ends :class:`~pods.Pod` as pods
are bound, changed and deleted, and reports the node itself.
"""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tests.fakes.kubernetes.client import AWAY, ApiError, Json
from tests.fakes.kubernetes.events import Recorder
from tests.fakes.kubernetes.node.place import Node, Place
from tests.fakes.kubernetes.node.pods import Pod
from tests.fakes.kubernetes.times import now

log = logging.getLogger(__name__)

HEARTBEAT = 10.0
"""Seconds between two reports of the node."""


@dataclass(frozen=True)
class Machine:
    """What a node says of itself: its name, its size and who may go there."""

    name: str
    cpu: str = "32"
    memory: str = "128Gi"
    pods: str = "110"
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()

    def as_json(self) -> Json:
        """Return the Node to create."""
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", **self.labels}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {"taints": [dict(taint) for taint in self.taints]},
        }

    def status(self, moment: str, port: int) -> Json:
        """Return what it reports every now and then; logs are asked for at ``port``."""
        size = {"cpu": self.cpu, "memory": self.memory, "pods": self.pods}
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        return {
            "capacity": size,
            "allocatable": size,
            "addresses": [
                {"type": "InternalIP", "address": "127.0.0.1"},
                {"type": "Hostname", "address": self.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "conditions": [
                {**ready, "message": "a fake node: see tests/fakes", "lastHeartbeatTime": moment}
            ],
            "nodeInfo": {"kubeletVersion": "v0.0.0-fake", "operatingSystem": "linux"},
        }


class Kubelet:
    """One node of the cluster; several may share a process."""

    def __init__(
        self, node: Node, machine: Machine, addresses: Iterator[str], events: Recorder
    ) -> None:
        self._node = node
        self._machine = machine
        self._addresses = addresses
        self._events = events
        self._pods: dict[str, Pod] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._ended: set[str] = set()
        self._changed = asyncio.Event()
        node.cache.on_change(self._take)

    def _take(self, plural: str) -> None:
        if plural == "pods":
            self._changed.set()
        elif plural in ("services", "endpointslices"):
            for pod in self._pods.values():
                if not pod.ending:
                    self._refresh(pod)

    def _refresh(self, pod: Pod) -> None:
        cache = self._node.cache
        pod.refresh_names(cache.all("services"), cache.all("endpointslices"))

    async def run(self) -> None:
        """Follow the API, for ever; when cancelled, end all pods at once."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report())
            tasks.create_task(self._events.run())
            tasks.create_task(self._follow())

    async def _report(self) -> None:
        """Tell the API that the node is there, again and again."""
        api, name = self._node.api, self._machine.name
        while True:
            try:
                with contextlib.suppress(ApiError):  # it is known already
                    await api.create("nodes", None, self._machine.as_json())
                status = self._machine.status(now(), self._node.port)
                await api.merge("nodes", None, name, {"status": status}, "status")
            except (ApiError, *AWAY) as error:
                log.info("the node %s cannot report: %r", name, error)
                await asyncio.sleep(0.5)
            else:
                await asyncio.sleep(HEARTBEAT)

    async def _follow(self) -> None:
        await self._node.cache.listed()
        try:
            while True:
                self._sync()
                await self._changed.wait()
                self._changed.clear()
        finally:
            for task in self._endings:
                task.cancel()
            await asyncio.gather(*self._endings, return_exceptions=True)
            await asyncio.gather(*(pod.discard() for pod in self._pods.values()))

    def _sync(self) -> None:
        """Compare what is with what is to be."""
        wanted = {
            pod["metadata"]["uid"]: pod
            for pod in self._node.cache.all("pods")
            if pod["spec"].get("nodeName") == self._machine.name
        }
        for uid, described in wanted.items():
            pod = self._pods.get(uid) or self._start(described)
            if pod.ending:
                continue
            pod.update(described)
            if "deletionTimestamp" in described["metadata"]:
                grace = described["metadata"].get("deletionGracePeriodSeconds", 30)
                self._end(uid, pod, pod.stop(float(grace)))
        for uid, pod in list(self._pods.items()):
            if uid in wanted:
                continue
            if uid in self._ended:
                self._ended.remove(uid)
                del self._pods[uid]
            elif not pod.ending:
                self._end(uid, pod, pod.discard())

    def _start(self, described: Json) -> Pod:
        metadata = described["metadata"]
        address = next(self._addresses)
        status = {**described.get("status", {}), "podIP": address, "hostIP": "127.0.0.1"}
        place = Place(self._node, {**described, "status": status}, address, self._events)
        place.folder.mkdir(parents=True)
        place.logs.mkdir(parents=True)
        pod = self._pods[metadata["uid"]] = Pod(place)
        self._refresh(pod)
        return pod

    def _end(self, uid: str, pod: Pod, work: Coroutine[None, None, None]) -> None:
        pod.ending = True

        async def end() -> None:
            await work
            # It stays known until the API has told that it is gone, lest it be started again.
            self._ended.add(uid)
            self._changed.set()

        task = asyncio.ensure_future(end())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)
