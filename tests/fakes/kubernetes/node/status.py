"""A pod's status, from what its containers are doing. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.fakes.kubernetes.client import Json


@dataclass
class ContainerStatus:
    """What the API is told of one container; ``state`` is Kubernetes' own table."""

    name: str
    image: str
    state: Json = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last: Json = field(default_factory=dict)
    restarts: int = 0
    started: bool = False
    ready: bool = False
    id: str = ""
    resources: Json = field(default_factory=dict)

    @property
    def terminated(self) -> Json | None:
        return self.state.get("terminated")

    def as_json(self) -> Json:
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"{self.image}@fake" if self.id else "",
            "containerID": f"fake://{self.id}" if self.id else "",
            "state": self.state,
            "lastState": self.last,
            "restartCount": self.restarts,
            "started": self.started,
            "ready": self.ready,
            "allocatedResources": self.resources.get("requests") or {},
            "resources": self.resources,
        }


def make_status(
    pod: Json, first: Sequence[ContainerStatus], main: Sequence[ContainerStatus], now: str
) -> Json:
    """
    Return the status of a pod from those of its init and its main containers.

    Conditions that did not change keep their time, those of others are kept.
    """
    initialized = all(one.terminated and not one.terminated["exitCode"] for one in first)
    ready = bool(main) and all(one.ready for one in main)
    phase = _phase(pod, first, main, initialized)
    over = "PodCompleted" if phase == "Succeeded" else "ContainersNotReady"
    unready = [one.name for one in main if not one.ready]
    why = {"reason": over, "message": f"containers with unready status: [{' '.join(unready)}]"}
    conditions = {
        "PodReadyToStartContainers": (phase not in ("Succeeded", "Failed"), {}),
        "Initialized": (initialized, {"reason": "ContainersNotInitialized"}),
        "Ready": (ready, why),
        "ContainersReady": (ready, why),
    }
    known = {one["type"]: one for one in pod.get("status", {}).get("conditions") or []}
    for name, (holds, reason) in conditions.items():
        known[name] = _condition(name, holds, reason, known.get(name), now)
    return {
        "phase": phase,
        "conditions": list(known.values()),
        "initContainerStatuses": [one.as_json() for one in first],
        "containerStatuses": [one.as_json() for one in main],
    }


def _phase(
    pod: Json, first: Sequence[ContainerStatus], main: Sequence[ContainerStatus], initialized: bool
) -> str:
    policy = pod["spec"].get("restartPolicy", "Always")
    failed = [one for one in first if one.terminated and one.terminated["exitCode"]]
    if policy == "Never" and failed:
        return "Failed"
    if not initialized or any("waiting" in one.state and not one.last for one in main):
        return "Pending"
    codes = [one.terminated["exitCode"] for one in main if one.terminated]
    if len(codes) < len(main) or policy == "Always" or (policy == "OnFailure" and any(codes)):
        return "Running"
    return "Failed" if any(codes) else "Succeeded"


def _condition(name: str, holds: bool, why: Json, before: Json | None, now: str) -> Json:
    status = "True" if holds else "False"
    since = before["lastTransitionTime"] if before and before["status"] == status else now
    return {
        "type": name,
        "status": status,
        "lastTransitionTime": since,
        **({} if holds else why),
    }


def terminated(code: int, reason: str, began: str, ended: str, id: str, message: str = "") -> Json:
    """Return the state of a container that has ended."""
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "startedAt": began,
            "finishedAt": ended,
            "containerID": f"fake://{id}",
            **({"message": message} if message else {}),
        }
    }


def waiting(reason: str, message: str = "") -> Json:
    """Return the state of a container that does not run yet, or not again yet."""
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
