"""
Raises a pod's CPU limit while its server starts, and lowers it in place afterwards.

Called by ``objects`` and ``spawner``. Pure. The final limit is stored in an
annotation of the pod, where a restarted hub finds it.
"""

from enum import Enum
from typing import Any

from caesarion_hub.values.fields import cores_of

CPU_LIMIT = "caesarion.org/cpu-limit"
"""The annotation with the final limit."""

CONTAINER = "notebook"

PATCH_TYPE = "application/strategic-merge-patch+json"
"""The content type of the patch that :func:`lowering_patch` returns."""


class ResizeRefusal(Enum):
    """How far a refused resize reaches."""

    PASSING = "the same request may succeed later"
    POD = "this pod is not resized"
    CLUSTER = "no pod is resized for this hub"


def raise_limit(pod: Any, start_limit: float | None) -> Any:
    """Return the V1Pod with its CPU limit raised to ``start_limit`` cores, if that is more."""
    container = next(each for each in pod.spec.containers if each.name == CONTAINER)
    limits, requests = container.resources.limits, container.resources.requests
    limit = limits.get("cpu")
    if not start_limit or not limit or cores_of(limit) >= start_limit:
        return pod
    if all(limits.get(name) == requests.get(name) for name in ("cpu", "memory")):
        return pod  # Lowering would change its QoS class, which Kubernetes refuses.
    pod.metadata.annotations[CPU_LIMIT] = f"{limit:g}" if isinstance(limit, float) else str(limit)
    limits["cpu"] = start_limit
    return pod


def lowering_patch(pod: dict[str, Any]) -> dict[str, Any] | None:
    """Return the patch of ``pods/resize`` that lowers the limit, or None if it is low already."""
    limit = pod["metadata"].get("annotations", {}).get(CPU_LIMIT)
    if not limit:
        return None
    for container in pod["spec"]["containers"]:
        now = (container.get("resources", {}).get("limits") or {}).get("cpu")
        if container["name"] == CONTAINER and now and cores_of(now) > cores_of(limit):
            resources = {"limits": {"cpu": limit}}
            return {"spec": {"containers": [{"name": CONTAINER, "resources": resources}]}}
    return None


def judge(status: int, message: str, name: str) -> ResizeRefusal:
    """Return how far the API's refusal to resize the pod ``name`` reaches."""
    if status == 409 or (status == 404 and f'"{name}" not found' in message):
        return ResizeRefusal.PASSING
    # Before Kubernetes 1.33 the subresource does not exist.
    if status in (401, 404, 405) or (status == 403 and "forbidden: User" in message):
        return ResizeRefusal.CLUSTER
    return ResizeRefusal.POD


def infeasible(pod: dict[str, Any]) -> str:
    """Return why the node cannot resize the pod, or an empty string; since Kubernetes 1.33."""
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == "PodResizePending" and condition.get("reason") == "Infeasible":
            return str(condition.get("message") or "Infeasible")
    return ""
