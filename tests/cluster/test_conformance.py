"""
What is true of every Kubernetes API server, and so must be of our test double.

Runs against the double by default and against a real cluster with
``KUBECONFIG`` and ``CAESARION_TEST_CLUSTER=1``; see ``conformance``. Nothing
here needs a node.
"""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conformance import (
    Cluster,
    Json,
    RefusedError,
    make,
    make_pod,
    open_cluster,
)

APPS = "apps/v1"
RBAC = "rbac.authorization.k8s.io/v1"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
RESTRICTED: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Cluster]:
    """The cluster that is checked, in a namespace that ends with the test."""
    async with open_cluster(tmp_path) as api:
        api.namespace = f"conformance-{uuid.uuid4().hex[:8]}"
        await api.create("/api/v1/namespaces", make("Namespace", api.namespace))
        try:
            await api.until(api.path("serviceaccounts", "default"), lambda found: found is not None)
            yield api
        finally:
            await api.delete(f"/api/v1/namespaces/{api.namespace}")


# What is served


async def test_a_server_tells_its_version_and_its_groups(api: Cluster) -> None:
    assert (await api.get("/version"))["gitVersion"].startswith("v1.")
    groups = await api.get("/apis/")
    names = {group["name"] for group in groups["groups"]}
    assert {"apps", "batch", "policy", "rbac.authorization.k8s.io"} <= names
    core = await api.get("/api/v1")
    kinds = {one["name"]: one["kind"] for one in core["resources"]}
    assert (kinds["pods"], kinds["pods/eviction"]) == ("Pod", "Eviction")


async def test_discovery_is_told_at_once_to_who_asks_so(api: Cluster) -> None:
    api.headers["Accept"] = AGGREGATED
    found = await api.get("/apis")
    assert found["kind"] == "APIGroupDiscoveryList"
    apps = next(one for one in found["items"] if one["metadata"]["name"] == "apps")
    deployments = next(
        one for one in apps["versions"][0]["resources"] if one["resource"] == "deployments"
    )
    assert deployments["scope"] == "Namespaced"
    assert {one["subresource"] for one in deployments["subresources"]} == {"scale", "status"}


async def test_a_stranger_is_told_nothing(api: Cluster) -> None:
    stranger = api.as_token("not-a-token")
    with pytest.raises(RefusedError) as refused:
        await stranger.get(api.path("pods"))
    assert (refused.value.code, refused.value.reason) == (401, "Unauthorized")


# Objects


async def test_an_object_gets_an_identity_when_it_is_created(api: Cluster) -> None:
    created = await api.create(api.path("configmaps"), make("ConfigMap", "one"))
    metadata = created["metadata"]
    assert metadata["namespace"] == api.namespace
    assert len(metadata["uid"]) == 36
    assert int(metadata["resourceVersion"]) > 0
    assert metadata["creationTimestamp"].endswith("Z")
    assert await api.get(api.path("configmaps", "one")) == created


async def test_names_are_made_from_a_prefix(api: Cluster) -> None:
    body = make("ConfigMap", "", generateName="user-")
    names = [(await api.create(api.path("configmaps"), body))["metadata"]["name"] for _ in range(3)]
    assert len(set(names)) == 3
    assert all(name.startswith("user-") and len(name) == 10 for name in names)


async def test_a_name_is_taken_once(api: Cluster) -> None:
    await api.create(api.path("configmaps"), make("ConfigMap", "one"))
    with pytest.raises(RefusedError, match='configmaps "one" already exists') as refused:
        await api.create(api.path("configmaps"), make("ConfigMap", "one"))
    assert (refused.value.code, refused.value.reason) == (409, "AlreadyExists")


async def test_what_is_not_there_is_404_with_its_kind_and_name(api: Cluster) -> None:
    with pytest.raises(RefusedError, match=r'deployments\.apps "none" not found') as refused:
        await api.get(api.path("deployments", "none", APPS))
    assert (refused.value.code, refused.value.reason) == (404, "NotFound")
    api.namespace, kept = "no-such-namespace", api.namespace
    with pytest.raises(RefusedError, match='namespaces "no-such-namespace" not found'):
        await api.create(api.path("configmaps"), make("ConfigMap", "one"))
    api.namespace = kept


