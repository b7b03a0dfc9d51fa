"""
What keeps a user's pod from starting, read from what Kubernetes says of it.

Called by ``spawner``; ``trouble`` has the words. Pure: pods and events as the
API gives them. No secret can get into a sentence: container logs and
environments are not looked at.
"""

import re
from collections.abc import Sequence
from typing import Any

from caesarion_hub.pods.spawn_errors import ELSE, LATER, NEVER, Trouble, short

Resource = dict[str, Any]

SOON = 10.0
"""Seconds for what another object may still heal, such as a Secret that comes late; made up."""
A_WHILE = 30.0
"""Seconds for a registry to recover; made up."""


def trouble_of(pod: Resource, events: Sequence[Resource]) -> Trouble | None:
    """Return what keeps ``pod`` from starting, or None if all goes well so far."""
    status = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return Trouble("deleted", "Your server's pod was deleted while it started.", LATER)
    if status.get("phase") == "Failed" and status.get("reason"):
        return _evicted(status)
    for container in status.get("containerStatuses") or []:
        if found := _of_container(pod, container, events):
            return found
    return _unscheduled(status, events) or _unmounted(status, events)


def in_kubernetes_words(pod: Resource, events: Sequence[Resource]) -> str:
    """Return what Kubernetes says of a trouble, for operators: reasons and whole messages."""
    containers = (pod.get("status") or {}).get("containerStatuses") or []
    states = [state for each in containers for state in (each.get("state") or {}).values() if state]
    warnings = [event for event in events if event.get("type") == "Warning"]
    said = [
        f"{each['reason']}: {each.get('message', '')}"
        for each in (*states, *warnings[-3:])
        if each.get("reason")
    ]
    return "; ".join(dict.fromkeys(short(line, 500).rstrip(": ") for line in said))


def has_ended(pod: Resource | None) -> bool:
    """Return whether a pod is gone, or will not run again."""
    return pod is None or (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def how_ended(pod: Resource) -> str:
    """Return how a server that was running has ended by itself, in a sentence, or nothing."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed" and status.get("reason"):
        return str(_evicted(status))
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated")
        if ended and container["name"] == "notebook" and ended.get("exitCode") != 0:
            if ended.get("reason") == "OOMKilled":
                limit = _memory_limit(pod)
                return f"Your server used more memory than it may{limit} and was ended."
            return f"Your server ended by itself (exit code {ended.get('exitCode')})."
    return ""


def _of_container(pod: Resource, container: Resource, events: Sequence[Resource]) -> Trouble | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in PULLING:
        return _unpulled(container.get("image") or "", reason, waiting, events)
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        text = f"Your server's container cannot be made: {short(waiting.get('message', reason))}."
        return Trouble("config", text, "Ask your administrator.", SOON)
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended and (state.get("terminated") or container.get("restartCount", 0) >= 1):
        return _crashed(pod, container, ended)
    return None


PULLING = {
    "ErrImagePull": A_WHILE,
    "ImagePullBackOff": A_WHILE,
    "RegistryUnavailable": A_WHILE,
    "SignatureValidationFailed": 0.0,
    "ErrImageNeverPull": 0.0,
    "InvalidImageName": 0.0,
    "ImageInspectError": 0.0,
}
"""What a container waits for when its image is the trouble, and the patience with it."""

WHY_UNPULLED = (
    (r"no space left", "the node's disk is full", A_WHILE),
    (r"toomanyrequests|too many requests|\b429\b", "the registry is asked too often", A_WHILE),
    (
        r"denied|unauthorized|authentication required|\b401\b|\b403\b",
        "the registry refuses access",
        0.0,
    ),
    (
        r"no such host|dial tcp|timeout|connection refused|\b5\d\d\b|unavailable",
        "the registry cannot be reached",
        A_WHILE,
    ),
    (r"not found|manifest unknown|\b404\b|no match for platform", "there is no such image", 0.0),
)
"""What runtimes say, in which order to look for it, what it means, and the patience with it."""


def _unpulled(image: str, reason: str, waiting: Resource, events: Sequence[Resource]) -> Trouble:
    told = [waiting.get("message", "")]
    told += [event.get("message", "") for event in events if event.get("reason") == "Failed"]
    why, patience = short(told[0] or reason), PULLING[reason]
    for pattern, meaning, its_patience in WHY_UNPULLED:
        if re.search(pattern, " ".join(told), re.IGNORECASE):
            why, patience = meaning, min(patience, its_patience)
            break
    if reason == "ErrImageNeverPull":
        why = "it is not on the node, and may not be pulled"
    if reason == "InvalidImageName":
        why = "that is no name of an image"
    return Trouble("image", f"The image {image} cannot be pulled: {why}.", ELSE, patience)


def _crashed(pod: Resource, container: Resource, ended: Resource) -> Trouble | None:
    again = container.get("restartCount", 0) >= 1
    if ended.get("reason") == "OOMKilled":
        text = f"Your server needed more memory to start than it may use{_memory_limit(pod)}."
        return Trouble("memory", text, "Choose a larger profile, or ask your administrator.")
    if not again and ended.get("exitCode") != 0 and _restarts(pod):
        return None  # once may be chance
    code = ended.get("exitCode")
    text = f"Your server ended while it started (exit code {code}, {ended.get('reason', 'Error')})."
    return Trouble("crash", text, ELSE)


def _restarts(pod: Resource) -> bool:
    return bool(pod["spec"].get("restartPolicy", "Always") != "Never")


def _memory_limit(pod: Resource) -> str:
    for container in pod["spec"]["containers"]:
        limit = (container.get("resources", {}).get("limits") or {}).get("memory")
        if limit and container["name"] == "notebook":
            amount = int(limit) if str(limit).isdecimal() else None
            return f" ({amount / 2**30:.3g} GiB)" if amount else f" ({limit})"
    return ""


def _evicted(status: Resource) -> Trouble:
    why = short(status.get("message") or status["reason"])
    return Trouble("evicted", f"The cluster ended your server: {why}.", LATER)


def _unscheduled(status: Resource, events: Sequence[Resource]) -> Trouble | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message = condition.get("message") or ""
            break
    else:
        return None
    why = short(message.split(" preemption:")[0])
    if re.search(r"persistentvolumeclaim|volume node affinity", message, re.IGNORECASE):
        text = f"The disk of your home is not ready yet: {why}."
        return Trouble("disk", text, LATER, NEVER)
    reasons = [event.get("reason") for event in events]
    if "TriggeredScaleUp" in reasons:
        text = f"There is no room yet; a new node is being started for your server: {why}."
    else:
        text = f"There is no room for your server on the cluster yet: {why}."
    return Trouble("room", text, "Choose a smaller profile, or try again later.", NEVER)


def _unmounted(status: Resource, events: Sequence[Resource]) -> Trouble | None:
    if status.get("phase") != "Pending":
        return None
    for event in reversed(events):
        if event.get("reason") in ("FailedMount", "FailedAttachVolume", "ProvisioningFailed"):
            text = f"The disk of your home is not ready yet: {short(event.get('message', ''))}."
            return Trouble("disk", text, LATER, NEVER)
        if event.get("reason") in ("Pulling", "Pulled", "Created", "SuccessfulAttachVolume"):
            return None
    return None
