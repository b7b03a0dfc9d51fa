"""A pod's start as its user lives it: told of, waited for, given up early if there is no hope."""

import asyncio
import logging
from typing import Any

import pytest
from caesarion_hub.pods.spawn_errors import SpawnFailed
from caesarion_hub.pods.spawner import PodSpawner
from jupyterhub.spawner import SpawnException

from tests.fakes.kubernetes.apiserver.faults import Fault
from tests.integration.spawning import NAMESPACE, Cluster, answering, cluster, container

__all__ = ["answering", "cluster"]


async def started(spawner: PodSpawner, port: int) -> str:
    """Start with the server at ``port``; return its address."""
    spawner.port = port
    async with asyncio.timeout(90):
        url: str = await spawner.start()
    return url


async def failure(spawner: PodSpawner) -> SpawnFailed:
    with pytest.raises(SpawnFailed) as caught:
        async with asyncio.timeout(90):
            await spawner.start()
    return caught.value


async def told(spawner: PodSpawner) -> list[str]:
    """Return the messages of a start until it is over."""
    return [event["message"] async for event in spawner.progress()]


async def test_a_server_starts_and_its_user_is_told_how_far_it_is(
    cluster: Cluster, answering: int
) -> None:
    spawner = cluster.spawner()
    start = asyncio.create_task(started(spawner, answering))
    messages = []
    async for event in spawner.progress():
        messages.append(event["message"])
        if event["message"] == "Looking for a node with enough room.":
            await cluster.run()
    assert await start == f"http://127.0.0.1:{answering}"
    assert messages == [
        "Asking the cluster for a pod.",
        "Looking for a node with enough room.",
        "Your server is ready.",
    ]
    assert await cluster.names("persistentvolumeclaims") == ["claim-ada"]
    assert await spawner.poll() is None


async def test_twenty_start_although_a_third_of_the_calls_fails(
    cluster: Cluster, answering: int
) -> None:
    names = [f"user-{number}" for number in range(20)]
    failing = Fault(500, rate=0.33, verbs={"create", "list", "watch", "delete"})
    with cluster.server.faults.during(failing):
        starts = [asyncio.create_task(started(cluster.spawner(name), answering)) for name in names]
        nodes = [asyncio.create_task(run_when_there(cluster, f"jupyter-{name}")) for name in names]
        assert set(await asyncio.gather(*starts)) == {f"http://127.0.0.1:{answering}"}
        await asyncio.gather(*nodes)
    assert failing.met > 10


async def run_when_there(cluster: Cluster, name: str) -> None:
    await cluster.pod(name)
    await cluster.run(name)


async def test_a_failing_first_list_fails_nobodys_start(cluster: Cluster, answering: int) -> None:
    with cluster.server.faults.during(Fault(500, times=6, verbs={"list"})):
        starts = [
            asyncio.create_task(started(cluster.spawner(name), answering)) for name in ("ada", "bo")
        ]
        await asyncio.gather(
            *(run_when_there(cluster, f"jupyter-{name}") for name in ("ada", "bo"))
        )
        await asyncio.gather(*starts)


