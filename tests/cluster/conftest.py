"""
Fixtures of the tests on a cluster: one cluster and one installation for all of them.

The cluster is the fake one, or with ``CAESARION_TEST_CLUSTER=1`` the one that
``KUBECONFIG`` names. Each test has users of its own.
"""

import contextlib
import os
from collections.abc import Generator, Iterator

import pytest

from tests.cluster.harness import AnyCluster, Installation
from tests.cluster.real import RealCluster
from tests.fakes.kubernetes.cluster import running_cluster

NAMESPACE = "caesarion-tests"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyCluster]:
    """A cluster without Caesarion."""
    if os.environ.get("CAESARION_TEST_CLUSTER") == "1":
        with contextlib.ExitStack() as closing:
            yield RealCluster(closing)
    else:
        with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
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
