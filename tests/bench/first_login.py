"""
A newcomer's first login after `make up`: from *Sign in* until the chat has answered.

In a browser with an empty cache, on this machine's own hub, whose server waits for its user. The
question is asked as soon as the chat can be typed into. Beside it the same with no server that
waits (``singleuser.warm.replicas: 0``).
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from playwright.sync_api import Browser, expect

from tests.bench.figures import Row
from tests.browser.lab import LAB_WITHIN, Lab, chromium, visit
from tests.hub import RunningHub, running_hub

_RUNS = 5
_PAUSE = 2.0
_WARM = "--warm"


@dataclass(frozen=True)
class _Login:
    """Seconds from *Sign in* to the page, and from the page to the chat and to its answer."""

    page: float
    chat: float
    answer: float


async def measure(folder: Path) -> list[Row]:
    """Let people log in, with the demo model."""
    return await asyncio.to_thread(_measure, folder)


def _measure(folder: Path) -> list[Row]:
    folder.mkdir()
    with chromium() as browser:
        warm, cold = (_logins(folder / f"warm-{kept}", browser, kept) for kept in (1, 0))

    def row(name: str, figure: str, aim: str = "") -> Row:
        ours, bare = ([getattr(login, figure) for login in logins] for logins in (warm, cold))
        return Row(name, "s", ours, "no server waits", bare, aim)

    return [
        row("first login: Sign in to the page", "page"),
        row("the page to a chat that can be typed into", "chat"),
        row("the page to the chat's answer", "answer", "1 s or less"),
    ]


def _logins(folder: Path, browser: Browser, kept: int) -> list[_Login]:
    values = {"singleuser": {"warm": {"replicas": kept}}}
    with running_hub(folder, values=values) as hub:
        logins = []
        for number in range(_RUNS + 1):
            if kept:
                _wait_for_server(hub, taken=number)
            with visit(browser, hub, f"newcomer-{number}") as newcomer:
                logins.append(_login(newcomer))
    return logins[1:]  # The first of each reads the disk.


def _login(newcomer: Lab) -> _Login:
    began = time.perf_counter()
    newcomer.send_form(newcomer.hub.user_password)
    newcomer.page.locator("#main.jp-LabShell").wait_for(timeout=LAB_WITHIN)
    page = time.perf_counter()
    newcomer.wait_for_chat()
    chat = time.perf_counter()
    newcomer.send("print 6*7")
    expect(newcomer.messages.last).to_contain_text("42")
    return _Login(page - began, chat - page, time.perf_counter() - page)


def _wait_for_server(hub: RunningHub, taken: int) -> None:
    """Wait until a server waits beside those that were taken, and none has anything left to do."""
    deadline = time.monotonic() + LAB_WITHIN / 1000
    there, spent = 0, 0.0
    while True:
        servers = [one for one in _children(hub) if _WARM in one.cmdline()]
        now = sum(sum(one.cpu_times()[:2]) for one in servers)
        if len(servers) == there > taken and now - spent < 0.02 * _PAUSE:
            return
        assert time.monotonic() < deadline, "no server waits"
        there, spent = len(servers), now
        time.sleep(_PAUSE)


def _children(hub: RunningHub) -> list[psutil.Process]:
    return psutil.Process(hub.process.pid).children(recursive=True)
