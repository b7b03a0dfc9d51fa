"""
The Kubernetes API fails and goes away: running users do not notice, starting ones wait.

What goes wrong is asked of the double, so these are for the fake cluster alone.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster.harness import AnyCluster, Installation
from tests.fakes.kubernetes.apiserver.faults import Fault
from tests.fakes.kubernetes.cluster import Cluster, running_cluster

pytestmark = pytest.mark.usefixtures("forked_pods")

NAMESPACE = "caesarion-tests"
AWAY = 60.0
"""Seconds; KubeSpawner alone gives up after about 51."""


@pytest.fixture(scope="module")
def failing(
    cluster: AnyCluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Installation]:
    """An installation whose API can be made to fail."""
    if isinstance(cluster, Cluster):
        yield request.getfixturevalue("caesarion")
        return
    request.getfixturevalue("able")
    folder: Path = tmp_path_factory.mktemp("failing")
    with running_cluster(folder) as fake, Installation.installed(fake, NAMESPACE) as caesarion:
        yield caesarion


def hub_of(caesarion: Installation) -> tuple[str, int]:
    [pod] = caesarion.pods("hub")
    [container] = pod["status"]["containerStatuses"]
    return pod["metadata"]["uid"], container["restartCount"]


def test_a_minute_without_the_api_costs_nobody_anything(failing: Installation) -> None:
    assert isinstance(failing.cluster, Cluster)
    hub = hub_of(failing)
    working, waiting = failing.login("works-on"), failing.login("waits")
    working.start_server()
    began = time.monotonic()
    with failing.cluster.control as control, ThreadPoolExecutor(1) as thread:
        control.be_away(AWAY)
        starting = thread.submit(waiting.start_server)
        while time.monotonic() - began < AWAY - 2:
            working.get("/user/works-on/lab").raise_for_status()
            working.get("/hub/home").raise_for_status()
            assert not starting.done()
            time.sleep(2)
        assert starting.result(60) == "/user/waits/"
    assert hub_of(failing) == hub
    waiting.stop_server()
    working.stop_server()


def test_six_start_although_a_third_of_the_hubs_calls_fails(failing: Installation) -> None:
    assert isinstance(failing.cluster, Cluster)
    hub = f"system:serviceaccount:{failing.namespace}:caesarion-hub"
    people = [failing.login(f"stormy-{number}") for number in range(6)]
    with failing.cluster.control as control, ThreadPoolExecutor(len(people)) as threads:
        with control.faults(Fault(500, rate=1 / 3, users={hub})):
            paths = list(threads.map(lambda session: session.start_server(), people))
            [met] = control.met()
        list(threads.map(lambda session: session.stop_server(), people))
    assert met > 5
    assert paths == [f"/user/{session.user}/" for session in people]
