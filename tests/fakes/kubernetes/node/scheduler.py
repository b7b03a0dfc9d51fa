"""
Finds a node for each pod that has none.

Called by ``node.__main__``. Looks at room, node selectors, required affinity to
nodes and to pods of one node, taints and volumes' claims; takes the emptiest node. A pod of higher
priority may have others deleted, as few and as low as will do. Other
constraints are refused rather than passed over.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from tests.fakes.kubernetes.client import AWAY, ApiError, Cache, Json, selects
from tests.fakes.kubernetes.events import Recorder
from tests.fakes.kubernetes.quantities import quantity, total
from tests.fakes.kubernetes.times import now

log = logging.getLogger(__name__)

WORDS = {"cpu": "Insufficient cpu", "memory": "Insufficient memory", "pods": "Too many pods"}

HOST = "kubernetes.io/hostname"

LOOK_AGAIN = 1.0
"""Seconds after which pods without a node are looked at anew even if nobody told of a change."""


class Scheduler:
    """The scheduler of the cluster."""

    def __init__(self, cache: Cache, events: Recorder) -> None:
        self._cache = cache
        self._events = events
        self._told: dict[str, str] = {}
        self._changed = asyncio.Event()
        cache.on_change(lambda _: self._changed.set())

    async def run(self) -> None:
        """Schedule, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._events.run())
            tasks.create_task(self._follow())

    async def _follow(self) -> None:
        await self._cache.listed()
        while True:
            self._changed.clear()
            waiting = [pod for pod in self._cache.all("pods") if waits(pod)]
            waiting.sort(key=lambda pod: (-priority(pod), pod["metadata"]["creationTimestamp"]))
            for pod in waiting:
                try:
                    await self._schedule(pod)
                except (ApiError, *AWAY) as error:
                    log.info("%s is not scheduled: %r", pod["metadata"]["name"], error)
            try:
                async with asyncio.timeout(LOOK_AGAIN if waiting else None):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _schedule(self, pod: Json) -> None:
        if not self._nodes():
            return await self._refuse(pod, "no nodes available to schedule pods")
        if reason := self._claims_missing(pod):
            return await self._refuse(pod, f"0/{len(self._nodes())} nodes are available: {reason}.")
        placed = [other for node in self._nodes() for other in self._on(node)]
        obstacles = {
            node["metadata"]["name"]: obstacle(pod, node, self._on(node))
            or apart(pod, node, placed)
            for node in self._nodes()
        }
        free = [node for node in self._nodes() if not obstacles[node["metadata"]["name"]]]
        if free:
            return await self._bind(pod, max(free, key=self._room))
        counts = Counter(obstacles.values())
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
        message = f"0/{len(obstacles)} nodes are available: {why}."
        await self._preempt(pod)
        return await self._refuse(pod, message)

    def _nodes(self) -> list[Json]:
        nodes = self._cache.all("nodes")
        return [node for node in nodes if "allocatable" in node.get("status", {})]

    def _on(self, node: Json) -> list[Json]:
        name = node["metadata"]["name"]
        return [
            pod
            for pod in self._cache.all("pods")
            if pod["spec"].get("nodeName") == name
            and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        ]

    def _room(self, node: Json) -> Decimal:
        return left(node, self._on(node)).get("memory", Decimal(0))

    def _claims_missing(self, pod: Json) -> str:
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"].get("volumes") or []:
            if "persistentVolumeClaim" in volume:
                name = volume["persistentVolumeClaim"]["claimName"]
                claim = self._cache.find("persistentvolumeclaims", namespace, name)
                if claim is None:
                    return f'persistentvolumeclaim "{name}" not found'
                if claim.get("status", {}).get("phase") != "Bound":
                    return "pod has unbound immediate PersistentVolumeClaims"
        return ""

    async def _bind(self, pod: Json, node: Json) -> None:
        metadata, name = pod["metadata"], node["metadata"]["name"]
        body = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": metadata["name"], "namespace": metadata["namespace"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": name},
        }
        api = self._cache.api
        await api.create("pods", metadata["namespace"], body, metadata["name"], "binding")
        where = f"{metadata['namespace']}/{metadata['name']}"
        self._events.normal(pod, "Pod", "Scheduled", f"Successfully assigned {where} to {name}")
        self._told.pop(metadata["uid"], None)
        self._cache.put("pods", await api.get("pods", metadata["namespace"], metadata["name"]))

    async def _refuse(self, pod: Json, message: str) -> None:
        metadata = pod["metadata"]
        if self._told.get(metadata["uid"]) == message:
            return
        self._told[metadata["uid"]] = message
        self._events.warning(pod, "Pod", "FailedScheduling", message)
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastTransitionTime": now(),
        }
        await self._cache.api.merge(
            "pods",
            metadata["namespace"],
            metadata["name"],
            {"status": {"phase": "Pending", "conditions": [condition]}},
            "status",
        )

    async def _preempt(self, pod: Json) -> None:
        """Have pods of lower priority deleted where that makes room."""
        if pod["spec"].get("preemptionPolicy") == "Never":
            return
        for node in self._nodes():
            for victim in victims(pod, node, self._on(node)):
                metadata = victim["metadata"]
                message = (
                    f"Preempted by pod {pod['metadata']['uid']} on node {node['metadata']['name']}"
                )
                self._events.normal(victim, "Pod", "Preempted", message)
                await self._cache.api.delete("pods", metadata["namespace"], metadata["name"])


