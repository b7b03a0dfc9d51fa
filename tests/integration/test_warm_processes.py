"""Servers that wait on this machine: as many as there should be, whatever ends them."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from caesarion_hub import claims, warm_processes
from caesarion_hub.warm_processes import WarmProcess, WarmProcesses, pause

from tests.server import eventually

# What a server does until its claim, but the imports; then it says what it has been told.
WAITS = """
import os, sys
from caesarion import warm
sys.argv.remove("--warm")
warm.wait(warm.take_nonce()).apply()
print(os.environ["JUPYTERHUB_USER"], os.getcwd(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[str], WarmProcesses]]:
    """Return a function that keeps a server which runs a script."""
    monkeypatch.setattr(warm_processes, "DELAY", 0.01)
    monkeypatch.setattr(warm_processes, "LOOK", 0.05)
    kept: list[WarmProcesses] = []

    def keep(script: str) -> WarmProcesses:
        command = [sys.executable, "-s", "-P", "-c", script]
        log = logging.getLogger("warm")
        kept.append(WarmProcesses(1, command, dict(os.environ), tmp_path / "warm", log))
        kept[-1].start()
        return kept[-1]

    yield keep
    for each in kept:
        assert each._keeping
        each._keeping.cancel()
        await asyncio.gather(each._keeping, return_exceptions=True)


async def taken(warm: WarmProcesses) -> WarmProcess:
    """Return a server as soon as one waits."""
    await eventually(lambda: warm._ready != [])
    found = warm.take()
    assert found
    return found


async def test_one_is_taken_once_and_another_takes_its_place(keep: Any, tmp_path: Path) -> None:
    warm = keep(WAITS)
    first = await taken(warm)
    assert warm.take() is None
    environment = {"JUPYTERHUB_USER": "ada"}
    await claims.claim(first.url, first.nonce, environment, str(tmp_path))
    assert first.process.wait(60) == 0
    assert first.log.read_text() == f"ada {tmp_path}\n"
    second = await taken(warm)
    assert (second.process.pid != first.process.pid, second.nonce != first.nonce) == (True, True)
    second.end()
    assert not second.log.exists()


async def test_the_next_one_starts_a_while_after_the_last_claim(
    keep: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(warm_processes, "monotonic", lambda: clock.now)
    warm = keep(WAITS)
    await asyncio.sleep(0)  # It has begun to wait.
    clock.now = 1.0
    first = await taken(warm)
    await asyncio.sleep(0.3)
    assert len(list((tmp_path / "warm").glob("*.log"))) == 1
    clock.now = 2.0
    second = await taken(warm)
    for each in (first, second):
        each.end()


async def test_one_that_has_died_is_not_given_away(keep: Any) -> None:
    warm = keep(WAITS)
    await eventually(lambda: warm._ready != [])
    [first] = warm._ready
    first.process.kill()
    first.process.wait(60)
    assert warm.take() is None
    second = await taken(warm)
    assert second.process.pid != first.process.pid
    second.end()


async def test_where_all_end_by_themselves_the_operator_is_told(
    keep: Any, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    keep("print('cannot'); raise SystemExit(3)")
    await eventually(lambda: len(caplog.messages) > 2)
    told, _, log = caplog.messages[0].rpartition(" Its log is ")
    assert told == "A server that was to wait for a user has ended with status 3."
    assert log.startswith(str(tmp_path))
    written = await asyncio.to_thread(Path(log.rstrip(".")).read_text)
    assert written == "cannot\n"


def test_tries_become_rare_while_they_fail() -> None:
    assert [pause(failures) for failures in (0, 1, 2, 30)] == [6.0, 12.0, 24.0, 300.0]


async def test_they_end_with_their_keeper(keep: Any) -> None:
    warm = keep(WAITS)
    await eventually(lambda: warm._ready != [])
    [one] = warm._ready
    warm._keeping.cancel()
    await asyncio.gather(warm._keeping, return_exceptions=True)
    assert not one.is_alive
