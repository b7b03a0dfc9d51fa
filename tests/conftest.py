"""
For all tests: no real model within reach, who runs which, one hub that a whole session shares.

With ``-n`` the tests are shared between workers, each a process with fixtures of its own.
"""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.fakes.postgres import Postgres, running_postgres
from tests.hub import RunningHub, running_hub

for name in [name for name in os.environ if name.startswith("OPENAI_")]:
    del os.environ[name]

# A shell has what it runs in the background ignore SIGINT, and that would be handed down to all
# that tests start: a hub asks its services to end by SIGINT, and would wait for its time to be up.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test is timed: how long an example takes says more of the machine than of us.
settings.register_profile("caesarion", deadline=None)
settings.load_profile("caesarion")


TOGETHER = ("browser", "cluster")
"""The folders that one worker has whole: all in them share a browser, or a cluster."""


class Sharing(LoadScopeScheduling):
    """Gives a worker that is free the next file, or one of the folders."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        _, folder, *_ = file.split("/")
        return folder if folder in TOGETHER else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    """Share the tests in their usual order: what takes longest comes first."""
    config.option.loadscopereorder = False
    return Sharing(config, log)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub with the demo model; tests share it, each with users of its own."""
    with running_hub(tmp_path_factory.mktemp("hub") / "state") as hub:
        yield hub


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; each test makes a database of its own."""
    with running_postgres() as server:
        yield server
