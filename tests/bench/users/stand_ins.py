"""
One process that stands in for the servers of all users, on the fake cluster.

    python -m tests.bench.users.stand_ins KUBECONFIG PID

PID is the node's, which runs pods already: the server listens in their network.

A pod whose scheduler is named "hollow" is nobody's: no node takes it, so that thousands cost
their objects only. Here they are marked as running, with the address of one server that answers
each of them, as ``jupyterhub.tests.mocksu`` does.
"""

import asyncio
import ctypes
import os
import socket
import sys
from pathlib import Path

from aiohttp import web
from jupyterhub import __version__

from tests.fakes.kubernetes.client import Api, ApiError, Cache, Json
from tests.fakes.kubernetes.node.network import CLONE_NEWNET
from tests.fakes.kubernetes.node.sandbox import check
from tests.fakes.kubernetes.times import now

SCHEDULER = "hollow"
ADDRESS, PORT = "127.0.0.1", 8888
"""In the network of the pods, where nobody else has it; the port is KubeSpawner's."""

_libc = ctypes.CDLL(None, use_errno=True)


async def main(kubeconfig: Path, node: int) -> None:
    """Mark pods as running, for ever; print a line when that begins."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", _answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, _listen(node)).start()
    print("ready", flush=True)
    async with Api.connect(kubeconfig) as api:
        cache, changed, marked = Cache(api, "pods"), asyncio.Event(), set[str]()
        cache.on_change(lambda _: changed.set())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(cache.run())
            while True:
                await changed.wait()
                changed.clear()
                for pod in cache.all("pods"):
                    uid = pod["metadata"]["uid"]
                    if pod["spec"].get("schedulerName") == SCHEDULER and uid not in marked:
                        marked.add(uid)
                        tasks.create_task(_run(api, pod))


def _listen(node: int) -> socket.socket:
    """Return a socket that listens where the pods are."""
    here, there = (
        os.open(f"/proc/{process}/ns/net", os.O_RDONLY | os.O_CLOEXEC) for process in ("self", node)
    )
    check(_libc.setns(there, CLONE_NEWNET), "enter the network of the pods")
    try:
        return socket.create_server((ADDRESS, PORT), backlog=1024)
    finally:
        check(_libc.setns(here, CLONE_NEWNET), "leave the network of the pods")


async def _answer(request: web.Request) -> web.Response:
    return web.json_response([], headers={"X-JupyterHub-Version": __version__})


async def _run(api: Api, pod: Json) -> None:
    """Say that a pod runs, unless it is gone."""
    metadata = pod["metadata"]
    status = make_status(pod)
    try:
        await api.merge(
            "pods", metadata["namespace"], metadata["name"], {"status": status}, "status"
        )
    except ApiError as error:
        if error.status != 404:
            raise


def make_status(pod: Json) -> Json:
    """Return the status of a pod whose containers run here."""
    since = now()
    containers = [
        {
            "name": one["name"],
            "image": one["image"],
            "imageID": one["image"],
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": since}},
        }
        for one in pod["spec"]["containers"]
    ]
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": since}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    return {
        "phase": "Running",
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "startTime": since,
        "containerStatuses": containers,
        "conditions": conditions,
    }


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