async def test_an_api_that_is_away_is_waited_for_and_said(
    cluster: Cluster, answering: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    running = cluster.spawner("bo")
    bo = asyncio.create_task(started(running, answering))
    await run_when_there(cluster, "jupyter-bo")
    await bo
    caplog.clear()
    spawner = cluster.spawner()
    async with cluster.server.away():
        start = asyncio.create_task(started(spawner, answering))
        messages = asyncio.create_task(told(spawner))
        await asyncio.sleep(3)
        assert not start.done()
        assert await running.poll() is None
    await run_when_there(cluster, "jupyter-ada")
    await start
    silence = "The cluster does not answer at the moment; your server starts as soon as it does."
    assert silence in await messages
    said = [record.getMessage() for record in caplog.records]
    assert len([line for line in said if line.startswith("The list of pods: ")]) == 2
    assert len([line for line in said if line.startswith("Calls to the Kubernetes API: ")]) == 2


async def test_watches_that_are_cut_go_on_where_they_were(cluster: Cluster, answering: int) -> None:
    spawner = cluster.spawner()
    start = asyncio.create_task(started(spawner, answering))
    await cluster.pod()
    await asyncio.sleep(0.1)
    assert cluster.server.faults.drop_watches() == 2
    await cluster.run()
    await start


async def test_a_watch_whose_place_is_forgotten_begins_anew(
    cluster: Cluster, answering: int
) -> None:
    spawner = cluster.spawner()
    start = asyncio.create_task(started(spawner, answering))
    await cluster.pod()
    await asyncio.sleep(0.1)
    async with cluster.server.away():
        cluster.server.state.store.forget()
    await cluster.run()
    await start


async def test_an_image_that_is_not_there_is_told_early_and_to_its_user_alone(
    cluster: Cluster, answering: int
) -> None:
    bad, good = cluster.spawner(), cluster.spawner("bo")
    failing = asyncio.create_task(failure(bad))
    start = asyncio.create_task(started(good, answering))
    await cluster.wait("ErrImagePull", "rpc error: code = NotFound desc = r/i:1: not found")
    failed = await failing
    assert failed.jupyterhub_message == (
        "The image r/i:1 cannot be pulled: the image does not exist. "
        "Choose another profile, or ask your administrator."
    )
    assert isinstance(failed, SpawnException)  # which does not count towards the hub's end
    await run_when_there(cluster, "jupyter-bo")
    await start


async def test_a_quota_that_is_used_up_is_told(cluster: Cluster) -> None:
    quota = {"metadata": {"name": "people"}, "spec": {"hard": {"pods": "0"}}}
    path = f"/api/v1/namespaces/{NAMESPACE}/resourcequotas"
    await cluster.api.send("POST", path, {"apiVersion": "v1", "kind": "ResourceQuota", **quota})
    failed = await failure(cluster.spawner())
    assert failed.jupyterhub_message == (
        "The cluster's quota is used up: pods: 0 of 0 in use, 1 more requested. Stop another "
        "server of yours, choose a smaller profile, or ask your administrator."
    )


async def test_room_is_waited_for_and_asked_for_again_in_the_end(
    cluster: Cluster, answering: int
) -> None:
    spawner, late = cluster.spawner(), cluster.spawner("bo", singleuser={"startTimeout": 2})
    start = asyncio.create_task(started(spawner, answering))
    giving_up = asyncio.create_task(failure(late))
    for name in ("jupyter-ada", "jupyter-bo"):
        await cluster.have_no_room("0/3 nodes are available: 3 Insufficient memory.", name)
    failed = await giving_up
    assert failed.jupyterhub_message == (
        "After 2 seconds, the cluster has no room for your server yet: 0/3 nodes are "
        "available: 3 Insufficient memory. Choose a smaller profile, or try again later."
    )
    await cluster.run()
    await start


async def test_a_server_that_is_out_of_memory_at_its_start_is_told(cluster: Cluster) -> None:
    failing = asyncio.create_task(failure(cluster.spawner()))
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    await cluster.tell(phase="Running", containerStatuses=[container(state=killed)])
    assert (await failing).jupyterhub_message == (
        "Your server needed more memory to start than its limit (5 GiB). "
        "Choose a larger profile, or ask your administrator."
    )


async def test_a_trouble_that_lasts_is_told_to_its_user_and_in_the_log(
    cluster: Cluster,
    answering: int,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("caesarion_hub.pods.spawner.DISPLAY_DELAY", 1.0)
    spawner = cluster.spawner()
    start = asyncio.create_task(started(spawner, answering))
    await cluster.have_no_room("0/1 nodes are available: 1 Too many pods.")
    await cluster.warn("FailedScheduling", "0/1 nodes: 1 Too many pods.")
    await asyncio.sleep(0.5)
    assert not caplog.records  # most starts have such a moment
    async for event in spawner.progress():
        if event["message"].startswith("The cluster has no room"):
            await cluster.run()
    await start
    [said] = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert said == (
        "jupyter-ada: The cluster has no room for your server yet: "
        "0/1 nodes are available: 1 Too many pods. (FailedScheduling: 0/1 nodes: 1 Too many pods)"
    )


async def test_a_cluster_that_never_answers_is_told_in_the_end(cluster: Cluster) -> None:
    spawner = cluster.spawner(singleuser={"startTimeout": 2})
    async with cluster.server.away():
        failed = await failure(spawner)
    assert failed.reason == "api"
    assert failed.jupyterhub_message.startswith("After 2 seconds, the cluster does not answer")


async def test_a_start_that_is_cancelled_leaves_the_others_alone(
    cluster: Cluster, answering: int
) -> None:
    with cluster.server.faults.during(Fault(delay=0.5, verbs={"list"})):
        cancelled, start = cluster.spawner(), cluster.spawner("bo")
        first = asyncio.create_task(started(cancelled, answering))
        second = asyncio.create_task(started(start, answering))
        await asyncio.sleep(0.2)
        first.cancel()
        await run_when_there(cluster, "jupyter-bo")
        await second


async def test_the_hook_after_a_pods_creation_is_given_the_whole_pod(
    cluster: Cluster, answering: int
) -> None:
    seen: list[tuple[PodSpawner, dict[str, Any]]] = []

    async def hook(spawner: PodSpawner, pod: dict[str, Any]) -> None:
        seen.append((spawner, pod))

    spawner = cluster.spawner()
    spawner.after_pod_created_hook = hook
    start = asyncio.create_task(started(spawner, answering))
    await run_when_there(cluster, "jupyter-ada")
    await start
    [(given, pod)] = seen
    assert given is spawner
    assert pod["metadata"]["uid"] == (await cluster.pod())["metadata"]["uid"]
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["home", "tmp"]


async def test_without_events_a_start_asks_the_api_for_none(
    cluster: Cluster, answering: int
) -> None:
    spawner = cluster.spawner()
    spawner.events_enabled = False
    forbidden = Fault(403, resources={"events"})
    with cluster.server.faults.during(forbidden):
        start = asyncio.create_task(started(spawner, answering))
        await run_when_there(cluster, "jupyter-ada")
        await start
    assert forbidden.met == 0


@pytest.mark.parametrize("names", [["claim-ada-2dl"], ["claim-ada-2dl", "claim-ada-l---"]])
async def test_a_volume_of_an_older_kubespawner_is_found_again(
    cluster: Cluster, names: list[str]
) -> None:
    """A hub that was zero-to-jupyterhub's has users whose state says no version."""
    spawner = cluster.spawner("ada-l")
    spawner.load_state({"pod_name": "jupyter-ada-2dl"})
    current = spawner.pvc_name
    assert current != "claim-ada-2dl"
    claim = spawner.get_pvc_manifest().to_dict()["spec"]
    spec = {"accessModes": claim["access_modes"], "resources": {"requests": {"storage": "1Gi"}}}
    made = [current if name.endswith("---") else name for name in names]
    for name in made:
        body = {"metadata": {"name": name}, "spec": spec}
        await cluster.api.create("persistentvolumeclaims", NAMESPACE, body)
    with cluster.server.faults.during(Fault(500, times=1, verbs={"get"})):
        await spawner._ensure_volume()
    assert spawner.pvc_name == made[-1]
    assert sorted(await cluster.names("persistentvolumeclaims")) == sorted(made)


async def test_a_slow_start_says_how_long_it_has_taken(cluster: Cluster, answering: int) -> None:
    spawner = cluster.spawner()
    spawner.slow_spawn_message_threshold = 1
    spawner.slow_spawn_message_frequency = 1
    start = asyncio.create_task(started(spawner, answering))
    await cluster.pod()
    async for event in spawner.progress():
        if "so far" in event["message"]:
            assert event == {
                "message": "Looking for a node with enough room. It has taken 1 seconds so far."
            }
            await cluster.run()
            break
    await start


async def test_a_request_is_retried_for_as_long_as_the_operator_says(cluster: Cluster) -> None:
    spawner = cluster.spawner()
    spawner.k8s_api_request_retry_timeout = 1
    with cluster.server.faults.during(Fault(503, verbs={"create"})):
        failed = await failure(spawner)
    assert failed.reason == "api"


async def test_a_pod_that_a_hook_makes_insecure_is_not_created(cluster: Cluster) -> None:
    def hook(_spawner: PodSpawner, pod: Any) -> Any:
        pod.spec.host_pid = True
        return pod

    spawner = cluster.spawner()
    spawner.modify_pod_hook = hook
    failed = await failure(spawner)
    assert failed.jupyterhub_message == (
        "Your server's pod violates Pod Security restricted: host namespaces (hostPID=true). "
        "Choose another profile, or ask your administrator."
    )
    assert await cluster.names("pods") == []
