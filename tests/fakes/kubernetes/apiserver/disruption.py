"""
PodDisruptionBudgets, as the eviction of a pod asks for them.

Computed from the pods when asked, so that no budget is out of date; a
controller that writes their status is free to. Pure but for reading the store.
"""

import math
from typing import Any

from tests.fakes.kubernetes.apiserver.errors import ApiError
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.apiserver.selectors import matches_selector
from tests.fakes.kubernetes.apiserver.state import State


def check_budgets(state: State, pod: Json) -> None:
    """Raise 429 if evicting a healthy pod would leave too few of its like."""
    if not is_ready(pod):
        return
    namespace = pod["metadata"]["namespace"]
    labels = pod["metadata"].get("labels") or {}
    for budget in state.store.all("poddisruptionbudgets.policy", namespace):
        if not matches_selector(budget["spec"].get("selector"), labels):
            continue
        healthy, desired = counts(state, budget)
        if healthy - 1 < desired:
            name = budget["metadata"]["name"]
            why = (
                f"The disruption budget {name} needs {desired} healthy pods"
                f" and has {healthy} currently"
            )
            raise ApiError(
                429,
                "Cannot evict pod as it would violate the pod's disruption budget.",
                causes=[{"reason": "DisruptionBudget", "message": why}],
                retry_after=10,
            )


def counts(state: State, budget: Json) -> tuple[int, int]:
    """Return how many pods of a budget are healthy, and how many must be."""
    namespace, spec = budget["metadata"]["namespace"], budget["spec"]
    pods = [
        pod
        for pod in state.store.all("pods", namespace)
        if matches_selector(spec.get("selector"), pod["metadata"].get("labels") or {})
    ]
    expected = _expected(state, namespace, pods)
    healthy = sum(is_ready(pod) for pod in pods)
    if "maxUnavailable" in spec:
        return healthy, max(expected - _share(spec["maxUnavailable"], expected), 0)
    return healthy, _share(spec.get("minAvailable", 1), expected)


def is_ready(pod: Json) -> bool:
    """Tell whether a pod is ready and is to stay."""
    conditions = pod.get("status", {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _share(amount: Any, of: int) -> int:
    if isinstance(amount, str) and amount.endswith("%"):
        return math.ceil(int(amount[:-1]) * of / 100)
    return int(amount)


def _expected(state: State, namespace: str, pods: list[Json]) -> int:
    """Return how many pods their controllers want; a pod without one is wanted once."""
    owners: dict[str, int] = {}
    alone = 0
    for pod in pods:
        owner = next(
            (one for one in pod["metadata"].get("ownerReferences") or () if one.get("controller")),
            None,
        )
        resource = owner and state.resources.of_kind(owner["apiVersion"], owner["kind"])
        found = resource and owner and state.store.get(resource.qualified, namespace, owner["name"])
        if owner and found:
            owners[owner["uid"]] = found["spec"].get("replicas", 1)
        else:
            alone += 1
    return alone + sum(owners.values())
