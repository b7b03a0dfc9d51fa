"""
Conformance, objects and lists: true of every Kubernetes API server, so of our double.

Runs against the double by default and against a real cluster with
``KUBECONFIG`` and ``CAESARION_TEST_CLUSTER=1``; see ``conformance``. Nothing
here needs a node.
"""

import base64

import pytest

from tests.cluster.conformance import APPS, Cluster, RefusedError, make, make_deployment, make_pod

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


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
    found = await api.get("/apis", accept=AGGREGATED)
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
    elsewhere = "/api/v1/namespaces/no-such-namespace/configmaps"
    with pytest.raises(RefusedError, match='namespaces "no-such-namespace" not found'):
        await api.create(elsewhere, make("ConfigMap", "one"))


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