async def test_an_update_of_an_old_version_is_a_conflict(api: Cluster) -> None:
    path = api.path("configmaps", "one")
    old = await api.create(api.path("configmaps"), make("ConfigMap", "one"))
    await api.patch(path, {"data": {"a": "1"}})
    with pytest.raises(RefusedError, match="the object has been modified") as refused:
        await api.update(path, {**old, "data": {"a": "2"}})
    assert (refused.value.code, refused.value.reason) == (409, "Conflict")


async def test_an_update_that_changes_nothing_is_none(api: Cluster) -> None:
    path = api.path("configmaps", "one")
    created = await api.create(api.path("configmaps"), make("ConfigMap", "one"))
    again = await api.update(path, created)
    patched = await api.patch(path, {"metadata": {"labels": None}})
    version = created["metadata"]["resourceVersion"]
    assert again["metadata"]["resourceVersion"] == version
    assert patched["metadata"]["resourceVersion"] == version


async def test_a_dry_run_leaves_nothing(api: Cluster) -> None:
    body = make("ConfigMap", "one")
    tried = await api.create(api.path("configmaps"), body, dryRun="All")
    assert tried["metadata"]["name"] == "one"
    with pytest.raises(RefusedError, match="not found"):
        await api.get(api.path("configmaps", "one"))


# What is valid


async def test_a_secret_is_opaque_and_its_strings_are_encoded(api: Cluster) -> None:
    body = make("Secret", "one", stringData={"key": "värde"})
    created = await api.create(api.path("secrets"), body)
    assert created["type"] == "Opaque"
    assert base64.b64decode(created["data"]["key"]).decode() == "värde"
    assert "stringData" not in created


async def test_a_field_that_nobody_knows_is_refused_or_dropped(api: Cluster) -> None:
    pod = make_pod("one", imagePullPolice="Never")
    with pytest.raises(
        RefusedError, match=r'unknown field "spec.containers\[0\].imagePullPolice"'
    ) as refused:
        await api.create(api.path("pods"), pod, fieldValidation="Strict")
    assert refused.value.code == 400
    created = await api.create(api.path("pods"), pod)
    assert "imagePullPolice" not in created["spec"]["containers"][0]
    assert any("spec.containers[0].imagePullPolice" in text for text in api.warnings)


async def test_a_field_of_the_wrong_type_is_refused(api: Cluster) -> None:
    with pytest.raises(RefusedError) as refused:
        await api.create(api.path("configmaps"), make("ConfigMap", "one", data={"a": 1}))
    assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


async def test_everything_that_is_wrong_with_an_object_is_told(api: Cluster) -> None:
    pod = make_pod("Upper_Case", volumeMounts=[{"name": "none", "mountPath": "/home"}])
    with pytest.raises(RefusedError) as refused:
        await api.create(api.path("pods"), pod)
    assert (refused.value.code, refused.value.reason) == (422, "Invalid")
    fields = {cause["field"] for cause in refused.value.details["causes"]}
    assert fields == {"metadata.name", "spec.containers[0].volumeMounts[0].name"}


