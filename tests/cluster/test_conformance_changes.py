"""
Conformance, how objects change and go: true of every Kubernetes API server, so of our double.

Runs against the double by default and against a real cluster with
``KUBECONFIG`` and ``CAESARION_TEST_CLUSTER=1``; see ``conformance``. Nothing
here needs a node.
"""

import asyncio

import pytest

from tests.cluster.conformance import (
    APPS,
    Cluster,
    Json,
    RefusedError,
    make,
    make_deployment,
    make_pod,
)


def told(events: list[Json]) -> list[tuple[str, str]]:
    """Return what a watch told, in short."""
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


# Watches


async def test_a_watch_tells_what_happens_after_a_version(api: Cluster) -> None:
    path = api.path("secrets")
    await api.create(path, make("Secret", "before"))
    version = (await api.get(path))["metadata"]["resourceVersion"]
    watching = asyncio.create_task(api.watch(path, 3, resourceVersion=version))
    await api.create(path, make("Secret", "one"))
    await api.patch(f"{path}/one", {"metadata": {"labels": {"a": "b"}}})
    await api.delete(f"{path}/one")
    events = await watching
    assert told(events) == [("ADDED", "one"), ("MODIFIED", "one"), ("DELETED", "one")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    assert versions[0] > int(version)


async def test_a_watch_without_a_version_begins_with_what_is_there(api: Cluster) -> None:
    path = api.path("secrets")
    await api.create(path, make("Secret", "one"))
    events = await api.watch(path, 1, fieldSelector="metadata.name=one")
    assert told(events) == [("ADDED", "one")]


async def test_a_watch_ends_when_its_time_is_up(api: Cluster) -> None:
    events = await api.watch(api.path("secrets"), 1, seconds=1, labelSelector="never")
    assert events == []


async def test_a_watch_sees_objects_enter_and_leave_its_selection(api: Cluster) -> None:
    path = api.path("secrets")
    version = (await api.create(path, make("Secret", "one")))["metadata"]["resourceVersion"]
    watching = asyncio.create_task(
        api.watch(path, 2, resourceVersion=version, labelSelector="seen=yes")
    )
    for label in ("no", "yes", "no"):
        await api.patch(f"{path}/one", {"metadata": {"labels": {"seen": label}}})
    last = await api.get(f"{path}/one")
    events = await watching
    assert told(events) == [("ADDED", "one"), ("DELETED", "one")]
    left = events[1]["object"]["metadata"]
    assert left["labels"] == {"seen": "yes"}
    assert left["resourceVersion"] == last["metadata"]["resourceVersion"]


async def test_a_watch_list_says_when_what_is_there_has_been_told(api: Cluster) -> None:
    if int((await api.get("/version"))["minor"].rstrip("+")) < 34:
        return  # some of the versions before have it turned off
    path = api.path("secrets")
    await api.create(path, make("Secret", "one"))
    events = await api.watch(
        path,
        2,
        fieldSelector="metadata.name=one",
        sendInitialEvents="true",
        resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
    )
    assert told(events) == [("ADDED", "one"), ("BOOKMARK", "")]
    annotations = events[1]["object"]["metadata"]["annotations"]
    assert annotations == {"k8s.io/initial-events-end": "true"}
    with pytest.raises(RefusedError, match="resourceVersionMatch"):
        await api.get(path, watch="true", sendInitialEvents="true")


async def test_a_watch_of_a_forgotten_version_is_told_410(api: Cluster) -> None:
    events = await api.watch(api.path("secrets"), 2, resourceVersion="1")
    assert [event["type"] for event in events] == ["ERROR"]
    assert (events[0]["object"]["code"], events[0]["object"]["reason"]) == (410, "Expired")


# Patches


async def test_a_json_patch_is_done_in_whole_or_not_at_all(api: Cluster) -> None:
    path = api.path("configmaps", "one")
    body = make("ConfigMap", "one", data={"a": "1", "b": "2"}, annotations={"note": "none"})
    await api.create(api.path("configmaps"), body)
    operations = [
        {"op": "test", "path": "/data/a", "value": "1"},
        {"op": "remove", "path": "/data/a"},
        {"op": "add", "path": "/metadata/annotations/caesarion.invalid~1c", "value": "3"},
    ]
    patched = await api.patch(path, operations, "json")
    assert patched["data"] == {"b": "2"}
    assert patched["metadata"]["annotations"] == {"note": "none", "caesarion.invalid/c": "3"}
    with pytest.raises(RefusedError) as refused:
        await api.patch(path, operations, "json")
    assert refused.value.code == 422
    assert await api.get(path) == patched


async def test_a_strategic_patch_merges_lists_by_their_keys(api: Cluster) -> None:
    path = api.path("deployments", "one", APPS)
    body = make_deployment("one", env=[{"name": "A", "value": "1"}, {"name": "B", "value": "2"}])
    await api.create(api.path("deployments", group=APPS), body)
    changes = [{"name": "B", "value": "3"}, {"name": "A", "$patch": "delete"}]
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "env": changes}]}}}}
    patched = await api.patch(path, patch, "strategic")
    container = patched["spec"]["template"]["spec"]["containers"][0]
    assert container["env"] == [{"name": "B", "value": "3"}]
    assert container["image"] == "registry.invalid/none:1"
    replaced = await api.patch(path, {"metadata": {"labels": {"a": "b"}}}, "merge")
    assert replaced["metadata"]["labels"] == {"a": "b"}


