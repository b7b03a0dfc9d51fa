"""
Local copies of the users' pods and events, kept current by a Kubernetes watch.

Started by ``objects`` and ``orphan_reaper``; calls ``api``. Replaces the
reflectors of KubeSpawner 7.1, which end the hub when the API is unavailable for
about a minute, fail every spawn when their first list fails, list everything
again every ten seconds, and make their users poll. These retry for ever, resume
from the last resource version, and wake waiting tasks at each change.
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

from caesarion_hub.pods.api import Health, backoff

Resource = dict[str, Any]
R = TypeVar("R", bound="Reflector")

RELEASE = "app.kubernetes.io/instance"
"""The label that holds the name of the release that a pod belongs to."""

COMPONENT = "singleuser-server"
"""The value of the label ``component`` that KubeSpawner sets on users' pods."""

ANY = ""
"""The name that stands for all objects in :meth:`Reflector.next_change`."""

WATCH_TIMEOUT = 10
"""Seconds after which a watch is renewed from its last resource version, which is cheap."""

READ_TIMEOUT = WATCH_TIMEOUT + 3
"""Seconds without data after which a connection is considered dead."""

CONNECT_TIMEOUT = 5
"""Seconds to connect."""

LIST_TIMEOUT = 60
"""Seconds for listing all resources."""


class Reflector(ResourceReflector):  # type: ignore[misc]
    """A copy of all resources of one kind in one namespace."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.health = Health(f"The list of {self.kind}", self.log)
        self._waiters: dict[str, asyncio.Future[None]] = {}

    async def start(self) -> None:
        """Start watching; :meth:`loaded` waits for the first list."""
        self.watch_task = asyncio.create_task(self._watch_and_update())

    async def stop(self) -> None:
        """Stop watching."""
        if self.watch_task:
            self.watch_task.cancel()
            await asyncio.wait([self.watch_task])

    async def refresh(self) -> None:
        """List everything again, because a resource is missing: the watch may be dead."""
        await self.stop()
        await self.start()

    async def loaded(self) -> None:
        """Wait until the resources have been listed once."""
        await asyncio.shield(self.first_load_future)

    @property
    def is_loaded(self) -> bool:
        """Whether the resources have been listed once."""
        return bool(self.first_load_future.done())

    def next_change(self, name: str) -> "asyncio.Future[None]":
        """
        Return a future that is done at the next change of the object ``name``, or of :data:`ANY`.

        Several tasks share it: wait with ``asyncio.wait``, which does not cancel it.
        """
        if name not in self._waiters:
            self._waiters[name] = asyncio.get_running_loop().create_future()
        return self._waiters[name]

    def _notify(self, name: str) -> None:
        for each in (name, ANY):
            if next_change := self._waiters.pop(each, None):
                next_change.set_result(None)

    async def _watch_and_update(self) -> None:
        version: str | None = None
        tries = backoff()
        while True:
            try:
                version = version or await self._list_and_update()
                self.health.succeeded()
                tries = backoff()
                version = await self._follow(version)
            except Exception as problem:
                version = None
                self.health.failed(problem)
                await asyncio.sleep(next(tries))

    async def _list_and_update(self, resource_version: str | None = None) -> str:
        """Replace the copy with a new list; return its resource version."""
        async with self._request(_request_timeout=(CONNECT_TIMEOUT, LIST_TIMEOUT)) as response:
            listed = json.loads(await response.read())
        self._replace(listed["items"])
        if not self.first_load_future.done():
            self.first_load_future.set_result(None)
        for name in list(self._waiters):
            self._notify(name)
        version: str = listed["metadata"]["resourceVersion"]
        return version

    async def _follow(self, version: str) -> str | None:
        """Apply changes until the watch ends; return the version, or None if it has expired."""
        async with self._request(
            watch=True,
            allow_watch_bookmarks=True,
            resource_version=version,
            timeout_seconds=WATCH_TIMEOUT,
            _request_timeout=(CONNECT_TIMEOUT, READ_TIMEOUT),
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
                self._notify(subject(resource)[1])
        return version

    @asynccontextmanager
    async def _request(self, **kwargs: Any) -> AsyncIterator[Any]:
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
        self.resources[qualified_name(resource)] = resource

    def _drop(self, resource: Resource) -> None:
        self.resources.pop(qualified_name(resource), None)


class PodReflector(Reflector):
    """Copies of the users' pods."""

    kind = "pods"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(labels={"component": COMPONENT}, **kwargs)

    def _put(self, resource: Resource) -> None:
        super()._put(slim(resource))

    @property
    def pods(self) -> dict[str, Resource]:
        """The pods by ``namespace/name``, the name and form that KubeSpawner uses."""
        pods: dict[str, Resource] = self.resources
        return pods


class EventReflector(Reflector):
    """Copies of the events about users' pods and volumes."""

    kind = "events"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._about: defaultdict[tuple[str, str], dict[str, Resource]] = defaultdict(dict)

    @property
    def events(self) -> list[Resource]:
        """All events, oldest first; the name and form that KubeSpawner uses."""
        return sorted(self.resources.values(), key=event_time)

    def about(self, kind: str, name: str, uid: str | None = None) -> list[Resource]:
        """Return the events of one object, oldest first; ``uid`` excludes its namesakes."""
        events = self._about.get((kind, name), {}).values()
        return sorted(
            (event for event in events if uid in (None, event["involvedObject"].get("uid"))),
            key=event_time,
        )

    def _replace(self, resources: list[Resource]) -> None:
        self._about.clear()
        super()._replace(resources)

    def _put(self, resource: Resource) -> None:
        super()._put(resource)
        self._about[subject(resource)][qualified_name(resource)] = resource

    def _drop(self, resource: Resource) -> None:
        super()._drop(resource)
        about = self._about[subject(resource)]
        about.pop(qualified_name(resource), None)
        if not about:
            del self._about[subject(resource)]


async def shared_reflector(kind: type[R], namespace: str, log: Logger) -> R:
    """Return the reflector that all spawners share for one kind in one namespace."""
    key = (kind.kind, namespace)  # the key under which KubeSpawner 7.1 looks it up
    if key not in KubeSpawner.reflectors:
        reflector = kind(namespace=namespace, log=log)
        KubeSpawner.reflectors[key] = reflector
        await reflector.start()
    found: R = KubeSpawner.reflectors[key]
    return found


def slim(pod: Resource) -> Resource:
    """Return a pod without its largest unused fields: thousands of pods are kept in memory."""
    pod["metadata"].pop("managedFields", None)
    pod["spec"].pop("volumes", None)
    for container in pod["spec"]["containers"]:
        for name in ("env", "volumeMounts", "securityContext"):
            container.pop(name, None)
    return pod


def qualified_name(resource: Resource) -> str:
    """Return ``namespace/name``."""
    metadata = resource["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}"


def subject(resource: Resource) -> tuple[str, str]:
    """Return kind and name of the object of an event; of any other resource, its own."""
    about = resource.get("involvedObject")
    if about is None:
        return resource.get("kind", ""), resource["metadata"]["name"]
    return about.get("kind", ""), about.get("name", "")


def event_time(event: Resource) -> str:
    """Return the time of an event as a string that sorts chronologically."""
    times = (event.get("lastTimestamp"), event.get("eventTime"))
    return next(filter(None, times), None) or event["metadata"].get("creationTimestamp") or ""