async def test_a_selector_must_match_its_template_and_never_changes(api: Cluster) -> None:
    body = make_deployment("one")
    body["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    with pytest.raises(RefusedError, match="does not match template `labels`"):
        await api.create(api.path("deployments", group=APPS), body)
    await api.create(api.path("deployments", group=APPS), make_deployment("one"))
    patch = {
        "spec": {
            "selector": {"matchLabels": {"app": "other"}},
            "template": {"metadata": {"labels": {"app": "other"}}},
        }
    }
    with pytest.raises(RefusedError, match="field is immutable"):
        await api.patch(api.path("deployments", "one", APPS), patch)


async def test_a_running_pod_keeps_its_spec(api: Cluster) -> None:
    await api.create(api.path("pods"), make_pod("one"))
    path = api.path("pods", "one")
    with pytest.raises(RefusedError, match="pod updates may not change fields other than"):
        await api.patch(path, {"spec": {"hostNetwork": True}})
    patch = {"spec": {"containers": [{"name": "main", "image": "registry.invalid/none:2"}]}}
    patched = await api.patch(path, patch, "strategic")
    assert patched["spec"]["containers"][0]["image"] == "registry.invalid/none:2"


# Lists


async def test_lists_are_selected_by_labels(api: Cluster) -> None:
    path = api.path("configmaps")
    for name, labels in (("a", {"tier": "hub"}), ("b", {"tier": "user", "gpu": ""}), ("c", {})):
        own = {"check": "labels", **labels}
        await api.create(path, make("ConfigMap", name, labels=own))
    found = {
        selector: await api.names(path, labelSelector=f"check=labels,{selector}")
        for selector in (
            "tier=hub",
            "tier!=hub",
            "tier in (hub,user)",
            "tier notin (hub)",
            "gpu",
            "!tier",
        )
    }
    assert found == {
        "tier=hub": ["a"],
        "tier!=hub": ["b", "c"],
        "tier in (hub,user)": ["a", "b"],
        "tier notin (hub)": ["b", "c"],
        "gpu": ["b"],
        "!tier": ["c"],
    }


async def test_lists_are_selected_by_some_fields(api: Cluster) -> None:
    path = api.path("pods")
    for name in ("a", "b"):
        await api.create(path, make_pod(name))
    assert await api.names(path, fieldSelector="metadata.name=b") == ["b"]
    assert await api.names(path, fieldSelector="status.phase!=Pending") == []
    with pytest.raises(RefusedError, match=r"field label not supported: spec\.color") as refused:
        await api.names(path, fieldSelector="spec.color=red")
    assert refused.value.code == 400


async def test_a_long_list_comes_in_pages(api: Cluster) -> None:
    path = api.path("secrets")
    names = [f"page-{number}" for number in range(5)]
    for name in names:
        await api.create(path, make("Secret", name))
    seen: list[str] = []
    page = await api.get(path, limit="2")
    version = page["metadata"]["resourceVersion"]
    while True:
        seen += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue")
        if not token:
            break
        assert len(page["items"]) == 2
        page = await api.get(path, **{"limit": "2", "continue": token})
        assert page["metadata"]["resourceVersion"] == version
    assert [name for name in seen if name.startswith("page-")] == names


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


async def test_a_namespace_is_emptied_when_it_goes(api: Cluster) -> None:
    authority = await api.get(api.path("configmaps", "kube-root-ca.crt"))
    assert authority["data"]["ca.crt"].startswith("-----BEGIN CERTIFICATE-----")
    own, path = api.namespace, f"/api/v1/namespaces/{api.namespace}-2"
    api.namespace = f"{own}-2"
    await api.create("/api/v1/namespaces", make("Namespace", api.namespace))
    held = make("ConfigMap", "held", finalizers=["caesarion.invalid/wait"])
    await api.create(api.path("configmaps"), held)
    await api.create(api.path("secrets"), make("Secret", "one"))
    await api.delete(path)
    assert (await api.get(path))["status"]["phase"] == "Terminating"
    with pytest.raises(RefusedError, match="because it is being terminated") as refused:
        await api.create(api.path("secrets"), make("Secret", "two"))
    assert refused.value.code == 403
    await api.until_gone(api.path("secrets", "one"))
    await api.patch(api.path("configmaps", "held"), {"metadata": {"finalizers": None}})
    await api.until_gone(path)
    api.namespace = own


# What the cluster's rules add and refuse


async def test_a_quota_refuses_what_is_too_much(api: Cluster) -> None:
    hard = {"pods": "1", "requests.memory": "1Gi"}
    await api.create(api.path("resourcequotas"), make("ResourceQuota", "room", spec={"hard": hard}))
    await api.until(
        api.path("resourcequotas", "room"),
        lambda found: (found or {}).get("status", {}).get("used", {}).get("pods") == "0",
    )
    with pytest.raises(RefusedError, match=r"must specify requests\.memory"):
        await api.create(api.path("pods"), make_pod("none"))
    sized = {"resources": {"requests": {"memory": "512Mi"}}}
    await api.create(api.path("pods"), make_pod("one", **sized))
    with pytest.raises(
        RefusedError, match="exceeded quota: room, requested: pods=1, used: pods=1, limited: pods=1"
    ) as refused:
        await api.create(api.path("pods"), make_pod("two", **sized))
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    await api.until(
        api.path("resourcequotas", "room"),
        lambda found: (found or {})["status"]["used"] == {"pods": "1", "requests.memory": "512Mi"},
    )


async def test_a_limit_range_sizes_containers_and_refuses_large_ones(api: Cluster) -> None:
    item = {
        "type": "Container",
        "default": {"memory": "1Gi"},
        "defaultRequest": {"memory": "256Mi"},
        "max": {"memory": "2Gi"},
    }
    limits = make("LimitRange", "sizes", spec={"limits": [item]})
    await api.create(api.path("limitranges"), limits)
    created = await api.create(api.path("pods"), make_pod("one"))
    resources = created["spec"]["containers"][0]["resources"]
    assert resources == {"limits": {"memory": "1Gi"}, "requests": {"memory": "256Mi"}}
    large = make_pod("two", resources={"limits": {"memory": "4Gi"}})
    with pytest.raises(RefusedError, match="maximum memory usage per Container is 2Gi"):
        await api.create(api.path("pods"), large)


async def test_a_restricted_namespace_refuses_pods_that_are_not(api: Cluster) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    await api.patch(f"/api/v1/namespaces/{api.namespace}", {"metadata": {"labels": label}})
    with pytest.raises(RefusedError, match='violates PodSecurity "restricted:latest"') as refused:
        await api.create(api.path("pods"), make_pod("one"))
    for told in (
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        "runAsNonRoot != true",
        "seccompProfile",
    ):
        assert told in refused.value.message
    await api.create(api.path("pods"), make_pod("one", securityContext=RESTRICTED))


async def test_a_pod_has_an_account_a_priority_and_a_quality(api: Cluster) -> None:
    created = await api.create(api.path("pods"), make_pod("one"))
    spec = created["spec"]
    assert (spec["serviceAccountName"], spec["priority"]) == ("default", 0)
    assert created["status"]["qosClass"] == "BestEffort"
    mounts = spec["containers"][0]["volumeMounts"]
    assert [one["mountPath"] for one in mounts] == ["/var/run/secrets/kubernetes.io/serviceaccount"]
    spec = {"automountServiceAccountToken": False}
    created = await api.create(api.path("pods"), make_pod("two", spec=spec))
    assert "volumeMounts" not in created["spec"]["containers"][0]
    for spec, told in (
        ({"serviceAccountName": "none"}, 'serviceaccount "none" not found'),
        ({"priorityClassName": "none"}, "no PriorityClass with name none was found"),
    ):
        with pytest.raises(RefusedError, match=told) as refused:
            await api.create(api.path("pods"), make_pod("three", spec=spec))
        assert refused.value.code == 403


async def test_a_service_gets_an_address_that_it_keeps(api: Cluster) -> None:
    path = api.path("services", "one")
    spec = {"selector": {"app": "one"}, "ports": [{"port": 80}]}
    created = await api.create(api.path("services"), make("Service", "one", spec=spec))
    assert created["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
    address = created["spec"]["clusterIP"]
    kept = await api.update(path, make("Service", "one", spec={**spec, "selector": {}}))
    assert kept["spec"]["clusterIP"] == address
    with pytest.raises(RefusedError, match=r"field is immutable|may not change once set"):
        await api.patch(path, {"spec": {"clusterIP": "None", "clusterIPs": ["None"]}})


async def test_a_claim_is_protected_and_keeps_its_spec(api: Cluster) -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "no-such-class",
    }
    path = api.path("persistentvolumeclaims", "home")
    claim = make("PersistentVolumeClaim", "home", spec=spec)
    created = await api.create(api.path("persistentvolumeclaims"), claim)
    assert created["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    assert created["status"] == {"phase": "Pending"}
    with pytest.raises(RefusedError, match="spec is immutable after creation"):
        await api.patch(path, {"spec": {"accessModes": ["ReadWriteMany"]}})
    mount = {"name": "home", "persistentVolumeClaim": {"claimName": "home"}}
    await api.create(api.path("pods"), make_pod("one", spec={"volumes": [mount]}))
    binding = make("Binding", "one", target={"kind": "Node", "name": "no-such-node"})
    await api.create(api.path("pods", "one/binding"), binding)
    await api.delete(path)
    assert "deletionTimestamp" in (await api.get(path))["metadata"]
    await api.delete(api.path("pods", "one"), gracePeriodSeconds="0")
    await api.until_gone(path)


# Who may do what


async def test_an_account_may_do_what_its_role_says_and_no_more(api: Cluster) -> None:
    hub = await make_account(
        api,
        [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "create"]},
            {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
            {
                "apiGroups": [""],
                "resources": ["secrets"],
                "resourceNames": ["own"],
                "verbs": ["get"],
            },
        ],
    )
    who = f"system:serviceaccount:{api.namespace}:hub"
    for name in ("own", "other"):
        await api.create(api.path("secrets"), make("Secret", name))
    await hub.create(hub.path("pods"), make_pod("one"))
    assert await hub.names(hub.path("pods")) == ["one"]
    assert (await hub.get(hub.path("secrets", "own")))["type"] == "Opaque"
    told = (
        f'pods "one" is forbidden: User "{who}" cannot delete resource "pods" in API group ""'
        f' in the namespace "{api.namespace}"'
    )
    with pytest.raises(RefusedError) as refused:
        await hub.delete(hub.path("pods", "one"))
    assert (refused.value.code, refused.value.message) == (403, told)
    for path in (hub.path("secrets"), hub.path("secrets", "other"), "/api/v1/pods"):
        with pytest.raises(RefusedError, match="is forbidden"):
            await hub.get(path)
    with pytest.raises(RefusedError, match="is forbidden"):
        await hub.patch(hub.path("pods", "one/status"), {"status": {"message": "mine"}})


async def test_access_can_be_asked_about(api: Cluster) -> None:
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]}]
    hub = await make_account(api, rules)
    answers = {}
    for verb in ("get", "delete"):
        attributes = {
            "namespace": api.namespace,
            "group": "apps",
            "resource": "deployments",
            "verb": verb,
        }
        review = make(
            "SelfSubjectAccessReview",
            "",
            "authorization.k8s.io/v1",
            spec={"resourceAttributes": attributes},
        )
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answers[verb] = (await hub.create(path, review))["status"]["allowed"]
    assert answers == {"get": True, "delete": False}


async def test_nobody_gives_away_more_than_they_have(api: Cluster) -> None:
    rules = [{"apiGroups": [RBAC.partition("/")[0]], "resources": ["roles"], "verbs": ["create"]}]
    hub = await make_account(api, rules)
    greedy = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    with pytest.raises(RefusedError, match="attempting to grant RBAC permissions not") as refused:
        await hub.create(hub.path("roles", group=RBAC), make("Role", "greedy", RBAC, rules=greedy))
    assert refused.value.code == 403


async def test_a_token_ends_with_its_account(api: Cluster) -> None:
    hub = await make_account(api, [])
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = make("SelfSubjectReview", "", "authentication.k8s.io/v1")
    who = (await hub.create(path, review))["status"]["userInfo"]
    assert who["username"] == f"system:serviceaccount:{api.namespace}:hub"
    assert f"system:serviceaccounts:{api.namespace}" in who["groups"]
    await api.delete(api.path("serviceaccounts", "hub"))
    await api.until_refused(lambda: hub.create(path, review), 401)


def told(events: list[Json]) -> list[tuple[str, str]]:
    """Return what a watch told, in short."""
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


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
    return api.as_token(answer["status"]["token"])
