"""Fixtures for all tests: no real model within reach, one hub that a whole session shares."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.fakes.postgres import Postgres, running_postgres
from tests.hub import RunningHub, running_hub

for name in [name for name in os.environ if name.startswith("OPENAI_")]:
    del os.environ[name]

# No test is timed: how long an example takes says more of the machine than of us.
settings.register_profile("caesarion", deadline=None)
settings.load_profile("caesarion")


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
