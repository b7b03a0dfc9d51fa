"""
Fixtures of the browser tests: one Chromium, a hub with a scripted model, people at their pages.

A test that fails leaves in ``test-artefacts/browser/`` a picture of each page, its console and
the ends of the logs. With ``--pictures`` every test leaves what a person sees there at each step,
also in the dark and in a narrow window.
"""

import contextlib
import os
import re
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import Browser

from tests.browser.lab import Lab, chromium, visit
from tests.fakes.openai_server import OpenAIServer
from tests.hub import REPOSITORY, RunningHub, running_hub

ARTEFACTS = REPOSITORY / "test-artefacts" / "browser"
OURS = "@caesarion/labextension"
SLOW = re.compile("ms to activate|taking too long to activate")
TAIL = 200


@dataclass
class Visits:
    """The pages of one test."""

    browser: Browser
    name: str
    stack: ExitStack
    pictured: bool
    labs: list[Lab] = field(default_factory=list)

    def __call__(self, hub: RunningHub, user: str) -> Lab:
        """Give ``user`` a page."""
        lab = self.stack.enter_context(visit(self.browser, hub, user))
        self.labs.append(lab)
        return lab

    def picture(
        self, lab: Lab, moment: str = "", *, dark: bool = False, width: int | None = None
    ) -> None:
        """Keep what ``lab`` looks like now, for whoever asked for ``--pictures``."""
        if not self.pictured:
            return
        with ExitStack() as stack:
            if dark:
                stack.enter_context(lab.in_the_dark())
            if width:
                stack.enter_context(lab.as_wide_as(width))
            self._keep(lab, moment)

    def end(self, *, failed: bool) -> None:
        """Keep what the pages look like, and why, if the test failed."""
        for lab in self.labs:
            if failed or self.pictured:
                self._keep(lab)
            if failed:
                self._path(lab).with_suffix(".log").write_text(report(lab))

    def _keep(self, lab: Lab, moment: str = "") -> None:
        lab.page.screenshot(path=self._path(lab, moment).with_suffix(".png"))

    def _path(self, lab: Lab, moment: str = "") -> Path:
        words = [self.name, *([lab.user] if len(self.labs) > 1 else []), moment]
        return ARTEFACTS / "-".join(filter(None, words)).replace(" ", "-")


def report(lab: Lab) -> str:
    """Return the page's console and the ends of the hub's log and of the user's server's."""
    server = lab.hub.folder / "logs" / f"{lab.user}.log"
    parts = {
        "console": "\n".join(lab.console),
        "hub": lab.hub.log,
        "server": server.read_text(errors="replace") if server.exists() else "",
    }
    return "\n".join(
        f"==== {name}\n" + "\n".join(text.splitlines()[-TAIL:]) for name, text in parts.items()
    )


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let the fixtures of a test know whether it failed."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium without a window."""
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    # Of two workers the first one tidies up, before either has a page.
    ours = ARTEFACTS / f".{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}"
    with contextlib.suppress(FileExistsError):
        ours.touch(exist_ok=False)
        for old in ARTEFACTS.iterdir():
            if old != ours:
                old.unlink()
    # To optimise the scripts of such short-lived pages would take 6 % more CPU time than it saves.
    with chromium("--js-flags=--no-opt --no-maglev") as browser:
        yield browser


@pytest.fixture
def visits(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visits]:
    """Open pages with it; none may have complained of our labextension, or uncaught."""
    with ExitStack() as stack:
        name = request.node.name.removeprefix("test_")
        visits = Visits(browser, name, stack, request.config.getoption("pictures"))
        yield visits
        visits.end(failed=request.node.stash[FAILED])
        told = [line for lab in visits.labs for line in lab.console]
        assert [line for line in told if line.startswith("uncaught:")] == []
        # JupyterLab 4.6 also warns of a plugin that was slow, as all are on a busy machine.
        ours = [line for line in told if OURS in line and not SLOW.search(line)]
        assert ours == []


@pytest.fixture(scope="package")
def provider() -> Iterator[OpenAIServer]:
    """The scripted OpenAI-compatible server, on a thread of its own."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(OpenAIServer()) as server,
    ):
        yield server


@pytest.fixture(scope="package")
def scripted_hub(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningHub]:
    """A hub whose model is ``provider``."""
    folder = tmp_path_factory.mktemp("scripted") / "state"
    with running_hub(folder, environment={"OPENAI_BASE_URL": provider.base_url}) as hub:
        yield hub


@pytest.fixture(scope="package")
def eve(browser: Browser, scripted_hub: RunningHub) -> Iterator[Lab]:
    """Eve at her page; to load one for each test would take longer than the tests."""
    with visit(browser, scripted_hub, "eve") as eve:
        eve.log_in()
        yield eve


@pytest.fixture
def rested(eve: Lab, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Eve, who tidies up after a test that has opened a notebook, and starts anew if it failed."""
    yield eve
    if request.node.stash[FAILED]:
        eve.start_anew()
    elif eve.notebook.count():
        eve.close_tabs()


@pytest.fixture
def lab(rested: Lab, visits: Visits, provider: OpenAIServer) -> Lab:
    """Eve in a new chat; nothing is scripted yet."""
    provider.replies_left.clear()
    rested.console.clear()
    visits.labs.append(rested)
    rested.new_chat()
    return rested
