"""
What the conformance checks need: a cluster's API as plain JSON, and a namespace each.

By default the cluster is the test double ``tests.fakes.kubernetes.apiserver``,
alone: no node, no controllers. With ``CAESARION_TEST_CLUSTER=1`` it is the one
that ``KUBECONFIG`` names, whoever made it; the checks leave nothing behind.
"""

import asyncio
import copy
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import kubernetes_asyncio.client
import kubernetes_asyncio.config

from tests.cluster.real import is_asked_for
from tests.fakes.kubernetes.apiserver import ApiServer

Json = dict[str, Any]

APPS = "apps/v1"
RBAC = "rbac.authorization.k8s.io/v1"

PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
LONGEST_WAIT = 30.0  # seconds; a real cluster's controllers take a moment


class RefusedError(Exception):
    """The API's Status of a call that failed."""

    def __init__(self, code: int, status: Json) -> None:
        super().__init__(f"{code}: {status.get('message')}")
        self.code = code
        self.reason = status.get("reason")
        self.message = status.get("message", "")
        self.details = status.get("details") or {}


@dataclass
class Cluster:
    """
    Calls of one user; ``namespace`` is where the paths of namespaced kinds lead.

    ``session`` may know the user by a certificate, ``strangers`` has none, for
    those who have a token. ``warnings`` are the last call's.
    """

    session: aiohttp.ClientSession
    strangers: aiohttp.ClientSession
    url: str
    headers: dict[str, str]
    namespace: str = ""
    warnings: list[str] = field(default_factory=list)

    def path(self, plural: str, name: str = "", group: str = "") -> str:
        """Return the path of a kind in the namespace; ``group`` has its version: ``apps/v1``."""
        root = f"/apis/{group}" if group else "/api/v1"
        whole = f"{root}/namespaces/{self.namespace}/{plural}"
        return f"{whole}/{name}" if name else whole

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Json:
        """Make a call and return its JSON; raises :class:`RefusedError` for a failure."""
        headers = {**self.headers, "Content-Type": content, "Accept": accept}
        data = None if body is None else json.dumps(body)
        async with self.session.request(
            method, self.url + path, data=data, params=query, headers=headers
        ) as response:
            self.warnings = response.headers.getall("Warning", [])
            answer: Json = await response.json(content_type=None)
            if response.status >= 400:
                raise RefusedError(response.status, answer)
            return answer

    async def get(self, path: str, *, accept: str = "application/json", **query: str) -> Json:
        return await self.ask("GET", path, accept=accept, **query)

    async def names(self, path: str, **query: str) -> list[str]:
        """Return the names of what a list has, in order."""
        found = await self.get(path, **query)
        return [item["metadata"]["name"] for item in found["items"]]

    async def create(self, path: str, body: Json, **query: str) -> Json:
        return await self.ask("POST", path, body, **query)

    async def update(self, path: str, body: Json, **query: str) -> Json:
        return await self.ask("PUT", path, body, **query)

    async def patch(self, path: str, body: Any, how: str = "merge", **query: str) -> Json:
        return await self.ask("PATCH", path, body, content=PATCHES[how], **query)

    async def delete(self, path: str, body: Json | None = None, **query: str) -> Json:
        return await self.ask("DELETE", path, body, **query)

    async def watch(self, path: str, count: int, seconds: int = 20, **query: str) -> list[Json]:
        """Return the first events of a watch: so many, or those of so many seconds."""
        params = {"watch": "true", "timeoutSeconds": str(seconds), **query}
        events: list[Json] = []
        async with self.session.get(
            self.url + path, params=params, headers=self.headers
        ) as response:
            if response.status >= 400:
                raise RefusedError(response.status, await response.json(content_type=None))
            while len(events) < count and (line := await response.content.readline()):
                events.append(json.loads(line))
        return events

    async def until(self, path: str, condition: Callable[[Json | None], bool]) -> None:
        """Wait until an object, None once it has gone, is as the condition says."""

        async def holds() -> bool:
            try:
                return condition(await self.get(path))
            except RefusedError as error:
                if error.code != 404:
                    raise
                return condition(None)

        await eventually(holds)

    async def until_gone(self, path: str) -> None:
        await self.until(path, lambda found: found is None)

    async def may(self, verb: str, group: str, resource: str) -> bool:
        """Ask whether this user may do something in the namespace."""
        asked = {"namespace": self.namespace, "group": group, "resource": resource, "verb": verb}
        version = "authorization.k8s.io/v1"
        review = make("SelfSubjectAccessReview", "", version, spec={"resourceAttributes": asked})
        answer = await self.create(f"/apis/{version}/selfsubjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    def as_token(self, token: str) -> "Cluster":
        """Return the same cluster for the owner of a bearer token."""
        headers = {"Authorization": f"Bearer {token}"}
        return Cluster(self.strangers, self.strangers, self.url, headers, self.namespace)

    @asynccontextmanager
    async def within(self, **metadata: Any) -> AsyncIterator["Cluster"]:
        """Give the same user in a new namespace, which ends with the block."""
        name = f"conformance-{uuid.uuid4().hex[:8]}"
        await self.create("/api/v1/namespaces", make("Namespace", name, **metadata))
        inside = Cluster(self.session, self.strangers, self.url, self.headers, name)
        try:
            for plural, one in (("serviceaccounts", "default"), ("configmaps", "kube-root-ca.crt")):
                await inside.until(inside.path(plural, one), lambda found: found is not None)
            yield inside
        finally:
            try:
                await self.delete(f"/api/v1/namespaces/{name}")
            except RefusedError as error:
                if error.code != 404:  # it may have gone already
                    raise


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds, which a real cluster's controllers may bring about."""
    async with asyncio.timeout(LONGEST_WAIT):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.1)


