"""
A cluster whose node is the test: the API server is the tests' own, pods become what the test says.

For the spawner's tests: what the API and a kubelet may do to it is done on
purpose, step by step, without a process being started.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from caesarion_hub.pods.api import RetriableApi
from caesarion_hub.pods.spawner import PodSpawner
from kubernetes_asyncio.config import load_kube_config
from kubespawner.clients import _client_cache

from tests.fakes.kubernetes.apiserver import ApiServer
from tests.fakes.kubernetes.client import Api, ApiError
from tests.spawners import make_spawner

NAMESPACE = "people"
Json = dict[str, Any]


@dataclass
class Cluster:
    """The API server, and the test as its scheduler and kubelet."""

    server: ApiServer
    api: Api

    def spawner(self, user: str = "ada", **changes: Any) -> PodSpawner:
        """Return a user's spawner, whose server listens where :meth:`run` says."""
        made = make_spawner(user, **changes)
        made._spawn_pending = True
        return made

    async def pod(self, name: str = "jupyter-ada") -> Json:
        """Return a pod as soon as there is one."""
        return await self.another_pod("", name)

    async def another_pod(self, uid: str, name: str = "jupyter-ada") -> Json:
        """Return a pod as soon as there is one that is not the one known."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(ApiError):
                    pod = await self.api.get("pods", NAMESPACE, name)
                    if pod["metadata"]["uid"] != uid:
                        return pod
                await asyncio.sleep(0.02)

    async def names(self, plural: str) -> list[str]:
        """Return the names of what there is of a kind."""
        listed = await self.api.send("GET", f"/api/v1/namespaces/{NAMESPACE}/{plural}")
        return [each["metadata"]["name"] for each in listed["items"]]

    async def tell(self, name: str = "jupyter-ada", **status: Any) -> None:
        """Lay ``status`` over that of a pod."""
        await self.pod(name)
        await self.api.merge("pods", NAMESPACE, name, {"status": status}, "status")

    async def wait(self, reason: str, message: str = "", name: str = "jupyter-ada") -> None:
        """Have the container of a pod wait for something."""
        state = {"waiting": {"reason": reason, "message": message}}
        await self.tell(name, containerStatuses=[container(state=state)])

    async def have_no_room(self, message: str, name: str = "jupyter-ada") -> None:
        """Have the scheduler find no node for a pod."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
        await self.tell(name, conditions=[{**condition, "message": message}])

    async def warn(self, reason: str, message: str, name: str = "jupyter-ada") -> None:
        """Have Kubernetes tell of a pod what is wrong with it."""
        pod = await self.pod(name)
        about = {"kind": "Pod", "name": name, "namespace": NAMESPACE, "uid": pod["metadata"]["uid"]}
        event = {
            "metadata": {"name": f"{name}.{reason.lower()}", "namespace": NAMESPACE},
            "involvedObject": about,
            "type": "Warning",
            "reason": reason,
            "message": message,
        }
        await self.api.create("events", NAMESPACE, event)

    async def run(self, name: str = "jupyter-ada", ip: str = "127.0.0.1") -> None:
        """Have the container of a pod run at an address."""
        running = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
        await self.tell(
            name,
            phase="Running",
            podIP=ip,
            conditions=[],
            containerStatuses=[container(ready=True, state=running)],
        )


def container(**status: Any) -> Json:
    """Return the status of a user's container."""
    begin = {"name": "notebook", "image": "r/i:1", "imageID": "", "ready": False, "restartCount": 0}
    return begin | status


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    """An empty cluster with a namespace for users, which spawners of the test talk to."""
    monkeypatch.setattr("kubespawner.spawner.load_config", lambda **_: None)
    monkeypatch.setattr("caesarion_hub.pods.orphan_reaper.load_config", lambda **_: None)
    monkeypatch.setattr(RetriableApi, "health", None)
    monkeypatch.setattr(PodSpawner, "_can_resize", True)
    async with ApiServer(tmp_path) as server, Api.connect(server.kubeconfig) as api:
        await load_kube_config(config_file=str(server.kubeconfig))
        await api.create("namespaces", None, {"metadata": {"name": NAMESPACE}})
        yield Cluster(server, api)
        await PodSpawner._stop_all_reflectors()
        for client in list(_client_cache.values()):
            await client.api_client.close()
        _client_cache.clear()


@pytest.fixture
async def answering() -> AsyncIterator[int]:
    """A server that answers everything with 200, and the port that it listens on."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
