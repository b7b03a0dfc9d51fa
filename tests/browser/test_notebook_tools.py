"""The agent's notebook tools in a real page: what is not saved is read, and old formats work."""

import json
from typing import Any

import nbformat
from caesarion.notebooks.cells import source_hash
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from playwright.sync_api import APIResponse, Locator, Route, expect

from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.fakes.openai_server import Call, OpenAIServer, Text, ToolCalls, call

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
# An image of one pixel.
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAA"
    "AABJRU5ErkJggg=="
)


def write(lab: Lab, name: str, *cells: Any) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = new_notebook(cells=list(cells), metadata=KERNEL)
    nbformat.write(notebook, lab.hub.home(lab.user) / name)
    return notebook


def open_notebook(lab: Lab, name: str) -> None:
    lab.refresh_files()
    lab.files.get_by_text(name, exact=True).dblclick()
    lab.wait_for_kernel()


def sources(lab: Lab) -> Locator:
    return lab.notebook.locator(".jp-Cell .jp-InputArea-editor .cm-content")


def edit(cell: str, base: str, source: str) -> Call:
    return call("edit_cell", {"cell_id": cell, "base_hash": source_hash(base), "source": source})


def heard(provider: OpenAIServer, number: int) -> str:
    """Return what the model was told of the last call before its request of this number."""
    return str(provider.requests[number].body["messages"][-1]["content"])


