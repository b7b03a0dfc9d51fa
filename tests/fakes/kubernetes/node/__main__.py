"""
The node as a process: ``python -m tests.fakes.kubernetes.node FOLDER``.

``FOLDER`` holds ``kubeconfig``, ``images.json`` and ``machines.json``; the
node's pods and their logs are put there. Ends on SIGTERM, with all its pods.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from tests.fakes.kubernetes.client import Api, Cache
from tests.fakes.kubernetes.events import Recorder
from tests.fakes.kubernetes.lifetime import told_to_stop, work
from tests.fakes.kubernetes.node import logs, roots
from tests.fakes.kubernetes.node.cgroups import Tree
from tests.fakes.kubernetes.node.images import Registry
from tests.fakes.kubernetes.node.kubelet import Kubelet, Machine
from tests.fakes.kubernetes.node.network import Network
from tests.fakes.kubernetes.node.place import Node
from tests.fakes.kubernetes.node.scheduler import Scheduler
from tests.fakes.kubernetes.node.services import ServiceProxy

PODS = ipaddress.IPv4Network("127.97.0.0/16")
"""Where pods have their addresses; the API server gives Services 127.96.0.0/16."""

KINDS = ("endpointslices", "nodes", "persistentvolumeclaims", "pods", "services")


async def serve(folder: Path, outside: int) -> None:
    """Be the node until SIGTERM."""
    network = Network(outside)
    groups = Tree(os.getpid())
    roots.prepare(folder / "local")
    registry = Registry(folder / "images.json")
    machines = [Machine(**one) for one in json.loads((folder / "machines.json").read_text())]
    stopped = told_to_stop()
    try:
        async with (
            Api.connect(folder / "kubeconfig", network.socket_outside) as api,
            make_http() as http,
            contextlib.AsyncExitStack() as closing,
        ):
            cache = Cache(api, *KINDS)
            listening = network.listen_outside("127.0.0.1", 0)
            await logs.serve(cache, folder / "logs", listening, closing)
            port = listening.getsockname()[1]
            node = Node(api, cache, http, registry, groups, folder, port)
            addresses = make_addresses()
            kubelets = [
                Kubelet(node, one, addresses, Recorder(api, "kubelet", one.name))
                for one in machines
            ]
            await work(
                stopped,
                cache.run(),
                ServiceProxy(cache, network, PODS).run(),
                Scheduler(cache, Recorder(api, "default-scheduler")).run(),
                *(kubelet.run() for kubelet in kubelets),
            )
    finally:
        groups.remove()


def make_http() -> aiohttp.ClientSession:
    """Return what asks pods: each question is a connection of its own, as a kubelet's is."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0))


def make_addresses() -> Iterator[str]:
    """Yield the pods' addresses, none again before all have been had."""
    while True:
        yield from (str(address) for address in PODS.hosts())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The node of a fake Kubernetes cluster.")
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--outside",
        type=int,
        default=96,
        help="Services are reached from this machine at 127.OUTSIDE instead of 127.96",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    asyncio.run(serve(arguments.folder, arguments.outside))