@asynccontextmanager
async def connected(kubeconfig: Path | None) -> AsyncIterator[Cluster]:
    """Connect to the cluster of a kubeconfig, or of the environment's."""
    configuration = kubernetes_asyncio.client.Configuration()
    await kubernetes_asyncio.config.load_kube_config(
        config_file=str(kubeconfig) if kubeconfig else None, client_configuration=configuration
    )
    nobody = copy.copy(configuration)
    nobody.cert_file = nobody.key_file = None
    async with (
        kubernetes_asyncio.client.ApiClient(configuration) as client,
        kubernetes_asyncio.client.ApiClient(nobody) as stranger,
    ):
        token = await configuration.get_api_key_with_prefix("BearerToken")
        yield Cluster(
            client.rest_client.pool_manager,
            stranger.rest_client.pool_manager,
            str(configuration.host),
            {"Authorization": token} if token else {},
        )


@asynccontextmanager
async def open_cluster(folder: Path) -> AsyncIterator[Cluster]:
    """Connect to the real cluster that the environment asks for, else to a double."""
    if is_asked_for():
        async with connected(None) as api:
            yield api
        return
    async with ApiServer(folder) as server, connected(server.kubeconfig) as api:
        yield api


def make(kind: str, name: str, api_version: str = "v1", **parts: Any) -> Json:
    """Return an object; ``labels``, ``annotations`` and the like go to its metadata."""
    ours = ("labels", "annotations", "finalizers", "ownerReferences", "generateName")
    metadata = {key: value for key, value in parts.items() if key in ours}
    rest = {key: value for key, value in parts.items() if key not in ours}
    if name:
        metadata["name"] = name
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def make_pod(name: str, *, spec: Json | None = None, **container: Any) -> Json:
    """Return a pod that no node will ever run, so that the checks have it to themselves."""
    own = {"name": "main", "image": "registry.invalid/none:1", **container}
    nowhere = {"nodeSelector": {"caesarion.invalid/nowhere": "true"}}
    return make("Pod", name, spec={**nowhere, "containers": [own], **(spec or {})})


def make_deployment(name: str, **container: Any) -> Json:
    """Return a Deployment without pods."""
    template = make_pod(name, **container)["spec"]
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": template},
    }
    return make("Deployment", name, APPS, spec=spec)


async def make_account(api: Cluster, rules: list[Json]) -> Cluster:
    """Return the cluster as the service account ``hub`` sees it, with a role of these rules."""
    path = api.path("serviceaccounts")
    await api.create(path, make("ServiceAccount", "hub"))
    await api.create(api.path("roles", group=RBAC), make("Role", "hub", RBAC, rules=rules))
    binding = make(
        "RoleBinding",
        "hub",
        RBAC,
        roleRef={"apiGroup": RBAC.partition("/")[0], "kind": "Role", "name": "hub"},
        subjects=[{"kind": "ServiceAccount", "name": "hub", "namespace": api.namespace}],
    )
    await api.create(api.path("rolebindings", group=RBAC), binding)
    request = make("TokenRequest", "", "authentication.k8s.io/v1", spec={"expirationSeconds": 600})
    answer = await api.create(f"{path}/hub/token", request)
    hub = api.as_token(answer["status"]["token"])
    if rules:
        first = (rules[0]["verbs"][0], rules[0]["apiGroups"][0], rules[0]["resources"][0])
        await eventually(lambda: hub.may(*first))
    return hub
