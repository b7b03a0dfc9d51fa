"""
Reads a pod's status and events: how far its start is, why it fails, how it ended.

Called by ``spawner``; ``spawn_errors`` has the messages that need no pod. Pure:
takes pods and events as the API returns them. No secret can get into a message,
since container logs and environments are not read.
"""

import re
from collections.abc import Sequence
from typing import Any

from caesarion_hub.pods.spawn_errors import LATER, OTHER_PROFILE, UNLIMITED, SpawnProblem, shorten

Resource = dict[str, Any]

CONFIG_PATIENCE = 10.0
"""Seconds to wait for a missing object, such as a Secret that is created later; an estimate."""
REGISTRY_PATIENCE = 30.0
"""Seconds to wait for a registry to recover; an estimate."""


def progress_of(pod: Resource | None, events: Sequence[Resource], image: str) -> tuple[int, str]:
    """Return the progress of a start: percent done, and a sentence for the user."""
    if pod is None:
        return 5, "Asking the cluster for a pod."
    status = pod.get("status") or {}
    if not pod["spec"].get("nodeName"):
        return 15, "Looking for a node with enough room."
    containers = status.get("containerStatuses") or []
    if any("running" in (container.get("state") or {}) for container in containers):
        return 70, "The container is running; Jupyter is starting."
    reasons = {event.get("reason") for event in events}
    if reasons & {"Pulled", "Created", "Started"}:
        return 55, "The image is present; the container is starting."
    if "Pulling" in reasons:
        return 40, f"The image {image} is being pulled."
    return 25, "A node was found; your volume and the container are being prepared."


def find_problem(pod: Resource, events: Sequence[Resource]) -> SpawnProblem | None:
    """Return the reason why ``pod`` does not start, or None if there is none so far."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return SpawnProblem(
            "deleted", "Your server's pod was deleted while it was starting.", LATER
        )
    if status.get("phase") == "Failed" and status.get("reason"):
        return _eviction(status)
    for container in status.get("containerStatuses") or []:
        if found := _container_problem(pod, container, events):
            return found
    return _scheduling_problem(status, events) or _volume_problem(status, events)


def kubernetes_messages(pod: Resource, events: Sequence[Resource]) -> str:
    """Return Kubernetes' own reasons and messages about ``pod``, for the log."""
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    states = [state for each in containers for state in (each.get("state") or {}).values() if state]
    warnings = [event for event in events if event.get("type") == "Warning"]
    messages = [
        f"{each['reason']}: {each.get('message', '')}"
        for each in (*states, *warnings[-3:])
        if each.get("reason")
    ]
    return "; ".join(dict.fromkeys(shorten(line, 500).rstrip(": ") for line in messages))


