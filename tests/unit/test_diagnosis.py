"""Why a pod does not start, in words for its user."""

from typing import Any

import pytest
from caesarion_hub.pods.diagnosis import (
    CONFIG_PATIENCE,
    REGISTRY_PATIENCE,
    describe_end,
    find_problem,
    has_ended,
    kubernetes_messages,
    progress_of,
)
from caesarion_hub.pods.spawn_errors import (
    UNLIMITED,
    SpawnFailed,
    SpawnProblem,
    api_refusal,
    api_unavailable,
    timed_out,
)
from jupyterhub.utils import format_exception

GIB = 2**30
OTHER_PROFILE = "Choose another profile, or ask your administrator."


def pod_with(state: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    """Return a pod whose container is in ``state``."""
    if state is not None:
        container = {"name": "notebook", "image": "r/i:1", "restartCount": 0, **state}
        status.setdefault("containerStatuses", [container])
    limits = {"memory": str(5 * GIB)}
    return {
        "metadata": {"name": "jupyter-ada", "namespace": "people"},
        "spec": {
            "restartPolicy": "OnFailure",
            "containers": [{"name": "notebook", "resources": {"limits": limits}}],
        },
        "status": {"phase": "Pending", **status},
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def ended(reason: str, code: int, restarts: int = 0) -> dict[str, Any]:
    return {
        "restartCount": restarts,
        "state": {"terminated": {"reason": reason, "exitCode": code}},
    }


def event(reason: str, message: str = "", kind: str = "Warning") -> dict[str, Any]:
    return {"reason": reason, "message": message, "type": kind}


def unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    return pod_with(conditions=[{**condition, "message": message}])


@pytest.mark.parametrize(
    ("message", "why", "patience"),
    [
        (
            'rpc error: code = NotFound desc = failed to pull image "r/i:1": r/i:1: not found',
            "the image does not exist",
            0.0,
        ),
        ("manifest unknown: manifest unknown", "the image does not exist", 0.0),
        (
            "pull access denied, repository does not exist or may require authorization: "
            "server message: insufficient_scope: authorization failed; not found",
            "the registry refuses access",
            0.0,
        ),
        (
            "failed to do request: dial tcp: lookup r on 10.0.0.10:53: no such host",
            "the registry cannot be reached",
            REGISTRY_PATIENCE,
        ),
        ("toomanyrequests: You have reached your limit", "the registry limits requests", 30.0),
        ("write /var/lib: no space left on device", "the node's disk is full", REGISTRY_PATIENCE),
        ("something new", "something new", REGISTRY_PATIENCE),
    ],
)
def test_an_image_that_cannot_be_pulled_is_named_with_the_reason(
    message: str, why: str, patience: float
) -> None:
    text = f"The image r/i:1 cannot be pulled: {why}."
    pod = pod_with(waiting("ErrImagePull", message))
    assert find_problem(pod, []) == SpawnProblem("image", text, OTHER_PROFILE, patience)


def test_the_reason_is_looked_for_in_the_events_once_kubernetes_backs_off() -> None:
    pod = pod_with(waiting("ImagePullBackOff", 'Back-off pulling image "r/i:1"'))
    told = [event("Failed", 'Failed to pull image "r/i:1": manifest unknown')]
    found = find_problem(pod, told)
    assert (
        str(found) == f"The image r/i:1 cannot be pulled: the image does not exist. {OTHER_PROFILE}"
    )


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("InvalidImageName", "that is not a valid image name"),
        ("ErrImageNeverPull", "it is not on the node, and pulling is disabled"),
    ],
)
def test_some_images_have_no_hope(reason: str, why: str) -> None:
    found = find_problem(pod_with(waiting(reason, "x")), [])
    assert found == SpawnProblem(
        "image", f"The image r/i:1 cannot be pulled: {why}.", OTHER_PROFILE
    )


def test_no_room_is_waited_for() -> None:
    pod = unscheduled("0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 ...")
    text = (
        "The cluster has no room for your server yet: "
        "0/3 nodes are available: 3 Insufficient memory."
    )
    remedy = "Choose a smaller profile, or try again later."
    assert find_problem(pod, []) == SpawnProblem("room", text, remedy, UNLIMITED)


def test_a_node_on_its_way_is_told() -> None:
    pod = unscheduled("0/3 nodes are available: 3 Insufficient cpu.")
    found = find_problem(pod, [event("TriggeredScaleUp", "pod triggered scale-up")])
    assert found
    assert found.text == (
        "The cluster is full; a new node is being started for your server: "
        "0/3 nodes are available: 3 Insufficient cpu."
    )
    assert found.patience == UNLIMITED


