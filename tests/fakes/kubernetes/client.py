"""
A small client of the Kubernetes API, which the node and the controllers share.

:class:`Api` is requests, :class:`Cache` is the objects of some kinds as a watch
tells of them. Both outlive an API server that is away: requests are the
caller's to repeat, a cache lists again and says what has changed meanwhile.
"""

import asyncio
import base64
import json
import logging
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

Json = dict[str, Any]

log = logging.getLogger(__name__)

GROUPS = {
    "/api/v1": (
        *("configmaps", "endpoints", "events", "namespaces", "nodes", "persistentvolumeclaims"),
        *("persistentvolumes", "pods", "secrets", "serviceaccounts", "services"),
    ),
    "/apis/apps/v1": ("daemonsets", "deployments", "replicasets", "statefulsets"),
    "/apis/autoscaling/v2": ("horizontalpodautoscalers",),
    "/apis/batch/v1": ("cronjobs", "jobs"),
    "/apis/discovery.k8s.io/v1": ("endpointslices",),
    "/apis/networking.k8s.io/v1": ("ingresses", "networkpolicies"),
    "/apis/policy/v1": ("poddisruptionbudgets",),
    "/apis/scheduling.k8s.io/v1": ("priorityclasses",),
    "/apis/storage.k8s.io/v1": ("storageclasses",),
}
PREFIXES = {plural: prefix for prefix, plurals in GROUPS.items() for plural in plurals}

MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server refused; ``status`` is HTTP's, ``reason`` Kubernetes' word for it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


AWAY = (aiohttp.ClientError, TimeoutError, OSError)
"""What a request raises while there is no API server."""


def path_of(plural: str, namespace: str | None = None, name: str = "", sub: str = "") -> str:
    """Return the URL's path of a collection, an object or a subresource."""
    parts = [PREFIXES[plural], f"namespaces/{namespace}" if namespace else "", plural, name, sub]
    return "/".join(part for part in parts if part)


