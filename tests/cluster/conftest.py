"""
Fixtures of the tests on a cluster: one cluster and one installation for all of them.

Which cluster that is, ``harness`` says. Each test has users of its own.
"""

from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster.conformance import Cluster, open_cluster
from tests.cluster.harness import AnyCluster, Installation, open_any_cluster
from tests.cluster.real import RealCluster

NAMESPACE = "caesarion-tests"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyCluster]:
    """A cluster without Caesarion."""
    with open_any_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


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
