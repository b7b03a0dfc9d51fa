"""
Waits until a DaemonSet has pulled its images on all nodes.

The chart's pre-puller hook runs it before an install or upgrade continues, so
that no user waits for a pull:
``python -m caesarion_hub.pods.images NAMESPACE DAEMONSET SECONDS``.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError
from kubernetes_asyncio import config
from kubernetes_asyncio.client import ApiClient, ApiException, AppsV1Api
from kubernetes_asyncio.watch import Watch


@dataclass
class Progress:
    """The number of nodes that have the images, and that should have them."""

    ready: int = 0
    wanted: int = 0


async def wait(api: AppsV1Api, namespace: str, name: str, progress: Progress) -> None:
    """Wait until the DaemonSet's pod is ready on every node."""
    async with Watch() as watch:
        changes = watch.stream(
            api.list_namespaced_daemon_set, namespace, field_selector=f"metadata.name={name}"
        )
        async for change in changes:
            daemonset: dict[str, Any] = change["raw_object"]
            status = daemonset.get("status", {})
            progress.ready = status.get("numberReady", 0)
            progress.wanted = status.get("desiredNumberScheduled", 0)
            # Until the controller has seen the DaemonSet, all numbers are 0.
            seen = status.get("observedGeneration", 0) >= daemonset["metadata"]["generation"]
            if seen and progress.ready == progress.wanted:
                return


async def run(namespace: str, name: str, seconds: float) -> int:
    """Wait, print the outcome, and return the exit status."""
    progress = Progress()
    try:
        async with ApiClient() as client, asyncio.timeout(seconds):
            await wait(AppsV1Api(client), namespace, name, progress)
    except TimeoutError:
        print(
            f"After {seconds:g} s the images are on {progress.ready} of {progress.wanted} nodes. "
            f"`kubectl -n {namespace} describe pods -l caesarion/puller={name}` says why. "
            "Raise prePuller.hook.timeout, or set prePuller.hook.enabled to false to install "
            "without waiting.",
            file=sys.stderr,
        )
        return 1
    except (ApiException, ClientError) as problem:
        print(f"The DaemonSet {name} cannot be read: {problem}", file=sys.stderr)
        return 1
    print(f"The images are on all {progress.wanted} nodes.")
    return 0


def main(arguments: Sequence[str]) -> int:
    """Run with the command line's arguments; return the exit status."""
    namespace, name, seconds = arguments
    config.load_incluster_config()  # type: ignore[no-untyped-call]
    return asyncio.run(run(namespace, name, float(seconds)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
