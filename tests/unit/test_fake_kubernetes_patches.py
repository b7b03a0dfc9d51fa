"""The patches of the tests' API server: three without memory, and server-side apply."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes.kubernetes.apiserver.apply import applied, created_by, managers_of, updated_by
from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.errors import ApiError
from tests.fakes.kubernetes.apiserver.fields import differences, fields_of, from_json, to_json
from tests.fakes.kubernetes.apiserver.patches import json_patch, merge_patch, strategic_merge
from tests.fakes.kubernetes.apiserver.resources import Resources
from tests.fakes.kubernetes.apiserver.schemas import schema_named

PODS = schema_named("v1", "Pod")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


# JSON patch


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/b", "value": 1}, {"a": ["x", "y"], "b": 1}),
        ({"op": "add", "path": "/a/1", "value": "z"}, {"a": ["x", "z", "y"]}),
        ({"op": "add", "path": "/a/-", "value": "z"}, {"a": ["x", "y", "z"]}),
        ({"op": "remove", "path": "/a/0"}, {"a": ["y"]}),
        ({"op": "replace", "path": "/a", "value": 2}, {"a": 2}),
        ({"op": "move", "from": "/a", "path": "/b"}, {"b": ["x", "y"]}),
        ({"op": "copy", "from": "/a/0", "path": "/b"}, {"a": ["x", "y"], "b": "x"}),
        ({"op": "test", "path": "/a/1", "value": "y"}, {"a": ["x", "y"]}),
        ({"op": "add", "path": "/m~1n~0", "value": 1}, {"a": ["x", "y"], "m/n~": 1}),
        ({"op": "replace", "path": "", "value": {"c": 3}}, {"c": 3}),
    ],
)
def test_a_json_patch_follows_its_rfc(operation: dict[str, Any], result: dict[str, Any]) -> None:
    live = {"a": ["x", "y"]}
    assert json_patch(live, [operation]) == result
    assert live == {"a": ["x", "y"]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/none"},
        {"op": "add", "path": "/a/9", "value": 1},
        {"op": "test", "path": "/a/0", "value": "y"},
        {"op": "leap", "path": "/a"},
        {"op": "add", "path": "a", "value": 1},
        {"op": "add", "path": "/a"},
    ],
)
def test_a_json_patch_that_does_not_fit_is_422(operation: dict[str, Any]) -> None:
    with pytest.raises(ApiError, match="JSON patch") as refused:
        json_patch({"a": ["x"]}, [operation])
    assert refused.value.code == 422


# Merge patch


def test_a_merge_patch_deletes_with_null_and_replaces_lists() -> None:
    live = {"a": {"b": 1, "c": [1, 2]}, "d": 2}
    assert merge_patch(live, {"a": {"b": None, "c": [3]}, "e": {"f": None}}) == {
        "a": {"c": [3]},
        "d": 2,
        "e": {},
    }


@given(JSON, JSON)
def test_a_merge_patch_done_twice_is_done_once(live: Any, patch: Any) -> None:
    once = merge_patch(live, patch)
    assert merge_patch(once, patch) == once


# Strategic merge patch


def pod(**spec: Any) -> dict[str, Any]:
    return {"spec": spec}


def test_a_strategic_patch_merges_containers_by_name() -> None:
    live = pod(containers=[{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])
    patch = pod(containers=[{"name": "b", "image": "2"}, {"name": "c", "image": "1"}])
    assert strategic_merge(live, patch, PODS) == pod(
        containers=[
            {"name": "a", "image": "1"},
            {"name": "b", "image": "2"},
            {"name": "c", "image": "1"},
        ]
    )


def test_a_strategic_patch_replaces_lists_without_a_merge_key() -> None:
    live = pod(containers=[{"name": "a", "command": ["x", "y"]}])
    patch = pod(containers=[{"name": "a", "command": ["z"]}])
    assert strategic_merge(live, patch, PODS)["spec"]["containers"][0]["command"] == ["z"]


def test_a_strategic_patch_understands_its_directives() -> None:
    live = pod(
        containers=[{"name": "a"}, {"name": "b"}],
        volumes=[{"name": "v", "emptyDir": {}}],
        securityContext={"runAsUser": 1, "fsGroup": 2},
    )
    patch = pod(
        containers=[{"name": "a", "$patch": "delete"}],
        volumes=[{"name": "v", "hostPath": {"path": "/"}, "$retainKeys": ["name", "hostPath"]}],
        securityContext={"$patch": "replace", "runAsGroup": 3},
    )
    assert strategic_merge(live, patch, PODS)["spec"] == {
        "containers": [{"name": "b"}],
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
        "securityContext": {"runAsGroup": 3},
    }


def test_a_strategic_patch_orders_and_thins_out_lists() -> None:
    live = {"metadata": {"finalizers": ["x", "y"]}, **pod(containers=[{"name": "a"}])}
    patch = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["x"], "finalizers": ["z"]},
        "spec": {
            "$setElementOrder/containers": [{"name": "b"}, {"name": "a"}],
            "containers": [{"name": "b"}],
        },
    }
    merged = strategic_merge(live, patch, PODS)
    assert merged["metadata"]["finalizers"] == ["y", "z"]
    assert [one["name"] for one in merged["spec"]["containers"]] == ["b", "a"]


def test_an_item_without_its_merge_key_is_400() -> None:
    with pytest.raises(ApiError, match="does not contain declared merge key: name"):
        strategic_merge(pod(containers=[]), pod(containers=[{"image": "1"}]), PODS)


# Server-side apply


def call(manager: str, **query: str) -> Call:
    resource = Resources().of("pods")
    return Call("patch", resource, "here", "one", query={"fieldManager": manager, **query})


def make(containers: list[dict[str, Any]], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", **metadata},
        "spec": {"containers": containers},
    }


def test_fields_are_written_as_managed_fields_and_read_again() -> None:
    obj = make([{"name": "a", "ports": [{"containerPort": 80}]}], labels={"x": "y"})
    fields = fields_of(obj, PODS)
    tree = to_json(fields)
    container = tree["f:spec"]["f:containers"]['k:{"name":"a"}']
    assert tree["f:metadata"] == {"f:labels": {"f:x": {}}}
    assert container["f:ports"] == {
        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
    }
    assert from_json(tree) == fields


def test_only_what_differs_has_changed() -> None:
    old = make([{"name": "a", "image": "1"}, {"name": "b"}])
    new = make([{"name": "a", "image": "2"}], labels={"x": "y"})
    changed, removed = differences(old, new, PODS)
    assert changed == {
        ("f:metadata", "f:labels", "f:x"),
        ("f:spec", "f:containers", 'k:{"name":"a"}', "f:image"),
    }
    assert removed == {
        ("f:spec", "f:containers", 'k:{"name":"b"}', "."),
        ("f:spec", "f:containers", 'k:{"name":"b"}', "f:name"),
    }


def test_what_is_no_longer_applied_goes_unless_somebody_else_wants_it() -> None:
    first = make([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}], labels={"x": "1"})
    live = created_by(call("helm"), first, first)
    live = updated_by(call("kubectl"), live, {**live, "spec": {**live["spec"], "nodeName": "n"}})
    new = applied(call("helm"), live, make([{"name": "a", "image": "2"}]))
    assert new["spec"] == {"containers": [{"name": "a", "image": "2"}], "nodeName": "n"}
    assert "labels" not in new["metadata"]
    assert managers_of(new)["kubectl", "Update"] == {("f:spec", "f:nodeName")}


def test_a_conflict_names_who_has_the_field_and_force_takes_it() -> None:
    first = make([{"name": "a", "image": "1"}])
    live = created_by(call("helm"), first, first)
    live = updated_by(call("hub"), live, make([{"name": "a", "image": "2"}], **live["metadata"]))
    wanted = make([{"name": "a", "image": "3"}])
    with pytest.raises(ApiError, match='1 conflict: conflict with "hub"') as refused:
        applied(call("helm"), live, wanted)
    assert refused.value.code == 409
    forced = applied(call("helm", force="true"), live, wanted)
    assert forced["spec"]["containers"][0]["image"] == "3"
    assert ("hub", "Update") not in managers_of(forced)


def test_what_two_apply_alike_belongs_to_both() -> None:
    obj = make([{"name": "a", "image": "1"}])
    live = created_by(call("helm"), obj, obj)
    shared = applied(call("argocd"), live, obj)
    assert managers_of(shared)["helm", "Apply"] == managers_of(shared)["argocd", "Apply"]
    left = applied(call("argocd"), shared, make([]))
    assert left["spec"] == obj["spec"]