def test_what_is_not_saved_is_read_and_changed_and_the_editor_saves_it(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    plot = new_output("display_data", data={"image/png": PIXEL, "text/plain": "<Figure>"})
    write(
        lab,
        "unsaved.ipynb",
        new_markdown_cell("# Rain", id="head"),
        new_code_cell("days = 7", id="days"),
        new_code_cell("plot()", id="plot", outputs=[plot], execution_count=1),
        new_code_cell("old = 1", id="old"),
    )
    open_notebook(lab, "unsaved.ipynb")
    typed = "days = 30 ü 🙂"
    sources(lab).nth(1).click()
    lab.page.keyboard.press("Control+a")
    lab.page.keyboard.insert_text(typed)
    requests = len(provider.requests)
    gone = {"cell_id": "old", "base_hash": source_hash("old = 1")}
    provider.add(
        ToolCalls(call("read_notebook", {})),
        ToolCalls(
            edit("days", typed, "days = 31"),
            call("insert_cell", {"after": "plot", "source": "first"}, id="c2"),
            call("insert_cell", {"after": "plot", "source": "second"}, id="c3"),
            call("delete_cell", gone, id="c4"),
            call("move_cell", {"cell_id": "plot", "after": "head"}, id="c5"),
            edit("days", typed, "too late"),
        ),
        Text("Done."),
    )
    lab.ask("tidy up", "Done.")
    expect(sources(lab)).to_have_text(["# Rain", "plot()", "days = 31", "first", "second"])
    expect(lab.notebook.locator(".jp-OutputArea img")).to_be_visible()
    visits.picture(lab, "changed")
    told = heard(provider, requests + 1)
    assert "It is open in the browser, with edits that are not saved yet." in told
    assert f"Cell 2: id days, code not run, hash {source_hash(typed)}\n| {typed}\n" in told
    assert "Its outputs:\n| [image/png, shown to the user]" in told
    results = [one["content"] for one in provider.requests[requests + 2].body["messages"][-6:]]
    assert results[0].startswith("The cell days of 'unsaved.ipynb' has the new source")
    assert results[5].endswith("\n| days = 31")
    lab.notebook.locator(".jp-Notebook").focus()
    lab.page.keyboard.press("Control+s")
    expect(lab.page.locator(".jp-mod-dirty")).to_have_count(0)
    saved = lab.read_notebook("unsaved.ipynb")
    nbformat.validate(saved)
    cells = {cell.source: cell for cell in saved.cells}
    assert list(cells) == ["# Rain", "plot()", "days = 31", "first", "second"]
    assert cells["plot()"].outputs == [plot]
    assert "message" in cells["first"].metadata["caesarion"]


def test_a_person_saves_while_the_agents_change_is_being_saved(
    lab: Lab, provider: OpenAIServer
) -> None:
    write(lab, "both.ipynb", new_code_cell("x = 1", id="x"))
    open_notebook(lab, "both.ipynb")
    path = lab.hub.home(lab.user) / "both.ipynb"
    before = path.stat().st_mtime_ns
    on_its_way: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        if route.request.method == "PUT" and not on_its_way:
            on_its_way.append((route, route.fetch()))
        else:
            route.continue_()

    lab.page.route("**/api/contents/both.ipynb?*", hold)
    provider.add(ToolCalls(edit("x", "x = 1", "x = 2")), Text("Done."))
    lab.ask("change", "Done.")
    # The file is written, which the page is not told yet.
    lab.until(lambda: path.stat().st_mtime_ns > before)
    sources(lab).last.click()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.insert_text("0")
    lab.page.keyboard.press("Control+s")
    lab.page.wait_for_timeout(500)
    route, written = on_its_way[0]
    route.fulfill(response=written)
    lab.until(lambda: "x = 20" in path.read_text())
    expect(lab.page.locator(".jp-mod-dirty")).to_have_count(0)
    expect(lab.page.get_by_role("dialog")).to_have_count(0)
    lab.page.unroute("**/api/contents/both.ipynb?*")


def test_a_notebook_of_an_old_format_is_changed_where_it_is_open(
    lab: Lab, provider: OpenAIServer
) -> None:
    older = write(lab, "older.ipynb", new_code_cell("x = 1"), new_code_cell("y = 1"))
    older["nbformat_minor"] = 4
    for cell in older.cells:
        del cell["id"]
    file = lab.hub.home(lab.user) / "older.ipynb"
    file.write_text(json.dumps(older))
    open_notebook(lab, "older.ipynb")
    requests = len(provider.requests)
    provider.add(ToolCalls(call("read_notebook", {})), Text("Read."))
    lab.ask("read", "Read.")
    told = heard(provider, requests + 1)
    first, second = (line.split()[3].rstrip(",") for line in told.splitlines() if "hash" in line)
    provider.add(
        ToolCalls(
            edit(first, "x = 1", "x = 2"),
            call("insert_cell", {"after": second, "source": "z = 1"}, id="c2"),
        ),
        Text("Done."),
    )
    lab.ask("change", "Done.")
    expect(sources(lab)).to_have_text(["x = 2", "y = 1", "z = 1"])
    lab.notebook.locator(".jp-Notebook").focus()
    lab.page.keyboard.press("Control+s")
    expect(lab.page.locator(".jp-mod-dirty")).to_have_count(0)
    saved = lab.read_notebook("older.ipynb")
    nbformat.validate(saved)
    assert [cell.source for cell in saved.cells] == ["x = 2", "y = 1", "z = 1"]


def test_two_notebooks_of_one_turn_are_changed_in_the_page_and_in_the_file(
    lab: Lab, provider: OpenAIServer
) -> None:
    write(lab, "shown.ipynb", new_code_cell("x = 1", id="x"))
    write(lab, "other.ipynb", new_code_cell("y = 1", id="y"))
    open_notebook(lab, "shown.ipynb")
    other = {"cell_id": "y", "base_hash": source_hash("y = 1"), "source": "y = 2"}
    provider.add(
        ToolCalls(
            edit("x", "x = 1", "x = 2"),
            call("edit_cell", {**other, "path": "other.ipynb"}, id="c2"),
        ),
        Text("Both."),
    )
    lab.ask("both", "Both.")
    expect(sources(lab)).to_have_text(["x = 2"])
    written = lab.read_notebook("other.ipynb")
    assert [cell.source for cell in written.cells] == ["y = 2"]
    open_notebook(lab, "other.ipynb")
    expect(sources(lab)).to_have_text(["y = 2"])
