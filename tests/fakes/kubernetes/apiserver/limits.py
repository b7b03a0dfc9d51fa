"""
LimitRanges: what containers, pods and claims get when they ask for nothing, and may ask for.

``admission`` calls it for pods and claims that are created. Pure.
"""

from collections.abc import Iterable, Iterator

from tests.fakes.kubernetes.apiserver.defaults import containers_of
from tests.fakes.kubernetes.apiserver.objects import Json
from tests.fakes.kubernetes.quantities import quantity, total


def items_of(ranges: Iterable[Json], kind: str) -> list[Json]:
    """Return the limits of a type (Container, Pod, PersistentVolumeClaim) of several ranges."""
    return [
        item for one in ranges for item in one["spec"].get("limits") or () if item["type"] == kind
    ]


def fill(spec: Json, ranges: Iterable[Json]) -> None:
    """Write the default requests and limits of a namespace into a pod's spec."""
    for item in items_of(ranges, "Container"):
        limits = {**(item.get("max") or {}), **(item.get("default") or {})}
        requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
        for container in containers_of(spec):
            resources = container.setdefault("resources", {})
            own = resources.get("requests") or {}
            # What has a limit of its own requests as much, unless it says otherwise.
            own = {**(resources.get("limits") or {}), **own}
            resources["limits"] = {**limits, **(resources.get("limits") or {})}
            resources["requests"] = {**requests, **own}
            for field in ("limits", "requests"):
                if not resources[field]:
                    del resources[field]


def pod_problems(spec: Json, ranges: list[Json]) -> list[str]:
    """Return what is wrong with a pod's resources, in the real server's words."""
    problems: list[str] = []
    for item in items_of(ranges, "Container"):
        for container in containers_of(spec):
            resources = container.get("resources") or {}
            problems += _problems(item, resources, "Container")
    for item in items_of(ranges, "Pod"):
        resources = {field: total(spec, field) for field in ("requests", "limits")}
        problems += _problems(item, resources, "Pod")
    return problems


def claim_problems(spec: Json, ranges: list[Json]) -> list[str]:
    """Return what is wrong with the storage that a claim asks for."""
    requests = (spec.get("resources") or {}).get("requests") or {}
    resources = {"requests": requests, "limits": requests}
    return [
        told
        for item in items_of(ranges, "PersistentVolumeClaim")
        for told in _problems(item, resources, "PersistentVolumeClaim")
    ]


def _problems(item: Json, resources: Json, kind: str) -> Iterator[str]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, least in (item.get("min") or {}).items():
        if name not in requests:
            yield f"minimum {name} usage per {kind} is {least}.  No request is specified"
        elif quantity(requests[name]) < quantity(least):
            yield f"minimum {name} usage per {kind} is {least}, but request is {requests[name]}"
    for name, most in (item.get("max") or {}).items():
        if name not in limits:
            yield f"maximum {name} usage per {kind} is {most}.  No limit is specified"
        elif quantity(limits[name]) > quantity(most):
            yield f"maximum {name} usage per {kind} is {most}, but limit is {limits[name]}"
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        request, limit = quantity(requests.get(name, 0)), quantity(limits.get(name, 0))
        if not request or limit / request > quantity(ratio):
            told = f"{limit / request:.2f}" if request else "0"
            yield f"{name} max limit to request ratio per {kind} is {ratio}, but provided is {told}"
