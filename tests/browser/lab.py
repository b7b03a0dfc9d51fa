"""
JupyterLab as a person sees it: log in, ask in the chat, work in a notebook.

Called by the browser tests and by ``docs/screenshot.py``::

    with chromium() as browser, visit(browser, hub, "ada") as ada:
        ada.log_in()
        ada.ask("plot a sine wave")
        expect(ada.plot).to_be_visible()

What is clicked and read here is JupyterLab 4.6 and jupyterlab-chat 0.25.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import nbformat
from nbformat import NotebookNode
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Locator,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.hub import RunningHub, Session

NAMES = (
    *("chromium-headless-shell", "chromium", "chromium-browser"),
    *("google-chrome", "google-chrome-stable"),
)
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SIZE = (1400, 860)
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"

# Milliseconds, on a busy machine: a server that starts and its lab; an answer with code.
LAB_WITHIN = 90_000
ANSWER_WITHIN = 60_000
expect.set_options(timeout=ANSWER_WITHIN)


@contextmanager
def chromium(*flags: str) -> Iterator[Browser]:
    """Run a browser without a window: the system's, else Playwright's own."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*FLAGS, *flags])
        yield browser
        browser.close()


def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """Return a browser of somebody's own, with its cookies, that waits as long as tests do."""
    context = browser.new_context(**options)
    context.set_default_timeout(ANSWER_WITHIN)
    return context


@contextmanager
def visit(browser: Browser, hub: RunningHub, user: str) -> Iterator["Lab"]:
    """Give ``user`` a browser of their own, with its cookies and one page."""
    width, height = SIZE
    viewport: ViewportSize = {"width": width, "height": height}
    context = new_context(browser, viewport=viewport)
    yield Lab(context.new_page(), hub, user)
    context.close()


def let_in(context: BrowserContext, session: Session) -> None:
    """Let a browser in as whoever ``session`` is: by its cookies."""
    context.add_cookies(
        [
            {"name": one.name, "value": one.value or "", "domain": one.domain, "path": one.path}
            for one in session.cookies.jar
        ]
    )


