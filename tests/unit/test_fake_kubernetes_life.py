"""How things come and go in the tests' API server, what survives it, and what goes wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.apiserver import ask, make, make_pod, make_state
from tests.fakes.kubernetes.apiserver import ApiServer
from tests.fakes.kubernetes.apiserver.calls import Call, User, parse_call
from tests.fakes.kubernetes.apiserver.control import Control, from_json, to_json
from tests.fakes.kubernetes.apiserver.errors import ApiError
from tests.fakes.kubernetes.apiserver.faults import Fault, Faults
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.resources import Resources
from tests.fakes.kubernetes.apiserver.state import State
from tests.fakes.kubernetes.apiserver.store import Store
from tests.fakes.kubernetes.apiserver.tokens import Tokens

HUB = User("hub")


def owned_by(owner: Json, **more: Any) -> Json:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        **more,
    }


def is_there(state: State, qualified: str, name: str) -> bool:
    return state.store.get(qualified, "here", name) is not None


# Owners


def test_a_dependent_stays_as_long_as_one_owner_does() -> None:
    state = make_state()
    owners = [ask(state, "create", "configmaps", "", make("ConfigMap", name)) for name in "ab"]
    references = [owned_by(owner) for owner in owners]
    ask(state, "create", "secrets", "", make("Secret", "s", ownerReferences=references))
    ask(state, "delete", "configmaps", "a")
    left = ask(state, "get", "secrets", "s")["metadata"]["ownerReferences"]
    assert left == [references[1]]
    ask(state, "delete", "configmaps", "b")
    assert not is_there(state, "secrets", "s")


def test_what_names_an_owner_that_is_not_there_does_not_last() -> None:
    state = make_state()
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "1"}
    ask(state, "create", "secrets", "", make("Secret", "s", ownerReferences=[reference]))
    assert not is_there(state, "secrets", "s")


def test_an_orphan_stays_without_its_owner() -> None:
    state = make_state()
    owner = ask(state, "create", "configmaps", "", make("ConfigMap", "a"))
    ask(state, "create", "secrets", "", make("Secret", "s", ownerReferences=[owned_by(owner)]))
    ask(state, "delete", "configmaps", "a", {"propagationPolicy": "Orphan"})
    assert not is_there(state, "configmaps", "a")
    assert ask(state, "get", "secrets", "s")["metadata"]["ownerReferences"] == []


def test_an_owner_that_goes_last_waits_for_who_blocks_it() -> None:
    state = make_state()
    owner = ask(state, "create", "configmaps", "", make("ConfigMap", "a"))
    reference = owned_by(owner, blockOwnerDeletion=True)
    held = make("Secret", "s", ownerReferences=[reference], finalizers=["test.invalid/wait"])
    ask(state, "create", "secrets", "", held)
    ask(state, "delete", "configmaps", "a", {"propagationPolicy": "Foreground"})
    assert "deletionTimestamp" in ask(state, "get", "secrets", "s")["metadata"]
    assert is_there(state, "configmaps", "a")
    ask(state, "patch", "secrets", "s", {"metadata": {"finalizers": None}})
    assert not is_there(state, "configmaps", "a")


def test_a_claim_goes_when_the_last_pod_on_a_node_has_let_go_of_it() -> None:
    state = make_state()
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    ask(state, "create", "", "", make("PersistentVolumeClaim", "home", spec=spec))
    volume = {"name": "home", "persistentVolumeClaim": {"claimName": "home"}}
    ask(state, "create", "pods", "", make_pod("one", spec={"volumes": [volume]}))
    ask(state, "create", "pods", "one", {"target": {"name": "n"}}, subresource="binding")
    ask(state, "delete", "persistentvolumeclaims", "home")
    assert is_there(state, "persistentvolumeclaims", "home")
    ask(state, "patch", "pods", "one", {"status": {"phase": "Failed"}}, subresource="status")
    assert not is_there(state, "persistentvolumeclaims", "home")


# Kinds of one's own


def test_a_definition_adds_a_kind_and_takes_it_away() -> None:
    state = make_state()
    schema: Json = {"type": "object", "required": ["spec"]}
    schema["properties"] = {"spec": {"type": "object", "properties": {"port": {"type": "integer"}}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    spec = {
        "group": "test.invalid",
        "scope": "Namespaced",
        "names": {"plural": "routes", "singular": "route", "kind": "Route"},
        "versions": [version],
    }
    definitions = "customresourcedefinitions.apiextensions.k8s.io"
    body = make(
        "CustomResourceDefinition", "routes.test.invalid", "apiextensions.k8s.io/v1", spec=spec
    )
    created = ask(state, "create", definitions, "", body)
    conditions = {one["type"]: one["status"] for one in created["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    route = make("Route", "one", "test.invalid/v1", spec={"port": 80, "color": "red"})
    warnings: list[str] = []
    made = ask(state, "create", "routes.test.invalid", "", route, warnings=warnings)
    assert made["spec"] == {"port": 80}
    assert warnings == ['unknown field "spec.color"']
    with pytest.raises(ApiError, match="spec: Required value"):
        ask(state, "patch", "routes.test.invalid", "one", {"spec": None})
    status = {"status": {"ready": True}}
    told = ask(state, "patch", "routes.test.invalid", "one", status, subresource="status")
    assert told["spec"] == {"port": 80}
    with pytest.raises(ApiError, match=r'spec.port: "http" is not of type integer'):
        ask(state, "patch", "routes.test.invalid", "one", {"spec": {"port": "http"}})
    ask(state, "delete", definitions, "routes.test.invalid")
    assert state.resources.find("test.invalid", "v1", "routes") is None
    assert not is_there(state, "routes.test.invalid", "one")


# History


def test_a_store_that_has_forgotten_says_so() -> None:
    store = Store(history=2)
    for number in range(4):
        store.put("configmaps", {"metadata": {"name": f"c{number}"}})
    assert [
        event.object["metadata"]["name"] for event in store.events_since("configmaps", 102)
    ] == [
        "c2",
        "c3",
    ]
    with pytest.raises(ApiError, match=r"too old resource version: 101 \(102\)") as refused:
        store.events_since("configmaps", 101)
    assert refused.value.code == 410
    store.forget()
    with pytest.raises(ApiError, match="too old"):
        store.events_since("secrets", 103)
    assert store.events_since("secrets", 104) == []


# Tokens


def test_a_token_is_somebodys_until_its_pod_or_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = make_state()
    ask(state, "create", "pods", "", make_pod("one"))
    call = Call("create", state.resources.of("serviceaccounts"), "here", "default", "token")
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "one"}
    request: Json = {"spec": {"boundObjectRef": reference, "expirationSeconds": 600}}
    tokens: Tokens = state.tokens
    token = tokens.request(state.store, call, request)["status"]["token"]
    user = tokens.user(f"Bearer {token}", state.store)
    assert user.name == "system:serviceaccount:here:default"
    with pytest.raises(ApiError, match="Unauthorized"):
        tokens.user(f"Bearer {token[:-2]}xx", state.store)
    with monkeypatch.context() as later:
        later.setattr("time.time", lambda: 1e12)
        with pytest.raises(ApiError, match="Unauthorized"):
            tokens.user(f"Bearer {token}", state.store)
    ask(state, "delete", "pods", "one")
    with pytest.raises(ApiError, match="Unauthorized"):
        tokens.user(f"Bearer {token}", state.store)
    with pytest.raises(ApiError, match="less than 10 minutes"):
        tokens.request(state.store, call, {"spec": {"expirationSeconds": 60}})


# Faults


async def test_a_fault_meets_the_calls_that_match_it() -> None:
    faults = Faults()
    fault = Fault(
        503, verbs={"create"}, resources={"pods"}, spared={"node"}, times=2, retry_after=1
    )
    met = []
    with faults.during(fault):
        for verb, user in (("list", "hub"), ("create", "node"), *[("create", "hub")] * 3):
            call = Call(verb, Resources().of("pods"), "here", user=User(user))
            try:
                await faults.meet(call)
                met.append(0)
            except ApiError as error:
                met.append(error.code)
    assert met == [0, 0, 503, 503, 0]
    assert fault.met == 2
    assert faults.active == []


async def test_a_rate_is_the_same_every_time() -> None:
    async def codes() -> list[bool]:
        faults, seen = Faults(seed=7), []
        call = parse_call(Resources(), "GET", "/api/v1/pods", {}, HUB)
        with faults.during(Fault(500, rate=0.5)):
            for _ in range(20):
                try:
                    await faults.meet(call)
                    seen.append(True)
                except ApiError:
                    seen.append(False)
        return seen

    first = await codes()
    assert first == await codes()
    assert 4 < sum(first) < 16


def test_a_fault_goes_over_the_wire_and_a_wrong_one_is_refused() -> None:
    fault = Fault(429, verbs=frozenset({"list"}), rate=0.25)
    assert from_json(json.loads(json.dumps(to_json(fault)))) == fault
    with pytest.raises(ApiError, match="a fault has no color; it has delay"):
        from_json({"color": "red"})


# A server


@asynccontextmanager
async def asking(api: ApiServer, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """Ask as the administrator, over a connection of its own."""
    headers = {"Authorization": f"Bearer {api.state.tokens.admin}"}
    async with (
        aiohttp.ClientSession(api.url, headers=headers) as session,
        session.get(path, ssl=api.client_context()) as response,
    ):
        yield response


async def get(api: ApiServer, path: str) -> tuple[int, str]:
    async with asking(api, path) as response:
        return response.status, await response.text()


async def test_a_server_that_is_away_cuts_and_refuses_until_it_is_back(tmp_path: Path) -> None:
    async with ApiServer(tmp_path) as api:
        async with asking(api, "/api/v1/pods?watch=1") as watch, api.away():
            with pytest.raises(aiohttp.ClientPayloadError):
                await watch.text()
            with pytest.raises(aiohttp.ClientConnectorError):
                await get(api, "/version")
        status, text = await get(api, "/version")
        assert (status, json.loads(text)["gitVersion"]) == (200, "v1.37.1+fake")


async def test_a_watch_is_cut_in_the_middle(tmp_path: Path) -> None:
    async with (
        ApiServer(tmp_path) as api,
        asking(api, "/api/v1/namespaces?watch=1") as watch,
    ):
        assert b"ADDED" in await watch.content.readline()
        assert api.faults.drop_watches() == 1
        with pytest.raises(aiohttp.ClientPayloadError):
            await watch.text()


async def test_a_test_in_another_process_says_what_goes_wrong(tmp_path: Path) -> None:
    async with ApiServer(tmp_path) as api:

        def test() -> list[Any]:
            with Control(api.kubeconfig) as control:
                with control.faults(Fault(500, verbs=frozenset({"list"}))):
                    seen: list[Any] = [asyncio.run(get(api, "/api/v1/pods"))[0], control.met()]
                api.state.denials.append({"user": "hub"})
                seen += [control.denials(), control.warnings(), control.drop_watches()]
                control.forget_history()
                control.clear()
                return [*seen, control.denials()]

        assert await asyncio.to_thread(test) == [500, [1], [{"user": "hub"}], [], 0, []]
        _, text = await get(api, "/api/v1/pods?watch=1&resourceVersion=101")
        assert json.loads(text)["object"]["code"] == 410


async def test_a_server_goes_on_where_the_last_one_was_killed(tmp_path: Path) -> None:
    async with ApiServer(tmp_path) as first:
        path = "/api/v1/namespaces/default/configmaps"
        call = parse_call(first.state.resources, "POST", path, {})
        stored = first.state.store.put(
            call.resource.qualified, make("ConfigMap", "one", uid="1") | {"data": {"a": "b"}}
        )
        first.state.store.remove("configmaps", {**stored, "metadata": {**stored["metadata"]}})
        kept = make("ConfigMap", "two", uid="2")
        kept["metadata"]["namespace"] = "default"
        revision = first.state.store.put("configmaps", kept)["metadata"]["resourceVersion"]
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('["configmaps", "ADDED", {"metadata"')
    async with ApiServer(tmp_path, port=first.port) as second:
        assert second.state.tokens.admin == first.state.tokens.admin
        assert second.state.store.revision == int(revision)
        _, text = await get(second, path)
        names = [one["metadata"]["name"] for one in json.loads(text)["items"]]
        assert names == ["kube-root-ca.crt", "two"]
