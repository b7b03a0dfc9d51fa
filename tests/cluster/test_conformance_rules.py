"""
Conformance, the rules, and who may do what: true of every Kubernetes API server, so of our double.

Runs against the double by default and against a real cluster with
``KUBECONFIG`` and ``CAESARION_TEST_CLUSTER=1``; see ``conformance``. Nothing
here needs a node.
"""

import re

import pytest

from tests.cluster.conformance import (
    RBAC,
    Cluster,
    Json,
    RefusedError,
    eventually,
    make,
    make_account,
    make_pod,
)

RESTRICTED: Json = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


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
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    async with api.within(labels=labels) as strict:
        with pytest.raises(RefusedError, match='violates PodSecurity "restricted') as refused:
            await strict.create(strict.path("pods"), make_pod("one"))
        for told in (
            "allowPrivilegeEscalation != false",
            "unrestricted capabilities",
            "runAsNonRoot != true",
            "seccompProfile",
        ):
            assert told in refused.value.message
        await strict.create(strict.path("pods"), make_pod("one", securityContext=RESTRICTED))


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
    with pytest.raises(RefusedError, match=re.escape(told)) as refused:
        await hub.delete(hub.path("pods", "one"))
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    for path in (hub.path("secrets"), hub.path("secrets", "other"), "/api/v1/pods"):
        with pytest.raises(RefusedError, match="is forbidden"):
            await hub.get(path)
    with pytest.raises(RefusedError, match="is forbidden"):
        await hub.patch(hub.path("pods", "one/status"), {"status": {"message": "mine"}})


async def test_access_can_be_asked_about(api: Cluster) -> None:
    rules = [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]}]
    hub = await make_account(api, rules)
    assert await hub.may("get", "apps", "deployments")
    assert not await hub.may("delete", "apps", "deployments")


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

    async def is_refused() -> bool:
        try:
            await hub.create(path, review)
        except RefusedError as error:
            return error.code == 401
        return False

    await eventually(is_refused)
