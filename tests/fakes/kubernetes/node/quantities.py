"""Kubernetes' quantities as numbers: ``"500m"`` of a CPU is 0.5, ``"2Gi"`` is bytes. Pure."""

from collections.abc import Iterable

from tests.fakes.kubernetes.client import Json

SUFFIXES: dict[str, float] = {
    **{f"{letter}i": 1024.0**power for power, letter in enumerate("KMGTPE", start=1)},
    **{letter: 1000.0**power for power, letter in enumerate("kMGTPE", start=1)},
    "m": 1e-3,
    "u": 1e-6,
    "n": 1e-9,
}


def parse(quantity: str | float) -> float:
    """Return what a quantity is in its unit; ValueError if it is none."""
    text = str(quantity)
    for suffix, factor in SUFFIXES.items():
        if text.endswith(suffix):
            return float(text.removesuffix(suffix)) * factor
    return float(text)


def requested(pod: Json) -> dict[str, float]:
    """
    Return what a pod asks a node for, by resource, ``pods`` among them.

    The containers together, or the greediest init container if that is more.
    """
    spec = pod["spec"]
    together = _sum(_requests(one) for one in spec["containers"])
    for first in spec.get("initContainers") or []:
        for resource, amount in _requests(first).items():
            together[resource] = max(amount, together.get(resource, 0.0))
    return _sum([together, {"pods": 1.0}])


def _requests(container: Json) -> dict[str, float]:
    resources = container.get("resources") or {}
    # What is limited only is requested as much: the API server fills that in, not each does.
    wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {resource: parse(amount) for resource, amount in wanted.items()}


def _sum(parts: Iterable[dict[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for resource, amount in part.items():
            total[resource] = total.get(resource, 0.0) + amount
    return total
