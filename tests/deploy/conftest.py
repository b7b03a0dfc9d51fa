"""Terraform with a fake Google, for the tests of deploy/."""

import os
from collections.abc import Iterator

import pytest

from tests import terraform


@pytest.fixture(scope="session")
def google(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which Terraform finds the fake provider."""
    with terraform.fake_google(tmp_path_factory.mktemp("google") / "socket") as environment:
        yield environment


@pytest.fixture(scope="session")
def tools() -> None:
    """Skip where the Makefile installs no tools for deploy/; fail in CI."""
    if not terraform.TOOLS.exists() and os.environ.get("CI") != "true":
        pytest.skip("There is no .venv/deploy: run make .venv/.deploy, on 64-bit Linux.")
