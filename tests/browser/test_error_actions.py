"""Fix, Explain and Ask: above an error in a notebook, in menu and palette, and at a failed call."""

import re
from typing import Any

from nbformat.v4 import new_code_cell, new_notebook, new_output
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_context import question
from tests.chat import code
from tests.fakes.openai_server import OpenAIServer, Text

FAILING = "hours = [1, 2]\nprint(sum(hour))"
FIX = (
    "The user pressed Fix at this cell. Correct it with edit_cell (cell_id {id}, base_hash "
    "{hash}), not with another code block; when the change is made, run it with run_cell."
)

# The height of cells that were never drawn is a guess, so the end moves while it comes near.
SCROLL_TO_THE_END = """async node => {
  for (let steady = 0; steady < 5; ) {
    const before = node.scrollTop;
    node.scrollTop = node.scrollHeight;
    await new Promise(resolve => setTimeout(resolve, 200));
    steady = node.scrollTop === before ? steady + 1 : 0;
  }
}"""


def toolbars(lab: Lab) -> Locator:
    return lab.notebook.get_by_role("toolbar", name="What the agent can do about this error")


def fail(lab: Lab) -> None:
    """Run a cell that fails, in a new notebook."""
    lab.new_notebook()
    lab.run_cell(FAILING)
    expect(toolbars(lab)).to_have_count(1)


def test_fix_sends_the_cell_its_error_and_its_variables(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text("It is hours."), Text("The name is not defined."))
    fail(lab)
    lab.page.wait_for_timeout(500)
    visits.picture(lab, "toolbar")
    lab.box.fill("a draft")
    # The cell below is the selected one; the keyboard selects what it reaches.
    fix = toolbars(lab).get_by_role("button", name="Fix")
    fix.focus()
    lab.page.keyboard.press("Enter")
    expect(lab.messages.first).to_contain_text("Fix the error in cell 1.")
    expect(lab.messages.last).to_contain_text("It is hours.")
    expect(toolbars(lab).get_by_role("status")).to_have_text("Sent to the chat.")
    expect(lab.box).to_have_value("a draft")
    told = question(provider)
    head = re.search(r"cell number 1, id (\S+), hash (\w{12}) of the notebook, last run", told)
    assert head
    assert "| hours = [1, 2]\n| print(sum(hour))\nIts error:\n| ---" in told
    assert "| NameError: name 'hour' is not defined\n" in told
    assert "\x1b" not in told
    assert FIX.format(id=head[1], hash=head[2]) in told
    assert told.endswith(
        "There is no variable hour, but there is hours.\nThe variable hours:\n"
        "| list, 2 items\n| [1, 2]"
    )
    visits.picture(lab, "fixed")
    visits.picture(lab, "dark", dark=True)
    toolbars(lab).get_by_role("button", name="Explain").click()
    expect(lab.messages.last).to_contain_text("The name is not defined.")
    assert "The user pressed Explain at this cell" in question(provider)


def test_ask_sends_the_cell_with_the_next_message_only(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text("Because of a typo."), Text("It is empty."))
    chips = lab.side.locator(".jp-Caesarion-chip")
    fail(lab)
    toolbars(lab).get_by_role("button", name="Ask").click()
    expect(lab.box).to_be_focused()
    # What its user selects meanwhile does not take its place.
    lab.run_cell("other = 1")
    expect(chips.nth(1)).to_contain_text("Cell 1 [1]")
    expect(chips.nth(2)).to_have_text(re.compile("NameError"))
    visits.picture(lab, "chips")
    lab.ask("why?", "Because of a typo.")
    assert "| NameError: name 'hour' is not defined\n" in question(provider)
    assert "The user asks about this cell and its error." in question(provider)
    expect(chips.filter(has_text="NameError")).to_have_count(0)
    lab.ask("and now?", "It is empty.")
    assert "NameError" not in question(provider)


def test_the_menu_and_the_palette_have_the_same(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text("Fixed."), Text("It adds the hours."))
    fail(lab)
    lab.notebook.locator(".jp-CodeCell .cm-content").first.click(button="right")
    entry = lab.page.locator(".lm-Menu-item", has_text="Fix the Error in This Cell")
    expect(entry).to_be_visible()
    visits.picture(lab, "menu")
    entry.click()
    expect(lab.messages.last).to_contain_text("Fixed.")
    assert "The user pressed Fix at this cell." in question(provider)
    lab.notebook.locator(".jp-CodeCell .cm-content").first.click()
    lab.page.keyboard.press("Control+Shift+C")
    lab.page.locator(".lm-CommandPalette-input").fill("explain this cell")
    lab.page.locator(".lm-CommandPalette-item").first.click()
    expect(lab.messages.last).to_contain_text("It adds the hours.")
    assert "The user pressed Explain at this cell" in question(provider)


def test_a_failed_call_of_the_chat_has_them_too(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(code("1 / 0"), Text("It failed."), Text("I run it with 2."))
    lab.ask("divide", "It failed.")
    call = lab.cells.first
    expect(call.get_by_role("button", name="Explain")).to_be_visible()
    visits.picture(lab, "call")
    call.get_by_role("button", name="Fix").click()
    expect(lab.messages.last).to_contain_text("I run it with 2.")
    told = question(provider)
    assert "This code, which you ran in this chat, failed:\n| 1 / 0\nIts error:\n" in told
    assert told.endswith("It is no cell of a notebook: run a corrected version of it.")
    call.get_by_role("button", name="Ask").click()
    expect(lab.box).to_be_focused()
    expect(lab.side.locator(".jp-Caesarion-chip", has_text="Error")).to_be_visible()


def test_each_error_of_a_long_notebook_has_its_own(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    """The lab draws only the cells in view; a cell may show more than one error."""
    provider.add(Text("The second one."))

    def error(name: str) -> Any:
        return new_output("error", ename=name, evalue="no", traceback=[f"{name}: no"])

    cells = [
        new_code_cell(f"cell = {number}", outputs=[error("FirstError"), error("SecondError")])
        for number in range(1, 51)
    ]
    session = lab.hub.login("eve")
    session.start_server()
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    content = {"type": "notebook", "content": new_notebook(cells=cells, metadata=metadata)}
    session.put("/user/eve/api/contents/long.ipynb", json=content).raise_for_status()
    lab.refresh_files()
    lab.files.get_by_text("long.ipynb").dblclick()
    expect(toolbars(lab).first).to_be_visible()
    assert toolbars(lab).count() < 100
    lab.notebook.locator(".jp-WindowedPanel-outer").evaluate(SCROLL_TO_THE_END)
    last = lab.notebook.locator(".jp-Cell", has_text="cell = 50")
    expect(last.get_by_role("toolbar")).to_have_count(2)
    visits.picture(lab, "long")
    last.get_by_role("button", name="Explain").nth(1).click()
    expect(lab.messages.first).to_contain_text("Explain the error in cell 50.")
    expect(lab.messages.last).to_contain_text("The second one.")
    assert "| cell = 50\nIts error:\n| SecondError: no\n" in question(provider)


def test_a_chat_opens_if_none_is_open(lab: Lab, provider: OpenAIServer) -> None:
    provider.add(Text("It is hours."))
    fail(lab)
    while lab.side.locator(".jp-chat-sidepanel-close, [title='Close the chat']").count():
        lab.side.locator(".jp-chat-sidepanel-close, [title='Close the chat']").first.click()
    toolbars(lab).get_by_role("button", name="Fix").click()
    expect(lab.messages.last).to_contain_text("It is hours.")
