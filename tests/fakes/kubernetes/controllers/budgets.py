"""PodDisruptionBudgets and HorizontalPodAutoscalers say how they are, and do no more here."""

import math

from tests.fakes.kubernetes.client import Json, selects
from tests.fakes.kubernetes.controllers.deployments import share
from tests.fakes.kubernetes.controllers.pods import active, ready
from tests.fakes.kubernetes.controllers.world import World, conditions
from tests.fakes.kubernetes.times import now


async def reconcile(world: World) -> None:
    """Write the status of both."""
    for budget in world.cache.all("poddisruptionbudgets"):
        await world.set_status("poddisruptionbudgets", budget, _allowed(world, budget))
    for autoscaler in world.cache.all("horizontalpodautoscalers"):
        await world.set_status("horizontalpodautoscalers", autoscaler, _inert(world, autoscaler))


def _allowed(world: World, budget: Json) -> Json:
    spec = budget["spec"]
    pods = [
        pod
        for pod in world.cache.all("pods")
        if pod["metadata"]["namespace"] == budget["metadata"]["namespace"]
        and selects(spec.get("selector"), pod["metadata"].get("labels"))
        and active(pod)
    ]
    healthy, expected = sum(ready(pod) for pod in pods), len(pods)
    if (most := spec.get("maxUnavailable")) is not None:
        desired = expected - share(most, expected, math.ceil)
    else:
        desired = share(spec.get("minAvailable", 1), expected, math.ceil)
    allowed = max(healthy - desired, 0)
    state = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    return {
        "observedGeneration": budget["metadata"].get("generation", 1),
        "currentHealthy": healthy,
        "desiredHealthy": max(desired, 0),
        "expectedPods": expected,
        "disruptionsAllowed": allowed,
        "conditions": conditions(budget, now(), ("DisruptionAllowed", *state, "")),
    }


def _inert(world: World, autoscaler: Json) -> Json:
    target, namespace = autoscaler["spec"]["scaleTargetRef"], autoscaler["metadata"]["namespace"]
    deployment = world.cache.find("deployments", namespace, target["name"])
    replicas = deployment["spec"].get("replicas", 1) if deployment else 0
    why = "The fake cluster measures nothing, so nothing is scaled."
    return {
        "currentReplicas": replicas,
        "desiredReplicas": replicas,
        "conditions": conditions(
            autoscaler,
            now(),
            ("AbleToScale", "True", "SucceededGetScale", ""),
            ("ScalingActive", "False", "FailedGetResourceMetric", why),
        ),
    }
