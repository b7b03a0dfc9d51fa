"""A question of the agent in the chat: answered by mouse, by keyboard and in other words."""

from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_cells import state
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call

QUESTION = {
    "question": "Both files have a column `date`. Which one is the **day of the measurement**?",
    "choices": [
        "`rain.csv`: 2024-05-01, in local time",
        "sun.csv",
        "Neither: use the time at which the row was written, whatever the file says of it",
    ],
}


def asks(provider: OpenAIServer) -> None:
    provider.add(ToolCalls(call("ask_user", QUESTION)), Text("As you say."))


def cards(lab: Lab) -> Locator:
    return lab.side.get_by_role("group", name="The agent asks: Both files have a column")


def heard(provider: OpenAIServer) -> str:
    return str(provider.requests[-1].body["messages"][-1]["content"])


def call_of(lab: Lab) -> Locator:
    return lab.side.locator(".caesarion-call").last


def test_a_choice_is_a_button_and_stays_marked(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    asks(provider)
    lab.send("merge the files")
    expect(state(call_of(lab))).to_have_text("waiting for you")
    expect(lab.status).to_contain_text("is waiting for you")
    visits.picture(lab, "light")
    visits.picture(lab, "dark", dark=True)
    visits.picture(lab, "narrow", width=700)
    cards(lab).get_by_role("button", name="sun.csv", exact=True).click()
    expect(lab.messages.last).to_contain_text("As you say.")
    assert heard(provider) == "The user chose: sun.csv"
    expect(cards(lab).get_by_role("button")).to_have_count(0)
    expect(cards(lab).get_by_label("Answered: sun.csv")).to_be_visible()
    expect(cards(lab)).to_contain_text("answered by eve")
    expect(state(call_of(lab))).to_have_text("done")
    visits.picture(lab, "answered")
    visits.picture(lab, "answered dark", dark=True)
    lab.reload()
    expect(cards(lab).get_by_label("Answered: sun.csv")).to_be_visible()


def test_the_keyboard_alone_answers(lab: Lab, provider: OpenAIServer) -> None:
    asks(provider)
    lab.send("merge the files")
    first = cards(lab).get_by_role("button").first
    expect(first).to_be_visible()
    first.focus()
    lab.page.keyboard.press("Tab")
    expect(cards(lab).get_by_role("button").nth(1)).to_be_focused()
    lab.page.keyboard.press("3")
    expect(lab.messages.last).to_contain_text("As you say.")
    assert heard(provider) == f"The user chose: {QUESTION['choices'][2]}"


def test_other_words_are_sent_and_shown(lab: Lab, provider: OpenAIServer, visits: Visits) -> None:
    asks(provider)
    lab.send("merge the files")
    words = cards(lab).get_by_label("Or answer in your own words")
    send = cards(lab).get_by_role("button", name="Answer", exact=True)
    expect(send).to_be_disabled()
    words.fill("1 of each, please")
    visits.picture(lab, "writing")
    words.press("Enter")
    expect(lab.messages.last).to_contain_text("As you say.")
    assert heard(provider) == "The user answered in their own words: 1 of each, please"
    expect(cards(lab).get_by_label("Answered: 1 of each, please")).to_be_visible()
    visits.picture(lab, "answered")


def test_stop_ends_the_question(lab: Lab, provider: OpenAIServer, visits: Visits) -> None:
    asks(provider)
    lab.send("merge the files")
    expect(cards(lab).get_by_role("button").first).to_be_visible()
    lab.stop_button.click()
    expect(state(call_of(lab))).to_have_text("stopped")
    expect(cards(lab).get_by_role("button")).to_have_count(0)
    visits.picture(lab, "stopped")
