"""Asked again, edited, counted; and the conversation as a notebook that runs."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_chat import python
from tests.fakes.openai_server import OpenAIServer, Text, Usage

PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 4, 9])\nplt.show()"


def test_what_an_answer_took_stands_under_it_and_survives_a_reload(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text("Hello, Eve.", usage=Usage(1234, 56)))
    lab.ask("hello", "Hello, Eve.")
    usage = lab.side.locator(".jp-Caesarion-usage")
    counted = re.compile(r"^1,234 tokens in, 56 out · \d+\.\d s$")
    expect(usage).to_have_text(counted)
    visits.picture(lab, "light")
    lab.reload()
    expect(usage).to_have_text(counted)


def test_the_last_question_is_asked_again(lab: Lab, provider: OpenAIServer, visits: Visits) -> None:
    provider.add(Text("Hello."), Text("A wrong answer."), Text("A right answer."))
    lab.ask("hello", "Hello.")
    lab.ask("what is it?", "A wrong answer.")
    again = lab.side.get_by_role("button", name="Ask again")
    expect(again).to_have_count(1)
    visits.picture(lab, "before")
    again.click()
    expect(lab.messages.last).to_contain_text("A right answer.")
    expect(lab.messages).to_have_text(["hello", "Hello.", "what is it?", "A right answer."])
    told = provider.requests[-1].body["messages"][1:]
    assert [message["content"] for message in told] == ["hello", "Hello.", "what is it?"]


def test_the_last_question_is_edited_and_escape_brings_back_what_was_typed(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(Text("Four."), Text("Five."))
    lab.ask("2 + 2?", "Four.")
    edit = lab.side.get_by_role("button", name="Edit")
    expect(edit).to_have_count(1)
    lab.box.fill("a draft")
    edit.click()
    expect(lab.box).to_have_value("2 + 2?")
    expect(lab.side.get_by_text("Editing the last question")).to_be_visible()
    visits.picture(lab, "editing")
    lab.box.press("Escape")
    expect(lab.box).to_have_value("a draft")
    expect(lab.side.get_by_text("Editing the last question")).to_have_count(0)
    edit.click()
    lab.box.fill("2 + 3?")
    lab.box.press("Enter")
    expect(lab.messages.last).to_contain_text("Five.")
    expect(lab.messages).to_have_text(["2 + 3?", "Five."])
    expect(lab.box).to_have_value("a draft")
    lab.box.fill("")
    told = provider.requests[-1].body["messages"][1:]
    assert [message["content"] for message in told] == ["2 + 3?"]


def test_a_conversation_is_saved_and_run_from_top_to_bottom(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    """And the notebook is opened on the kernel of the conversation, with its variables."""
    slow = "import time; time.sleep(3); print('slept')"
    provider.add(python(f"kept = 42\n{PLOT}"), python(slow), Text("Done."))
    lab.ask("plot the squares", "Done.")
    lab.side.get_by_role("button", name="Save as notebook and run from top to bottom").click()
    progress = lab.side.locator(".jp-Caesarion-run")
    expect(progress).to_contain_text("cell 2 of 2")
    visits.picture(lab, "running")
    told = lab.page.locator(".Toastify__toast")
    expect(told).to_contain_text("ran from top to bottom")
    expect(progress).to_have_count(0)
    expect(lab.notebook.locator(".jp-OutputArea-output img")).to_be_visible()
    expect(lab.cell_output("slept")).to_be_visible()
    expect(lab.notebook.locator(".jp-MarkdownOutput", has_text="plot the squares")).to_be_visible()
    visits.picture(lab, "ran")
    lab.wait_for_kernel()
    lab.notebook.locator(".jp-CodeCell .cm-content").last.click()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.insert_text("; print('kept is', kept + 1)")
    lab.page.keyboard.press("Shift+Enter")
    expect(lab.cell_output("kept is 43")).to_be_visible()


def test_a_run_can_be_stopped_and_one_that_fails_says_where(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    counts = (
        "from pathlib import Path\nimport time\nfile = Path('counted')\n"
        "count = len(file.read_text()) if file.exists() else 0\n"
        "file.write_text('x' * (count + 1))\n"
        "if count == 1: time.sleep(60)\n"
        "if count > 1: raise ValueError('counted too far')"
    )
    provider.add(python("print('ok')"), python(counts), Text("Done."))
    lab.ask("count", "Done.")
    run = lab.side.get_by_role("button", name="Save as notebook and run from top to bottom")
    run.click()
    expect(lab.side.locator(".jp-Caesarion-run")).to_contain_text("cell 2 of 2")
    lab.side.get_by_role("button", name="Stop the run").click()
    told = lab.page.locator(".Toastify__toast")
    expect(told).to_contain_text("The run was stopped.")
    expect(lab.notebook).to_have_count(0)
    run.click()
    expect(told.last).to_contain_text("Cell 2 failed. ValueError: counted too far")
    expect(lab.cell_output("counted too far")).to_be_visible()
    visits.picture(lab, "failed")
