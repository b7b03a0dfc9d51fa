"""A user's server that dies in the middle of an answer."""

import psutil
from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_chat import words
from tests.fakes.openai_server import OpenAIServer, Text
from tests.hub import RunningHub


def server_of(hub: RunningHub, user: str) -> psutil.Process:
    """Return the process of a user's server."""
    home = str(hub.home(user))
    servers = (one for one in hub.processes() if "caesarion.singleuser" in one.cmdline())
    return next(server for server in servers if server.environ()["HOME"] == home)


def test_a_chat_that_was_cut_off_is_readable_and_answers_again(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text(*words(600), delay=0.05))
    lab.send("count to 600")
    expect(lab.messages.last).to_contain_text("word20")
    server_of(lab.hub, "eve").kill()
    expect(lab.page.get_by_text("Your server at /user/eve/ is not running")).to_be_visible()
    visits.picture(lab, "died")
    lab.hub.login("eve").start_server()
    lab.page.reload()
    lab.wait_for_chat()
    expect(lab.messages.first).to_have_text("count to 600")
    half = lab.messages.nth(1).inner_text().split()
    assert half == [word.strip() for word in words(len(half))]
    assert len(half) >= 10
    told = lab.messages.nth(2)
    expect(told).to_contain_text("The server stopped before this answer was complete.")
    provider.replies_left[:] = [Text("Here I am again.")]
    lab.ask("are you there?", "Here I am again.")


def test_what_is_sent_while_the_server_is_away_is_kept_in_the_box(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text("Welcome back."))
    server_of(lab.hub, "eve").kill()
    dialog = lab.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Your server at /user/eve/ is not running")
    dialog.get_by_role("button", name="Dismiss").click()
    away = lab.side.get_by_text("The server is away. Your message is kept")
    expect(away).to_be_visible()
    lab.send("are you there?")
    visits.picture(lab, "away")
    expect(lab.box).to_have_value("are you there?")
    expect(lab.messages).to_have_count(0)
    lab.hub.login("eve").start_server()
    # The new server does not know the page's token.
    expect(lab.side.get_by_text("The server is back, but it does not know")).to_be_visible()
    expect(lab.box).to_have_value("are you there?")
    visits.picture(lab, "back")
    lab.reload()
    expect(lab.box).to_have_value("are you there?")
    lab.box.press("Enter")
    expect(lab.messages.last).to_contain_text("Welcome back.")
    expect(lab.messages).to_have_text(["are you there?", "Welcome back."])
    lab.reload()
    expect(lab.messages).to_have_count(2)
    expect(lab.box).to_have_value("")