async def test_who_applies_owns_what_they_mention(api: Cluster) -> None:
    path = api.path("configmaps", "one")
    hub = {"fieldManager": "hub"}
    await api.patch(path, make("ConfigMap", "one", data={"a": "1", "b": "2"}), "apply", **hub)
    other = make("ConfigMap", "one", data={"b": "3", "c": "4"})
    with pytest.raises(RefusedError, match=r'conflict with "hub": \.data\.b') as refused:
        await api.patch(path, other, "apply", fieldManager="other")
    assert [cause["field"] for cause in refused.value.details["causes"]] == [".data.b"]
    forced = await api.patch(path, other, "apply", fieldManager="other", force="true")
    assert forced["data"] == {"a": "1", "b": "3", "c": "4"}
    left = await api.patch(path, make("ConfigMap", "one"), "apply", **hub)
    assert left["data"] == {"b": "3", "c": "4"}


async def test_an_update_takes_fields_from_who_applied_them(api: Cluster) -> None:
    path = api.path("deployments", "one", APPS)
    body = make_deployment("one")
    await api.patch(path, body, "apply", fieldManager="helm")
    await api.patch(path, {"spec": {"paused": True, "revisionHistoryLimit": 3}})
    body["spec"]["revisionHistoryLimit"] = 5
    with pytest.raises(RefusedError, match=r"\.spec\.revisionHistoryLimit"):
        await api.patch(path, body, "apply", fieldManager="helm")
    forced = await api.patch(path, body, "apply", fieldManager="helm", force="true")
    assert (forced["spec"]["paused"], forced["spec"]["revisionHistoryLimit"]) == (True, 5)


# Subresources


async def test_status_and_spec_are_written_apart(api: Cluster) -> None:
    path = api.path("pods", "one")
    pod = make_pod("one")
    await api.create(api.path("pods"), {**pod, "status": {"phase": "Running"}})
    assert (await api.get(path))["status"]["phase"] == "Pending"
    await api.patch(path, {"status": {"message": "from the spec's side"}})
    assert "message" not in (await api.get(path))["status"]
    patch = {"status": {"message": "told"}, "metadata": {"labels": {"a": "b"}}}
    await api.patch(f"{path}/status", patch)
    assert (await api.get(path))["status"]["message"] == "told"


