"""The RBAC of the tests' API server, on roles and bindings in a store."""

from typing import Any

import pytest

from tests.fakes.kubernetes.apiserver.calls import Call, User, parse_call
from tests.fakes.kubernetes.apiserver.errors import ApiError
from tests.fakes.kubernetes.apiserver.rbac import (
    GROUP,
    Access,
    access_of,
    authorize,
    check_escalation,
    is_allowed,
    rule_allows,
)
from tests.fakes.kubernetes.apiserver.resources import Resources
from tests.fakes.kubernetes.apiserver.store import Store

HUB = User("system:serviceaccount:hub:hub", ("system:serviceaccounts", "system:authenticated"))
ADMIN = User("admin", ("system:masters",))
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "create"]}


def bound(kind: str, *rules: dict[str, Any], subject: dict[str, Any] | None = None) -> Store:
    """Return a store with a role ``r`` bound in the namespace ``users``, or everywhere."""
    store = Store()
    whole = kind == "ClusterRoleBinding"
    role = "ClusterRole" if kind.startswith("Cluster") or whole else "Role"
    where = {} if whole else {"namespace": "users"}
    place = {} if role == "ClusterRole" else where
    store.put(
        f"{role.lower()}s.{GROUP}", {"metadata": {"name": "r", **place}, "rules": list(rules)}
    )
    who = subject or {"kind": "ServiceAccount", "name": "hub", "namespace": "hub"}
    binding = {
        "metadata": {"name": "b", **where},
        "roleRef": {"kind": role, "name": "r"},
        "subjects": [who],
    }
    store.put(f"{kind.lower()}s.{GROUP}", binding)
    return store


@pytest.mark.parametrize(
    ("rule", "access", "allowed"),
    [
        (PODS, Access("get", "", "pods"), True),
        (PODS, Access("delete", "", "pods"), False),
        (PODS, Access("get", "apps", "pods"), False),
        (PODS, Access("get", "", "pods/log"), False),
        ({**PODS, "resources": ["pods/log"]}, Access("get", "", "pods/log"), True),
        ({**PODS, "resources": ["pods/log"]}, Access("get", "", "pods"), False),
        ({**PODS, "resources": ["*"]}, Access("get", "", "pods/log"), True),
        ({**PODS, "resources": ["*/log"]}, Access("get", "", "pods/log"), True),
        ({**PODS, "resources": ["*/log"]}, Access("get", "", "pods"), False),
        ({**PODS, "apiGroups": ["*"], "verbs": ["*"]}, Access("watch", "apps", "pods"), True),
        ({**PODS, "resourceNames": ["one"]}, Access("get", "", "pods", "", "one"), True),
        ({**PODS, "resourceNames": ["one"]}, Access("get", "", "pods", "", "two"), False),
        ({**PODS, "resourceNames": ["one"]}, Access("list", "", "pods"), False),
        ({"nonResourceURLs": ["/api/*"], "verbs": ["get"]}, Access("get", path="/api/v1"), True),
        ({"nonResourceURLs": ["/api"], "verbs": ["get"]}, Access("get", path="/api/v1"), False),
        (PODS, Access("get", path="/api"), False),
    ],
)
def test_a_rule_allows_what_it_names(rule: dict[str, Any], access: Access, allowed: bool) -> None:
    assert rule_allows(rule, access) is allowed


def test_a_role_counts_in_its_namespace_alone() -> None:
    store = bound("RoleBinding", PODS)
    assert is_allowed(store, HUB, Access("get", "", "pods", "users"))
    assert not is_allowed(store, HUB, Access("get", "", "pods", "hub"))
    assert not is_allowed(store, HUB, Access("list", "", "pods"))


def test_a_cluster_role_that_is_bound_to_the_cluster_counts_everywhere() -> None:
    store = bound("ClusterRoleBinding", PODS)
    assert is_allowed(store, HUB, Access("get", "", "pods", "anywhere"))
    assert is_allowed(store, HUB, Access("list", "", "pods"))