@pytest.mark.parametrize(
    "pod",
    [
        unscheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        unscheduled('persistentvolumeclaim "claim-ada" not found'),
    ],
)
def test_a_disk_that_is_not_there_yet_is_waited_for(pod: dict[str, Any]) -> None:
    found = find_problem(pod, [])
    assert found
    assert found.reason == "volume"
    assert found.text.startswith("The volume of your home is not ready yet: ")
    assert found.patience == UNLIMITED


def test_a_disk_that_cannot_be_attached_is_told_until_it_is() -> None:
    failed = event("FailedAttachVolume", "Multi-Attach error for volume pvc-1")
    pod = pod_with(waiting("ContainerCreating"))
    found = find_problem(pod, [failed])
    assert found
    assert found.text == (
        "The volume of your home is not ready yet: Multi-Attach error for volume pvc-1."
    )
    assert find_problem(pod, [failed, event("SuccessfulAttachVolume", kind="Normal")]) is None


def test_a_container_that_cannot_be_made_is_soon_given_up() -> None:
    pod = pod_with(waiting("CreateContainerConfigError", 'secret "token" not found'))
    text = 'Your server\'s container cannot be created: secret "token" not found.'
    assert find_problem(pod, []) == SpawnProblem(
        "config", text, "Ask your administrator.", CONFIG_PATIENCE
    )


def test_too_little_memory_to_start_is_said_with_the_limit() -> None:
    found = find_problem(pod_with(ended("OOMKilled", 137), phase="Running"), [])
    assert str(found) == (
        "Your server needed more memory to start than its limit (5 GiB). "
        "Choose a larger profile, or ask your administrator."
    )


def test_a_first_crash_may_be_chance_and_a_second_is_none() -> None:
    assert find_problem(pod_with(ended("Error", 1)), []) is None
    text = "Your server stopped while it was starting (exit code 1, Error)."
    assert find_problem(pod_with(ended("Error", 1, restarts=1)), []) == SpawnProblem(
        "crash", text, OTHER_PROFILE
    )
    backing_off = {
        **waiting("CrashLoopBackOff"),
        "restartCount": 1,
        "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
    }
    assert find_problem(pod_with(backing_off), []) == SpawnProblem("crash", text, OTHER_PROFILE)


def test_a_pod_that_somebody_deletes_is_no_longer_waited_for() -> None:
    pod = pod_with()
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = find_problem(pod, [])
    assert found
    assert found.text == "Your server's pod was deleted while it was starting."
    assert found.patience == 0


def test_an_eviction_is_told_in_the_clusters_words() -> None:
    evicted = pod_with(phase="Failed", reason="Evicted", message="The node was low on memory.")
    assert str(find_problem(evicted, [])) == (
        "The cluster stopped your server: The node was low on memory. "
        "Try again later, or ask your administrator."
    )


@pytest.mark.parametrize(
    "pod",
    [
        pod_with(),
        pod_with(waiting("ContainerCreating")),
        pod_with(waiting("PodInitializing")),
        pod_with({"state": {"running": {}}}, phase="Running"),
        pod_with(conditions=[{"type": "PodScheduled", "status": "True"}]),
    ],
)
def test_a_start_that_goes_well_is_no_trouble(pod: dict[str, Any]) -> None:
    assert find_problem(pod, [event("Scheduled", kind="Normal")]) is None


def test_operators_hear_it_in_kubernetes_own_words() -> None:
    pod = pod_with(waiting("ErrImagePull", "rpc error: not found"))
    events = [
        event("Scheduled", "node-1", kind="Normal"),
        event("Failed", "Failed to pull image: rpc error: not found."),
        event("Failed", "Error: ErrImagePull"),
    ]
    assert kubernetes_messages(pod, events) == (
        "ErrImagePull: rpc error: not found; Failed: Failed to pull image: rpc error: not found; "
        "Failed: Error: ErrImagePull"
    )
    assert kubernetes_messages(pod_with(), []) == ""


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        (
            403,
            'pods "jupyter-ada" is forbidden: exceeded quota: people, requested: '
            "limits.memory=5Gi,pods=1, used: limits.memory=8Gi,pods=2, "
            "limited: limits.memory=10Gi,pods=9",
            "The cluster's quota is used up: limits.memory: 8Gi of 10Gi in use, 5Gi more "
            "requested, pods: 2 of 9 in use, 1 more requested. Stop another server of yours, "
            "choose a smaller profile, or ask your administrator.",
        ),
        (
            403,
            'pods is forbidden: User "system:serviceaccount:hub:hub" cannot create resource '
            '"pods" in API group "" in the namespace "people"',
            "The hub may not start servers: its role in the cluster lacks a permission. "
            "Ask your administrator.",
        ),
        (
            403,
            'pods "jupyter-ada" is forbidden: maximum memory usage per Container is 2Gi, but '
            "limit is 5Gi",
            'The cluster refuses your server: pods "jupyter-ada" is forbidden: maximum memory '
            f"usage per Container is 2Gi, but limit is 5Gi. {OTHER_PROFILE}",
        ),
        (
            404,
            'namespaces "people" not found',
            f'The cluster refuses your server: namespaces "people" not found. {OTHER_PROFILE}',
        ),
    ],
)
def test_a_refusal_of_the_api_is_told(status: int, message: str, sentence: str) -> None:
    assert str(api_refusal(status, message)) == sentence