def waits(pod: Json) -> bool:
    """Tell whether a pod is to get a node from this scheduler."""
    return not (
        pod["spec"].get("nodeName")
        or "deletionTimestamp" in pod["metadata"]
        or pod["spec"].get("schedulerName", "default-scheduler") != "default-scheduler"
    )


def priority(pod: Json) -> int:
    return int(pod["spec"].get("priority") or 0)


def obstacle(pod: Json, node: Json, others: Iterable[Json]) -> str:
    """Return why a pod cannot go to a node, in the scheduler's words; empty if it can."""
    if reason := repels(node, pod["spec"]):
        return reason
    room = left(node, others)
    lacking = [kind for kind, amount in requested(pod).items() if amount > room.get(kind, 0)]
    return ", ".join(WORDS.get(kind, f"Insufficient {kind}") for kind in sorted(lacking))


def repels(node: Json, spec: Json) -> str:
    """Return why a node would not take a pod of this spec even if it had room."""
    unknown = [key for key in ("topologySpreadConstraints",) if _hard(spec.get(key))]
    affinity = spec.get("affinity") or {}
    unknown += ["podAntiAffinity"] if _required(affinity.get("podAntiAffinity")) else []
    for term in _required(affinity.get("podAffinity")) or []:
        if term.keys() != {"labelSelector", "topologyKey"} or term["topologyKey"] != HOST:
            unknown.append("podAffinity but to pods of the same namespace and node")
    if unknown:
        return f"node(s) of the fake cluster, which knows no required {', '.join(unknown)}"
    if node["spec"].get("unschedulable"):
        return "node(s) were unschedulable"
    if not _attracts(node, spec):
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] != "PreferNoSchedule" and not _tolerated(taint, spec):
            return f"node(s) had untolerated taint(s) {{{taint['key']}: {taint.get('value', '')}}}"
    return ""


def apart(pod: Json, node: Json, placed: list[Json]) -> str:
    """
    Return why a node is not where the pods are that this one must be beside; empty if it is.

    ``placed`` are the pods of all nodes. The first of a kind that must be beside
    each other may go anywhere.
    """
    metadata = pod["metadata"]
    for term in _required((pod["spec"].get("affinity") or {}).get("podAffinity")) or []:
        meant = {
            other["spec"]["nodeName"]
            for other in placed
            if other["metadata"]["namespace"] == metadata["namespace"]
            and selects(term["labelSelector"], other["metadata"].get("labels"))
        }
        if not meant and selects(term["labelSelector"], metadata.get("labels")):
            continue
        if node["metadata"]["name"] not in meant:
            return "node(s) didn't match pod affinity rules"
    return ""


def _attracts(node: Json, spec: Json) -> bool:
    labels = node["metadata"].get("labels") or {}
    required = _required((spec.get("affinity") or {}).get("nodeAffinity"))
    terms = required["nodeSelectorTerms"] if required else [{}]
    name = {"metadata.name": node["metadata"]["name"]}
    return (spec.get("nodeSelector") or {}).items() <= labels.items() and any(
        selects({"matchExpressions": term.get("matchExpressions")}, labels)
        and selects({"matchExpressions": term.get("matchFields")}, name)
        for term in terms
    )


def requested(pod: Json) -> dict[str, Decimal]:
    """Return what a pod asks a node for, by resource, ``pods`` among them."""
    return {**total(pod["spec"], "requests"), "pods": Decimal(1)}


def left(node: Json, others: Iterable[Json]) -> dict[str, Decimal]:
    """Return what a node has left, by resource."""
    room = {kind: quantity(amount) for kind, amount in node["status"]["allocatable"].items()}
    for other in others:
        for kind, amount in requested(other).items():
            room[kind] = room.get(kind, Decimal(0)) - amount
    return room


def victims(pod: Json, node: Json, others: list[Json]) -> list[Json]:
    """Return the pods to delete so that ``pod`` fits; none if it would not, or room is coming."""
    staying = [other for other in others if "deletionTimestamp" not in other["metadata"]]
    if len(staying) < len(others) and not obstacle(pod, node, staying):
        return []
    lower = [other for other in staying if priority(other) < priority(pod)]
    chosen: list[Json] = []
    for other in sorted(lower, key=priority):
        chosen.append(other)
        if not obstacle(pod, node, [one for one in staying if one not in chosen]):
            return chosen
    return []


def _tolerated(taint: Mapping[str, str], spec: Json) -> bool:
    for one in spec.get("tolerations") or []:
        if one.get("effect") not in (None, "", taint["effect"]):
            continue
        if not one.get("key") and one.get("operator") == "Exists":
            return True
        if one.get("key") == taint["key"] and (
            one.get("operator") == "Exists" or one.get("value", "") == taint.get("value", "")
        ):
            return True
    return False


def _required(affinity: Json | None) -> Any:
    return (affinity or {}).get("requiredDuringSchedulingIgnoredDuringExecution")


def _hard(constraints: list[Json] | None) -> bool:
    return any(one.get("whenUnsatisfiable") == "DoNotSchedule" for one in constraints or [])
