"""What the tests' API server adds to objects and refuses, beyond what conformance asks."""

from typing import Any

import pytest

from tests.apiserver import ask, make, make_pod, make_state
from tests.fakes.kubernetes.apiserver import deletion, operations, subresources
from tests.fakes.kubernetes.apiserver.errors import ApiError
from tests.fakes.kubernetes.apiserver.objects import Json

# Pod Security


def test_who_makes_a_workload_is_warned_and_not_refused() -> None:
    state = make_state()
    labels = {"pod-security.kubernetes.io/warn": "restricted"}
    labels["pod-security.kubernetes.io/enforce"] = "restricted"
    ask(state, "patch", "namespaces", "here", {"metadata": {"labels": labels}})
    spec = {
        "selector": {"matchLabels": {"app": "one"}},
        "template": {"metadata": {"labels": {"app": "one"}}, "spec": make_pod("x")["spec"]},
    }
    warnings: list[str] = []
    body = make("Deployment", "one", "apps/v1", spec=spec)
    ask(state, "create", "deployments.apps", "", body, warnings=warnings)
    assert len(warnings) == 1
    assert warnings[0].startswith('would violate PodSecurity "restricted:latest"')


# Room


def test_a_quota_may_be_for_a_priority_alone() -> None:
    state = make_state()
    classes = "priorityclasses.scheduling.k8s.io"
    ask(
        state, "create", classes, "", make("PriorityClass", "low", "scheduling.k8s.io/v1", value=-5)
    )
    one = {"scopeName": "PriorityClass", "operator": "In", "values": ["low"]}
    spec = {"hard": {"pods": "0"}, "scopeSelector": {"matchExpressions": [one]}}
    ask(state, "create", "resourcequotas", "", make("ResourceQuota", "none", spec=spec))
    ask(state, "create", "pods", "", make_pod("free"))
    with pytest.raises(ApiError, match="exceeded quota: none"):
        ask(state, "create", "pods", "", make_pod("low", spec={"priorityClassName": "low"}))
    assert state.store.get("pods", "here", "low") is None


def test_a_quota_of_a_scope_that_is_not_honoured_is_501() -> None:
    quota = make("ResourceQuota", "q", spec={"hard": {"pods": "1"}, "scopes": ["BestEffort"]})
    with pytest.raises(ApiError, match="The scope BestEffort of a ResourceQuota") as refused:
        ask(make_state(), "create", "resourcequotas", "", quota)
    assert refused.value.code == 501


def test_a_quota_counts_storage_by_class_and_ended_pods_not_at_all() -> None:
    state = make_state()
    hard = {
        "pods": "1",
        "requests.storage": "10Gi",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "count/configmaps": "2",
    }
    ask(state, "create", "resourcequotas", "", make("ResourceQuota", "q", spec={"hard": hard}))
    ask(state, "create", "pods", "", make_pod("one"))
    ask(state, "patch", "pods", "one", {"status": {"phase": "Succeeded"}}, subresource="status")
    ask(state, "create", "pods", "", make_pod("two"))
    ask(state, "create", "persistentvolumeclaims", "", make_claim("a", "8Gi", "fast"))
    with pytest.raises(
        ApiError, match=r"used: requests\.storage=8Gi, limited: requests\.storage=10Gi"
    ):
        ask(state, "create", "persistentvolumeclaims", "", make_claim("b", "4Gi", "slow"))
    quota = ask(state, "get", "resourcequotas", "q")
    assert quota["status"]["used"] == {
        "pods": "1",
        "requests.storage": "8Gi",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "count/configmaps": "1",
    }


def make_claim(name: str, storage: str, storage_class: str) -> Json:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": storage}},
    }
    return make("PersistentVolumeClaim", name, spec=spec)


