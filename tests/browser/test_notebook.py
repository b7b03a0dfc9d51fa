"""The chat beside a notebook: one kernel, the same variables."""

from playwright.sync_api import expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_chat import python
from tests.fakes.openai_server import OpenAIServer, Text
from tests.hub import RunningHub


def test_the_agent_sees_the_notebooks_variables(hub: RunningHub, visits: Visits) -> None:
    """With the demo model, as a newcomer does it."""
    neighbour = visits(hub, "neighbour")
    neighbour.log_in()
    neighbour.new_chat()
    neighbour.new_notebook()
    neighbour.run_cell("x = 41")
    neighbour.ask("print x+1", "The result is 42.")
    expect(neighbour.code).to_have_text("print(x+1)")
    expect(neighbour.messages.nth(-2)).to_have_text("42")


def test_the_notebook_sees_the_agents_variables(lab: Lab, provider: OpenAIServer) -> None:
    lab.new_notebook()
    lab.run_cell("x = 41")
    provider.add(python("y = x + 1"), Text("I set y."))
    lab.ask("set y to x + 1", "I set y.")
    lab.run_cell("print('y is', y)")
    expect(lab.cell_output("y is 42")).to_be_visible()
