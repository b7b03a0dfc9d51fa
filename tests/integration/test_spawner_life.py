"""A pod after its start: adopted by the next hub, swept up, slowed down, ended."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from caesarion_hub.pods.orphan_reaper import OrphanReapingProxy
from caesarion_hub.pods.spawn_errors import SpawnFailed
from caesarion_hub.pods.spawner import PodSpawner
from caesarion_hub.values.fields import cores_of

from tests.fakes.kubernetes.apiserver.faults import Fault
from tests.integration.spawning import NAMESPACE, Cluster, answering, cluster, container

__all__ = ["answering", "cluster"]

OTHER = {"app.kubernetes.io/instance": "another"}


async def running(cluster: Cluster, port: int, user: str = "ada", **changes: Any) -> PodSpawner:
    """Return a user's spawner whose server runs."""
    spawner = cluster.spawner(user, **changes)
    spawner.port = port
    start = spawner.start()
    await cluster.pod(f"jupyter-{user}")
    await cluster.run(f"jupyter-{user}")
    async with asyncio.timeout(60):
        url = await start
    spawner._server = SimpleNamespace(base_url=f"/user/{user}/", url=f"{url}/user/{user}/")
    spawner._spawn_pending = False
    return spawner


async def limit_of(cluster: Cluster) -> float:
    """Return how many cores the pod of ada may use."""
    pod = await cluster.pod()
    return cores_of(pod["spec"]["containers"][0]["resources"]["limits"]["cpu"])


async def test_the_next_hub_finds_a_server_that_was_still_starting(
    cluster: Cluster, answering: int
) -> None:
    died = cluster.spawner()
    died.port = answering
    start = died.start()
    await cluster.pod()
    start.cancel()
    await PodSpawner._stop_all_reflectors()
    adopted = cluster.spawner()
    adopted.load_state(died.get_state())
    assert await adopted.poll() is None
    finding = asyncio.create_task(adopted.get_url())
    await asyncio.sleep(0.2)
    assert not finding.done()
    await cluster.run()
    assert await finding == f"http://127.0.0.1:{answering}/user/ada/"


async def test_the_next_hub_gives_up_a_server_without_hope_at_once(cluster: Cluster) -> None:
    died = cluster.spawner()
    start = died.start()
    await cluster.wait("InvalidImageName")
    with pytest.raises(SpawnFailed):
        await start
    adopted = cluster.spawner()
    async with asyncio.timeout(60):
        assert await adopted.get_url() == adopted.server.url
    assert adopted.http_timeout == 1  # JupyterHub deletes the pod after that


async def test_an_unreachable_api_at_the_hubs_start_costs_nobody_their_server(
    cluster: Cluster, answering: int
) -> None:
    spawner = await running(cluster, answering)
    await PodSpawner._stop_all_reflectors()
    async with cluster.server.away():
        polling = asyncio.create_task(spawner.poll())
        await asyncio.sleep(1)
        assert not polling.done()
    async with asyncio.timeout(60):
        assert await polling is None


async def test_a_pod_whose_creation_was_not_heard_of_is_kept(
    cluster: Cluster, answering: int
) -> None:
    spawner = cluster.spawner()
    made = await spawner.get_pod_manifest()
    await spawner._start_watching_pods()
    assert await spawner._make_create_pod_request(made, 5)
    uid = (await cluster.pod())["metadata"]["uid"]
    assert await spawner._make_create_pod_request(made, 5)
    assert (await cluster.pod())["metadata"]["uid"] == uid


async def test_a_pod_of_an_earlier_start_ends_before_a_new_one_is_made(
    cluster: Cluster, answering: int
) -> None:
    await running(cluster, answering)
    uid = (await cluster.pod())["metadata"]["uid"]
    again = cluster.spawner()
    again.api_token = "another start's token"
    again.port = answering
    start = again.start()
    async with asyncio.timeout(60):
        await cluster.another_pod(uid)
        await cluster.run()
        await start