def test_limits_are_for_pods_and_claims_too() -> None:
    state = make_state()
    limits = [
        {"type": "Pod", "max": {"memory": "1Gi"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "5Gi"}},
        {"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}},
    ]
    ask(state, "create", "limitranges", "", make("LimitRange", "l", spec={"limits": limits}))
    resources = {"limits": {"memory": "2Gi", "cpu": "2"}, "requests": {"cpu": "100m"}}
    with pytest.raises(ApiError) as refused:
        ask(state, "create", "pods", "", make_pod("one", resources=resources))
    assert "cpu max limit to request ratio per Container is 4, but provided is 20.00" in str(
        refused.value
    )
    assert "maximum memory usage per Pod is 1Gi, but limit is 2" in str(refused.value)
    with pytest.raises(ApiError, match="maximum storage usage per PersistentVolumeClaim is 5Gi"):
        ask(state, "create", "persistentvolumeclaims", "", make_claim("c", "6Gi", "x"))


# Pods that run


def ready(state: Any, name: str) -> None:
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    ask(state, "patch", "pods", name, {"status": status}, subresource="status")


def test_a_pod_is_evicted_as_far_as_its_budget_allows() -> None:
    state = make_state()
    for name in ("a", "b"):
        ask(state, "create", "pods", "", make_pod(name, labels={"app": "gateway"}))
        ready(state, name)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "gateway"}}}
    budget = make("PodDisruptionBudget", "one", "policy/v1", spec=spec)
    ask(state, "create", "poddisruptionbudgets.policy", "", budget)
    eviction = make("Eviction", "a", "policy/v1")
    ask(state, "create", "pods", "a", eviction, subresource="eviction")
    assert state.store.get("pods", "here", "a") is None
    with pytest.raises(ApiError, match="would violate the pod's disruption budget") as refused:
        ask(state, "create", "pods", "b", eviction, subresource="eviction")
    assert (refused.value.code, refused.value.retry_after) == (429, 10)
    told = refused.value.details["causes"][0]["message"]
    assert told == "The disruption budget one needs 1 healthy pods and has 1 currently"


def test_a_running_pod_is_resized_through_its_subresource_alone() -> None:
    state = make_state()
    resources = {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "100m"}}
    ask(state, "create", "pods", "", make_pod("one", resources=resources))
    smaller = {"spec": {"containers": [{"name": "main", "resources": {"limits": {"cpu": "500m"}}}]}}
    kind = "application/strategic-merge-patch+json"
    with pytest.raises(ApiError, match="pod updates may not change fields"):
        ask(state, "patch", "pods", "one", smaller, kind=kind)
    resized = ask(state, "patch", "pods", "one", smaller, subresource="resize", kind=kind)
    assert resized["spec"]["containers"][0]["resources"]["limits"] == {
        "cpu": "500m",
        "memory": "1Gi",
    }
    assert resized["metadata"]["generation"] == 2
    other = {"spec": {"containers": [{"name": "main", "image": "other:1"}]}}
    with pytest.raises(ApiError, match="only cpu and memory resources of containers are mutable"):
        ask(state, "patch", "pods", "one", other, subresource="resize", kind=kind)
    whole = {"limits": {"cpu": "100m", "memory": "1Gi"}, "requests": {"memory": "1Gi"}}
    same = {"spec": {"containers": [{"name": "main", "resources": whole}]}}
    with pytest.raises(ApiError, match="Pod QOS Class may not change"):
        ask(state, "patch", "pods", "one", same, subresource="resize", kind=kind)


def test_grace_is_shortened_and_never_lengthened() -> None:
    state = make_state()
    ask(state, "create", "pods", "", make_pod("one"))
    ask(state, "create", "pods", "one", {"target": {"name": "n"}}, subresource="binding")
    graces = []
    for options in ({}, {"gracePeriodSeconds": 5}, {"gracePeriodSeconds": 60}):
        ask(state, "delete", "pods", "one", options)
        graces.append(ask(state, "get", "pods", "one")["metadata"]["deletionGracePeriodSeconds"])
    assert graces == [30, 5, 5]


def test_options_that_cannot_be_read_are_400() -> None:
    for body in ({"kind": "Pod"}, {"propagationPolicy": "Later"}):
        with pytest.raises(ApiError) as refused:
            deletion.parse_options({}, body)
        assert refused.value.code == 400


# What is valid


