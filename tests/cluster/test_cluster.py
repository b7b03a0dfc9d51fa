"""The fake cluster itself: it leaves nothing behind, and its pods outlive its API server."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.cluster.harness import eventually
from tests.cluster.test_node import SERVER, make_pod, make_service
from tests.fakes.kubernetes.apiserver.control import Control
from tests.fakes.kubernetes.cluster import Cluster, running_cluster
from tests.fakes.kubernetes.node import cgroups
from tests.helm import RefusedError, as_yaml
from tests.hub import REPOSITORY

pytestmark = pytest.mark.usefixtures("able")


def processes_of(folder: Path) -> list[psutil.Process]:
    """Return what has the folder of a cluster in its command line, and what those started."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(folder) in word for word in process.cmdline()):
                found += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def start_server(cluster: Cluster) -> str:
    """Start a pod with a Service; return where it answers."""
    cluster.kubectl("create", "namespace", "node-tests")
    for thing in (make_service("server"), make_pod("server", SERVER)):
        cluster.kubectl("create", "--filename=-", text=as_yaml(thing))
    cluster.kubectl("wait", "pod/server", "--for=condition=Ready", "--namespace=node-tests")
    return cluster.url_of("node-tests", "server")


def answers(url: str) -> bool:
    try:
        return httpx.get(url).text == "server"
    except httpx.TransportError:
        return False


def test_pods_go_on_while_the_api_server_is_away_and_end_with_the_cluster(
    tmp_path: Path,
) -> None:
    with running_cluster(tmp_path) as cluster:
        url = start_server(cluster)
        eventually(lambda: answers(url))
        with Control(cluster.kubeconfig) as control:
            control.be_away(2)
        assert answers(url)
        eventually(lambda: is_there(cluster))
        cluster.kubectl("delete", "pod", "server", "--namespace=node-tests")
        assert not answers(url)
        node = cluster.processes["node"].pid
        assert cgroups.trees(node)
    assert not processes_of(tmp_path)
    assert not cgroups.trees(node)
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


def is_there(cluster: Cluster) -> bool:
    try:
        cluster.get("node-tests", "pods")
    except RefusedError:
        return False
    return True


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that starts the cluster; nothing that it started outlives the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.kubernetes", str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for started in (*processes_of(tmp_path), psutil.Process(process.pid)):
            with contextlib.suppress(psutil.NoSuchProcess):
                started.kill()
        process.communicate()


def test_everything_ends_when_the_process_that_started_the_cluster_is_killed(
    tmp_path: Path, launcher: subprocess.Popen[str]
) -> None:
    assert launcher.stdout
    assert launcher.stdout.readline() == f"export KUBECONFIG={tmp_path}/kubeconfig\n"
    start_server(Cluster(tmp_path, outside=0))
    assert len(processes_of(tmp_path)) > 4  # the pod's among them
    launcher.kill()
    eventually(lambda: not processes_of(tmp_path))
