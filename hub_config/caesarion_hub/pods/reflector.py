"""
What the API last said of the users' pods and of events, kept current by a watch.

Started by ``spawner``; calls ``api``. Takes the place of KubeSpawner's
reflectors, which give up when the API is away for a minute, fail every spawn
when their first list fails, list everything anew every ten seconds and let who
waits poll. A mirror never gives up, goes on from where it was, and wakes who
waits at each change.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from logging import Logger
from typing import Any, TypeVar

from kubernetes_asyncio.client import ApiException
from kubespawner import KubeSpawner
from kubespawner.reflector import ResourceReflector

from caesarion_hub.pods.api import Health, pauses

Resource = dict[str, Any]
M = TypeVar("M", bound="Mirror")

RELEASE = "app.kubernetes.io/instance"
"""The label that says which installation a pod belongs to."""

COMPONENT = "singleuser-server"
"""The label ``component`` of the users' pods, which KubeSpawner sets."""

WATCH = 10
"""Seconds after which a watch is asked for anew, from where it was: little work for the API."""

SILENCE = WATCH + 3
"""Seconds without a byte after which the connection is taken for dead."""

CONNECT = 5
"""Seconds for a connection to come about."""

LIST = 60
"""Seconds for a list of everything."""


class Mirror(ResourceReflector):  # type: ignore[misc]
    """A copy of the resources of one kind in one namespace."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.health = Health(f"The list of {self.kind}", self.log)
        self._turns: dict[str, asyncio.Future[None]] = {}

    async def start(self) -> None:
        """Begin to watch; :meth:`loaded` tells when there is something to see."""
        self.watch_task = asyncio.create_task(self._watch_and_update())

    async def stop(self) -> None:
        """Watch no longer."""
        if self.watch_task:
            self.watch_task.cancel()
            await asyncio.wait([self.watch_task])

    async def refresh(self) -> None:
        """List everything anew, since something is missing: the watch may be dead."""
        await self.stop()
        await self.start()

    async def loaded(self) -> None:
        """Wait until the resources have been listed once."""
        await asyncio.shield(self.first_load_future)

    @property
    def is_loaded(self) -> bool:
        """Whether the resources have been listed once."""
        return bool(self.first_load_future.done())

    def turn(self, name: str) -> "asyncio.Future[None]":
        """
        Return what is done when something about the object ``name`` changes next.

        Others wait for it, too: wait with ``asyncio.wait``, which does not cancel it.
        """
        if name not in self._turns:
            self._turns[name] = asyncio.get_running_loop().create_future()
        return self._turns[name]

    def _turned(self, name: str) -> None:
        if turn := self._turns.pop(name, None):
            turn.set_result(None)

    async def _watch_and_update(self) -> None:
        version: str | None = None
        tries = pauses()
        while True:
            try:
                version = version or await self._list_and_update()
                self.health.answered()
                tries = pauses()
                version = await self._follow(version)
            except Exception as problem:
                version = None
                self.health.failed(problem)
                await asyncio.sleep(next(tries))

    async def _list_and_update(self, resource_version: str | None = None) -> str:
        """Take a new copy of everything; return its version."""
        async with self._asked(_request_timeout=(CONNECT, LIST)) as response:
            listed = json.loads(await response.read())
        self._replace(listed["items"])
        if not self.first_load_future.done():
            self.first_load_future.set_result(None)
        for name in list(self._turns):
            self._turned(name)
        version: str = listed["metadata"]["resourceVersion"]
        return version

    async def _follow(self, version: str) -> str | None:
        """Take over changes until the watch ends; return the version, or None if it is too old."""
        async with self._asked(
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=version,
            timeout_seconds=WATCH,
            _request_timeout=(CONNECT, SILENCE),
        ) as response:
            async for line in response.content:
                event = json.loads(line)
                resource = event["object"]
                if event["type"] == "ERROR":
                    if resource.get("code") == 410:
                        return None
                    raise ApiException(resource.get("code"), resource.get("message"))
                version = resource["metadata"]["resourceVersion"]
                if event["type"] == "BOOKMARK":
                    continue
                if event["type"] == "DELETED":
                    self._drop(resource)
                else:
                    self._put(resource)
                self._turned(subject(resource)[1])
        return version

    @asynccontextmanager
    async def _asked(self, **kwargs: Any) -> AsyncIterator[Any]:
        method = getattr(self.api, self.list_method_name)
        response = await method(
            namespace=self.namespace,
            label_selector=self.label_selector,
            field_selector=self.field_selector,
            _preload_content=False,
            **kwargs,
        )
        try:
            if response.status != 200:
                raise ApiException(response.status, response.reason)
            yield response
        finally:
            response.close()

    def _replace(self, resources: list[Resource]) -> None:
        self.resources: dict[str, Resource] = {}
        for resource in resources:
            self._put(resource)

    def _put(self, resource: Resource) -> None:
        self.resources[key(resource)] = resource

    def _drop(self, resource: Resource) -> None:
        self.resources.pop(key(resource), None)


class PodMirror(Mirror):
    """The users' pods."""

    kind = "pods"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(labels={"component": COMPONENT}, **kwargs)

    def _put(self, resource: Resource) -> None:
        super()._put(slim(resource))

    @property
    def pods(self) -> dict[str, Resource]:
        """The pods by ``namespace/name``, as KubeSpawner asks for them."""
        pods: dict[str, Resource] = self.resources
        return pods


