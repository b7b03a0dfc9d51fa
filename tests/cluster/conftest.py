"""
Fixtures of the tests on a cluster: one cluster and one installation for all of them.

Which cluster that is, ``harness`` says. Each test has users of its own.
"""

import os
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster.conformance import Cluster, open_cluster
from tests.cluster.harness import AnyCluster, Installation, built_images, open_any_cluster
from tests.cluster.real import is_asked_for
from tests.fakes.kubernetes.cluster import Cluster as FakeCluster
from tests.fakes.kubernetes.node import ability, images

NAMESPACE = "caesarion-tests"


@pytest.fixture(scope="session")
def able() -> None:
    """Skip the tests that need the fake cluster where it cannot run; in CI they fail."""
    try:
        ability.check()
    except ability.UnableError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[AnyCluster]:
    """A cluster without Caesarion; in the end the fake one tells whom it has refused or warned."""
    if not is_asked_for():
        request.getfixturevalue("able")
    with open_any_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster
        if isinstance(cluster, FakeCluster):
            # Chart, hub, helm, or a test: none of them does so on purpose.
            with cluster.control as control:
                assert control.denials() == []
                assert control.warnings() == []


@pytest.fixture(scope="session")
def caesarion(cluster: AnyCluster) -> Iterator[Installation]:
    """Our chart on it."""
    with Installation.installed(cluster, NAMESPACE) as caesarion:
        yield caesarion


@pytest.fixture(scope="module")
def forked_pods(cluster: AnyCluster) -> Iterator[None]:
    """
    Have what the pods of a file run forked, unless images were built or the cluster is real.

    For files about what becomes of pods. That our programs start as images execute them, with
    their users and limits, is shown by the other files: a walk, sandboxes, a busy installation.
    """
    if not isinstance(cluster, FakeCluster) or built_images():
        yield
        return
    ours = images.make_default()
    names = (images.HUB, images.SINGLEUSER)
    for name in names:
        cluster.set_image(name, replace(ours[name], forked=True))
    yield
    for name in names:
        cluster.set_image(name, ours[name])


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
