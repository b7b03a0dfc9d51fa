"""Code that waits for a person: Run, Edit or Refuse, in the cell."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_cells import dark, state
from tests.browser.test_chat import python
from tests.fakes.openai_server import OpenAIServer, Text


def picker(lab: Lab) -> Locator:
    return lab.side.get_by_label("Who decides what runs")


@pytest.fixture
def asking(lab: Lab) -> Iterator[Lab]:
    """Eve, who wants to be asked; the browser would remember it for the tests after."""
    picker(lab).select_option("ask")
    yield lab
    picker(lab).select_option("auto")


def test_code_waits_for_run_and_the_cell_says_who_approved(
    asking: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    lab = asking
    provider.add(python("print(6 * 7)"), Text("Forty-two it is."))
    lab.send("compute")
    expect(state(lab.cells.last)).to_have_text("waiting for you")
    expect(lab.outputs).to_have_count(0)
    expect(lab.box).to_be_focused()
    visits.picture(lab, "light")
    dark(lab, True)
    visits.picture(lab, "dark")
    dark(lab, False)
    run = lab.cells.get_by_role("button", name="Run", exact=True)
    run.focus()
    lab.page.keyboard.press("Enter")
    expect(lab.messages.last).to_contain_text("Forty-two it is.")
    expect(lab.outputs).to_contain_text("42")
    expect(state(lab.cells.last)).to_contain_text("approved by eve")
    expect(run).to_have_count(0)
    visits.picture(lab, "approved")


def test_edited_code_runs_and_a_refusal_is_told_with_its_reason(
    asking: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    lab = asking
    provider.add(python("print('mine')"), python("1 / 0"), Text("As you say."))
    lab.send("print something")
    lab.cells.get_by_role("button", name="Edit").click()
    editor = lab.cells.get_by_label("Code to run")
    expect(editor).to_be_focused()
    expect(editor).to_have_value("print('mine')")
    editor.fill("print('yours')")
    visits.picture(lab, "editing")
    editor.press("Shift+Enter")
    expect(lab.outputs).to_contain_text("yours")
    expect(lab.cells.first.locator("code")).to_have_text("print('yours')")
    expect(state(lab.cells.first)).to_contain_text("edited and approved by eve")
    last = lab.cells.last
    last.get_by_role("button", name="Refuse").click()
    reason = last.get_by_label("Reason, sent to the agent")
    reason.fill("not by zero")
    visits.picture(lab, "refusing")
    reason.press("Enter")
    expect(lab.messages.last).to_contain_text("As you say.")
    expect(state(last)).to_contain_text("not run")
    expect(state(last)).to_contain_text("refused by eve")
    expect(last).to_contain_text("Their reason: not by zero")
    told = [message["content"] for message in provider.requests[-1].body["messages"][-3:]]
    assert told[0] == (
        "The user edited the code. This is what ran:\n```python\nprint('yours')\n```\nyours"
    )
    assert told[2] == "The user refused this call. Their reason: not by zero"


def test_the_choice_is_remembered_and_read_only_runs_nothing(
    asking: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    lab = asking
    picker(lab).select_option("read-only")
    lab.new_chat()
    expect(picker(lab)).to_have_value("read-only")
    provider.add(python("print(6 * 7)"), Text("I may not run it."))
    lab.ask("compute", "I may not run it.")
    expect(lab.outputs).to_have_count(0)
    expect(state(lab.cells.last)).to_contain_text("not run")
    visits.picture(lab, "read only")
