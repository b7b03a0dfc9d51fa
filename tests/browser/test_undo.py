"""*Undo this turn* below an answer: cells come back, and what the person wrote since stays."""

import json
import sqlite3
from contextlib import closing

import nbformat
from caesarion.notebooks.cells import source_hash
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call


def open_notebook(lab: Lab, name: str, first: str = "days = 7") -> None:
    """Write a notebook whose ``first`` code cell is "one", and open it beside the chat."""
    cells = [
        new_markdown_cell("# Rain", id="title"),
        new_code_cell(first, id="one"),
        new_code_cell("days * 24", id="two"),
    ]
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"},
        "language_info": {"name": "python"},
    }
    nbformat.write(new_notebook(cells=cells, metadata=metadata), lab.hub.home(lab.user) / name)
    lab.refresh_files()
    lab.files.get_by_text(name, exact=True).dblclick()
    lab.wait_for_kernel()


def changes(provider: OpenAIServer) -> None:
    """Let the agent edit a cell and run it, delete one, and insert one."""
    edit = {"cell_id": "one", "source": "days = 14\ndays", "base_hash": source_hash("days = 7")}
    delete = {"cell_id": "two", "base_hash": source_hash("days * 24")}
    insert = {"after": "one", "type": "code", "source": "hours = 24 * days"}
    provider.add(
        ToolCalls(call("edit_cell", edit)),
        ToolCalls(call("run_cell", {"cell_id": "one"})),
        ToolCalls(call("delete_cell", delete)),
        ToolCalls(call("insert_cell", insert)),
        Text("Two weeks it is."),
    )


def sources(lab: Lab) -> Locator:
    return lab.notebook.locator(".jp-CodeCell .jp-InputArea-editor .cm-content")


def button(lab: Lab) -> Locator:
    return lab.side.get_by_role("button", name="Undo this turn")


def test_a_turn_is_undone_in_the_notebook_that_is_open(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    open_notebook(lab, "undone.ipynb")
    changes(provider)
    lab.ask("two weeks", "Two weeks it is.")
    expect(sources(lab)).to_have_text(["days = 14days", "hours = 24 * days"])
    expect(lab.cell_output("14")).to_be_visible()
    expect(button(lab)).to_be_visible()
    visits.picture(lab, "light")
    visits.picture(lab, "dark", dark=True)
    visits.picture(lab, "narrow", width=700)
    button(lab).focus()
    lab.page.keyboard.press("Enter")
    expect(sources(lab)).to_have_text(["days = 7", "days * 24"])
    expect(lab.cell_output("14")).to_have_count(0)
    expect(button(lab)).to_have_count(0)
    told = lab.side.locator(".jp-Caesarion-undo")
    expect(told).to_have_text("Undone.3 cells restored. Variables and files are as they are.")
    visits.picture(lab, "undone")
    lab.page.keyboard.press("Control+s")
    expect(lab.page.locator(".jp-mod-dirty")).to_have_count(0)
    lab.reload()
    expect(told).to_have_text("Undone.")


def test_a_cell_that_comes_back_runs_no_script_of_its_outputs(
    lab: Lab, provider: OpenAIServer
) -> None:
    html = "<p>shown</p><script>window.timesRan = (window.timesRan || 0) + 1</script>"
    source = f"from IPython.display import HTML\nHTML({html!r})"
    open_notebook(lab, "script.ipynb", first=source)
    sources(lab).first.click()
    lab.page.keyboard.press("Shift+Enter")
    expect(lab.cell_output("shown")).to_be_visible()
    lab.page.wait_for_function("window.timesRan === 1")
    delete = {"cell_id": "one", "base_hash": source_hash(source)}
    provider.add(ToolCalls(call("delete_cell", delete)), Text("Gone."))
    lab.ask("delete it", "Gone.")
    expect(lab.cell_output("shown")).to_have_count(0)
    assert lab.page.evaluate("window.timesRan") == 1
    button(lab).click()
    expect(lab.cell_output("shown")).to_be_visible()
    lab.page.wait_for_timeout(500)
    assert lab.page.evaluate("window.timesRan") == 1


def test_a_cell_that_was_changed_since_is_proposed_in_the_notebook(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    open_notebook(lab, "proposed.ipynb")
    changes(provider)
    lab.ask("two weeks", "Two weeks it is.")
    expect(sources(lab)).to_have_text(["days = 14days", "hours = 24 * days"])
    sources(lab).first.click()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.insert_text("  # mine")
    button(lab).click()
    told = lab.side.locator(".jp-Caesarion-undo")
    expect(told).to_contain_text("1 cell was changed since: the notebook proposes it as it was.")
    difference = lab.notebook.get_by_label("Difference in cell 2")
    expect(difference).to_contain_text("days = 14days  # minedays = 7")
    expect(lab.notebook.get_by_text("1 change proposed")).to_be_visible()
    visits.picture(lab, "proposed")
    lab.notebook.get_by_role("button", name="Accept all").click()
    expect(sources(lab)).to_have_text(["days = 7", "days * 24"])
    expect(button(lab)).to_have_count(0)
    visits.picture(lab, "accepted")


def recorded(lab: Lab) -> list[tuple[str, ...]]:
    """Return what the gateway's audit has of changes: operation, hashes, decision, by whom."""
    with closing(sqlite3.connect(lab.hub.folder / "gateway.sqlite")) as database:
        rows = database.execute("SELECT record FROM audit ORDER BY number").fetchall()
    changes = [json.loads(record).get("change") for (record,) in rows]
    names = ("cell", "operation", "before", "after", "decision", "by")
    return [
        tuple(change[name] for name in names)
        for change in changes
        if change and change["path"] == "audited.ipynb"
    ]


def test_the_audit_has_each_change_and_its_undo(lab: Lab, provider: OpenAIServer) -> None:
    open_notebook(lab, "audited.ipynb")
    changes(provider)
    lab.ask("two weeks", "Two weeks it is.")
    expect(sources(lab)).to_have_text(["days = 14days", "hours = 24 * days"])
    button(lab).click()
    expect(sources(lab)).to_have_text(["days = 7", "days * 24"])
    lab.until(lambda: len(recorded(lab)) >= 7)
    week, fortnight, two, hours = map(
        source_hash, ("days = 7", "days = 14\ndays", "days * 24", "hours = 24 * days")
    )
    new = recorded(lab)[3][0]
    asked, eve = ("not asked", ""), ("undone", "eve")
    assert recorded(lab) == [
        ("one", "edit", week, fortnight, *asked),
        ("one", "run", fortnight, fortnight, *asked),
        ("two", "delete", two, "", *asked),
        (new, "insert", "", hours, *asked),
        (new, "insert", hours, "", *eve),
        ("two", "delete", "", two, *eve),
        ("one", "edit", fortnight, week, *eve),
    ]
