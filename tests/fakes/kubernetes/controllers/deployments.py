"""
Deployments: a ReplicaSet for each template, the newest scaled up as the others go down.

Called by ``controllers.__main__``; ``replicasets`` does the rest.
"""

import copy
import math
import time
from collections.abc import Callable

from tests.fakes.kubernetes.client import Json
from tests.fakes.kubernetes.controllers.pods import template_hash
from tests.fakes.kubernetes.controllers.world import World, conditions, leaves, reference
from tests.fakes.kubernetes.times import now

REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"


async def reconcile(world: World) -> None:
    """Make the next step of every Deployment's rollout."""
    for one in world.cache.all("deployments"):
        if not leaves(one):
            await _roll(world, one)


async def _roll(world: World, deployment: Json) -> None:
    sets = world.cache.owned("replicasets", deployment)
    name = f"{deployment['metadata']['name']}-{template_hash(deployment['spec']['template'])}"
    new = next((one for one in sets if one["metadata"]["name"] == name), None)
    old = [one for one in sets if one is not new]
    newest = max((revision(one) for one in sets), default=0)
    if new is None:
        new = await world.create("replicasets", make_replicaset(deployment, name, newest + 1))
    elif revision(new) < newest:  # rolled back to
        mark = {"metadata": {"annotations": {REVISION: str(newest + 1)}}}
        new = await world.merge("replicasets", new, mark)
    mark = {"metadata": {"annotations": {REVISION: str(revision(new))}}}
    deployment = await world.merge("deployments", deployment, mark)
    if not deployment["spec"].get("paused"):
        for one, replicas in next_scales(deployment, new, old, _pods_of(world, old)).items():
            found = next(each for each in (new, *old) if each["metadata"]["name"] == one)
            changed = await world.merge("replicasets", found, {"spec": {"replicas": replicas}})
            new = changed if found is new else new
    await _tidy(world, deployment, old)
    await world.set_status("deployments", deployment, _status(world, deployment, new, old))


def _pods_of(world: World, sets: list[Json]) -> int:
    """Count the pods that are still there, those that are ending among them."""
    return sum(len(world.cache.owned("pods", one)) for one in sets)


def make_replicaset(deployment: Json, name: str, number: int) -> Json:
    """Return the ReplicaSet of a Deployment's template, without pods yet."""
    spec = copy.deepcopy(deployment["spec"])
    mark = {HASH: name.rpartition("-")[2]}
    template, selector = spec["template"], spec["selector"]
    template["metadata"]["labels"] |= mark
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | mark
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": deployment["metadata"]["namespace"],
            "labels": template["metadata"]["labels"],
            "annotations": {REVISION: str(number)},
            "ownerReferences": reference(deployment, "apps/v1", "Deployment"),
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }


def next_scales(deployment: Json, new: Json, old: list[Json], old_pods: int) -> dict[str, int]:
    """
    Return how many pods each ReplicaSet is to have next, by name.

    Recreate waits until all old pods are gone; a rolling update keeps between
    the replicas less ``maxUnavailable`` and the replicas and ``maxSurge``.
    """
    spec = deployment["spec"]
    wanted = spec.get("replicas", 1)
    strategy = spec.get("strategy") or {}
    if strategy.get("type") == "Recreate":
        nothing = {one["metadata"]["name"]: 0 for one in old}
        return {**nothing, new["metadata"]["name"]: 0 if old_pods else wanted}
    rolling = strategy.get("rollingUpdate") or {}
    surge = share(rolling.get("maxSurge", "25%"), wanted, math.ceil)
    absent = share(rolling.get("maxUnavailable", "25%"), wanted, math.floor)
    if not surge and not absent:
        absent = 1
    size = {one["metadata"]["name"]: one["spec"]["replicas"] for one in (new, *old)}
    name = new["metadata"]["name"]
    others = sum(size.values()) - size[name]
    # As many as room is for, but none less than there are unless that is too many.
    size[name] = min(wanted, max(size[name], wanted + surge - others))
    missing = max(size[name] - new.get("status", {}).get("availableReplicas", 0), 0)
    too_many = size[name] + others - (wanted - absent) - missing
    # Those that do not work go first.
    for one in sorted(old, key=lambda one: one.get("status", {}).get("availableReplicas", 0)):
        key = one["metadata"]["name"]
        able = one.get("status", {}).get("availableReplicas", 0)
        useless = max(size[key] - able, 0)
        go = min(size[key], max(useless, too_many))
        size[key] -= go
        too_many -= go
    return size


def share(amount: int | str, whole: int, rounded: Callable[[float], int]) -> int:
    """Return a number that may be given as a percentage of ``whole``."""
    if isinstance(amount, str):
        return rounded(int(amount.rstrip("%")) * whole / 100)
    return amount


def revision(replicaset: Json) -> int:
    return int((replicaset["metadata"].get("annotations") or {}).get(REVISION, 0))


async def _tidy(world: World, deployment: Json, old: list[Json]) -> None:
    """Delete the oldest ReplicaSets that nobody would roll back to."""
    empty = [one for one in old if not one["spec"]["replicas"] and not leaves(one)]
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    for one in sorted(empty, key=revision)[: max(len(empty) - limit, 0)]:
        await world.delete("replicasets", one)


def _status(world: World, deployment: Json, new: Json, old: list[Json]) -> Json:
    spec, name = deployment["spec"], new["metadata"]["name"]
    counts = [one.get("status", {}) for one in (new, *old)]
    total = sum(one.get("replicas", 0) for one in counts)
    available = sum(one.get("availableReplicas", 0) for one in counts)
    wanted = spec.get("replicas", 1)
    updated = counts[0].get("replicas", 0)
    complete = updated == wanted == total and counts[0].get("availableReplicas", 0) == wanted
    absent = (spec.get("strategy") or {}).get("rollingUpdate", {}).get("maxUnavailable", 0)
    enough = available >= wanted - share(absent, wanted, math.floor)
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": total,
        "updatedReplicas": updated,
        "readyReplicas": available,
        "availableReplicas": available,
        "unavailableReplicas": max(wanted - available, 0),
        "conditions": conditions(
            deployment,
            now(),
            (
                "Available",
                "True" if enough else "False",
                "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
                f"{available} of {wanted} pods are available.",
            ),
            _progress(world, deployment, name, complete),
        ),
    }


def _progress(
    world: World, deployment: Json, name: str, complete: bool
) -> tuple[str, str, str, str]:
    """Return the condition Progressing; a rollout has its time from its beginning."""
    key = f"rollout {deployment['metadata']['uid']} {name}"
    if complete:
        world.memory.pop(key, None)
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return "Progressing", "True", "NewReplicaSetAvailable", message
    began = world.memory.setdefault(key, time.monotonic())
    deadline = deployment["spec"].get("progressDeadlineSeconds", 600)
    if time.monotonic() - began > deadline:
        message = f'ReplicaSet "{name}" has timed out progressing.'
        return "Progressing", "False", "ProgressDeadlineExceeded", message
    world.again_in(deadline)
    return "Progressing", "True", "ReplicaSetUpdated", f'ReplicaSet "{name}" is progressing.'
