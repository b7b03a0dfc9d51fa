"""Code that waits for a person: Run, Edit or Refuse, in the cell; classes; plans."""

import re
from collections.abc import Iterator

import pytest
from caesarion.notebooks.cells import source_hash
from playwright.sync_api import Locator, WebSocketRoute, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_cells import state
from tests.browser.test_chat import python
from tests.browser.test_undo import open_notebook, sources
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call


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
    visits.picture(lab, "dark", dark=True)
    run = lab.cells.get_by_role("button", name="Run", exact=True)
    run.focus()
    lab.page.keyboard.press("Enter")
    expect(lab.messages.last).to_contain_text("Forty-two it is.")
    expect(lab.outputs).to_contain_text("42")
    expect(state(lab.cells.last)).to_contain_text("approved by eve")
    expect(run).to_have_count(0)
    visits.picture(lab, "approved")


def test_what_is_not_shown_does_not_run_and_the_card_is_drawn_anew(
    asking: Lab, provider: OpenAIServer
) -> None:
    lab, spoofs = asking, True

    def pass_on(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        server.on_message(
            lambda told: page.send(str(told).replace("made", "kept") if spoofs else told)
        )

    lab.page.route_web_socket(re.compile("/api/chat/ws/"), pass_on)
    lab.reload()
    provider.add(python("open('made', 'w').close()"), Text("Done."))
    lab.send("do it")
    expect(lab.code).to_have_text("open('kept', 'w').close()\n")
    spoofs = False
    run = lab.cells.get_by_role("button", name="Run", exact=True)
    run.click()
    expect(lab.cells.get_by_role("alert")).to_contain_text("What was shown is not what waits")
    expect(lab.code).to_have_text("open('made', 'w').close()\n")
    assert not (lab.hub.home("eve") / "made").exists()
    run.click()
    expect(lab.messages.last).to_contain_text("Done.")
    assert (lab.hub.home("eve") / "made").exists()


def test_all_of_what_waits_is_seen(asking: Lab, provider: OpenAIServer, visits: Visits) -> None:
    lab = asking
    far = f"x = '```mermaid'{' ' * 300}; open('far', 'w').close()"
    provider.add(python(far), python("x = 'a\u202eb\u2066'  # \u200bc"), Text("Done."))
    lab.send("do it")
    expect(lab.code).to_have_text(far)
    scrolls = "code => code.parentElement.scrollWidth > code.parentElement.clientWidth"
    assert not lab.code.evaluate(scrolls)
    lab.cells.get_by_role("button", name="Run", exact=True).click()
    expect(lab.code.last).to_have_text("x = 'aU+202EbU+2066'  # U+200Bc")
    visits.picture(lab, "unseen")
    lab.cells.get_by_role("button", name="Run", exact=True).click()
    expect(lab.messages.last).to_contain_text("Done.")


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


def test_a_class_is_allowed_in_the_chat_by_one_click_and_taken_back_by_another(
    asking: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    lab = asking
    provider.add(python("f = open('a', 'w')"), python("f = open('b', 'w')"), Text("Both."))
    provider.add(python("f = open('c', 'w')"), Text("Not that."))
    lab.send("write")
    card = lab.cells.first.locator(".caesarion-approval")
    expect(card.locator(".caesarion-approval-class")).to_have_text(["writes names", "files"])
    visits.picture(lab, "classes")
    card.get_by_role("button", name="Allow “writes names” and “files” in this chat").click()
    expect(lab.messages.last).to_contain_text("Both.")
    expect(state(lab.cells.first)).to_contain_text(
        "“writes names” and “files” allowed in this chat"
    )
    expect(state(lab.cells.last)).to_contain_text("allowed by eve")
    chips = lab.side.get_by_role("group", name="Classes of calls that do not wait in this chat")
    expect(chips.get_by_role("button")).to_contain_text(["writes names", "files"])
    visits.picture(lab, "allowed")
    visits.picture(lab, "allowed dark", dark=True)
    lab.reload()
    chips.get_by_role("button", name="files").focus()
    lab.page.keyboard.press("Enter")
    expect(chips.get_by_role("button")).to_contain_text(["writes names"])
    lab.send("write again")
    expect(state(lab.cells.last)).to_have_text("waiting for you")
    lab.cells.last.get_by_role("button", name="Refuse").click()
    lab.cells.last.get_by_role("button", name="Refuse").click()
    expect(lab.messages.last).to_contain_text("Not that.")
    lab.new_chat()
    expect(chips).to_be_hidden()


def test_changes_are_allowed_in_the_chat_and_those_that_wait_are_made(
    asking: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    lab = asking
    open_notebook(lab, "allowed.ipynb")
    first = {"cell_id": "one", "source": "days = 14", "base_hash": source_hash("days = 7")}
    second = {"cell_id": "two", "source": "days", "base_hash": source_hash("days * 24")}
    provider.add(
        ToolCalls(call("edit_cell", first), call("edit_cell", second)), Text("Both changed.")
    )
    lab.send("two weeks")
    expect(state(lab.cells)).to_have_text(["waiting for you"] * 2)
    card = lab.cells.first.locator(".caesarion-approval")
    expect(card.locator(".caesarion-approval-class")).to_have_text("edits the notebook")
    visits.picture(lab, "changes")
    card.get_by_role("button", name="Allow “edits the notebook” in this chat").click()
    expect(lab.messages.last).to_contain_text("Both changed.")
    expect(sources(lab)).to_have_text(["days = 14", "days"])
    expect(state(lab.cells.last)).to_contain_text("allowed by eve")
    visits.picture(lab, "changed")


def test_a_plan_is_carried_out_by_go_in_the_mode_chosen_before(
    asking: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    lab = asking
    picker(lab).select_option("plan")
    provider.add(Text("I would:\n\n1. compute six times seven\n2. say what it is"))
    provider.add(python("print(6 * 7)"), Text("Forty-two it is."))
    lab.ask("compute", "say what it is")
    go = lab.side.get_by_role("button", name="Go", exact=True)
    expect(lab.side.locator(".jp-Caesarion-plan")).to_have_text("Goin the mode “Ask me”")
    visits.picture(lab, "plan")
    go.focus()
    lab.page.keyboard.press("Enter")
    expect(picker(lab)).to_have_value("ask")
    expect(state(lab.cells.last)).to_have_text("waiting for you")
    expect(lab.messages.get_by_text("Go ahead with the plan.")).to_be_visible()
    expect(go).to_have_count(0)
    lab.cells.last.get_by_role("button", name="Run", exact=True).click()
    expect(lab.messages.last).to_contain_text("Forty-two it is.")
    visits.picture(lab, "carried out")
    tools = [request.body.get("tools", []) for request in provider.requests[-3:]]
    assert [
        "python_interpreter" in {tool["function"]["name"] for tool in offered} for offered in tools
    ] == [False, True, True]
