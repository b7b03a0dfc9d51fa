"""The agent runs a cell of the notebook in front: asked about in the chat, shown there."""

from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_cells import state
from tests.browser.test_undo import open_notebook
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call

PICKER = "Who decides what runs"
CODE = """\
import time
for day in range(3):
    print("day", day, flush=True)
    time.sleep(1)
display({"text/html": "<i>as HTML</i><script>window.fromCell = true</script>"}, raw=True)
24 * 3"""


def test_a_cell_waits_for_run_and_shows_its_outputs_as_they_come(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    open_notebook(lab, "days.ipynb", first=CODE)
    lab.side.get_by_label(PICKER).select_option("ask")
    provider.add(ToolCalls(call("run_cell", {"cell_id": "one"})), Text("Three days."))
    lab.send("run it")
    card = lab.side.locator(".caesarion-call").last
    expect(card.get_by_role("button", name="Run cell 2")).to_be_visible()
    expect(card).to_contain_text("for day in range(3):")
    expect(card.get_by_role("button", name="Edit")).to_have_count(0)
    visits.picture(lab, "light")
    visits.picture(lab, "dark", dark=True)
    visits.picture(lab, "narrow", width=700)
    card.get_by_role("button", name="Run", exact=True).click()
    expect(lab.cell_output("day 0")).to_be_visible()
    visits.picture(lab, "running")
    expect(lab.messages.last).to_contain_text("Three days.")
    expect(lab.cell_output("72")).to_be_visible()
    # Nobody but the agent has run it: its script does not run in the page.
    expect(lab.cell_output("as HTML")).to_be_visible()
    assert lab.page.evaluate("window.fromCell") is None
    expect(lab.notebook.locator(".jp-CodeCell .jp-InputPrompt").first).to_have_text("[1]:")
    expect(lab.outputs).to_contain_text("72")
    expect(state(card)).to_contain_text("in days.ipynb")
    lab.side.get_by_label(PICKER).select_option("auto")
    visits.picture(lab, "ran")
