"""
How far a user's pod has come, in words for its user.

Called by ``spawner``. Pure, as ``trouble`` is.
"""

from collections.abc import Sequence
from typing import Any

Resource = dict[str, Any]


def stage_of(pod: Resource | None, events: Sequence[Resource], image: str) -> tuple[int, str]:
    """Return how much of a start is done, in percent, and what is going on."""
    if pod is None:
        return 5, "Asking the cluster for a pod."
    status = pod.get("status") or {}
    if not pod["spec"].get("nodeName"):
        return 15, "Looking for room on the cluster."
    containers = status.get("containerStatuses") or []
    if any("running" in (container.get("state") or {}) for container in containers):
        return 70, "The container runs; Jupyter is starting in it."
    reasons = {event.get("reason") for event in events}
    if reasons & {"Pulled", "Created", "Started"}:
        return 55, "The image is there; the container is starting."
    if "Pulling" in reasons:
        return 40, f"The image {image} is being pulled."
    return 25, "There is room; your disk and the container are being prepared."
