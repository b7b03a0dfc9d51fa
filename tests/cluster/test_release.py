"""
What helm makes of the chart in a cluster: keys that stay, a Role that is all the hub may do.

Needs an API server and nothing else, so it runs against the double alone by
default; against a real cluster with ``KUBECONFIG`` and
``CAESARION_TEST_CLUSTER=1``, where no pod of it has to start.
"""

import asyncio
import base64
import json
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.real import is_asked_for
from tests.fakes.kubernetes.apiserver import ApiServer
from tests.helm import CHART, RefusedError, as_yaml, merge, run
from tests.values import USER_PASSWORD

Json = dict[str, Any]

COMPONENTS = ("hub", "proxy", "gateway")


@dataclass(frozen=True)
class Release:
    """A release of the chart, in a namespace of its own, with users in another."""

    kubeconfig: str
    namespace: str

    @property
    def people(self) -> str:
        return f"{self.namespace}-people"

    async def helm(self, *arguments: str, values: Json | None = None) -> str:
        where = ["--kubeconfig", self.kubeconfig, "--namespace", self.namespace]
        table = {"singleuser": {"namespace": {"name": self.people, "create": True}}}
        given = [*arguments, *where]
        if values is None:
            return await asyncio.to_thread(run, given)
        return await asyncio.to_thread(
            run, [*given, "--values", "-"], as_yaml(merge(table, values))
        )

    async def upgrade(self, values: Json | None = None) -> str:
        return await self.helm("upgrade", "--install", "caesarion", str(CHART), values=values or {})

    async def kubectl(self, *arguments: str, text: str | None = None) -> str:
        given = ["--kubeconfig", self.kubeconfig, *arguments]
        return await asyncio.to_thread(run, given, text, "kubectl")

    async def get(self, kind: str, name: str) -> Json:
        text = await self.kubectl("get", kind, name, "-n", self.namespace, "-o", "json")
        found: Json = json.loads(text)
        return found

    async def keys(self) -> dict[str, str]:
        data = (await self.get("secret", "caesarion-keys"))["data"]
        return {name: base64.b64decode(value).decode() for name, value in data.items()}

    async def generations(self) -> dict[str, int]:
        """Return how often each Deployment has been changed."""
        return {
            name: (await self.get("deployment", f"caesarion-{name}"))["metadata"]["generation"]
            for name in COMPONENTS
        }

    async def may_hub(self, asked: list[tuple[str, str]], namespace: str) -> set[tuple[str, str]]:
        """Return which of these verbs and resources Kubernetes lets the hub have."""
        reviews = [self._review(verb, resource, namespace) for verb, resource in asked]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": reviews})
        creating = ["create", "--validate=false", "-f", "-"]
        answers = await self.kubectl(
            *creating, "-o", 'jsonpath={.status.allowed}{"\\n"}', text=text
        )
        verdicts = zip(asked, answers.split(), strict=True)
        return {asking for asking, allowed in verdicts if allowed == "true"}

    def _review(self, verb: str, resource: str, namespace: str) -> Json:
        kind, _, group = resource.partition(".")
        resource, _, subresource = kind.partition("/")
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": f"system:serviceaccount:{self.namespace}:caesarion-hub",
                "groups": ["system:serviceaccounts", "system:authenticated"],
                "resourceAttributes": {
                    "namespace": namespace,
                    "verb": verb,
                    "group": group,
                    "resource": resource,
                    "subresource": subresource,
                },
            },
        }


@pytest.fixture
async def release(tmp_path: Path) -> AsyncIterator[Release]:
    namespace = f"release-{uuid.uuid4().hex[:8]}"
    if is_asked_for():
        release = Release(os.environ["KUBECONFIG"], namespace)
        await release.kubectl("create", "namespace", namespace)
        try:
            yield release
        finally:
            await release.kubectl("delete", "namespace", namespace, "--wait=false")
            gone = ["delete", "namespace", release.people, "--wait=false", "--ignore-not-found"]
            await release.kubectl(*gone)
        return
    async with ApiServer(tmp_path) as server:
        release = Release(str(server.kubeconfig), namespace)
        await release.kubectl("create", "namespace", namespace)
        yield release
        assert (server.state.denials, server.state.warnings) == ([], [])