async def test_a_pod_of_another_installation_is_left_alone(cluster: Cluster) -> None:
    labels = {**OTHER, "component": "singleuser-server"}
    body = {
        "metadata": {"name": "jupyter-ada", "labels": labels},
        "spec": {"containers": [{"name": "notebook", "image": "i"}]},
    }
    await cluster.api.create("pods", NAMESPACE, body)
    with pytest.raises(SpawnFailed) as caught:
        await cluster.spawner().start()
    assert caught.value.jupyterhub_message == (
        "The installation 'another' already has a pod named jupyter-ada. "
        "If it is your own server there, stop that one first. Otherwise ask your administrator to "
        "give each installation a namespace of its own."
    )
    assert await cluster.names("pods") == ["jupyter-ada"]


async def test_stopping_waits_until_the_pod_is_gone(cluster: Cluster, answering: int) -> None:
    spawner = await running(cluster, answering)
    with cluster.server.faults.during(Fault(503, times=2, verbs={"delete"})):
        async with asyncio.timeout(60):
            await spawner.stop()
    assert await cluster.names("pods") == []
    assert await cluster.names("persistentvolumeclaims") == ["claim-ada"]
    assert await spawner.poll() == 1


async def test_a_disk_goes_with_its_user_if_the_values_say_so(
    cluster: Cluster, answering: int
) -> None:
    for user, goes in (("ada", True), ("bo", False)):
        changes = {"singleuser": {"deletePvcWithUser": goes}}
        spawner = await running(cluster, answering, user, **changes)
        await spawner.stop()
        with cluster.server.faults.during(Fault(500, times=1, verbs={"delete"})):
            await spawner.delete_forever()
    assert await cluster.names("persistentvolumeclaims") == ["claim-bo"]


async def lowered(cluster: Cluster, spawner: PodSpawner) -> None:
    """Poll until the CPU limit is what it should be."""
    async with asyncio.timeout(60):
        while await limit_of(cluster) != 0.5:
            assert await spawner.poll() is None
            await asyncio.sleep(0.02)


async def resized(spawner: PodSpawner) -> None:
    """Poll, and wait for the request to resize the pod."""
    assert await spawner.poll() is None
    if spawner._resize:
        await spawner._resize


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


async def test_the_cpu_limit_is_lowered_in_place_once_the_server_has_run_a_while(
    cluster: Cluster, answering: int
) -> None:
    spawner = await running(cluster, answering)
    assert await limit_of(cluster) == 2
    await lowered(cluster, spawner)


async def test_a_poll_does_not_wait_for_the_resize(cluster: Cluster, answering: int) -> None:
    spawner = await running(cluster, answering)
    with cluster.server.faults.during(Fault(delay=300, resources={"pods/resize"})):
        async with asyncio.timeout(60):
            for _ in range(3):
                assert await spawner.poll() is None
    assert spawner._resize is not None
    spawner._resize.cancel()