@pytest.mark.parametrize(
    ("container", "told"),
    [
        ({"image": ""}, "image: Required value"),
        ({"name": "A_b"}, "a lowercase RFC 1123 label"),
        ({"imagePullPolicy": "Sometimes"}, 'Unsupported value: "Sometimes"'),
        ({"ports": [{"containerPort": 0}]}, "Invalid value: 0: must be between 1 and 65535"),
        ({"ports": [{"containerPort": 1, "name": "x" * 16}]}, "at most 15 lower case"),
        ({"env": [{"name": "A=B", "value": "1"}]}, "environment variable name"),
        ({"livenessProbe": {"periodSeconds": 3}}, "must specify exactly one handler type"),
        (
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            'Invalid value: "2": must be less than or equal to cpu limit of 1',
        ),
        ({"resources": {"limits": {"memry": "1Gi"}}}, "must be a standard resource"),
        ({"resources": {"limits": {"memory": "-1"}}}, "must be greater than or equal to 0"),
    ],
)
def test_a_container_that_is_wrong_is_422(container: Json, told: str) -> None:
    with pytest.raises(ApiError) as refused:
        ask(make_state(), "create", "pods", "", make_pod("one", **container))
    assert refused.value.code == 422
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            make("Namespace", "n", labels={"pod-security.kubernetes.io/enforce": "strict"}),
            "must be one of privileged, baseline, restricted",
        ),
        (make("Service", "1st", spec={"ports": [{"port": 80}]}), "DNS-1035"),
        (make("Service", "s", spec={}), "spec.ports: Required value"),
        (make("Service", "s", spec={"ports": [{"port": 1}, {"port": 2}]}), "ports[0].name"),
        (make("Secret", "s", data={"a/b": ""}), "a valid config key"),
        (make("ConfigMap", "c", data={"a": "x" * 2_000_000}), "Too long"),
        (make("ConfigMap", "c", labels={"a": "b c"}), "a valid label"),
        (make("ConfigMap", "c", annotations={"a": "x" * 300_000}), "Too long"),
        (
            make("Ingress", "i", "networking.k8s.io/v1", spec={"ingressClassName": "x"}),
            "either `defaultBackend` or `rules`",
        ),
        (
            make("Role", "r", "rbac.authorization.k8s.io/v1", rules=[{"verbs": ["get"]}]),
            "must supply at least one apiGroups",
        ),
        (
            make(
                "PodDisruptionBudget",
                "p",
                "policy/v1",
                spec={"minAvailable": 1, "maxUnavailable": 1},
            ),
            "cannot be both set",
        ),
    ],
)
def test_an_object_that_is_wrong_is_422(body: Json, told: str) -> None:
    with pytest.raises(ApiError) as refused:
        ask(make_state(), "create", "", "", body)
    assert refused.value.code == 422
    assert told in refused.value.message


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"cidr": "10.0.0.0/33"}, "must be a valid CIDR value"),
        ({"cidr": "10.0.0.1/8"}, "must be a valid CIDR value"),
        ({"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}, "must be a strict subset of `cidr`"),
        ({"cidr": "10.0.0.0/8", "except": ["::/64"]}, "must be a strict subset of `cidr`"),
    ],
)
def test_a_network_policy_with_a_wrong_network_is_422(block: Json, told: str) -> None:
    spec = {"podSelector": {}, "egress": [{"to": [{"ipBlock": block}]}]}
    body = make("NetworkPolicy", "n", "networking.k8s.io/v1", spec=spec)
    with pytest.raises(ApiError) as refused:
        ask(make_state(), "create", "networkpolicies.networking.k8s.io", "", body)
    assert refused.value.code == 422
    assert told in refused.value.message


def test_a_list_of_the_future_is_504_and_an_exact_one_of_the_past_410() -> None:
    state = make_state()
    with pytest.raises(ApiError, match="Too large resource version: 99999") as refused:
        ask(state, "list", "pods", "", query={"resourceVersion": "99999"})
    assert refused.value.code == 504
    query = {"resourceVersion": "101", "resourceVersionMatch": "Exact"}
    with pytest.raises(ApiError, match="too old") as refused:
        ask(state, "list", "pods", "", query=query)
    assert refused.value.code == 410
    with pytest.raises(ApiError, match="continue key is not valid"):
        ask(state, "list", "pods", "", query={"continue": "?"})


def test_a_scale_that_is_none_is_400() -> None:
    state = make_state()
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "one"}},
        "template": {"metadata": {"labels": {"app": "one"}}, "spec": make_pod("x")["spec"]},
    }
    ask(state, "create", "deployments.apps", "", make("Deployment", "one", "apps/v1", spec=spec))
    for body, told in (
        ({"spec": {"replicas": -1}}, "is no number of replicas"),
        ({"spec": {"replicas": "2"}}, "is no number of replicas"),
    ):
        with pytest.raises(ApiError, match=told) as refused:
            ask(state, "update", "deployments.apps", "one", body, subresource="scale")
        assert refused.value.code == 400
    assert subresources.scale_of(ask(state, "get", "deployments.apps", "one"))["spec"] == {
        "replicas": 0
    }
    assert operations.STALE.startswith("the object has been modified")
