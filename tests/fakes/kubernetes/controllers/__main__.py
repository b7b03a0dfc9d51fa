"""
The controllers as a process: ``python -m tests.fakes.kubernetes.controllers FOLDER``.

``FOLDER`` holds ``kubeconfig``; volumes are put there. Ends on SIGTERM.
"""

import argparse
import asyncio
import logging
from pathlib import Path

from tests.fakes.kubernetes.client import AWAY, Api, ApiError, Cache
from tests.fakes.kubernetes.controllers import (
    budgets,
    daemonsets,
    deployments,
    endpoints,
    jobs,
    refusals,
    replicasets,
    volumes,
)
from tests.fakes.kubernetes.controllers.world import World
from tests.fakes.kubernetes.events import Recorder
from tests.fakes.kubernetes.lifetime import told_to_stop, work

log = logging.getLogger(__name__)

KINDS = (
    *("cronjobs", "daemonsets", "deployments", "endpoints", "endpointslices"),
    *("horizontalpodautoscalers", "jobs", "nodes", "persistentvolumeclaims", "persistentvolumes"),
    *("poddisruptionbudgets", "pods", "replicasets", "services", "statefulsets", "storageclasses"),
)
CONTROLLERS = (
    *(volumes.reconcile, deployments.reconcile, replicasets.reconcile, daemonsets.reconcile),
    *(jobs.reconcile, endpoints.reconcile, budgets.reconcile, refusals.reconcile),
)

CALM = 0.01
"""Seconds from a change to the look at it, so that changes that come together are one."""

TRY_AGAIN = 0.5
"""Seconds until a controller has another go at what the API server did not take."""


async def serve(folder: Path) -> None:
    """Control until SIGTERM."""
    stopped = told_to_stop()
    async with Api.connect(folder / "kubeconfig") as api:
        events = Recorder(api, "fake-controllers")
        world = World(api, Cache(api, *KINDS), events, folder / "volumes")
        world.cache.on_change(lambda _: world.changed.set())
        await work(stopped, world.cache.run(), events.run(), control(world))


async def control(world: World) -> None:
    """Let every controller look whenever something has changed, for ever."""
    await world.cache.listed()
    while True:
        world.changed.clear()
        for reconcile in CONTROLLERS:
            try:
                await reconcile(world)
            except (ApiError, *AWAY) as error:
                log.info("%s: %r", reconcile.__module__, error)
                world.again_in(TRY_AGAIN)
        await world.changed.wait()
        await asyncio.sleep(CALM)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The controllers of a fake Kubernetes cluster.")
    parser.add_argument("folder", type=Path)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    asyncio.run(serve(parser.parse_args().folder))
