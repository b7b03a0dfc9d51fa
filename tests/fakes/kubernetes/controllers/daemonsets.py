"""DaemonSets: a pod on each node that would take it. Called by ``controllers.__main__``."""

import copy

from tests.fakes.kubernetes.client import ApiError, Json
from tests.fakes.kubernetes.controllers.pods import active, make_pod, ready, template_hash
from tests.fakes.kubernetes.controllers.replicasets import TRY_AGAIN
from tests.fakes.kubernetes.controllers.world import World, leaves, reference
from tests.fakes.kubernetes.node.scheduler import repels

HASH = "controller-revision-hash"


async def reconcile(world: World) -> None:
    """Create and delete pods, and count them."""
    for one in world.cache.all("daemonsets"):
        if not leaves(one):
            await _spread(world, one)


async def _spread(world: World, daemonset: Json) -> None:
    template = daemonset["spec"]["template"]
    mark = template_hash(template)
    nodes = {
        node["metadata"]["name"]
        for node in world.cache.all("nodes")
        if not repels(node, template["spec"])
    }
    pods = {place(pod): pod for pod in world.cache.owned("pods", daemonset) if not leaves(pod)}
    for node, pod in pods.items():
        outdated = pod["metadata"]["labels"].get(HASH) != mark
        if outdated or node not in nodes or not active(pod):
            await world.delete("pods", pod)
    everywhere = {place(pod) for pod in world.cache.owned("pods", daemonset)}
    for node in sorted(nodes - everywhere):
        try:
            await world.create("pods", make_daemon(daemonset, node, mark))
        except ApiError as error:
            thing = {**daemonset, "apiVersion": "apps/v1"}
            world.events.warning(thing, "DaemonSet", "FailedCreate", f"Error creating: {error}")
            world.again_in(TRY_AGAIN)
    await world.set_status("daemonsets", daemonset, _status(world, daemonset, mark, len(nodes)))


def make_daemon(daemonset: Json, node: str, mark: str) -> Json:
    """Return the pod for a node: the scheduler is told of no other."""
    owners = reference(daemonset, "apps/v1", "DaemonSet")
    pod = make_pod(daemonset["spec"]["template"], daemonset, owners, {HASH: mark})
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    affinity = copy.deepcopy(pod["spec"].get("affinity") or {})
    affinity["nodeAffinity"] = {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [field]}]
        }
    }
    pod["spec"]["affinity"] = affinity
    return pod


def place(pod: Json) -> str:
    """Return the node that a pod was made for."""
    required = pod["spec"]["affinity"]["nodeAffinity"]
    terms = required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return str(terms[0]["matchFields"][0]["values"][0])


def _status(world: World, daemonset: Json, mark: str, wanted: int) -> Json:
    pods = [pod for pod in world.cache.owned("pods", daemonset) if active(pod)]
    able = sum(ready(pod) for pod in pods)
    return {
        "observedGeneration": daemonset["metadata"].get("generation", 1),
        "desiredNumberScheduled": wanted,
        "currentNumberScheduled": len(pods),
        "numberMisscheduled": 0,
        "numberReady": able,
        "numberAvailable": able,
        "numberUnavailable": max(wanted - able, 0),
        "updatedNumberScheduled": sum(pod["metadata"]["labels"].get(HASH) == mark for pod in pods),
    }