class EventMirror(Mirror):
    """What Kubernetes tells of the users' pods and their disks."""

    kind = "events"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._about: defaultdict[tuple[str, str], dict[str, Resource]] = defaultdict(dict)

    @property
    def events(self) -> list[Resource]:
        """All of them, as KubeSpawner asks for them."""
        return sorted(self.resources.values(), key=when)

    def about(self, kind: str, name: str, uid: str | None = None) -> list[Resource]:
        """Return the events of one object, the latest last; of one of several of that name."""
        events = self._about.get((kind, name), {}).values()
        return sorted(
            (event for event in events if uid in (None, event["involvedObject"].get("uid"))),
            key=when,
        )

    def _replace(self, resources: list[Resource]) -> None:
        self._about.clear()
        super()._replace(resources)

    def _put(self, resource: Resource) -> None:
        super()._put(resource)
        self._about[subject(resource)][key(resource)] = resource

    def _drop(self, resource: Resource) -> None:
        super()._drop(resource)
        about = self._about[subject(resource)]
        about.pop(key(resource), None)
        if not about:
            del self._about[subject(resource)]


async def mirror_of(kind: type[M], namespace: str, log: Logger) -> M:
    """Return the mirror of one kind in one namespace, which all spawners share."""
    place = (kind.kind, namespace)  # where KubeSpawner looks for it
    if place not in KubeSpawner.reflectors:
        mirror = kind(namespace=namespace, log=log)
        KubeSpawner.reflectors[place] = mirror
        await mirror.start()
    found: M = KubeSpawner.reflectors[place]
    return found


def slim(pod: Resource) -> Resource:
    """Return a pod without most of its bulk, which nobody asks for: thousands are held."""
    pod["metadata"].pop("managedFields", None)
    pod["spec"].pop("volumes", None)
    for container in pod["spec"]["containers"]:
        for name in ("env", "volumeMounts", "securityContext"):
            container.pop(name, None)
    return pod


def key(resource: Resource) -> str:
    """Return ``namespace/name``."""
    metadata = resource["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


def subject(resource: Resource) -> tuple[str, str]:
    """Return kind and name of what an event is about; of anything else, its own."""
    about = resource.get("involvedObject")
    if about is None:
        return resource.get("kind", ""), resource["metadata"]["name"]
    return about.get("kind", ""), about.get("name", "")


def when(event: Resource) -> str:
    """Return the time of an event, as a text that sorts."""
    times = (event.get("lastTimestamp"), event.get("eventTime"))
    return next(filter(None, times), None) or event["metadata"].get("creationTimestamp") or ""
