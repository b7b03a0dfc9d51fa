"""
For all tests: no real model within reach, who runs which, one hub that a whole session shares.

With ``-n`` the tests are shared between workers, each a process with fixtures of its own.
"""

import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import forks
from tests.fakes.postgres import Postgres, running_postgres
from tests.hub import RunningHub, running_hub

for name in [name for name in os.environ if name.startswith("OPENAI_")]:
    del os.environ[name]

# No test calls a stranger by TLS, and a client that reads the certificates of all authorities
# costs 40 ms: thousands are made here, and in the servers. A folder is not read until then.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.devnull

# The processes of the tests run modules of ours a thousand times: they leave compiled ones behind.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell has what it runs in the background ignore SIGINT, and that would be handed down to all
# that tests start: a hub asks its services to end by SIGINT, and would wait for its time to be up.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests of what programs do need not wait for their imports each time; benchmarks do.
forks.is_on = True

# What is collected stays, thousands of tests: to look for garbage among it costs each worker a
# tenth of its CPU time.
gc.disable()

# No test is timed: how long an example takes says more of the machine than of us.
settings.register_profile("caesarion", deadline=None)
settings.load_profile("caesarion")


TESTS = Path(__file__).parent

TOGETHER = ("browser", "cluster")
"""The folders whose files share a hub with a browser, or a cluster."""

SECOND_HALF = "d"
"""The browser tests take longest: two workers share them, in the alphabet's order of files."""


REAL = ("browser", "cluster", "deploy", "integration")
"""The folders whose tests wait for processes, which a busy machine may keep from running."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let whoever wants to look at the pages keep pictures of them."""
    parser.addoption("--pictures", action="store_true", help="keep pictures of all pages")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a test of real processes once more if it fails; the summary names it as RERUN."""
    for item in items:
        if item.path.relative_to(TESTS).parts[0] in REAL:
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_collection_finish() -> None:
    """Look for garbage again, among what the tests make."""
    gc.freeze()
    gc.enable()


class Sharing(LoadScopeScheduling):
    """Gives a worker that is free the next file, or a folder, or half of one."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        _, folder, *_, name = file.split("/")
        if folder not in TOGETHER:
            return file
        second = folder == "browser" and name.removeprefix("test_") >= SECOND_HALF
        return f"{folder} {1 + second}"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Sharing:
    """Share the tests in their usual order: what takes longest comes first."""
    config.option.loadscopereorder = False
    return Sharing(config, log)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    """A hub as `make up` has it, with the demo model; tests share it, each with its own users."""
    values = {"api": {"enabled": True}}
    with running_hub(tmp_path_factory.mktemp("hub") / "state", values=values) as hub:
        yield hub


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server; each test makes a database of its own."""
    with running_postgres() as server:
        yield server