def has_ended(pod: Resource | None) -> bool:
    """Return whether a pod is gone or has finished."""
    return pod is None or (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def describe_end(pod: Resource) -> str:
    """Return a sentence on why a server stopped by itself, or an empty string."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed" and status.get("reason"):
        return str(_eviction(status))
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended and container["name"] == "notebook" and ended.get("exitCode") != 0:
            if ended.get("reason") == "OOMKilled":
                limit = _memory_limit(pod)
                return f"Your server used more memory than its limit{limit} and was stopped."
            return f"Your server stopped by itself (exit code {ended.get('exitCode')})."
    return ""


def _container_problem(
    pod: Resource, container: Resource, events: Sequence[Resource]
) -> SpawnProblem | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in PULL_REASONS:
        return _pull_problem(container.get("image") or "", reason, waiting, events)
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        text = (
            f"Your server's container cannot be created: {shorten(waiting.get('message', reason))}."
        )
        return SpawnProblem("config", text, "Ask your administrator.", CONFIG_PATIENCE)
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended and (state.get("terminated") or container.get("restartCount", 0) >= 1):
        return _crash_problem(pod, container, ended)
    return None


PULL_REASONS = {
    "ErrImagePull": REGISTRY_PATIENCE,
    "ImagePullBackOff": REGISTRY_PATIENCE,
    "RegistryUnavailable": REGISTRY_PATIENCE,
    "SignatureValidationFailed": 0.0,
    "ErrImageNeverPull": 0.0,
    "InvalidImageName": 0.0,
    "ImageInspectError": 0.0,
}
"""The waiting reasons of a container whose image cannot be pulled, with their patience."""

PULL_ERRORS = (
    (r"no space left", "the node's disk is full", REGISTRY_PATIENCE),
    (
        r"toomanyrequests|too many requests|\b429\b",
        "the registry limits requests",
        REGISTRY_PATIENCE,
    ),
    (
        r"denied|unauthorized|authentication required|\b401\b|\b403\b",
        "the registry refuses access",
        0.0,
    ),
    (
        r"no such host|dial tcp|timeout|connection refused|\b5\d\d\b|unavailable",
        "the registry cannot be reached",
        REGISTRY_PATIENCE,
    ),
    (r"not found|manifest unknown|\b404\b|no match for platform", "the image does not exist", 0.0),
)
"""Patterns in the runtimes' messages, most specific first: meaning and patience."""


def _pull_problem(
    image: str, reason: str, waiting: Resource, events: Sequence[Resource]
) -> SpawnProblem:
    messages = [waiting.get("message", "")]
    messages += [event.get("message", "") for event in events if event.get("reason") == "Failed"]
    why, patience = shorten(messages[0] or reason), PULL_REASONS[reason]
    for pattern, meaning, its_patience in PULL_ERRORS:
        if re.search(pattern, " ".join(messages), re.IGNORECASE):
            why, patience = meaning, min(patience, its_patience)
            break
    if reason == "ErrImageNeverPull":
        why = "it is not on the node, and pulling is disabled"
    if reason == "InvalidImageName":
        why = "that is not a valid image name"
    return SpawnProblem(
        "image", f"The image {image} cannot be pulled: {why}.", OTHER_PROFILE, patience
    )


def _crash_problem(pod: Resource, container: Resource, ended: Resource) -> SpawnProblem | None:
    again = container.get("restartCount", 0) >= 1
    if ended.get("reason") == "OOMKilled":
        text = f"Your server needed more memory to start than its limit{_memory_limit(pod)}."
        return SpawnProblem("memory", text, "Choose a larger profile, or ask your administrator.")
    if not again and ended.get("exitCode") != 0 and _restarts(pod):
        return None  # the first crash may be a coincidence; the kubelet restarts the container
    code, reason = ended.get("exitCode"), ended.get("reason", "Error")
    text = f"Your server stopped while it was starting (exit code {code}, {reason})."
    return SpawnProblem("crash", text, OTHER_PROFILE)


def _restarts(pod: Resource) -> bool:
    return bool(pod["spec"].get("restartPolicy", "Always") != "Never")


def _memory_limit(pod: Resource) -> str:
    for container in pod["spec"]["containers"]:
        limit = (container.get("resources", {}).get("limits") or {}).get("memory")
        if limit and container["name"] == "notebook":
            amount = int(limit) if str(limit).isdecimal() else None
            return f" ({amount / 2**30:.3g} GiB)" if amount else f" ({limit})"
    return ""


def _eviction(status: Resource) -> SpawnProblem:
    why = shorten(status.get("message") or status["reason"])
    return SpawnProblem("evicted", f"The cluster stopped your server: {why}.", LATER)


def _scheduling_problem(status: Resource, events: Sequence[Resource]) -> SpawnProblem | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message = condition.get("message") or ""
            break
    else:
        return None
    why = shorten(message.split(" preemption:")[0])
    if re.search(r"persistentvolumeclaim|volume node affinity", message, re.IGNORECASE):
        text = f"The volume of your home is not ready yet: {why}."
        return SpawnProblem("volume", text, LATER, UNLIMITED)
    reasons = [event.get("reason") for event in events]
    if "TriggeredScaleUp" in reasons:
        text = f"The cluster is full; a new node is being started for your server: {why}."
    else:
        text = f"The cluster has no room for your server yet: {why}."
    return SpawnProblem("room", text, "Choose a smaller profile, or try again later.", UNLIMITED)


def _volume_problem(status: Resource, events: Sequence[Resource]) -> SpawnProblem | None:
    if status.get("phase") != "Pending":
        return None
    for event in reversed(events):
        if event.get("reason") in ("FailedMount", "FailedAttachVolume", "ProvisioningFailed"):
            text = f"The volume of your home is not ready yet: {shorten(event.get('message', ''))}."
            return SpawnProblem("volume", text, LATER, UNLIMITED)
        if event.get("reason") in ("Pulling", "Pulled", "Created", "SuccessfulAttachVolume"):
            return None
    return None
