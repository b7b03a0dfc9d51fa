"""The chat of a first visit: there at once, one however many pages ask for it, and never lost."""

import itertools
from collections.abc import Iterator
from contextlib import closing

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab, let_in
from tests.hub import RunningHub

_numbers = itertools.count()


@pytest.fixture
def newcomer(hub: RunningHub, visits: Visits) -> Iterator[Lab]:
    """Somebody who has not been here before, logged in, whose server runs."""
    newcomer = visits(hub, f"newcomer-{next(_numbers)}")
    session = hub.login(newcomer.user)
    session.start_server()
    let_in(newcomer.page.context, session)
    yield newcomer
    session.stop_server()


def chats(lab: Lab) -> list[str]:
    """Return the names of the files of chats in the home."""
    return sorted(file.name for file in (lab.hub.home(lab.user) / "chats").glob("*.chat"))


def open_lab(lab: Lab) -> None:
    """Load the lab."""
    lab.page.goto(f"{lab.hub.url}/user/{lab.user}/lab")


def test_a_chat_opens_before_its_file_is_asked_for_and_is_found_again(newcomer: Lab) -> None:
    asked: list[str] = []
    newcomer.page.on("request", lambda request: asked.append(request.url))
    open_lab(newcomer)
    newcomer.wait_for_chat()
    expect(newcomer.title).to_have_text("Chat")
    newcomer.side.get_by_placeholder("Select a chat").click()
    listed = newcomer.page.locator(".jp-chat-selector-popup-item-name")
    expect(listed).to_have_text(["Chat"])
    assert [url for url in asked if "api/contents/chats/" in url] == []
    assert chats(newcomer) == ["Chat.chat"]
    newcomer.page.keyboard.press("Escape")

    # An answer with code needs no script that is not there.
    newcomer.page.wait_for_load_state("networkidle")
    asked.clear()
    newcomer.ask("print 6*7", "The result is 42.")
    expect(newcomer.code).to_have_text("print(6*7)")
    assert [url for url in asked if "/static/" in url] == []

    # A panel that was hidden is drawn when it is shown.
    running = newcomer.page.locator("#jp-running-sessions")
    expect(running.get_by_role("button")).to_have_count(0)
    newcomer.page.get_by_role("tab", name="Running Terminals and Kernels").click()
    expect(running.get_by_role("button", name="Refresh List")).to_be_visible()
    expect(running.get_by_role("button", name="Shut Down All").first).to_be_visible()
    newcomer.page.get_by_role("tab", name="Debugger").click()
    debugger = newcomer.page.locator("#jp-debugger-sidebar")
    expect(debugger.get_by_role("button")).not_to_have_count(0)

    # Whoever returns, in a workspace that knows of no chat, is in the same one.
    newcomer.page.goto(f"{newcomer.hub.url}/user/{newcomer.user}/lab/workspaces/another")
    newcomer.wait_for_chat()
    expect(newcomer.messages.last).to_contain_text("The result is 42.")
    assert chats(newcomer) == ["Chat.chat"]


def test_two_pages_at_once_are_in_the_same_chat(newcomer: Lab) -> None:
    with closing(newcomer.page.context.new_page()) as page:
        other = Lab(page, newcomer.hub, newcomer.user)
        for lab in (newcomer, other):
            lab.page.goto(f"{lab.hub.url}/user/{lab.user}/lab", wait_until="commit")
        newcomer.wait_for_chat()
        other.wait_for_chat()
        newcomer.ask("print 6*7", "The result is 42.")
        expect(other.messages.last).to_contain_text("The result is 42.")
    assert chats(newcomer) == ["Chat.chat"]


def test_a_workspace_whose_chat_was_deleted_opens_a_new_one(newcomer: Lab) -> None:
    open_lab(newcomer)
    newcomer.wait_for_chat()
    newcomer.ask("print 6*7", "The result is 42.")
    newcomer.until(lambda: chats(newcomer) == ["Chat.chat"])
    newcomer.page.wait_for_timeout(1500)  # The lab remembers its layout a moment later.
    newcomer.page.goto("about:blank")
    session = newcomer.hub.login(newcomer.user)
    token = {"Authorization": f"Bearer {session.token()}"}
    path = f"/user/{newcomer.user}/api/contents/chats/Chat.chat"
    session.delete(path, headers=token).raise_for_status()
    open_lab(newcomer)
    newcomer.wait_for_chat()
    expect(newcomer.title).to_have_text("Chat")
    expect(newcomer.messages).to_have_count(0)
    newcomer.ask("print 6*8", "The result is 48.")
    newcomer.until(lambda: chats(newcomer) == ["Chat.chat"])


def test_a_chat_that_cannot_be_saved_is_answered_and_says_so(newcomer: Lab) -> None:
    folder = newcomer.hub.home(newcomer.user) / "chats"
    folder.rmdir()
    folder.write_text("in the way")
    open_lab(newcomer)
    newcomer.wait_for_chat()
    newcomer.ask("print 6*7", "The result is 42.")
    status = newcomer.side.locator(".jp-Caesarion-statusButton")
    expect(status).to_have_text("Not saved")
    status.hover()
    told = newcomer.side.locator(".jp-Caesarion-statusTooltip")
    expect(told).to_contain_text("This chat is not saved as chats/Chat.chat: File exists.")
    folder.unlink()
    folder.mkdir()
    expect(status).to_have_text("Ready")
    assert chats(newcomer) == ["Chat.chat"]
