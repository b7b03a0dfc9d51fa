"""Warm pods: what they have of users' pods, who may claim one, and how many there are."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from caesarion_hub.pods.api import serialized
from caesarion_hub.pods.orphan_reaper import find_orphans
from caesarion_hub.pods.spawner import PodSpawner
from caesarion_hub.pods.warm import stand_ins
from caesarion_hub.pods.warm.supply import State, fits_into, make_plan, state_of
from caesarion_hub.pods.warm.template import ColdStartError, Json, NoTemplateError, Template
from kubernetes_asyncio.client import ApiClient

from tests.spawners import make_hub, make_spawner, without_cluster

__all__ = ["without_cluster"]

WITHOUT_VOLUMES: dict[str, Any] = {"storage": {"type": "none"}}


@pytest.fixture(autouse=True)
def _client(without_cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # The client itself, whose session nobody opens here.
    serializer = ApiClient.__new__(ApiClient)
    client = SimpleNamespace(api_client=serializer)
    monkeypatch.setattr("caesarion_hub.pods.api.shared_client", lambda _: client)


def merged(singleuser: dict[str, Any]) -> dict[str, Any]:
    return {**WITHOUT_VOLUMES, **singleuser}


async def template_of(*, sandboxes: bool = True, **changes: Any) -> Template:
    """Return the template of warm pods as the hub finds it."""
    spawners = stand_ins.make_spawners(make_hub(**changes))
    return await stand_ins.make_template(spawners, sandboxes=sandboxes)


async def pod_of(user: str = "ada", **changes: Any) -> Json:
    return serialized(await make_spawner(user, **changes).get_pod_manifest())


async def test_a_warm_pod_knows_nothing_of_any_user() -> None:
    template = await template_of(singleuser=WITHOUT_VOLUMES)
    pod = template.make_pod("caesarion-warm-1", "the nonce")
    text = json.dumps(pod)
    for name in stand_ins.SERVERS:
        assert name not in text
    assert "TOKEN" not in text
    [container] = pod["spec"]["containers"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert container["args"] == ["caesarion-singleuser", "--warm"]
    assert env["CAESARION_CLAIM_NONCE"] == "the nonce"
    assert env["JUPYTERHUB_SERVICE_URL"] == "http://0.0.0.0:8888/"
    assert env["CAESARION_MODEL_NAME"] == "gpt-4.1"
    assert pod["metadata"] == {
        "name": "caesarion-warm-1",
        "labels": {
            "app.kubernetes.io/name": "caesarion",
            "app.kubernetes.io/instance": "caesarion",
            "app.kubernetes.io/component": "singleuser-server",
            "app.kubernetes.io/managed-by": "kubespawner",
            "helm.sh/chart": "caesarion-0.1.0",
            "component": "singleuser-server",
            "caesarion.org/state": "warm",
        },
        "annotations": {
            "caesarion.org/cpu-limit": "0.5",
            "caesarion.org/warm-template": template.digest,
            "hub.jupyter.org/kubespawner-version": "7.1.0",
            "hub.jupyter.org/jupyterhub-version": "6.1.1",
        },
    }


async def test_a_claim_makes_a_warm_pod_what_its_user_would_have_had() -> None:
    singleuser = merged({"extraLabels": {"team": "{username}"}})
    template = await template_of(singleuser=singleuser)
    own, warm = (
        await pod_of(singleuser=singleuser),
        template.make_pod("caesarion-warm-1", "the nonce"),
    )
    identity = template.identity(own)
    patch = identity.patch("7", "claim-1")["metadata"]
    assert patch.pop("resourceVersion") == "7"
    for name, table in patch.items():
        patched = {**warm["metadata"][name], **table}
        claimed = {key: value for key, value in patched.items() if value is not None}
        claimed.pop("caesarion.org/claim", None)
        assert claimed == own["metadata"][name]
    [container], [mine] = warm["spec"].pop("containers"), own["spec"].pop("containers")
    env = {entry["name"]: entry["value"] for entry in container.pop("env")}
    env |= identity.environment
    assert env.pop("CAESARION_CLAIM_NONCE")
    assert env == {entry["name"]: entry["value"] for entry in mine.pop("env")}
    container["args"].remove("--warm")
    assert container == mine
    assert warm["spec"] == own["spec"]


async def test_a_user_with_a_volume_starts_cold_and_their_sandbox_does_not() -> None:
    template = await template_of()
    with pytest.raises(ColdStartError, match=r"^spec\.volumes\[0\]\.emptyDir$"):
        template.identity(await pod_of())
    sandbox = make_spawner()
    sandbox.drop_volume()
    template.identity(serialized(await sandbox.get_pod_manifest()))


@pytest.mark.parametrize(
    ("singleuser", "difference"),
    [
        ({"memory": {"limit": "1Gi"}}, r"spec\.containers\[0\]\.resources\.limits\.memory"),
        ({"extraEnv": {"TZ": "UTC"}}, "variable TZ"),
        ({"extraEnv": {"CAESARION_AGENT_APPROVAL": "ask"}}, "variable CAESARION_AGENT_APPROVAL"),
        ({"extraEnv": {"JUPYTERHUB_USER": "$(HOME)"}}, "variable JUPYTERHUB_USER"),
        ({"extraLabels": {"team": "blue"}}, "label team"),
        ({"extraAnnotations": {"a": "b"}}, "annotation a"),
    ],
)
async def test_whatever_else_differs_leads_to_a_cold_start(
    singleuser: dict[str, Any], difference: str
) -> None:
    template = await template_of(singleuser=WITHOUT_VOLUMES)
    with pytest.raises(ColdStartError, match=f"^{difference}$"):
        template.identity(await pod_of(singleuser=merged(singleuser)))


async def test_a_sandboxs_own_variables_are_delivered_unless_the_pod_has_them() -> None:
    template = await template_of(singleuser=WITHOUT_VOLUMES)
    own = {"TOWN": "Lisbon"}
    pod = await pod_of(singleuser=merged({"extraEnv": own}))
    assert template.identity(pod, own).environment["TOWN"] == "Lisbon"
    own = {"OMP_NUM_THREADS": "8"}
    pod = await pod_of(singleuser=merged({"extraEnv": own}))
    with pytest.raises(ColdStartError, match="variable OMP_NUM_THREADS"):
        template.identity(pod, own)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"singleuser": {"extraPodConfig": {"hostname": "{username}"}}},
            r"spec\.hostname depends on the user",
        ),
        (
            {"singleuser": merged({"extraEnv": {"WHO": "$(JUPYTERHUB_USER)"}})},
            r"something refers to \$\(JUPYTERHUB_USER\), which depends on the user",
        ),
        (
            {"hub": {"config": {"KubeSpawner": {"cmd": ["my-server"]}}}},
            "the pod does not run caesarion-singleuser",
        ),
        (
            {
                "hub": {
                    "config": {
                        "KubeSpawner": {
                            "lifecycle_hooks": {"postStart": {"exec": {"command": ["true"]}}}
                        }
                    }
                }
            },
            "lifecycle of the container would act before there is a user",
        ),
    ],
)
async def test_no_pod_waits_if_it_could_become_the_wrong_one(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NoTemplateError, match=f"^{reason}$"):
        await template_of(**changes)


async def test_no_pod_waits_if_every_server_has_a_volume() -> None:
    with pytest.raises(NoTemplateError, match="every server has a volume"):
        await template_of(sandboxes=False)
    await template_of(sandboxes=False, singleuser=WITHOUT_VOLUMES)


async def test_the_digest_changes_with_the_values_and_only_then() -> None:
    first = (await template_of(singleuser=WITHOUT_VOLUMES)).digest
    assert first == (await template_of(singleuser=WITHOUT_VOLUMES)).digest
    other = await template_of(singleuser=merged({"image": {"tag": "2"}}))
    assert first != other.digest


async def test_warm_pods_have_the_profile_that_the_values_name() -> None:
    profiles = [
        {"display_name": "Small"},
        {"display_name": "Large", "kubespawner_override": {"mem_limit": "9Gi"}},
    ]
    singleuser = merged({"profileList": profiles, "warm": {"profile": "large"}})
    [container] = (await template_of(singleuser=singleuser)).common.rest["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == 9 * 2**30


def pod(uid: str, state: State = State.READY) -> tuple[Json, State]:
    return {"metadata": {"uid": uid}}, state


def plan(
    *pods: tuple[Json, State], replicas: int = 3, parallel: int = 4, wait: int = 0, up: int = 0
) -> tuple[int, list[str]]:
    made = make_plan(pods, replicas, parallel=parallel, users_wait=wait, give_up=up)
    return made.create, [each["metadata"]["uid"] for each in made.delete]


def test_missing_pods_are_created_a_few_at_a_time() -> None:
    assert plan(pod("a")) == (2, [])
    assert plan(replicas=20) == (4, [])
    assert plan(pod("a", State.STARTING), replicas=20) == (3, [])
    assert plan(pod("a", State.STARTING), replicas=20, parallel=1) == (0, [])
    assert plan(pod("a", State.STARTING), replicas=20, parallel=0) == (0, [])


def test_useless_pods_are_deleted_and_of_too_many_the_least_useful() -> None:
    useless = [pod("e", State.ENDED), pod("o", State.OUTDATED), pod("l", State.OVERDUE)]
    assert plan(pod("a"), *useless) == (2, ["e", "o", "l"])
    many = [pod("a"), pod("u", State.UNSCHEDULABLE), pod("s", State.STARTING), pod("b")]
    assert plan(*many, replicas=2) == (0, ["u", "s"])
    assert plan(*many, replicas=0) == (0, ["u", "s", "a", "b"])


def test_one_pod_gives_way_for_each_user_without_room_and_none_competes_with_them() -> None:
    full = [pod("a"), pod("b"), pod("u", State.UNSCHEDULABLE)]
    assert plan(*full, wait=1, up=1) == (0, ["u", "a"])
    assert plan(pod("b"), wait=1, up=0) == (0, [])
    assert plan(pod("b"), wait=0) == (2, [])


def asking(**requests: Any) -> Json:
    containers = [{"name": "notebook", "resources": {"requests": requests}}]
    return {"spec": {"containers": containers}}


@pytest.mark.parametrize(
    ("requests", "does"),
    [
        ({"cpu": "100m", "memory": "2Gi"}, True),
        ({"cpu": "100m"}, True),
        ({"cpu": "200m", "memory": "2Gi"}, False),
        ({"cpu": "100m", "memory": "2Gi", "nvidia.com/gpu": "1"}, False),
    ],
)
def test_room_is_given_up_only_where_it_is_enough(requests: dict[str, Any], does: bool) -> None:
    assert fits_into(asking(**requests), asking(cpu=0.1, memory=2**31)) is does


def test_room_is_given_up_only_on_the_same_nodes() -> None:
    elsewhere = asking()
    elsewhere["spec"]["nodeSelector"] = {"pool": "gpu"}
    assert not fits_into(elsewhere, asking())


def warm(phase: str = "Running", digest: str = "d", reason: str = "") -> Json:
    conditions = [{"type": "PodScheduled", "reason": reason}] if reason else []
    return {
        "metadata": {"uid": "1", "annotations": {"caesarion.org/warm-template": digest}},
        "status": {"phase": phase, "conditions": conditions},
    }


def test_what_a_warm_pod_is_follows_from_what_the_api_says() -> None:
    assert state_of(warm(), "d", {"1"}, ()) is State.READY
    assert state_of(warm(), "d", (), ()) is State.STARTING
    assert state_of(warm(), "d", (), {"1"}) is State.OVERDUE
    assert state_of(warm(digest="old"), "d", {"1"}, ()) is State.OUTDATED
    assert state_of(warm("Failed"), "d", {"1"}, ()) is State.ENDED
    assert state_of(warm("Pending", reason="Unschedulable"), "d", (), ()) is State.UNSCHEDULABLE
    assert state_of(warm("Pending", reason="Unschedulable"), "d", (), {"1"}) is State.OVERDUE


def test_the_orphan_reaper_leaves_warm_pods_to_their_pool_if_there_is_one() -> None:
    labels = {"app.kubernetes.io/instance": "r", "caesarion.org/state": "warm"}
    waiting = {"metadata": {"name": "r-warm-1", "namespace": "people", "labels": labels}}
    assert find_orphans([waiting], "r", set(), spare_warm=True) == []
    assert find_orphans([waiting], "r", set()) == [waiting]


def owner(state: dict[str, str]) -> PodSpawner:
    made = make_spawner()
    made.load_state({"pod_name": "r-warm-1", "kubespawner_version": "7.1.0", **state})
    return made


def of_claim(claim: str = "", state: str = "") -> Json:
    labels = {"caesarion.org/state": state} if state else {}
    annotations = {"caesarion.org/claim": claim} if claim else {}
    return {"metadata": {"name": "r-warm-1", "labels": labels, "annotations": annotations}}


async def test_a_hubs_successor_adopts_a_pod_only_by_its_own_claim() -> None:
    left = owner({"claim": "mine"})
    assert left.owns(of_claim("mine"))
    assert not left.owns(of_claim("another start's"))
    assert not left.owns(of_claim(state="warm"))
    assert left.get_state()["claim"] == "mine"
    left.clear_state()
    assert left.pod_name == "jupyter-ada"
    assert "claim" not in left.get_state()


async def test_a_pod_that_was_started_cold_is_its_servers() -> None:
    assert owner({}).owns(of_claim())
