"""What the agent runs is seen as cells, and goes on from there into notebooks."""

import json
import re

from caesarion.agent.tools.weather import CARD_MIME, make_card
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_chat import LOOP, python
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call

ANALYSIS = """\
import matplotlib.pyplot as plt
import pandas as pd

frame = pd.DataFrame({"month": ["Jan", "Feb", "Mar"], "sales": [120, 90, 150]})
print("three months")
plt.figure(figsize=(5, 2.4))
plt.bar(frame.month, frame.sales)
plt.show()
frame"""


def state(cell: Locator) -> Locator:
    return cell.locator(".caesarion-call-state")


def test_a_cell_shows_its_number_code_state_and_outputs(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(python(ANALYSIS), python("1 / 0"), Text("Here it is, **by month**."))
    lab.ask("plot the sales", "by month")
    whole, failed = lab.cells.all()
    expect(whole).to_contain_text("In [1]:")
    expect(whole.locator("code.language-python")).to_have_text(ANALYSIS)
    expect(state(whole)).to_contain_text("done ·")
    expect(state(failed)).to_contain_text("failed ·")
    table = lab.outputs.filter(has_text="sales")
    expect(table).to_contain_text("Out[1]:")
    expect(table.locator("table")).to_be_visible()
    visits.picture(lab, "light")
    visits.picture(lab, "dark", dark=True)
    whole.get_by_role("button", name="Hide the outputs").click()
    expect(table).to_be_hidden()
    expect(lab.outputs.filter(has_text="ZeroDivisionError")).to_be_visible()
    whole.get_by_role("button", name="Show the outputs").click()
    expect(table).to_be_visible()


def test_a_running_cell_counts_its_seconds_and_folds_its_output(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(python(LOOP), Text("Stopped."))
    lab.send("loop")
    cell = lab.cells.first
    runs = re.compile(r"running · \d+ s")
    expect(state(cell)).to_contain_text(runs)
    first = state(cell).text_content() or ""
    expect(lab.outputs).to_contain_text("step 20")
    cell.get_by_role("button", name="Hide the outputs").click()
    expect(state(cell)).not_to_have_text(first)
    expect(state(cell)).to_contain_text(runs)
    expect(lab.outputs).to_be_hidden()
    cell.get_by_role("button", name="Show the outputs").click()
    expect(lab.outputs.get_by_role("button", name="Show all")).to_be_visible()
    visits.picture(lab, "running")
    lab.stop_button.click()
    expect(state(cell)).to_contain_text("stopped ·")


def test_a_cell_goes_into_a_notebook_and_runs_there(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(python("answer = 6 * 7\nprint('it is', answer)"), Text("Done."))
    lab.ask("compute", "Done.")
    (cell,) = lab.cells.all()
    cell.get_by_role("button", name="Insert into the notebook").click()
    lab.wait_for_kernel()
    expect(lab.notebook.locator(".jp-CodeCell .cm-content")).to_contain_text("answer = 6 * 7")
    lab.notebook.locator(".jp-CodeCell .cm-content").click()
    lab.page.keyboard.press("Shift+Enter")
    expect(lab.cell_output("it is 42")).to_be_visible()
    cell.get_by_role("button", name="Insert into the notebook").click()
    expect(lab.notebook.locator(".jp-CodeCell").filter(has_text="6 * 7")).to_have_count(2)
    visits.picture(lab, "inserted")
    lab.notebook.locator(".jp-CodeCell .cm-content").last.click()
    lab.page.keyboard.press("Control+s")
    lab.page.get_by_role("button", name="Rename and Save").click()
    expect(lab.page.locator(".lm-DockPanel-tabBar .jp-mod-dirty")).to_have_count(0)
    saved = lab.hub.home(lab.user) / "Untitled.ipynb"
    cell, again = json.loads(saved.read_text())["cells"]
    assert again["metadata"]["caesarion"] == cell["metadata"]["caesarion"]
    made = cell["metadata"]["caesarion"]
    assert (made["made_by"], made["chat"].rpartition(".")[2]) == ("agent", "chat")


def test_a_cell_runs_again_and_the_model_is_told(lab: Lab, provider: OpenAIServer) -> None:
    provider.add(python("count = globals().get('count', 0) + 1\nprint('run', count)"), Text("Ran."))
    lab.ask("count", "Ran.")
    lab.cells.first.get_by_role("button", name="Run again").click()
    expect(lab.outputs.last).to_have_text("run 2")
    expect(state(lab.cells.last)).to_contain_text("done ·")
    assert len(provider.requests[-1].body["messages"]) == 4
    provider.add(Text("Twice."))
    lab.ask("how often?", "Twice.")
    *_, asked, called, result, _ = provider.requests[-1].body["messages"]
    assert asked["content"] == "Run cell 1 again."
    assert called["tool_calls"][0]["function"]["name"] == "python_interpreter"
    assert result["content"] == "run 2"


def test_copy_puts_the_code_on_the_clipboard(lab: Lab, provider: OpenAIServer) -> None:
    lab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    provider.add(python("copied = True"), Text("Done."))
    lab.ask("go", "Done.")
    copy = lab.cells.first.get_by_role("button", name="Copy the code")
    copy.click()
    expect(copy).to_have_attribute("title", "Copied")
    assert lab.page.evaluate("navigator.clipboard.readText()") == "copied = True"


FLOOD = """\
import io
import matplotlib.pyplot as plt
from IPython.display import Image

for number in range(10_000):
    print("line", number)
plt.figure(figsize=(3, 2))
plt.plot([3, 1, 2])
plot = io.BytesIO()
plt.savefig(plot, format="png")
plt.close()
for number in range(200):
    display(Image(plot.getvalue()))"""


def test_ten_thousand_lines_and_two_hundred_plots_leave_the_page_usable(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(python(FLOOD), Text("That was much."))
    lab.send("flood")
    expect(lab.messages.last).to_have_text("That was much.", timeout=90_000)
    expect(lab.stop_button).to_be_disabled()
    expect(lab.plot).to_have_count(200)
    expect(lab.outputs.first).to_contain_text("line 0")
    fold = lab.cells.first.get_by_role("button", name="Hide the outputs")
    visits.picture(lab, "flooded")
    fold.click()
    expect(lab.plot.first).to_be_hidden()


def test_a_call_that_could_not_be_done_says_why(lab: Lab, provider: OpenAIServer) -> None:
    provider.add(ToolCalls(call("get_weather", {"place": "Rome"})), Text("No such tool."))
    lab.ask("weather?", "No such tool.")
    line = lab.side.locator(".caesarion-call")
    expect(line).to_contain_text("get_weather(place='Rome')")
    expect(line).to_contain_text("There is no tool 'get_weather'.")


FORECAST = {
    "timezone": "Europe/Lisbon",
    "current_units": {
        "temperature_2m": "°C",
        "relative_humidity_2m": "%",
        "wind_speed_10m": "km/h",
    },
    "current": {
        "time": "2026-11-23T12:00",
        "weather_code": 61,
        "temperature_2m": 17.2,
        "relative_humidity_2m": 64,
        "wind_speed_10m": 9.0,
    },
    "daily_units": {"temperature_2m_max": "°C"},
    "daily": {
        "time": ["2026-11-23", "2026-11-24", "2026-11-25"],
        "sunrise": ["2026-11-23T07:24", "2026-11-24T07:25", "2026-11-25T07:26"],
        "sunset": ["2026-11-23T17:18", "2026-11-24T17:17", "2026-11-25T17:17"],
        "temperature_2m_max": [18.0, 17.1, 15.9],
        "temperature_2m_min": [12.5, 11.0, 9.6],
    },
}


def test_the_weather_is_a_card(lab: Lab, provider: OpenAIServer, visits: Visits) -> None:
    """Shown by code, as the service cannot be reached from a test."""
    bundle = {CARD_MIME: make_card("Lisbon, Portugal", FORECAST), "text/plain": "rain"}
    provider.add(
        python(f"from IPython.display import display\n\ndisplay({bundle!r}, raw=True)"),
        Text("It rains."),
    )
    lab.ask("weather in Lisbon?", "It rains.")
    card = lab.side.get_by_role("group", name="The weather in Lisbon, Portugal")
    for told in ("17.2 °C", "rain", "64 %", "24 Tue", "10 to 16 °C", "sun 07:24 to 17:18"):
        expect(card).to_contain_text(told)


def test_a_card_that_is_none_is_shown_as_its_text(lab: Lab, provider: OpenAIServer) -> None:
    bundle = {CARD_MIME: {"place": "nowhere"}, "text/plain": "no card"}
    provider.add(
        python(f"from IPython.display import display\n\ndisplay({bundle!r}, raw=True)"),
        Text("Done."),
    )
    lab.ask("weather?", "Done.")
    expect(lab.outputs).to_contain_text("no card")


LONG_TABLE = "import pandas as pd\npd.DataFrame({'number': range(50)})"


def test_of_a_long_table_the_head_is_seen_and_of_a_long_log_the_end(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(python(LONG_TABLE), python("for i in range(99): print('line', i)"), Text("There."))
    lab.ask("show both", "There.")
    table, log = (lab.outputs.nth(place).locator(".caesarion-output-box") for place in (0, 1))
    expect(lab.outputs.get_by_role("button", name="Show all")).to_have_count(2)
    assert table.evaluate("box => box.scrollTop") == 0
    assert log.evaluate("box => box.scrollHeight - box.clientHeight - box.scrollTop") < 8
    visits.picture(lab)
