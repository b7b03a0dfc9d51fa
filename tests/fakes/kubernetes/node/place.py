"""Where a pod's containers live: its folders, its address and what the node lends them."""

import asyncio
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.fakes.kubernetes.client import Api, Cache, Json
from tests.fakes.kubernetes.events import Recorder
from tests.fakes.kubernetes.node.cgroups import Tree
from tests.fakes.kubernetes.node.images import Registry


@dataclass(frozen=True)
class Node:
    """What the kubelets of one process share."""

    api: Api
    cache: Cache
    http: aiohttp.ClientSession
    registry: Registry
    groups: Tree
    folder: Path
    """For what goes with the cluster: pods, logs."""

    port: int
    """Where ``logs`` serves."""

    @property
    def local(self) -> Path:
        """What the image of this checkout has under ``/usr/local``."""
        return self.folder / "local"


@dataclass
class Place:
    """One pod's."""

    node: Node
    pod: Json
    """As the API last told it, with its address in the status."""
    address: str
    events: Recorder
    volumes: Mapping[str, Path] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def key(self) -> str:
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"

    @property
    def folder(self) -> Path:
        return self.node.folder / "pods" / self.uid

    @property
    def logs(self) -> Path:
        """Where a folder for each container holds a file for each of its starts."""
        return self.node.folder / "logs" / f"{self.key.replace('/', '_')}_{self.uid}"

    @property
    def hosts(self) -> Path:
        return self.folder / "hosts"

    @property
    def registry(self) -> Registry:
        return self.node.registry

    @property
    def groups(self) -> Tree:
        return self.node.groups

    @property
    def http(self) -> aiohttp.ClientSession:
        return self.node.http

    def background(self, work: Coroutine[None, None, None]) -> None:
        """Do something beside; the pod's end waits for it."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
