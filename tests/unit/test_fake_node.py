"""The pure parts of the fake cluster's node and controllers."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.kubernetes.client import Api, Cache, Json, selects
from tests.fakes.kubernetes.controllers.deployments import next_scales
from tests.fakes.kubernetes.controllers.world import contains
from tests.fakes.kubernetes.node.dns import make_hosts
from tests.fakes.kubernetes.node.environment import expand, field_of, on_own_address
from tests.fakes.kubernetes.node.images import Image, reference
from tests.fakes.kubernetes.node.orders import make_argv
from tests.fakes.kubernetes.node.roots import make_visible
from tests.fakes.kubernetes.node.scheduler import apart, obstacle, requested, victims
from tests.fakes.kubernetes.node.services import routes
from tests.fakes.kubernetes.node.status import ContainerStatus, make_status, terminated, waiting
from tests.hub import REPOSITORY

NOW = "2026-01-01T00:00:00Z"
RUNNING = {"running": {"startedAt": NOW}}
DONE = terminated(0, "Completed", NOW, NOW, "a")
BROKEN = terminated(1, "Error", NOW, NOW, "a")


def make_pod(memory: str = "1Gi", name: str = "pod", **spec: Any) -> Json:
    resources = {"requests": {"memory": memory}}
    return {
        "metadata": {"name": name, "namespace": "ns", "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "main", "resources": resources}], **spec},
        "status": {"podIP": "127.97.0.9"},
    }


def make_node(memory: str = "4Gi", **spec: Any) -> Json:
    return {
        "metadata": {"name": "node-1", "labels": {"disk": "fast"}},
        "spec": spec,
        "status": {"allocatable": {"cpu": "2", "memory": memory, "pods": "3"}},
    }


def test_a_pod_asks_for_its_containers_together_or_for_its_greediest_init_container() -> None:
    pod = make_pod("1Gi")
    pod["spec"]["containers"] *= 2
    pod["spec"]["initContainers"] = [{"resources": {"requests": {"memory": "3Gi", "cpu": "1"}}}]
    assert requested(pod) == {"memory": 3 * 1024**3, "cpu": 1, "pods": 1}


@pytest.mark.parametrize(
    ("told", "understood"),
    [
        ("http://0.0.0.0:8005/x", "http://127.9.9.9:8005/x"),
        ("--ip=0.0.0.0", "--ip=127.9.9.9"),
        ("--ip=", "--ip=127.9.9.9"),
        ("--api-ip=", "--api-ip=127.9.9.9"),
        ("--ip=::", "--ip=127.9.9.9"),
        ("http://[::]:80/", "http://127.9.9.9:80/"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.0.0", "10.0.0.0.0"),
        ("words[::2]", "words[::2]"),
        ("std::string", "std::string"),
    ],
)
def test_all_addresses_become_the_pods_own(told: str, understood: str) -> None:
    assert on_own_address(told, "127.9.9.9") == understood


def test_variables_are_put_in_and_unknown_ones_stay() -> None:
    assert expand("$(A)-$(B)-$$(A)-$A", {"A": "1"}) == "1-$(B)-$(A)-$A"


def test_the_downward_api_knows_labels_and_names() -> None:
    assert field_of(make_pod(), "metadata.labels['app']") == "a"
    assert field_of(make_pod(), "metadata.labels['none']") == ""
    assert field_of(make_pod(), "status.podIP") == "127.97.0.9"


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ({}, ["tini", "--", "hub"]),
        ({"args": ["python"]}, ["tini", "--", "python"]),
        ({"command": ["sh"]}, ["sh"]),
        ({"command": ["sh"], "args": ["-c", "$(A)"]}, ["sh", "-c", "1"]),
    ],
)
def test_a_pods_command_replaces_the_images_arguments_too(container: Json, argv: list[str]) -> None:
    image = Image(entrypoint=["tini", "--"], command=["hub"])
    assert make_argv(container, image, {"A": "1"}) == argv


def test_a_volume_over_the_checkout_does_not_hide_its_programs() -> None:
    above = str(REPOSITORY.parent)
    shown = [order["target"] for order in make_visible(Image(), [above])]
    assert {sys.prefix, f"{REPOSITORY}/extension", f"{REPOSITORY}/dialects"} <= set(shown)
    assert list(make_visible(Image(), ["/elsewhere"])) == []
    assert list(make_visible(Image(rootfs="/built"), [above])) == []


def test_an_images_name_is_told_in_full() -> None:
    assert reference("pause") == "docker.io/library/pause:latest"
    assert reference("a/b:1") == "docker.io/a/b:1"
    assert reference("localhost:5000/a") == "localhost:5000/a:latest"


@pytest.mark.parametrize(
    ("pod", "node", "reason"),
    [
        (make_pod(), make_node(), ""),
        (make_pod("5Gi"), make_node(), "Insufficient memory"),
        (
            make_pod(nodeSelector={"disk": "slow"}),
            make_node(),
            "node(s) didn't match Pod's node affinity/selector",
        ),
        (
            make_pod(),
            make_node(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
            "node(s) had untolerated taint(s) {gpu: yes}",
        ),
        (
            make_pod(tolerations=[{"key": "gpu", "operator": "Exists"}]),
            make_node(taints=[{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]),
            "",
        ),
        (make_pod(), make_node(unschedulable=True), "node(s) were unschedulable"),
    ],
)
def test_a_node_takes_a_pod_or_says_why_not(pod: Json, node: Json, reason: str) -> None:
    assert obstacle(pod, node, []) == reason


def test_a_pod_that_must_be_beside_others_goes_where_they_are() -> None:
    term = {"labelSelector": {"matchLabels": {"a": "b"}}, "topologyKey": "kubernetes.io/hostname"}
    beside = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    pod, node, name = make_pod(affinity=beside), make_node(), make_node()["metadata"]["name"]
    other = make_pod(nodeName=name)
    other["metadata"]["labels"] = {"a": "b"}
    assert obstacle(pod, node, []) == ""
    assert apart(pod, node, [other]) == ""
    assert apart(pod, node, []) == "node(s) didn't match pod affinity rules"
    other["spec"]["nodeName"] = "another"
    assert apart(pod, node, [other]) == "node(s) didn't match pod affinity rules"
    pod["metadata"]["labels"] = {"a": "b"}
    assert apart(pod, node, []) == "", "the first of its kind"


def test_a_full_node_has_too_many_pods() -> None:
    assert obstacle(make_pod(), make_node(), [make_pod("0")] * 3) == "Too many pods"


def test_pods_of_lower_priority_give_way_as_few_as_will_do() -> None:
    low, high = [make_pod(name=f"low-{n}", priority=-10) for n in range(2)], make_pod(priority=0)
    assert victims(make_pod("2Gi", priority=0), make_node(), [*low, high]) == low[:1]
    assert victims(make_pod("2Gi", priority=-10), make_node(), [*low, high]) == []
    leaving = {**low[0], "metadata": {**low[0]["metadata"], "deletionTimestamp": NOW}}
    assert victims(make_pod("2Gi", priority=0), make_node(), [leaving, low[1], high]) == []


async def test_an_answer_that_comes_late_does_not_bring_back_what_was_deleted() -> None:
    def at(revision: int) -> Json:
        return {"metadata": {"name": "a", "namespace": "ns", "resourceVersion": str(revision)}}

    class Told(Api):
        def __init__(self) -> None:
            pass

        async def send(self, *_: Any, **__: Any) -> Json:
            return {"items": [at(1)], "metadata": {"resourceVersion": "1"}}

        async def watch(self, *_: Any) -> AsyncIterator[Json]:
            yield {"type": "DELETED", "object": at(3)}
            await asyncio.Event().wait()

    cache, deleted = Cache(Told(), "pods"), asyncio.Event()
    cache.on_change(lambda plural: None if cache.all(plural) else deleted.set())
    running = asyncio.ensure_future(cache.run())
    await deleted.wait()
    cache.put("pods", at(2))
    assert cache.all("pods") == []
    cache.put("pods", at(4))
    assert cache.all("pods") == [at(4)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_selector_takes_labels_by_value_and_by_presence() -> None:
    labels = {"app": "a", "tier": "b"}
    one = {"key": "tier", "operator": "In", "values": ["b", "c"]}
    none = {"key": "gone", "operator": "DoesNotExist"}
    assert selects({"matchLabels": {"app": "a"}, "matchExpressions": [one, none]}, labels)
    assert not selects({"matchLabels": {"app": "b"}}, labels)
    assert selects({}, labels)
    assert not selects(None, labels)


@pytest.mark.parametrize(
    ("states", "policy", "phase"),
    [
        ([waiting("ContainerCreating")], "Always", "Pending"),
        ([RUNNING, RUNNING], "Always", "Running"),
        ([RUNNING, DONE], "Never", "Running"),
        ([DONE, DONE], "Never", "Succeeded"),
        ([DONE, BROKEN], "Never", "Failed"),
        ([DONE, BROKEN], "OnFailure", "Running"),
        ([BROKEN], "Always", "Running"),
    ],
)
def test_a_pods_phase_follows_from_its_containers(
    states: list[Json], policy: str, phase: str
) -> None:
    main = [ContainerStatus(f"c{number}", "image", state) for number, state in enumerate(states)]
    assert make_status(make_pod(restartPolicy=policy), [], main, NOW)["phase"] == phase


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    one = ContainerStatus("main", "image", RUNNING, ready=True)
    pod = make_pod()
    pod["status"]["conditions"] = [
        {"type": "Ready", "status": "True", "lastTransitionTime": "before"},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "before"},
    ]
    conditions = {
        told["type"]: told["lastTransitionTime"]
        for told in make_status(pod, [], [one], NOW)["conditions"]
    }
    assert (conditions["Ready"], conditions["PodScheduled"]) == ("before", "before")
    assert conditions["ContainersReady"] == NOW


def make_service(address: str, name: str = "hub") -> Json:
    return {
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}]},
    }


def make_slice(*ready: bool) -> Json:
    return {
        "metadata": {"namespace": "ns", "labels": {"kubernetes.io/service-name": "hub"}},
        "ports": [{"name": "http", "port": 8081}],
        "endpoints": [
            {"addresses": [f"127.97.0.{number}"], "conditions": {"ready": one}}
            for number, one in enumerate(ready)
        ],
    }


def test_a_services_address_leads_to_its_ready_pods() -> None:
    service = make_service("127.96.0.5")
    assert routes(service, [make_slice(True, False, True)]) == {
        ("127.96.0.5", 80): [("127.97.0.0", 8081), ("127.97.0.2", 8081)]
    }
    assert routes(service, [make_slice(False)]) == {}


def test_a_pod_knows_services_by_name_and_those_of_its_namespace_by_the_short_one() -> None:
    other = make_service("127.96.0.6", "proxy") | {
        "metadata": {"name": "proxy", "namespace": "other"}
    }
    headless = make_service("None")
    assert make_hosts(make_pod(), [headless, other], [make_slice(True, False)]).splitlines() == [
        "127.0.0.1 localhost",
        "127.97.0.9 pod",
        "127.97.0.0 hub.ns.svc.cluster.local hub.ns.svc hub.ns hub",
        "127.96.0.6 proxy.other.svc.cluster.local proxy.other.svc proxy.other",
    ]


def make_replicaset(name: str, replicas: int, available: int) -> Json:
    return {
        "metadata": {"name": name},
        "spec": {"replicas": replicas},
        "status": {"availableReplicas": available},
    }


@pytest.mark.parametrize(
    ("new", "old", "scales"),
    [
        ((0, 0), (2, 2), {"new": 1, "old": 2}),  # one more than wanted, none less
        ((1, 0), (2, 2), {"new": 1, "old": 2}),  # not there yet
        ((1, 1), (2, 2), {"new": 1, "old": 1}),
        ((1, 1), (1, 1), {"new": 2, "old": 1}),
        ((2, 2), (1, 1), {"new": 2, "old": 0}),
        ((0, 0), (2, 0), {"new": 1, "old": 0}),  # those that do not work go at once
    ],
)
def test_a_rolling_update_keeps_as_many_pods_as_are_wanted(
    new: tuple[int, int], old: tuple[int, int], scales: dict[str, int]
) -> None:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    deployment = {"spec": {"replicas": 2, "strategy": rolling}}
    sets = make_replicaset("new", *new), [make_replicaset("old", *old)]
    assert next_scales(deployment, *sets, old_pods=old[0]) == scales


def test_recreate_waits_until_the_old_pods_are_gone() -> None:
    deployment = {"spec": {"replicas": 1, "strategy": {"type": "Recreate"}}}
    sets = make_replicaset("new", 0, 0), [make_replicaset("old", 1, 1)]
    assert next_scales(deployment, *sets, old_pods=1) == {"new": 0, "old": 0}
    assert next_scales(deployment, *sets, old_pods=0) == {"new": 1, "old": 0}


def test_a_change_that_changes_nothing_is_seen() -> None:
    thing = {"a": {"b": [1], "c": 2}}
    assert contains(thing, {"a": {"b": [1]}, "d": None})
    assert not contains(thing, {"a": {"b": [2]}})
    assert not contains(thing, {"a": {"c": None}})
