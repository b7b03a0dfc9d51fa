"""Who waits for images is told by Kubernetes, stops when all nodes have them, and says why not."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import kubernetes_asyncio.client
import kubernetes_asyncio.config
import pytest
from caesarion_hub.pods import images
from kubernetes_asyncio.client import AppsV1Api

from tests.fakes.kubernetes.apiserver import ApiServer

NAMESPACE, NAME = "default", "puller"


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[Any]:
    """The API of a cluster in which a DaemonSet waits for its controller, the test."""
    async with ApiServer(tmp_path) as server:
        configuration = kubernetes_asyncio.client.Configuration()
        await kubernetes_asyncio.config.load_kube_config(
            str(server.kubeconfig), client_configuration=configuration
        )
        kubernetes_asyncio.client.Configuration.set_default(configuration)
        async with kubernetes_asyncio.client.ApiClient(configuration) as client:
            apps: Any = AppsV1Api(client)  # takes tables for objects, too
            await apps.create_namespaced_daemon_set(NAMESPACE, daemonset())
            yield apps
    kubernetes_asyncio.client.Configuration.set_default(None)


def daemonset() -> dict[str, Any]:
    labels = {"app": NAME}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "pause", "image": "pause"}]},
            },
        },
    }


async def tell(apps: Any, ready: int, wanted: int) -> None:
    status = {
        "observedGeneration": 1,
        "numberReady": ready,
        "desiredNumberScheduled": wanted,
        "currentNumberScheduled": wanted,
        "numberMisscheduled": 0,
    }
    await apps.patch_namespaced_daemon_set_status(NAME, NAMESPACE, {"status": status})


async def test_it_waits_until_every_node_has_the_images(
    apps: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = asyncio.create_task(images.run(NAMESPACE, NAME, 30))
    await tell(apps, 0, 2)
    await tell(apps, 1, 2)
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert done == set()
    await tell(apps, 2, 2)
    assert await waiting == 0
    assert capsys.readouterr().out == "The images are on all 2 nodes.\n"


async def test_without_nodes_there_is_nothing_to_wait_for(
    apps: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await tell(apps, 0, 0)
    assert await images.run(NAMESPACE, NAME, 30) == 0
    assert capsys.readouterr().out == "The images are on all 0 nodes.\n"


async def test_before_kubernetes_has_looked_at_it_no_number_counts(apps: Any) -> None:
    assert await images.run(NAMESPACE, NAME, 0.3) == 1


async def test_after_its_time_it_says_how_far_it_came_and_what_to_do(
    apps: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    await tell(apps, 1, 3)
    assert await images.run(NAMESPACE, NAME, 0.5) == 1
    assert capsys.readouterr().err == (
        "After 0.5 s the images are on 1 of 3 nodes. `kubectl -n default describe pods -l "
        "caesarion/puller=puller` says why. Raise prePuller.hook.timeout, or set "
        "prePuller.hook.enabled to false to install without waiting.\n"
    )


async def test_what_kubernetes_refuses_is_said(
    apps: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    configuration = apps.api_client.configuration
    configuration.cert_file = configuration.key_file = None
    configuration.api_key = {"BearerToken": "Bearer nobody"}
    kubernetes_asyncio.client.Configuration.set_default(configuration)
    assert await images.run(NAMESPACE, NAME, 30) == 1
    assert capsys.readouterr().err.startswith("The DaemonSet puller cannot be read: (401)")
