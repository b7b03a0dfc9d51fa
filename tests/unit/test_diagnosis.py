"""Why a pod does not start, in words for its user."""

from typing import Any

import pytest
from caesarion_hub.pods.diagnosis import (
    A_WHILE,
    SOON,
    has_ended,
    how_ended,
    in_kubernetes_words,
    trouble_of,
)
from caesarion_hub.pods.progress import stage_of
from caesarion_hub.pods.spawn_errors import (
    NEVER,
    SpawnFailed,
    Trouble,
    of_patience,
    of_silence,
    refusal,
)
from jupyterhub.utils import format_exception

GIB = 2**30
ELSE = "Choose another profile, or ask your administrator."


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
            "there is no such image",
            0.0,
        ),
        ("manifest unknown: manifest unknown", "there is no such image", 0.0),
        (
            "pull access denied, repository does not exist or may require authorization: "
            "server message: insufficient_scope: authorization failed; not found",
            "the registry refuses access",
            0.0,
        ),
        (
            "failed to do request: dial tcp: lookup r on 10.0.0.10:53: no such host",
            "the registry cannot be reached",
            A_WHILE,
        ),
        ("toomanyrequests: You have reached your limit", "the registry is asked too often", 30.0),
        ("write /var/lib: no space left on device", "the node's disk is full", A_WHILE),
        ("something new", "something new", A_WHILE),
    ],
)
def test_an_image_that_cannot_be_pulled_is_named_with_the_reason(
    message: str, why: str, patience: float
) -> None:
    text = f"The image r/i:1 cannot be pulled: {why}."
    pod = pod_with(waiting("ErrImagePull", message))
    assert trouble_of(pod, []) == Trouble("image", text, ELSE, patience)


def test_the_reason_is_looked_for_in_the_events_once_kubernetes_backs_off() -> None:
    pod = pod_with(waiting("ImagePullBackOff", 'Back-off pulling image "r/i:1"'))
    told = [event("Failed", 'Failed to pull image "r/i:1": manifest unknown')]
    found = trouble_of(pod, told)
    assert str(found) == f"The image r/i:1 cannot be pulled: there is no such image. {ELSE}"


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("InvalidImageName", "that is no name of an image"),
        ("ErrImageNeverPull", "it is not on the node, and may not be pulled"),
    ],
)
def test_some_images_have_no_hope(reason: str, why: str) -> None:
    found = trouble_of(pod_with(waiting(reason, "x")), [])
    assert found == Trouble("image", f"The image r/i:1 cannot be pulled: {why}.", ELSE)


def test_no_room_is_waited_for() -> None:
    pod = unscheduled("0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 ...")
    text = (
        "There is no room for your server on the cluster yet: "
        "0/3 nodes are available: 3 Insufficient memory."
    )
    remedy = "Choose a smaller profile, or try again later."
    assert trouble_of(pod, []) == Trouble("room", text, remedy, NEVER)


def test_a_node_on_its_way_is_told() -> None:
    pod = unscheduled("0/3 nodes are available: 3 Insufficient cpu.")
    found = trouble_of(pod, [event("TriggeredScaleUp", "pod triggered scale-up")])
    assert found
    assert found.text == (
        "There is no room yet; a new node is being started for your server: "
        "0/3 nodes are available: 3 Insufficient cpu."
    )
    assert found.patience == NEVER


@pytest.mark.parametrize(
    "pod",
    [
        unscheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
        unscheduled('persistentvolumeclaim "claim-ada" not found'),
    ],
)
def test_a_disk_that_is_not_there_yet_is_waited_for(pod: dict[str, Any]) -> None:
    found = trouble_of(pod, [])
    assert found
    assert found.reason == "disk"
    assert found.text.startswith("The disk of your home is not ready yet: ")
    assert found.patience == NEVER


def test_a_disk_that_cannot_be_attached_is_told_until_it_is() -> None:
    failed = event("FailedAttachVolume", "Multi-Attach error for volume pvc-1")
    pod = pod_with(waiting("ContainerCreating"))
    found = trouble_of(pod, [failed])
    assert found
    assert found.text == (
        "The disk of your home is not ready yet: Multi-Attach error for volume pvc-1."
    )
    assert trouble_of(pod, [failed, event("SuccessfulAttachVolume", kind="Normal")]) is None


def test_a_container_that_cannot_be_made_is_soon_given_up() -> None:
    pod = pod_with(waiting("CreateContainerConfigError", 'secret "token" not found'))
    text = 'Your server\'s container cannot be made: secret "token" not found.'
    assert trouble_of(pod, []) == Trouble("config", text, "Ask your administrator.", SOON)


def test_too_little_memory_to_start_is_said_with_the_limit() -> None:
    found = trouble_of(pod_with(ended("OOMKilled", 137), phase="Running"), [])
    assert str(found) == (
        "Your server needed more memory to start than it may use (5 GiB). "
        "Choose a larger profile, or ask your administrator."
    )


def test_a_first_crash_may_be_chance_and_a_second_is_none() -> None:
    assert trouble_of(pod_with(ended("Error", 1)), []) is None
    text = "Your server ended while it started (exit code 1, Error)."
    assert trouble_of(pod_with(ended("Error", 1, restarts=1)), []) == Trouble("crash", text, ELSE)
    backing_off = {
        **waiting("CrashLoopBackOff"),
        "restartCount": 1,
        "lastState": {"terminated": {"reason": "Error", "exitCode": 1}},
    }
    assert trouble_of(pod_with(backing_off), []) == Trouble("crash", text, ELSE)