@pytest.mark.parametrize(
    ("subject", "allowed"),
    [
        ({"kind": "User", "name": HUB.name}, True),
        ({"kind": "Group", "name": "system:serviceaccounts"}, True),
        ({"kind": "Group", "name": "system:masters"}, False),
        ({"kind": "ServiceAccount", "name": "hub", "namespace": "users"}, False),
        ({"kind": "ServiceAccount", "name": "hub"}, False),
    ],
)
def test_a_binding_counts_for_its_subjects(subject: dict[str, Any], allowed: bool) -> None:
    store = bound("RoleBinding", PODS, subject=subject)
    assert is_allowed(store, HUB, Access("get", "", "pods", "users")) is allowed


def test_the_masters_need_no_role() -> None:
    assert is_allowed(Store(), ADMIN, Access("delete", "", "nodes"))


def test_a_refusal_says_who_may_not_do_what_where() -> None:
    with pytest.raises(ApiError) as refused:
        authorize(Store(), HUB, Access("delete", "apps", "deployments/scale", "users", "one"))
    assert refused.value.code == 403
    assert refused.value.message == (
        'deployments.apps "one" is forbidden: User "system:serviceaccount:hub:hub" cannot delete'
        ' resource "deployments/scale" in API group "apps" in the namespace "users"'
    )
    with pytest.raises(ApiError, match="at the cluster scope"):
        authorize(Store(), HUB, Access("list", "", "nodes"))
    with pytest.raises(ApiError, match='cannot get path "/metrics"'):
        authorize(Store(), HUB, Access("get", path="/metrics"))


@pytest.mark.parametrize(
    ("method", "path", "query", "access"),
    [
        ("GET", "/api/v1/pods", {}, Access("list", "", "pods")),
        ("GET", "/api/v1/namespaces/n/pods", {"watch": "1"}, Access("watch", "", "pods", "n")),
        (
            "GET",
            "/api/v1/namespaces/n/pods",
            {"fieldSelector": "metadata.name=one"},
            Access("list", "", "pods", "n", "one"),
        ),
        ("GET", "/api/v1/namespaces/n/pods/p/log", {}, Access("get", "", "pods/log", "n", "p")),
        ("GET", "/api/v1/namespaces/n", {}, Access("get", "", "namespaces", "n", "n")),
        ("DELETE", "/api/v1/namespaces/n/pods", {}, Access("deletecollection", "", "pods", "n")),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/n/deployments/d/status",
            {},
            Access("patch", "apps", "deployments/status", "n", "d"),
        ),
    ],
)
def test_a_request_becomes_what_a_role_must_allow(
    method: str, path: str, query: dict[str, str], access: Access
) -> None:
    assert access_of(parse_call(Resources(), method, path, query)) == access


@pytest.mark.parametrize(
    ("method", "path", "query", "code"),
    [
        ("GET", "/apis/apps/v1beta1/deployments", {}, 501),
        ("GET", "/api/v1/namespaces/n/pods/p/exec", {}, 501),
        ("GET", "/api/v1/watch/pods", {}, 501),
        ("GET", "/api/v1/pods", {"shards": "2"}, 501),
        ("GET", "/metrics", {}, 501),
        ("GET", "/api/v1/namespaces/n/nodes/m", {}, 404),
        ("POST", "/api/v1/pods", {}, 404),
        ("PUT", "/api/v1/namespaces/n/pods", {}, 405),
        ("DELETE", "/api/v1/namespaces/n/pods/p/status", {}, 405),
    ],
)
def test_what_is_not_served_is_refused(
    method: str, path: str, query: dict[str, str], code: int
) -> None:
    with pytest.raises(ApiError) as refused:
        parse_call(Resources(), method, path, query)
    assert refused.value.code == code


def test_a_role_is_written_by_who_has_what_it_gives() -> None:
    store = bound("RoleBinding", PODS)
    call = Call("create", Resources().of("roles", GROUP), "users", user=HUB)
    own = {"metadata": {"name": "own"}, "rules": [{**PODS, "verbs": ["get", "list"]}]}
    check_escalation(store, call, own)
    more = {"metadata": {"name": "more"}, "rules": [{**PODS, "verbs": ["get", "delete"]}]}
    with pytest.raises(ApiError, match="permissions not currently held: delete pods"):
        check_escalation(store, call, more)
    escalate = {"apiGroups": [GROUP], "resources": ["roles"], "verbs": ["escalate"]}
    check_escalation(bound("RoleBinding", PODS, escalate), call, more)
