"""What goes along with a message: the chips that show it, and what the model is told."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.fakes.openai_server import OpenAIServer, Text


def system(provider: OpenAIServer) -> str:
    return str(provider.requests[-1].body["messages"][0]["content"])


def question(provider: OpenAIServer) -> str:
    return str(provider.requests[-1].body["messages"][-1]["content"])


def test_chips_show_what_goes_along_and_take_it_out(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text("The cell sets rain."), Text("I see no cell."), Text("I see nothing."))
    chips = lab.side.locator(".jp-Caesarion-chip")
    lab.new_notebook()
    lab.run_cell("rain = [1.5, 2.5]")
    lab.notebook.locator(".jp-CodeCell .cm-content").first.click()
    expect(chips.nth(1)).to_contain_text("Cell 1 [1]")
    visits.picture(lab, "chips")
    lab.ask("what is this?", "The cell sets rain.")
    assert "your code runs in its kernel." in system(provider)
    assert re.search(
        r"The user has selected cell number 1, id [\w-]+, hash c2d12d99c391 of the notebook, "
        r"last run as \[1\]:\n\| rain = \[1\.5, 2\.5\]$",
        question(provider),
    )

    chips.nth(1).press("Enter")
    expect(chips.nth(1)).to_have_attribute("aria-pressed", "false")
    lab.ask("and this?", "I see no cell.")
    assert question(provider) == "and this?"
    assert "your code runs in its kernel." in system(provider)

    chips.first.click()
    expect(chips).to_have_count(1)
    expect(chips).to_have_attribute("aria-pressed", "false")
    visits.picture(lab, "left out")
    lab.ask("and now?", "I see nothing.")
    assert "your code runs in this conversation's kernel." in system(provider)

    # Another notebook is another matter.
    lab.page.get_by_title("New Launcher", exact=True).click()
    lab.new_notebook()
    expect(chips.first).to_have_attribute("aria-pressed", "true")


def test_a_variable_is_completed_and_its_digest_told(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text("It has two columns."))
    lab.new_notebook()
    lab.run_cell(
        "import pandas as pd\nrain = pd.DataFrame({'day': [1, 2], 'mm': [0.5, 3]})\nrate = 3"
    )
    expect(lab.notebook.locator(".jp-InputPrompt").first).to_have_text("[1]:")
    lab.box.click()
    lab.box.press_sequentially("describe @ra")
    options = lab.page.get_by_role("listbox").get_by_role("option")
    expect(options).to_have_text(["@rate - int", "@rain - DataFrame, 2 rows x 2 columns"])
    visits.picture(lab, "menu")
    lab.box.press("ArrowDown")
    lab.box.press("Enter")
    expect(lab.box).to_have_value("describe @rain ")
    chip = lab.side.locator(".jp-Caesarion-chip", has_text="@rain")
    expect(chip).to_be_visible()
    visits.picture(lab, "chip")
    chip.click()
    expect(lab.box).to_have_value("describe rain ")
    expect(chip).to_have_count(0)
    lab.box.fill("describe @rain")
    expect(chip).to_be_visible()
    lab.box.press("Enter")
    expect(lab.messages.last).to_contain_text("It has two columns.")
    told = question(provider)
    assert told.startswith("describe @rain\n\n[Sent along from JupyterLab.")
    assert "The variable rain:\n| DataFrame (pandas), 2 rows x 2 columns\n" in told
    assert "| columns: day: int64, mm: float64\n" in told
    expect(chip).to_have_count(0)
    told_of = lab.side.locator(".jp-Caesarion-contextDetails", has_text="@rain")
    told_of.locator("summary").click()
    expect(told_of).to_contain_text("| columns: day: int64, mm: float64")
    visits.picture(lab, "told")
