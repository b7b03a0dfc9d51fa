"""
Decides how many warm pods to create, and which to delete.

Called by ``pool``. Pure. Pods are those of the reflector, in the form of the Kubernetes API.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from pydantic_core import PydanticCustomError

from caesarion_hub.pods.diagnosis import has_ended
from caesarion_hub.pods.warm.template import DIGEST, container_of
from caesarion_hub.values.fields import bytes_of, cores_of

Json = dict[str, Any]


class State(IntEnum):
    """What a warm pod is; where there are too many, the lower ones are deleted first."""

    ENDED = 0
    OUTDATED = 1
    OVERDUE = 2
    UNSCHEDULABLE = 3
    STARTING = 4
    READY = 5

    @property
    def is_useful(self) -> bool:
        """Whether a user may get the pod, now or soon."""
        return self >= State.UNSCHEDULABLE


@dataclass(frozen=True)
class Plan:
    """What to do now."""

    create: int
    delete: tuple[Json, ...]


def state_of(pod: Json, digest: str, ready: Collection[str], overdue: Collection[str]) -> State:
    """Return what a warm pod is; ``ready`` and ``overdue`` are uids."""
    uid = pod["metadata"]["uid"]
    if has_ended(pod):
        return State.ENDED
    if (pod["metadata"].get("annotations") or {}).get(DIGEST) != digest:
        return State.OUTDATED
    if uid in ready:
        return State.READY
    if uid in overdue:
        return State.OVERDUE
    return State.UNSCHEDULABLE if is_unschedulable(pod) else State.STARTING


def make_plan(
    pods: Iterable[tuple[Json, State]],
    replicas: int,
    *,
    parallel: int,
    users_wait: int,
    give_up: int,
) -> Plan:
    """
    Return what to create, so that no more than ``parallel`` start at a time, and to delete.

    ``users_wait`` users' pods fit into the room of a warm pod and no node has room for them;
    ``give_up`` of these have not been given the room of one yet. Meanwhile none is created, and
    none waits for room itself: it would take what was given up.
    """
    ordered = sorted(pods, key=lambda each: each[1])
    useful = [each for each in ordered if each[1].is_useful]
    surplus = useful[: max(0, len(useful) - replicas)]
    kept = useful[len(surplus) :]
    if users_wait:
        pending = [each for each in kept if each[1] is State.UNSCHEDULABLE]
        surplus += pending + kept[len(pending) : len(pending) + give_up]
    useless = [each for each in ordered if not each[1].is_useful]
    starting = sum(state is not State.READY for _, state in kept)
    create = 0 if users_wait else max(0, min(replicas - len(kept), parallel - starting))
    return Plan(create, tuple(pod for pod, _ in useless + surplus))


def is_unschedulable(pod: Json) -> bool:
    """Return whether the scheduler has found no node for a pod."""
    return any(
        condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable"
        for condition in (pod.get("status") or {}).get("conditions") or []
    )


def fits_into(pod: Json, warm: Json) -> bool:
    """Return whether a user's pod asks for no more than a warm one, on the same nodes."""
    if (pod["spec"].get("nodeSelector") or {}) != (warm["spec"].get("nodeSelector") or {}):
        return False
    wanted, given = _requests(pod), _requests(warm)
    return all(_is_within(name, amount, given.get(name)) for name, amount in wanted.items())


def _requests(pod: Json) -> Mapping[str, Any]:
    requests: Mapping[str, Any] = container_of(pod).get("resources", {}).get("requests") or {}
    return requests


def _is_within(name: str, wanted: Any, given: Any) -> bool:
    if wanted == given:
        return True
    read = {"cpu": cores_of, "memory": bytes_of}.get(name)
    try:
        return bool(read and read(wanted) <= read(given))
    except PydanticCustomError:
        return False