async def test_a_deployment_is_scaled_without_the_rest_of_it(api: Cluster) -> None:
    path = api.path("deployments", "one", APPS)
    await api.create(api.path("deployments", group=APPS), make_deployment("one"))
    scale = await api.get(f"{path}/scale")
    assert (scale["kind"], scale["spec"]["replicas"]) == ("Scale", 0)
    assert scale["status"]["selector"] == "app=one"
    await api.patch(f"{path}/scale", {"spec": {"replicas": 2}})
    assert (await api.get(path))["spec"]["replicas"] == 2


async def test_a_pod_is_bound_once_and_waits_for_its_node_to_end(api: Cluster) -> None:
    path = api.path("pods", "one")
    spec = {"schedulerName": "nobody", "terminationGracePeriodSeconds": 20}
    await api.create(api.path("pods"), make_pod("one", spec=spec))
    binding = make("Binding", "one", target={"kind": "Node", "name": "no-such-node"})
    await api.create(f"{path}/binding", binding)
    assert (await api.get(path))["spec"]["nodeName"] == "no-such-node"
    with pytest.raises(RefusedError) as refused:
        await api.create(f"{path}/binding", binding)
    assert refused.value.code == 409
    marked = await api.delete(path)
    assert marked["metadata"]["deletionGracePeriodSeconds"] == 20
    assert "deletionTimestamp" in (await api.get(path))["metadata"]
    await api.delete(path, gracePeriodSeconds="0")
    await api.until_gone(path)


# How things go


async def test_finalizers_hold_what_is_deleted(api: Cluster) -> None:
    path = api.path("configmaps", "one")
    body = make("ConfigMap", "one", finalizers=["caesarion.invalid/wait"])
    await api.create(api.path("configmaps"), body)
    await api.delete(path)
    assert "deletionTimestamp" in (await api.get(path))["metadata"]
    await api.patch(path, {"metadata": {"finalizers": None}})
    with pytest.raises(RefusedError, match="not found"):
        await api.get(path)


async def test_what_an_owner_leaves_goes_too(api: Cluster) -> None:
    owner = await api.create(api.path("configmaps"), make("ConfigMap", "owner"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": owner["metadata"]["uid"],
    }
    owned = make("Secret", "owned", ownerReferences=[reference])
    await api.create(api.path("secrets"), owned)
    await api.delete(api.path("configmaps", "owner"))
    await api.until_gone(api.path("secrets", "owned"))


async def test_a_deletion_may_name_the_one_that_is_meant(api: Cluster) -> None:
    path = api.path("configmaps", "one")
    await api.create(api.path("configmaps"), make("ConfigMap", "one"))
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "another"}}
    with pytest.raises(RefusedError) as refused:
        await api.delete(path, options)
    assert refused.value.code == 409
    assert (await api.get(path))["metadata"]["name"] == "one"


async def test_a_selection_is_deleted_at_once(api: Cluster) -> None:
    path = api.path("secrets")
    for name, color in (("a", "red"), ("b", "red"), ("c", "blue")):
        await api.create(path, make("Secret", name, labels={"color": color}))
    await api.delete(path, labelSelector="color=red")
    assert await api.names(path, labelSelector="color") == ["c"]


async def test_a_namespace_is_furnished_when_it_comes_and_emptied_when_it_goes(
    api: Cluster,
) -> None:
    async with api.within() as other:
        path = f"/api/v1/namespaces/{other.namespace}"
        authority = await api.get(other.path("configmaps", "kube-root-ca.crt"))
        assert authority["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
        held = make("ConfigMap", "held", finalizers=["caesarion.invalid/wait"])
        await api.create(other.path("configmaps"), held)
        await api.create(other.path("secrets"), make("Secret", "one"))
        await api.delete(path)
        assert (await api.get(path))["status"]["phase"] == "Terminating"
        with pytest.raises(RefusedError, match="because it is being terminated") as refused:
            await api.create(other.path("secrets"), make("Secret", "two"))
        assert refused.value.code == 403
        await api.until_gone(other.path("secrets", "one"))
        await api.patch(other.path("configmaps", "held"), {"metadata": {"finalizers": None}})
        await api.until_gone(path)