async def test_an_upgrade_keeps_the_keys_and_restarts_nothing(release: Release) -> None:
    await release.upgrade()
    keys, generations = await release.keys(), await release.generations()
    await release.upgrade()
    assert await release.keys() == keys
    assert await release.generations() == generations == dict.fromkeys(COMPONENTS, 1)


async def test_a_password_that_the_operator_sets_changes_the_hub_alone(release: Release) -> None:
    await release.upgrade()
    keys = await release.keys()
    await release.upgrade({"auth": {"userPassword": USER_PASSWORD}})
    assert await release.keys() == {**keys, "user_password": USER_PASSWORD}
    assert await release.generations() == {"hub": 2, "proxy": 1, "gateway": 1}


async def test_a_key_that_was_rotated_by_hand_stays_and_restarts_who_reads_it(
    release: Release,
) -> None:
    await release.upgrade()
    patch = json.dumps({"stringData": {"gateway_token": "another token, made by hand"}})
    await release.kubectl("patch", "secret", "caesarion-keys", "-n", release.namespace, "-p", patch)
    await release.upgrade()
    assert (await release.keys())["gateway_token"] == "another token, made by hand"
    assert await release.generations() == {"hub": 2, "proxy": 1, "gateway": 2}


async def test_a_rollback_brings_the_values_back_and_keeps_the_keys(release: Release) -> None:
    await release.upgrade()
    keys, values = await release.keys(), (await release.get("secret", "caesarion-hub"))["data"]
    await release.upgrade({"cull": {"timeout": 7}})
    assert (await release.get("secret", "caesarion-hub"))["data"] != values
    await release.helm("rollback", "caesarion", "1")
    assert (await release.get("secret", "caesarion-hub"))["data"] == values
    assert await release.keys() == keys


async def test_the_users_volumes_outlive_the_release(release: Release) -> None:
    await release.upgrade()
    await release.helm("uninstall", "caesarion")
    namespaces = await release.kubectl("get", "namespaces", "-o", "name")
    assert f"namespace/{release.people}" in namespaces.split()
    with pytest.raises(RefusedError, match="not found"):
        await release.get("deployment", "caesarion-hub")


async def test_a_release_comes_back_with_its_users_namespace(release: Release) -> None:
    await release.upgrade()
    await release.helm("uninstall", "caesarion")
    await release.upgrade()
    assert await release.generations() == dict.fromkeys(COMPONENTS, 1)


async def test_kubernetes_lets_the_hub_do_what_it_must_and_nothing_else(release: Release) -> None:
    await release.upgrade()
    may = [
        *(("create", "pods"), ("delete", "pods"), ("watch", "pods"), ("patch", "pods/resize")),
        *(("create", "persistentvolumeclaims"), ("delete", "persistentvolumeclaims")),
        *(("list", "events"), ("watch", "events")),
    ]
    must_not = [
        *(("get", "secrets"), ("list", "secrets"), ("create", "secrets"), ("get", "configmaps")),
        *(("create", "pods/exec"), ("get", "pods/log"), ("create", "pods/eviction")),
        *(("patch", "persistentvolumeclaims"), ("deletecollection", "pods")),
        *(("create", "services"), ("create", "events"), ("create", "serviceaccounts/token")),
        *(("create", "roles.rbac.authorization.k8s.io"), ("get", "namespaces"), ("list", "nodes")),
    ]
    both = [*may, *must_not]
    assert await release.may_hub(both, release.people) == set(may)
    assert await release.may_hub(both, release.namespace) == set()