class Api:
    """Requests to the API server that a kubeconfig names."""

    def __init__(self, http: aiohttp.ClientSession, ca: str) -> None:
        self._http = http
        self.ca = ca
        """The certificate authority, as PEM, that pods are to trust."""

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, kubeconfig: Path, make_socket: Callable[[Any], socket.socket] | None = None
    ) -> AsyncIterator[Self]:
        """Open a client with the first cluster and user of a kubeconfig."""
        config = yaml.safe_load(kubeconfig.read_text())  # noqa: ASYNC240
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=ca)
        if "client-certificate-data" in user:
            _load_certificate(context, user)
        token = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        async with aiohttp.ClientSession(
            cluster["server"],
            headers=token,
            connector=aiohttp.TCPConnector(ssl=context, limit=0, socket_factory=make_socket),
            timeout=aiohttp.ClientTimeout(total=30),
        ) as http:
            yield cls(http, ca)

    async def get(self, plural: str, namespace: str | None, name: str, sub: str = "") -> Json:
        return await self.send("GET", path_of(plural, namespace, name, sub))

    async def create(
        self, plural: str, namespace: str | None, body: Json, name: str = "", sub: str = ""
    ) -> Json:
        return await self.send("POST", path_of(plural, namespace, name, sub), body)

    async def merge(
        self, plural: str, namespace: str | None, name: str, body: Json, sub: str = ""
    ) -> Json:
        """Lay ``body`` over an object, or over a subresource of it."""
        path = path_of(plural, namespace, name, sub)
        return await self.send("PATCH", path, body, {"Content-Type": MERGE})

    async def delete(
        self, plural: str, namespace: str | None, name: str, **options: object
    ) -> None:
        """Delete an object, with ``gracePeriodSeconds`` or the like, unless it is gone already."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        try:
            await self.send("DELETE", path_of(plural, namespace, name), body)
        except ApiError as error:
            if error.status != 404:
                raise

    async def send(
        self, method: str, path: str, body: Json | None = None, headers: Mapping[str, str] = {}
    ) -> Json:
        """Return the answer; raises :class:`ApiError` if it is a refusal."""
        async with self._http.request(method, path, json=body, headers=headers) as response:
            return _checked(response.status, await response.text())

    async def watch(self, plural: str, revision: str) -> AsyncIterator[Json]:
        """Yield what happens to all objects of a kind after ``revision``."""
        query = {"watch": "true", "resourceVersion": revision, "allowWatchBookmarks": "true"}
        path = path_of(plural)
        # A server that has gone without a word is noticed; bookmarks come about every minute.
        patience = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=150)
        async with self._http.get(path, params=query, timeout=patience) as response:
            if response.status != 200:
                _checked(response.status, await response.text())
            buffer = b""
            async for chunk in response.content.iter_any():
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)


def _checked(status: int, text: str) -> Json:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {"message": text[:300]}
    if status >= 400:
        raise ApiError(status, answer.get("reason", ""), answer.get("message", ""))
    return dict(answer)


def _load_certificate(context: ssl.SSLContext, user: Json) -> None:
    with tempfile.NamedTemporaryFile() as file:  # ssl reads them from a file only
        for key in ("client-certificate-data", "client-key-data"):
            file.write(base64.b64decode(user[key]))
        file.flush()
        context.load_cert_chain(file.name)


class Cache:
    """All objects of some kinds, as far as the API server has told."""

    def __init__(self, api: Api, *plurals: str) -> None:
        self.api = api
        self._objects: dict[str, dict[tuple[str, str], Json]] = {kind: {} for kind in plurals}
        self._gone: dict[str, dict[tuple[str, str], int]] = {kind: {} for kind in plurals}
        """The revisions at which objects were deleted: an answer may come later than that."""
        self._listed = {kind: asyncio.Event() for kind in plurals}
        self._listeners: list[Callable[[str], None]] = []

    def all(self, plural: str) -> list[Json]:
        """Return the objects of a kind; they are not to be changed."""
        return list(self._objects[plural].values())

    def find(self, plural: str, namespace: str | None, name: str) -> Json | None:
        """Return an object, or None where there is none."""
        return self._objects[plural].get((namespace or "", name))

    def owned(self, plural: str, owner: Json) -> list[Json]:
        """Return the objects of a kind that an object controls."""
        uid = owner["metadata"]["uid"]
        return [one for one in self.all(plural) if controller_of(one).get("uid") == uid]

    def on_change(self, tell: Callable[[str], None]) -> None:
        """Have ``tell`` called with the kind whenever one of its objects may have changed."""
        self._listeners.append(tell)

    def put(self, plural: str, thing: Json) -> None:
        """Take in what a request has answered, so that nobody acts on what was before it."""
        known = self._objects[plural].get(key_of(thing))
        latest = revision_of(known) if known else self._gone[plural].get(key_of(thing), 0)
        if latest < revision_of(thing):
            self._objects[plural][key_of(thing)] = thing
            self._tell(plural)

    async def listed(self) -> None:
        """Wait until every kind has been listed once."""
        for event in self._listed.values():
            await event.wait()

    async def run(self) -> None:
        """Follow all kinds, for ever."""
        async with asyncio.TaskGroup() as tasks:
            for plural in self._objects:
                tasks.create_task(self._follow(plural))

    async def _follow(self, plural: str) -> None:
        revision = ""
        while True:
            try:
                if not revision:
                    revision = await self._list(plural)
                async for event in self.api.watch(plural, revision):
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 500), "", str(event["object"]))
                    revision = event["object"]["metadata"]["resourceVersion"]
                    self._take(plural, event)
            except ApiError as error:
                revision = ""
                log.info("%s are listed again: %s", plural, error)
                await asyncio.sleep(0.2)
            except AWAY as error:
                log.info("no API server for %s: %r", plural, error)
                await asyncio.sleep(0.5)

    async def _list(self, plural: str) -> str:
        answer = await self.api.send("GET", path_of(plural))
        self._objects[plural] = {key_of(one): one for one in answer.get("items") or []}
        self._listed[plural].set()
        self._tell(plural)
        return str(answer["metadata"]["resourceVersion"])

    def _take(self, plural: str, event: Json) -> None:
        thing = event["object"]
        if event["type"] == "BOOKMARK":  # tells a revision and no more
            return
        known = self._objects[plural].get(key_of(thing))
        if known and revision_of(known) >= revision_of(thing):
            return
        if event["type"] == "DELETED":
            self._objects[plural].pop(key_of(thing), None)
            self._gone[plural][key_of(thing)] = revision_of(thing)
        else:
            self._objects[plural][key_of(thing)] = thing
        self._tell(plural)

    def _tell(self, plural: str) -> None:
        for tell in self._listeners:
            tell(plural)


def key_of(thing: Json) -> tuple[str, str]:
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def revision_of(thing: Json) -> int:
    return int(thing["metadata"]["resourceVersion"])


def controller_of(thing: Json) -> Json:
    """Return the reference to the object that controls this one, or an empty one."""
    references: Iterator[Json] = iter(thing["metadata"].get("ownerReferences") or [])
    return next((one for one in references if one.get("controller")), {})


def selects(selector: Json | None, labels: Mapping[str, str] | None) -> bool:
    """Tell whether a LabelSelector, ``matchLabels`` and ``matchExpressions``, takes labels."""
    if selector is None:
        return False
    labels = labels or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_expression(one, labels) for one in selector.get("matchExpressions") or [])


def _expression(expression: Json, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise ValueError(f"There is no operator {expression['operator']!r} of label selectors.")