async def test_a_cluster_that_cannot_resize_pods_is_reported_once(
    cluster: Cluster, answering: int, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = await running(cluster, answering), await running(cluster, answering, "bo")
    caplog.clear()
    unknown = Fault(404, resources={"pods/resize"}, message="there is no such thing")
    with cluster.server.faults.during(unknown):
        for spawner in (one, other, one):
            await resized(spawner)
    assert unknown.met == 1
    assert warnings_of(caplog) == [
        "The cluster does not resize pods in place for the hub (404 there is no such thing), so "
        "servers keep singleuser.cpu.startLimit. Use Kubernetes 1.33, allow the hub's role to "
        "patch pods/resize, or set startLimit to null."
    ]


async def test_a_refusal_for_one_pod_leaves_the_others(
    cluster: Cluster, answering: int, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = await running(cluster, answering, "bo"), await running(cluster, answering)
    caplog.clear()
    webhook = Fault(403, resources={"pods/resize"}, message='admission webhook "x" denied it')
    with cluster.server.faults.during(webhook):
        await resized(one)
        await resized(one)
    assert webhook.met == 1
    assert warnings_of(caplog) == [
        "jupyter-bo was not resized and keeps singleuser.cpu.startLimit: "
        '403 admission webhook "x" denied it'
    ]
    await lowered(cluster, other)


async def test_a_conflict_is_retried_at_the_next_poll(
    cluster: Cluster, answering: int, caplog: pytest.LogCaptureFixture
) -> None:
    spawner = await running(cluster, answering)
    caplog.clear()
    with cluster.server.faults.during(Fault(409, times=1, resources={"pods/resize"})):
        await resized(spawner)
        await lowered(cluster, spawner)
    assert warnings_of(caplog) == []


async def test_a_node_that_cannot_resize_a_pod_is_reported_with_its_words(
    cluster: Cluster, answering: int, caplog: pytest.LogCaptureFixture
) -> None:
    spawner = await running(cluster, answering)
    caplog.clear()
    why = "In-place resize of containers with exclusive CPUs is not supported"
    pending = {"type": "PodResizePending", "status": "True", "reason": "Infeasible", "message": why}
    await cluster.tell(conditions=[pending])
    async with asyncio.timeout(60):
        while not warnings_of(caplog):
            await spawner.poll()
            await asyncio.sleep(0.02)
    await spawner.poll()
    assert warnings_of(caplog) == [
        f"jupyter-ada was not resized and keeps singleuser.cpu.startLimit: {why}"
    ]


async def test_how_a_server_ended_is_known_to_the_next_hub_until_it_starts_again(
    cluster: Cluster, answering: int
) -> None:
    spawner = await running(cluster, answering)
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    await cluster.tell(containerStatuses=[container(state=killed)])
    await asyncio.sleep(0.3)
    assert await spawner.poll() == 137
    assert await cluster.names("pods") == []
    spawner.clear_state()
    later = cluster.spawner()
    later.load_state(spawner.get_state())
    assert later.ended == "Your server used more memory than its limit (5 GiB) and was stopped."
    again = await running(cluster, answering)
    assert again.ended == ""


async def test_the_hub_is_told_at_once_that_a_server_has_ended(
    cluster: Cluster, answering: int
) -> None:
    spawner = await running(cluster, answering)
    told = asyncio.Event()
    spawner.add_poll_callback(told.set)
    spawner.start_polling()
    await cluster.tell(conditions=[{"type": "Ready", "status": "False"}])  # which is no end
    await asyncio.sleep(0.2)
    assert not told.is_set()
    status = container(state={"terminated": {"reason": "Error", "exitCode": 3}})
    await cluster.tell(phase="Failed", containerStatuses=[status])
    async with asyncio.timeout(60):
        await told.wait()
    assert spawner.ended == "Your server stopped by itself (exit code 3)."
    assert await cluster.names("pods") == []


async def test_an_end_while_the_hub_is_at_it_is_told_afterwards(
    cluster: Cluster, answering: int
) -> None:
    spawner = await running(cluster, answering)
    told = asyncio.Event()
    spawner.start_polling()
    spawner._spawn_pending = True
    await cluster.api.delete("pods", NAMESPACE, "jupyter-ada", gracePeriodSeconds=0)
    await asyncio.sleep(0.3)
    spawner.add_poll_callback(told.set)
    spawner._spawn_pending = False
    async with asyncio.timeout(60):
        await told.wait()


async def test_who_stops_a_server_is_not_told_that_it_ended(
    cluster: Cluster, answering: int
) -> None:
    spawner = await running(cluster, answering)
    told = asyncio.Event()
    spawner.add_poll_callback(told.set)
    spawner.start_polling()
    spawner.stop_polling()  # as JupyterHub does before
    await spawner.stop()
    await asyncio.sleep(0.2)
    assert not told.is_set()
    assert spawner.ended == ""


async def test_pods_that_no_server_owns_are_deleted_and_no_disks(
    cluster: Cluster, answering: int
) -> None:
    ada, bo = await running(cluster, answering), await running(cluster, answering, "bo")
    theirs = {
        "metadata": {"name": "jupyter-eve", "labels": OTHER | {"component": "singleuser-server"}}
    }
    spec = {"spec": {"containers": [{"name": "notebook", "image": "i"}]}}
    await cluster.api.create("pods", NAMESPACE, theirs | spec)
    await asyncio.sleep(0.2)
    users = {1: SimpleNamespace(spawners={"": ada})}
    await OrphanReapingProxy(
        namespace=NAMESPACE, release="caesarion", auth_token="token"
    ).delete_orphans(users)
    assert bo.active
    assert sorted(await cluster.names("pods")) == ["jupyter-ada", "jupyter-eve"]
    assert sorted(await cluster.names("persistentvolumeclaims")) == ["claim-ada", "claim-bo"]
