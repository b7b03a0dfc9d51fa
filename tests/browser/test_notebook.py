"""The chat beside a notebook: one kernel, the same variables."""

from playwright.sync_api import expect

from tests.browser.lab import Lab
from tests.browser.test_chat import python
from tests.fakes.openai_server import OpenAIServer, Text


def test_the_notebook_and_the_agent_see_each_others_variables(
    lab: Lab, provider: OpenAIServer
) -> None:
    lab.new_notebook()
    lab.run_cell("x = 41")
    provider.add(python("y = x + 1\nprint(y)"), Text("I set y."))
    lab.ask("set y to x + 1", "I set y.")
    expect(lab.outputs).to_have_text("42")
    lab.run_cell("print('y is', y)")
    expect(lab.cell_output("y is 42")).to_be_visible()
