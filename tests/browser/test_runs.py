"""The panel of runs: a notebook in the background, a waiting call, and a page that was away."""

from pathlib import Path

import nbformat
from nbformat import v4
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_chat import python
from tests.fakes.openai_server import OpenAIServer, Text

POST = """\
async body => {
  const xsrf = document.cookie.match(/_xsrf=([^;]+)/)[1];
  const base = JSON.parse(document.getElementById('jupyter-config-data').textContent).baseUrl;
  const init = {method: 'POST', headers: {'X-XSRFToken': xsrf}, body: JSON.stringify(body)};
  return (await fetch(`${base}caesarion/api/runs`, init)).status;
}"""


def panel(lab: Lab) -> Locator:
    return lab.page.get_by_role("region", name="Runs")


def section(lab: Lab, name: str) -> Locator:
    return panel(lab).get_by_role("region", name=name)


def menu(lab: Lab, name: str, item: str) -> None:
    lab.page.locator(".lm-MenuBar-itemLabel").get_by_text(name, exact=True).click()
    lab.page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()


def write(lab: Lab, path: str, *sources: str) -> Path:
    file = lab.hub.home(lab.user) / path
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    cells = [v4.new_code_cell(one) for one in sources]
    nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), file)
    return file


def test_a_notebook_goes_on_while_its_page_is_away_and_is_told_when_it_is_back(
    lab: Lab, visits: Visits, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.1)"
    file = write(lab, "Long.ipynb", waits, "print(6 * 7)")
    lab.open_notebook("Long.ipynb")
    menu(lab, "Run", "Run from Top to Bottom in the Background")
    running = section(lab, "Running").get_by_role("listitem").filter(has_text="Long.ipynb")
    expect(running).to_contain_text("Notebook · running")
    visits.picture(lab, "running")
    lab.page.goto("about:blank")
    gate.touch()
    lab.log_in()
    told = lab.page.locator(".Toastify__toast", has_text="“Long.ipynb” completed")
    expect(told).to_be_visible()
    visits.picture(lab, "told")
    ran = nbformat.read(file, as_version=4)
    assert ran.cells[1].outputs[0].text == "42\n"
    told.get_by_role("button", name="Open").click()
    expect(lab.cell_output("42")).to_be_visible()


def test_a_call_of_a_program_waits_in_the_panel_and_runs_when_a_person_lets_it(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(python("print('let', 'run')"), Text("It ran."))
    body = {
        "kind": "chat",
        "messages": [{"role": "user", "content": "run it for me"}],
        "approval": "ask",
    }
    assert lab.page.evaluate(POST, body) == 202
    told = lab.page.locator(".Toastify__toast", has_text="“run it for me” waits for you")
    expect(told).to_be_visible()
    told.get_by_role("button", name="Show").click()
    waiting = section(lab, "Waiting for you").get_by_role("listitem")
    expect(waiting).to_contain_text("print('let', 'run')")
    visits.picture(lab, "waiting", dark=True)
    waiting.get_by_role("button", name="Run", exact=True).press("Enter")
    done = section(lab, "Done").get_by_role("listitem").filter(has_text="run it for me")
    expect(done).to_contain_text("Question · completed")
    done.get_by_role("button", name="Show the output of run it for me").press("Enter")
    expect(done.locator("pre")).to_contain_text("let run\n\nIt ran.")
    visits.picture(lab, "done")