def test_a_start_that_took_too_long_says_what_kept_it() -> None:
    room = find_problem(unscheduled("0/3 nodes are available: 3 Insufficient memory."), [])
    assert str(timed_out(300.2, room)) == (
        "After 300 seconds, the cluster has no room for your server yet: "
        "0/3 nodes are available: 3 Insufficient memory. "
        "Choose a smaller profile, or try again later."
    )
    assert timed_out(300, api_unavailable()).text == (
        "After 300 seconds, the cluster does not answer at the moment; your server starts "
        "as soon as it does."
    )
    assert str(timed_out(300, None)) == (
        "Your server did not answer within 300 seconds of its start. "
        "Try again; if that fails too, ask your administrator."
    )


def test_a_failure_tells_the_page_and_the_metrics() -> None:
    failed = SpawnFailed(SpawnProblem("image", "It <b>cannot</b>.", "Ask."), log_message="why")
    assert format_exception(failed, only_jupyterhub=True) == ("It <b>cannot</b>. Ask.", None)
    assert (failed.status_code, failed.reason) == (503, "image")
    assert "why" in str(failed)


@pytest.mark.parametrize(
    ("pod", "sentence"),
    [
        (
            pod_with(ended("OOMKilled", 137), phase="Running"),
            "Your server used more memory than its limit (5 GiB) and was stopped.",
        ),
        (
            pod_with(ended("Error", 3), phase="Failed"),
            "Your server stopped by itself (exit code 3).",
        ),
        (
            pod_with(phase="Failed", reason="Evicted", message="Too much disk."),
            "The cluster stopped your server: Too much disk. "
            "Try again later, or ask your administrator.",
        ),
        (pod_with(ended("Completed", 0), phase="Succeeded"), ""),
        (pod_with({"state": {"running": {}}}, phase="Running"), ""),
    ],
)
def test_how_a_server_ended_is_known_afterwards(pod: dict[str, Any], sentence: str) -> None:
    assert describe_end(pod) == sentence


@pytest.mark.parametrize(
    ("pod", "ended"),
    [
        (None, True),
        (pod_with(phase="Failed"), True),
        (pod_with(phase="Succeeded"), True),
        (pod_with(phase="Running"), False),
        (pod_with(phase="Pending"), False),
    ],
)
def test_a_pod_has_ended_when_it_is_gone_or_will_not_run_again(
    pod: dict[str, Any] | None, ended: bool
) -> None:
    assert has_ended(pod) is ended


def scheduled(*states: dict[str, Any]) -> dict[str, Any]:
    pod = pod_with(*states)
    pod["spec"]["nodeName"] = "node-1"
    return pod


@pytest.mark.parametrize(
    ("pod", "reasons", "stage"),
    [
        (None, [], (5, "Asking the cluster for a pod.")),
        (pod_with(), [], (15, "Looking for a node with enough room.")),
        (
            scheduled(),
            ["Scheduled"],
            (25, "A node was found; your volume and the container are being prepared."),
        ),
        (scheduled(), ["Scheduled", "Pulling"], (40, "The image r/i:1 is being pulled.")),
        (
            scheduled(),
            ["Scheduled", "Pulling", "Pulled"],
            (55, "The image is present; the container is starting."),
        ),
        (
            scheduled({"state": {"running": {}}}),
            ["Pulled", "Started"],
            (70, "The container is running; Jupyter is starting."),
        ),
    ],
)
def test_a_start_has_stages(
    pod: dict[str, Any] | None, reasons: list[str], stage: tuple[int, str]
) -> None:
    assert progress_of(pod, [event(reason) for reason in reasons], "r/i:1") == stage
