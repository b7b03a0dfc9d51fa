"""
More of the processor while a server starts, taken back in place once it runs.

Called by ``spawner``. Pure. The limit to go back to is written on the pod, so
that a hub that has started anew knows it, too.
"""

from typing import Any

from caesarion_hub.values.kinds import cores_of

CPU_LIMIT = "caesarion.org/cpu-limit"
"""The annotation that holds the limit to go back to."""

CONTAINER = "notebook"

RESIZE = "application/strategic-merge-patch+json"
"""How the patch of :func:`lowering` is to be read."""


def raised(pod: Any, start_limit: float | None) -> Any:
    """Return the pod, a model of KubeSpawner's, with ``start_limit`` cores if that is more."""
    container = next(each for each in pod.spec.containers if each.name == CONTAINER)
    limits, requests = container.resources.limits, container.resources.requests
    limit = limits.get("cpu")
    if not start_limit or not limit or cores_of(limit) >= start_limit:
        return pod
    if all(limits.get(name) == requests.get(name) for name in ("cpu", "memory")):
        return pod  # Lowered it would change its class of service, which Kubernetes refuses.
    pod.metadata.annotations[CPU_LIMIT] = f"{limit:g}" if isinstance(limit, float) else str(limit)
    limits["cpu"] = start_limit
    return pod


def lowering(pod: dict[str, Any]) -> dict[str, Any] | None:
    """Return the patch of ``pods/resize`` that lowers the limit; None if it is as it should be."""
    limit = pod["metadata"].get("annotations", {}).get(CPU_LIMIT)
    if not limit:
        return None
    for container in pod["spec"]["containers"]:
        now = (container.get("resources", {}).get("limits") or {}).get("cpu")
        if container["name"] == CONTAINER and now and cores_of(now) > cores_of(limit):
            resources = {"limits": {"cpu": limit}}
            return {"spec": {"containers": [{"name": CONTAINER, "resources": resources}]}}
    return None
