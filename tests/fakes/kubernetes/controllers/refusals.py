"""Says of what has no controller here that nothing will come of it."""

from tests.fakes.kubernetes.controllers.world import World

KINDS = {"statefulsets": "StatefulSet", "cronjobs": "CronJob"}


async def reconcile(world: World) -> None:
    """Record an event for each, once."""
    for plural, kind in KINDS.items():
        for thing in world.cache.all(plural):
            key = f"refused {thing['metadata']['uid']}"
            if key not in world.memory:
                world.memory[key] = 0
                message = f"The fake cluster has no controller for a {kind}: it stays as it is."
                world.events.warning(thing, kind, "NotInFakeCluster", message)