class Lab:
    """One person's page."""

    def __init__(self, page: Page, hub: RunningHub, user: str) -> None:
        self.page = page
        self.hub = hub
        self.user = user
        self.console: list[str] = []
        """What the page has told the console, with its kind and source."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.console.append(f"uncaught: {error.stack or error}"))
        # JupyterLab 4.6 says so of a notebook that was closed in the middle of a save.
        page.add_locator_handler(
            page.locator(".jp-Dialog", has_text=re.compile("File Save Error for .* Disposed")),
            lambda dialog: dialog.get_by_role("button").last.click(),
        )

        self.side = page.locator(".jp-chat-sidepanel")
        self.box = self.side.locator(".jp-chat-input-textfield").get_by_role("combobox")
        self.title = self.side.locator(".jp-chat-sidepanel-widget-title")
        self.messages = self.side.locator(".jp-chat-rendered-message")
        self.cells = self.side.locator(".caesarion-cell")
        self.outputs = self.side.locator(".caesarion-output")
        self.code = self.messages.locator("pre code.language-python")
        self.plot = self.side.locator('.jp-chat-message img[src^="data:image/png"]')
        self.status = self.side.locator(".jp-chat-writers")
        self.stop_button = self.side.locator("button.jp-jai-stopButton")
        self.files = page.locator("#filebrowser .jp-DirListing-itemText")
        self.notebook = page.locator(".jp-NotebookPanel:visible")

    def _hear(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text} ({message.location['url']})")

    def log_in(self, path: str = "") -> None:
        """Open the user's lab, start the server if need be, and wait until the chat listens."""
        session = self.hub.login(self.user)
        lab = session.start_server() + "lab"
        let_in(self.page.context, session)
        self.page.goto(f"{self.hub.url}{path or lab}")
        self.wait_for_chat()

    def log_in_by_form(self) -> None:
        """Log in as a person does, and wait until the chat of the user's lab can be asked."""
        self.send_form(self.hub.user_password)
        self.wait_for_chat()

    def send_form(self, password: str, path: str = "/") -> None:
        """Open a page of the hub and send the login form that comes up."""
        self.page.goto(f"{self.hub.url}{path}")
        self.page.get_by_label("Username").fill(self.user)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()

    def wait_for_chat(self) -> None:
        """Wait until the lab shows a chat in which Caesarion listens."""
        self.page.locator("#main.jp-LabShell").wait_for(timeout=LAB_WITHIN)
        # The launcher, or what the workspace remembers: it takes the focus when it comes.
        self.page.locator("#jp-main-dock-panel .lm-DockPanel-widget").first.wait_for()
        persona = self.side.locator(".jp-jai-personaControls-persona", has_text="Caesarion")
        persona.wait_for(timeout=LAB_WITHIN)

    def new_chat(self) -> None:
        """Make a chat beside the one that is open, and go there."""
        before = self.title.text_content()
        self.side.locator(".jp-chat-add jp-button").click()
        expect(self.title).not_to_have_text(before or "")
        self.wait_for_chat()

    def open_chat(self, name: str) -> None:
        """Go to a chat that is there."""
        self.side.get_by_placeholder("Select a chat").fill(name)
        item = self.page.locator(".jp-chat-selector-popup-item-name")
        item.get_by_text(name, exact=True).click()
        expect(self.title).to_have_text(name)
        self.wait_for_chat()

    def reload(self) -> None:
        """Load the page again, and go back to the chat: the lab remembers it only after a while."""
        name = self.title.text_content() or ""
        self.page.reload()
        self.wait_for_chat()
        if self.title.text_content() != name:
            self.open_chat(name)

    def send(self, question: str) -> None:
        """Send a message."""
        self.box.fill(question)
        self.box.press("Enter")

    def ask(self, question: str, answer: str) -> None:
        """Send a message and wait until it is answered, with ``answer`` in the last words."""
        self.send(question)
        expect(self.messages.last).to_contain_text(answer)
        expect(self.stop_button).to_be_disabled()

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds, of something that the page does not show."""
        deadline = time.monotonic() + ANSWER_WITHIN / 1000
        while not condition():
            assert time.monotonic() < deadline
            self.page.wait_for_timeout(50)

    def use_theme(self, name: str) -> None:
        """Choose one of the lab's themes by its name in the menu."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text="Settings").click()
        for label in ("Theme", name):
            item = self.page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True)
            item.hover()
            item.click()
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-name", name)
        expect(self.page.locator("#jupyterlab-splash")).to_have_count(0)

    @contextmanager
    def in_the_dark(self) -> Iterator[None]:
        """Use the dark theme for a while."""
        self.use_theme(DARK)
        self.page.wait_for_timeout(700)  # The colours change slowly.
        yield
        self.use_theme(LIGHT)

    @contextmanager
    def as_wide_as(self, width: int) -> Iterator[None]:
        """Make the window ``width`` pixels wide for a while."""
        self.page.set_viewport_size({"width": width, "height": SIZE[1]})
        yield
        self.page.set_viewport_size({"width": SIZE[0], "height": SIZE[1]})

    def refresh_files(self) -> None:
        """Let the file browser look again."""
        if not self.page.locator("#filebrowser").is_visible():
            self.page.get_by_role("tab", name="File Browser").click()
        self.page.locator("#filebrowser").get_by_title("Refresh").click()

    def new_notebook(self) -> None:
        """Open a notebook beside the chat and wait for its kernel."""
        self.page.locator('.jp-LauncherCard[data-category="Notebook"]:visible').first.click()
        self.wait_for_kernel()

    def open_notebook(self, path: str) -> None:
        """Open a notebook that lies in the user's home, and wait for its kernel."""
        self.refresh_files()
        self.files.get_by_text(path, exact=True).dblclick()
        self.wait_for_kernel()

    def read_notebook(self, path: str) -> NotebookNode:
        """Return a notebook of the user's home, from its file."""
        file = self.hub.home(self.user) / path
        # Jupyter Server 2.21 empties a file before it writes it.
        self.until(lambda: file.stat().st_size > 0)
        notebook: NotebookNode = nbformat.read(file, as_version=4)
        return notebook

    def wait_for_kernel(self) -> None:
        """Wait until the kernel of the notebook in front can be used."""
        # The notebook's own indicator says idle before there is a kernel.
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text(
            "Python 3 (ipykernel) | Idle"
        )

    def start_anew(self) -> None:
        """Load the lab again, with nothing open but the chat; its server may have died."""
        # A notebook that is not saved asks whether to leave.
        self.page.on("dialog", Dialog.accept)
        try:
            self.log_in(f"/user/{self.user}/lab?reset")
        finally:
            self.page.remove_listener("dialog", Dialog.accept)

    def close_tabs(self) -> None:
        """Close what is open beside the chat, and throw away what is not saved."""
        self.page.locator(".lm-MenuBar-itemLabel").get_by_text("File", exact=True).click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text("Close All Tabs", exact=True).click()
        closed = self.page.locator("body:not(:has(.jp-NotebookPanel))")
        discard = self.page.get_by_role("dialog").get_by_role("button", name="Discard")
        while True:
            closed.or_(discard).first.wait_for(state="attached")
            if closed.count():
                return
            discard.click()

    def run_cell(self, code: str) -> None:
        """Type ``code`` into the notebook's last cell and run it."""
        self.notebook.locator(".jp-CodeCell .cm-content").last.click()
        self.page.keyboard.insert_text(code)
        self.page.keyboard.press("Shift+Enter")

    def cell_output(self, text: str) -> Locator:
        """Return the outputs in the notebook that contain ``text``."""
        return self.notebook.locator(".jp-OutputArea-output", has_text=text)
