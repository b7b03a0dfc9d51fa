"""
Fixtures of the tests on a cluster: one cluster and one installation for all of them.

The cluster is the fake one, or with ``CAESARION_TEST_CLUSTER=1`` the one that
``KUBECONFIG`` names. On the fake one our images are this checkout, unless
``CAESARION_TEST_IMAGES`` names a folder with ``hub`` and ``singleuser`` unpacked
in it. Each test has users of its own.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.conformance import Cluster, open_cluster
from tests.cluster.harness import AnyCluster, Installation
from tests.cluster.real import RealCluster
from tests.fakes.kubernetes.cluster import running_cluster
from tests.fakes.kubernetes.node import images
from tests.fakes.kubernetes.node.images import Image

NAMESPACE = "caesarion-tests"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyCluster]:
    """A cluster without Caesarion."""
    if os.environ.get("CAESARION_TEST_CLUSTER") == "1":
        with contextlib.ExitStack() as closing:
            yield RealCluster(closing)
    else:
        folder = tmp_path_factory.mktemp("cluster")
        with running_cluster(folder, catalogue=built_images()) as cluster:
            yield cluster


def built_images() -> dict[str, Image]:
    """Return our images as they were really built, if ``CAESARION_TEST_IMAGES`` says where."""
    where = os.environ.get("CAESARION_TEST_IMAGES")
    if not where:
        return {}
    folders = {images.HUB: "hub", images.SINGLEUSER: "singleuser"}
    return {name: Image.built(Path(where, folder)) for name, folder in folders.items()}


@pytest.fixture(scope="session")
def caesarion(cluster: AnyCluster) -> Iterator[Installation]:
    """Our chart on it."""
    caesarion = Installation.install(cluster, NAMESPACE)
    try:
        yield caesarion
    finally:
        caesarion.close()
        if isinstance(cluster, RealCluster):  # the other one goes, with all that is in it
            caesarion.uninstall()


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Cluster]:
    """The API that the conformance checks ask, in a namespace that ends with the test."""
    async with open_cluster(tmp_path) as cluster, cluster.within() as api:
        yield api


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the cluster beside the failure of a test that used it."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for fixture in map(item.funcargs.get, ("caesarion", "cluster")):
            if isinstance(fixture, AnyCluster | Installation):
                report.sections.append(("the cluster", fixture.report()))
                break
    return report
