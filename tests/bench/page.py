"""
The browser's part: from a page that is opened until the chat can be typed into.

Beside the launcher of plain JupyterLab, the same one without what Caesarion brings. For each in
turn, a browser whose cache is empty opens a new workspace, and loads it again. As the machine may
be busy, the browser's CPU time is told, too.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, CDPSession, Page, expect

from tests.bench.figures import Row
from tests.bench.start import PLAIN
from tests.browser.lab import LAB_WITHIN, chromium, new_context
from tests.server import RunningServer, running_server

_RUNS = 7
_LAUNCHER = ".jp-LauncherCard"
_CHAT = ".jp-chat-sidepanel:has(.jp-jai-personaControls-persona) .jp-chat-input-textfield"
# Milliseconds in which the lab saves its layout.
_SETTLED = 3_000
_LABEXTENSIONS = Path(sys.prefix) / "share/jupyter/labextensions"
_PLAINS = "jupyterlab_pygments"


@dataclass(frozen=True)
class _Load:
    """Seconds until a page can be used, CPU seconds of the browser, and responses until then."""

    seconds: float
    cpu: float
    responses: int


async def measure(folder: Path) -> list[Row]:
    """Open the pages; nothing answers a model, since none is asked."""
    return await asyncio.to_thread(_measure, folder)


def _measure(folder: Path) -> list[Row]:
    ours: list[tuple[_Load, _Load]] = []
    plain: list[tuple[_Load, _Load]] = []
    folder.mkdir()
    with ExitStack() as stack:
        our_server = stack.enter_context(_server(folder / "ours"))
        plain_server = stack.enter_context(_server(folder / "plain", *_plain(folder)))
        browser = stack.enter_context(chromium())
        for run in range(_RUNS + 1):
            opened = (
                _visit(browser, our_server, str(run), _CHAT),
                _visit(browser, plain_server, str(run), _LAUNCHER),
            )
            if run:  # The first of each reads the disk.
                ours.append(opened[0])
                plain.append(opened[1])

    def rows(name: str, which: int) -> list[Row]:
        def row(name: str, unit: str, figure: Callable[[_Load], float]) -> Row:
            here, there = ([figure(one[which]) for one in way] for way in (ours, plain))
            return Row(name, unit, here, "plain launcher", there, "no more")

        return [
            row(name, "s", lambda load: load.seconds),
            row("CPU of the browser for it", "s", lambda load: load.cpu),
            row("until then", "responses", lambda load: load.responses),
        ]

    return [*rows("page to usable chat", 0), *rows("page to usable chat, loaded again", 1)]


def _server(folder: Path, *arguments: str) -> AbstractContextManager[RunningServer]:
    nobody = "http://127.0.0.1:9/v1"
    return running_server(folder, model_url=nobody, arguments=arguments, python=sys.executable)


def _plain(folder: Path) -> tuple[str, ...]:
    """Return what makes a server plain JupyterLab, with the one labextension that it depends on."""
    labextensions = folder / "labextensions"
    labextensions.mkdir()
    (labextensions / _PLAINS).symlink_to(_LABEXTENSIONS / _PLAINS)
    return (*PLAIN, f"--LabApp.labextensions_path=['{labextensions}']")


def _visit(
    browser: Browser, server: RunningServer, workspace: str, usable: str
) -> tuple[_Load, _Load]:
    """Open a new workspace, and load it again."""
    spent = browser.new_browser_cdp_session()
    context = new_context(browser)
    page = context.new_page()
    url = f"{server.url}lab/workspaces/{workspace}?token={server.token}"
    first = _load(page, spent, usable, lambda: page.goto(url))
    page.wait_for_timeout(_SETTLED)
    again = _load(page, spent, usable, page.reload)
    context.close()
    spent.detach()
    return first, again


def _load(page: Page, spent: CDPSession, usable: str, load: Callable[[], object]) -> _Load:
    responses = 0

    def count(_: object) -> None:
        nonlocal responses
        responses += 1

    page.on("response", count)
    before, began = _cpu(spent), time.perf_counter()
    load()
    expect(page.locator(usable).first).to_be_visible(timeout=LAB_WITHIN)
    seconds, cpu = time.perf_counter() - began, _cpu(spent) - before
    page.remove_listener("response", count)
    return _Load(seconds, cpu, responses)


def _cpu(spent: CDPSession) -> float:
    """Return the CPU seconds of the browser's processes that run."""
    processes = spent.send("SystemInfo.getProcessInfo")["processInfo"]
    return sum(float(process["cpuTime"]) for process in processes)
