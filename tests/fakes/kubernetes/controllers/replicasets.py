"""ReplicaSets: as many pods as they say. Called by ``controllers.__main__``."""

from tests.fakes.kubernetes.client import ApiError, Json
from tests.fakes.kubernetes.controllers.pods import active, make_pod, ready
from tests.fakes.kubernetes.controllers.world import World, conditions, leaves, reference
from tests.fakes.kubernetes.times import now

TRY_AGAIN = 1.0
"""Seconds until pods are created again that the API server refused, as a quota does."""


async def reconcile(world: World) -> None:
    """Create and delete pods, and count them."""
    for one in world.cache.all("replicasets"):
        if not leaves(one):
            refusal = await _scale(world, one)
            await world.set_status("replicasets", one, _status(world, one, refusal))


async def _scale(world: World, replicaset: Json) -> str:
    """Return why a pod could not be created, if one could not."""
    pods = [pod for pod in world.cache.owned("pods", replicaset) if active(pod)]
    wanted = replicaset["spec"].get("replicas", 1)
    owners = reference(replicaset, "apps/v1", "ReplicaSet")
    for _ in range(wanted - len(pods)):
        try:
            pod = await world.create(
                "pods", make_pod(replicaset["spec"]["template"], replicaset, owners)
            )
        except ApiError as error:
            message = f"Error creating: {error}"
            world.events.warning(_as_kind(replicaset), "ReplicaSet", "FailedCreate", message)
            world.again_in(TRY_AGAIN)
            return str(error)
        world.events.normal(
            _as_kind(replicaset),
            "ReplicaSet",
            "SuccessfulCreate",
            f"Created pod: {pod['metadata']['name']}",
        )
    # Those that are not ready first, then the youngest.
    pods.sort(key=lambda pod: (not ready(pod), pod["metadata"]["creationTimestamp"]), reverse=True)
    for pod in pods[: max(len(pods) - wanted, 0)]:
        await world.delete("pods", pod)
    return ""


def _as_kind(replicaset: Json) -> Json:
    return {**replicaset, "apiVersion": "apps/v1"}


def _status(world: World, replicaset: Json, refusal: str) -> Json:
    pods = [pod for pod in world.cache.owned("pods", replicaset) if active(pod)]
    able = sum(ready(pod) for pod in pods)
    failure = ("ReplicaFailure", "True", "FailedCreate", refusal)
    return {
        "observedGeneration": replicaset["metadata"].get("generation", 1),
        "replicas": len(pods),
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": able,
        "availableReplicas": able,
        "conditions": conditions(replicaset, now(), failure) if refusal else [],
    }