def test_a_pod_that_somebody_deletes_is_no_longer_waited_for() -> None:
    pod = pod_with()
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    found = trouble_of(pod, [])
    assert found
    assert found.text == "Your server's pod was deleted while it started."
    assert found.patience == 0


def test_an_eviction_is_told_in_the_clusters_words() -> None:
    evicted = pod_with(phase="Failed", reason="Evicted", message="The node was low on memory.")
    assert str(trouble_of(evicted, [])) == (
        "The cluster ended your server: The node was low on memory. "
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
    assert trouble_of(pod, [event("Scheduled", kind="Normal")]) is None


def test_operators_hear_it_in_kubernetes_own_words() -> None:
    pod = pod_with(waiting("ErrImagePull", "rpc error: not found"))
    events = [
        event("Scheduled", "node-1", kind="Normal"),
        event("Failed", "Failed to pull image: rpc error: not found."),
        event("Failed", "Error: ErrImagePull"),
    ]
    assert in_kubernetes_words(pod, events) == (
        "ErrImagePull: rpc error: not found; Failed: Failed to pull image: rpc error: not found; "
        "Failed: Error: ErrImagePull"
    )
    assert in_kubernetes_words(pod_with(), []) == ""


@pytest.mark.parametrize(
    ("status", "message", "sentence"),
    [
        (
            403,
            'pods "jupyter-ada" is forbidden: exceeded quota: people, requested: '
            "limits.memory=5Gi,pods=1, used: limits.memory=8Gi,pods=2, "
            "limited: limits.memory=10Gi,pods=9",
            "The cluster's quota is used up: limits.memory: 8Gi of 10Gi used, 5Gi more wanted, "
            "pods: 2 of 9 used, 1 more wanted. Stop another server of yours, choose a smaller "
            "profile, or ask your administrator.",
        ),
        (
            403,
            'pods is forbidden: User "system:serviceaccount:hub:hub" cannot create resource '
            '"pods" in API group "" in the namespace "people"',
            "The hub may not start servers: its role in the cluster lacks a right. "
            "Ask your administrator.",
        ),
        (
            403,
            'pods "jupyter-ada" is forbidden: maximum memory usage per Container is 2Gi, but '
            "limit is 5Gi",
            'The cluster refuses your server: pods "jupyter-ada" is forbidden: maximum memory '
            f"usage per Container is 2Gi, but limit is 5Gi. {ELSE}",
        ),
        (
            404,
            'namespaces "people" not found',
            f'The cluster refuses your server: namespaces "people" not found. {ELSE}',
        ),
    ],
)
def test_a_refusal_of_the_api_is_told(status: int, message: str, sentence: str) -> None:
    assert str(refusal(status, message)) == sentence


def test_a_start_that_took_too_long_says_what_kept_it() -> None:
    room = trouble_of(unscheduled("0/3 nodes are available: 3 Insufficient memory."), [])
    assert str(of_patience(300.2, room)) == (
        "After 300 seconds, there is no room for your server on the cluster yet: "
        "0/3 nodes are available: 3 Insufficient memory. "
        "Choose a smaller profile, or try again later."
    )
    assert of_patience(300, of_silence()).text == (
        "After 300 seconds, the cluster does not answer at the moment; your server starts when "
        "it does again."
    )
    assert str(of_patience(300, None)) == (
        "Your server did not answer within 300 seconds of its start. "
        "Try again; if that does not help, ask your administrator."
    )


def test_a_failure_tells_the_page_and_the_metrics() -> None:
    failed = SpawnFailed(Trouble("image", "It <b>cannot</b>.", "Ask."), log_message="why")
    assert format_exception(failed, only_jupyterhub=True) == ("It <b>cannot</b>. Ask.", None)
    assert (failed.status_code, failed.reason) == (503, "image")
    assert "why" in str(failed)


@pytest.mark.parametrize(
    ("pod", "sentence"),
    [
        (
            pod_with(ended("OOMKilled", 137), phase="Running"),
            "Your server used more memory than it may (5 GiB) and was ended.",
        ),
        (
            pod_with(ended("Error", 3), phase="Failed"),
            "Your server ended by itself (exit code 3).",
        ),
        (
            pod_with(phase="Failed", reason="Evicted", message="Too much disk."),
            "The cluster ended your server: Too much disk. "
            "Try again later, or ask your administrator.",
        ),
        (pod_with(ended("Completed", 0), phase="Succeeded"), ""),
        (pod_with({"state": {"running": {}}}, phase="Running"), ""),
    ],
)
def test_how_a_server_ended_is_known_afterwards(pod: dict[str, Any], sentence: str) -> None:
    assert how_ended(pod) == sentence


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
        (pod_with(), [], (15, "Looking for room on the cluster.")),
        (
            scheduled(),
            ["Scheduled"],
            (25, "There is room; your disk and the container are being prepared."),
        ),
        (scheduled(), ["Scheduled", "Pulling"], (40, "The image r/i:1 is being pulled.")),
        (
            scheduled(),
            ["Scheduled", "Pulling", "Pulled"],
            (55, "The image is there; the container is starting."),
        ),
        (
            scheduled({"state": {"running": {}}}),
            ["Pulled", "Started"],
            (70, "The container runs; Jupyter is starting in it."),
        ),
    ],
)
def test_a_start_has_stages(
    pod: dict[str, Any] | None, reasons: list[str], stage: tuple[int, str]
) -> None:
    assert stage_of(pod, [event(reason) for reason in reasons], "r/i:1") == stage
