"""Changes of the agent in a notebook: drawn in it, decided, undone, and followed by other pages."""

import itertools
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from caesarion.notebooks.cells import source_hash
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from playwright.sync_api import Locator, expect

from tests.browser.conftest import Visits
from tests.browser.lab import LAB_WITHIN, Lab
from tests.browser.test_approval import picker
from tests.browser.test_cells import state
from tests.browser.test_restart import server_of
from tests.fakes.openai_server import Call, OpenAIServer, Text, ToolCalls, call

LOOP = "for day in range(0):\n    print(day)"
FIXED = "for day in range(1, 4):\n    print(day)\nprint('done')"
LANGUAGE = {
    "kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"},
}


_NUMBERS = itertools.count(1)


def edit(cell: str, before: str, source: str, why: str = "") -> Call:
    arguments = {"cell_id": cell, "base_hash": source_hash(before), "source": source, "why": why}
    return call("edit_cell", arguments)


def insert(after: str | None, source: str, why: str = "", kind: str = "code") -> Call:
    return call("insert_cell", {"after": after, "type": kind, "source": source, "why": why})


def delete(cell: str, before: str, why: str = "") -> Call:
    arguments = {"cell_id": cell, "base_hash": source_hash(before), "why": why}
    return call("delete_cell", arguments)


def move(cell: str, after: str | None, why: str = "") -> Call:
    return call("move_cell", {"cell_id": cell, "after": after, "why": why})


def all_kinds() -> ToolCalls:
    """Return an answer that changes, adds, deletes and moves cells."""
    return ToolCalls(
        edit("loop", LOOP, FIXED, "The loop never runs, since range(0) is empty."),
        insert("loop", "import pandas as pd\nrain = pd.read_csv('rain.csv')", "Load the table."),
        insert("loop", "## Results\nThe *monthly* sums.", "Say what follows.", "markdown"),
        delete("old", "old = 1", "It is never used."),
        move("late", "head", "It is needed earlier."),
    )


@pytest.fixture
def notebook(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """A notebook of five cells, open in front of Eve, who wants to be asked; its name."""
    # Of its own in each run: a failed one may have left changes that wait.
    name = f"{request.node.name.removeprefix('test_')[:36]}-{next(_NUMBERS)}.ipynb"
    cells = [
        new_markdown_cell("# Rain", id="head"),
        new_code_cell(LOOP, id="loop"),
        new_code_cell("old = 1", id="old"),
        new_code_cell("early = 2", id="early"),
        new_code_cell("late = 3", id="late"),
    ]
    write(lab, name, cells)
    picker(lab).select_option("ask")
    lab.open_notebook(name)
    # The kernel has told its language, which is not in the file yet.
    save(lab)
    yield name
    picker(lab).select_option("auto")


def write(lab: Lab, name: str, cells: list[Any]) -> None:
    nbformat.write(new_notebook(cells=cells, metadata=LANGUAGE), lab.hub.home("eve") / name)


def sources(lab: Lab, name: str) -> list[str]:
    """Return the sources of the saved notebook."""
    saved = lab.read_notebook(name)
    return [cell.source for cell in saved.cells]


def shown(lab: Lab) -> Locator:
    """Return the sources of the notebook's code cells that are drawn, hidden ones included."""
    return lab.notebook.locator(".jp-CodeCell .jp-InputArea-editor .cm-content")


def changes(lab: Lab) -> Locator:
    return lab.notebook.locator(".jp-Caesarion-change")


def bar(lab: Lab) -> Locator:
    return lab.notebook.get_by_role("toolbar", name="Changes of the agent")


def focused(lab: Lab) -> str:
    """Return the label of what has the focus."""
    return str(lab.page.evaluate("document.activeElement.getAttribute('aria-label')"))


def save(lab: Lab) -> None:
    lab.page.keyboard.press("Control+s")
    wait_until_saved(lab)


def wait_until_saved(lab: Lab) -> None:
    expect(lab.page.locator(".lm-TabBar-tab.lm-mod-current.jp-mod-dirty")).to_have_count(0)


BEFORE = [LOOP, "old = 1", "early = 2", "late = 3"]
AFTER = ["late = 3", FIXED, "import pandas as pd\nrain = pd.read_csv('rain.csv')", "early = 2"]


def as_drawn(texts: list[str]) -> list[str]:
    """Return sources as Playwright reads them from CodeMirror, whose lines are elements."""
    return ["".join(text.split("\n")) for text in texts]


def test_changes_are_drawn_before_they_are_made_and_accepted_together(
    notebook: str, lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(all_kinds(), Text("All is done."))
    lab.send("improve it")
    expect(changes(lab)).to_have_count(5)
    expect(bar(lab)).to_contain_text("5 changes proposed")
    expect(lab.page.locator("body > .jp-Caesarion-announcer")).to_have_text(
        f"5 changes proposed in {notebook}"
    )
    # The difference, and the reason.
    first = changes(lab).first
    expect(first).to_have_attribute("data-kind", "edit")
    expect(first).to_contain_text("The loop never runs")
    expect(first.locator(".cm-deletedLine")).to_have_text(["for day in range(0):"])
    expect(first.locator(".cm-changedLine")).to_have_text(
        ["for day in range(1, 4):", "print('done')"]
    )
    visits.picture(lab, "light")
    # Nothing of it is in the notebook, nor in its file if it is saved now.
    expect(shown(lab)).to_have_text(as_drawn(BEFORE))
    save(lab)
    assert sources(lab, notebook) == ["# Rain", *BEFORE]
    visits.picture(lab, "dark", dark=True)
    visits.picture(lab, "narrow", width=800)

    bar(lab).get_by_role("button", name="Accept all").click()
    expect(lab.messages.last).to_contain_text("All is done.")
    expect(changes(lab)).to_have_count(0)
    expect(bar(lab)).to_be_hidden()
    expect(shown(lab)).to_have_text(as_drawn(AFTER))
    expect(lab.cells.locator(".caesarion-call-state")).to_contain_text(["applied"] * 5)
    visits.picture(lab, "accepted")
    # The focus is in the notebook again.
    expect(lab.notebook.locator(".jp-Notebook-cell:focus")).to_have_count(1)
    # The page saves it by itself, with a mark in the cells.
    wait_until_saved(lab)
    saved = lab.read_notebook(notebook)
    assert [cell.source for cell in saved.cells if cell.cell_type == "code"] == AFTER
    assert saved.cells[4].source == "## Results\nThe *monthly* sums."
    marked = [cell.metadata.get("caesarion", {}).keys() for cell in saved.cells]
    assert [set(keys) for keys in marked[:3]] == [set(), {"chat", "message", "at"}, set(marked[2])]


def test_the_keyboard_alone_walks_decides_and_undoes(
    notebook: str, lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(
        ToolCalls(
            edit("loop", LOOP, "x = 1"),
            insert("old", "new = 1"),
            delete("early", "early = 2"),
            move("late", "head"),
        ),
        Text("As you say."),
    )
    lab.send("improve it")
    expect(changes(lab)).to_have_count(4)
    press = lab.page.keyboard.press
    press("F8")
    expect(changes(lab).nth(0).get_by_role("button").first).to_be_focused()
    assert focused(lab) == "Accept: Edit this cell, cell 2"
    expect(bar(lab)).to_contain_text("1 of 4")
    press("Shift+F8")
    expect(changes(lab).last.get_by_role("button").first).to_be_focused()
    assert focused(lab) == "Accept: Move this cell, cell 5"
    expect(bar(lab)).to_contain_text("4 of 4")
    visits.picture(lab, "walking")
    press("F8")
    expect(changes(lab).nth(0).get_by_role("button").first).to_be_focused()
    press("Alt+y")
    expect(shown(lab)).to_have_text(["x = 1", *BEFORE[1:]])
    # The focus goes on to the next change; Ctrl+Z is about what was done last.
    expect(changes(lab)).to_have_count(3)
    expect(changes(lab).nth(0).get_by_role("button").first).to_be_focused()
    assert focused(lab) == "Accept: New code cell, new cell"
    press("Control+z")
    expect(shown(lab)).to_have_text(as_drawn(BEFORE))
    press("Enter")
    expect(shown(lab)).to_have_text([*as_drawn(BEFORE[:2]), "new = 1", *BEFORE[2:]])
    expect(changes(lab)).to_have_count(2)
    expect(changes(lab).nth(0).get_by_role("button").first).to_be_focused()
    press("Control+z")
    expect(shown(lab)).to_have_text(as_drawn(BEFORE))
    expect(changes(lab).nth(0).get_by_role("button").first).to_be_focused()
    press("Alt+n")
    expect(changes(lab)).to_have_count(1)
    expect(changes(lab).nth(0).get_by_role("button").first).to_be_focused()
    press("Tab")
    assert focused(lab) == "Reject: Move this cell, cell 5"
    press("Shift+Tab")
    press("Enter")
    expect(changes(lab)).to_have_count(0)
    expect(shown(lab)).to_have_text(["late = 3", *as_drawn(BEFORE[:3])])
    press("Control+z")
    expect(shown(lab)).to_have_text(as_drawn(BEFORE))
    expect(lab.messages.last).to_contain_text("As you say.")
    told = [message["content"] for message in provider.requests[-1].body["messages"][-4:]]
    assert told[2] == "The user refused this call and gave no reason. Ask them how to go on."


def test_the_chat_shows_each_change_and_leads_to_its_cell(
    notebook: str, lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(
        ToolCalls(
            edit("loop", LOOP, FIXED, "It never runs."), delete("late", "late = 3", "Unused.")
        ),
        Text("As you say."),
    )
    lab.send("improve it")
    card = lab.cells.first
    expect(card).to_contain_text("Edit cell 2")
    expect(card).to_contain_text("It never runs.")
    expect(card.locator(".cm-changedLine")).to_have_count(2)
    expect(lab.cells.nth(1)).to_contain_text("Delete cell 5")
    visits.picture(lab, "cards")
    lab.cells.nth(1).get_by_role("button", name="Delete cell 5").click()
    expect(changes(lab).nth(1).get_by_role("button", name="Accept")).to_be_focused()

    card.get_by_role("button", name="Edit", exact=True).click()
    card.get_by_label("Source of the cell").fill("for day in range(9):\n    print(day)")
    card.get_by_role("button", name="Accept").click()
    expect(shown(lab).first).to_have_text("for day in range(9):    print(day)")
    expect(state(card)).to_contain_text("applied · edited and approved by eve")
    last = lab.cells.nth(1)
    last.get_by_role("button", name="Reject").click()
    last.get_by_label("Reason, sent to the agent").fill("I need it")
    last.get_by_role("button", name="Reject").click()
    expect(state(last)).to_contain_text("not applied · refused by eve")
    expect(lab.messages.last).to_contain_text("As you say.")
    assert provider.requests[-1].body["messages"][-1]["content"] == (
        "The user refused this call. Their reason: I need it"
    )
    visits.picture(lab, "decided")


def test_a_cell_that_was_changed_meanwhile_is_not_overwritten(
    notebook: str, lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(ToolCalls(edit("early", "early = 2", "early = 5")), Text("I read it again."))
    lab.send("improve it")
    expect(changes(lab)).to_have_count(1)
    # To edit a cell shows its editor again, under the difference.
    lab.page.keyboard.press("F8")
    expect(changes(lab).get_by_role("button", name="Accept")).to_be_focused()
    lab.page.keyboard.press("Escape")
    lab.page.keyboard.press("Enter")
    expect(shown(lab).nth(2)).to_be_visible()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.insert_text("0")
    expect(changes(lab)).to_contain_text("You have changed the cell since")
    visits.picture(lab, "changed since")
    changes(lab).get_by_role("button", name="Accept").click()
    expect(lab.messages.last).to_contain_text("I read it again.")
    expect(shown(lab).nth(2)).to_have_text("early = 20")
    told = provider.requests[-1].body["messages"][-1]["content"]
    assert told.endswith("| early = 20")
    expect(state(lab.cells.last)).to_contain_text("not applied")


def test_changes_that_nobody_was_asked_about_stay_marked_until_they_are_looked_at(
    notebook: str, lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    picker(lab).select_option("accept-edits")
    provider.add(all_kinds(), Text("All is done."))
    lab.ask("improve it", "All is done.")
    expect(bar(lab)).to_contain_text("5 changes made by the agent")
    expect(shown(lab)).to_have_text(as_drawn(AFTER))
    visits.picture(lab, "marked")
    edited = changes(lab).filter(has_text="Changed by the agent")
    edited.get_by_role("button", name="Show what was changed").click()
    expect(edited.locator(".cm-changedLine")).to_have_count(2)
    visits.picture(lab, "looked at")
    edited.get_by_role("button", name="Undo").click()
    expect(changes(lab)).to_have_count(4)
    expect(shown(lab).nth(1)).to_have_text(as_drawn([LOOP])[0])
    deleted = changes(lab).filter(has_text="Deleted by the agent")
    expect(deleted.locator(".cm-content")).to_have_text("old = 1")
    deleted.get_by_role("button", name="Undo").click()
    expect(changes(lab)).to_have_count(3)
    expect(shown(lab).filter(has_text="old = 1")).to_have_count(1)
    bar(lab).get_by_role("button", name="Keep all").click()
    expect(changes(lab)).to_have_count(0)
    expect(lab.notebook.locator(".jp-Caesarion-touched")).to_have_count(0)


def test_a_reload_in_the_middle_loses_nothing_and_applies_nothing_twice(
    notebook: str, lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(ToolCalls(insert("old", "new = 1"), insert("old", "more = 2")), Text("Done."))
    lab.send("add two")
    expect(changes(lab)).to_have_count(2)
    lab.page.reload()
    lab.wait_for_chat()
    expect(changes(lab)).to_have_count(2)
    expect(bar(lab)).to_contain_text("2 changes proposed")
    bar(lab).get_by_role("button", name="Accept all").click()
    expect(lab.messages.last).to_contain_text("Done.")
    expect(shown(lab)).to_have_text(
        [*as_drawn(BEFORE[:2]), "new = 1", "more = 2", "early = 2", "late = 3"]
    )
    expect(changes(lab)).to_have_count(0)


def test_two_pages_show_the_same_and_the_one_that_asked_is_changed_first(
    notebook: str, lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    other = Lab(lab.page.context.new_page(), lab.hub, "eve")
    visits.labs.append(other)
    other.page.goto(f"{lab.hub.url}/user/eve/lab/workspaces/other/tree/{notebook}")
    other.notebook.locator(".jp-Notebook-cell").first.wait_for(timeout=LAB_WITHIN)
    provider.add(ToolCalls(edit("loop", LOOP, "x = 1"), delete("old", "old = 1")), Text("Done."))
    lab.send("improve it")
    for page in (lab, other):
        expect(changes(page)).to_have_count(2)
    visits.picture(other, "follows")
    # Whichever page decides: it is the one that asked which changes and saves the notebook.
    changes(other).filter(has_text="Edit this cell").get_by_role("button", name="Accept").click()
    expect(shown(lab)).to_have_text(["x = 1", *BEFORE[1:]])
    for page in (lab, other):
        expect(changes(page)).to_have_count(1)
    expect(shown(other).first).to_have_text("x = 1")
    bar(lab).get_by_role("button", name="Reject all").click()
    for page in (lab, other):
        expect(changes(page)).to_have_count(0)
    expect(lab.messages.last).to_contain_text("Done.")
    other.page.close()
    visits.labs.remove(other)


def test_a_notebook_that_is_closed_in_the_middle_is_changed_in_its_file(
    notebook: str, lab: Lab, provider: OpenAIServer
) -> None:
    provider.add(ToolCalls(edit("loop", LOOP, "x = 1")), Text("Done."))
    lab.send("improve it")
    expect(changes(lab)).to_have_count(1)
    lab.page.locator(".lm-TabBar-tab.lm-mod-current .jp-icon-hover").click()
    expect(lab.notebook).to_have_count(0)
    lab.cells.get_by_role("button", name="Accept").click()
    expect(lab.messages.last).to_contain_text("Done.")
    assert sources(lab, notebook) == ["# Rain", "x = 1", *BEFORE[1:]]
    # The link opens it again.
    lab.cells.get_by_role("button", name="Edit a cell").click()
    expect(shown(lab).first).to_have_text("x = 1")


def test_a_server_that_dies_leaves_no_proposal_behind(
    notebook: str, lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    provider.add(ToolCalls(edit("loop", LOOP, "x = 1")))
    lab.send("improve it")
    expect(changes(lab).locator(".cm-changedLine")).to_have_count(1)
    server_of(lab.hub, "eve").kill()
    # The lab asks whether to restart it, once or again and again.
    dismiss = lab.page.get_by_role("dialog").get_by_role("button", name="Dismiss")
    dismiss.click()
    lab.page.add_locator_handler(dismiss, lambda _: dismiss.click())
    changes(lab).get_by_role("button", name="Accept").click()
    expect(changes(lab).get_by_role("alert")).to_contain_text("The server does not answer")
    lab.page.remove_locator_handler(dismiss)
    visits.picture(lab, "away")
    lab.hub.login("eve").start_server()
    # The new server knows of no change.
    expect(changes(lab)).to_have_count(0)
    expect(shown(lab)).to_have_text(as_drawn(BEFORE))
    lab.start_anew()  # Nor does it know the page's token.


def test_a_long_notebook_with_many_changes_stays_responsive(
    lab: Lab, provider: OpenAIServer, visits: Visits
) -> None:
    """The figures are printed; what is told of them is the machine's, too."""
    many = [f"value_{number} = {number}\nprint(value_{number})" for number in range(200)]
    cells = [new_code_cell(text, id=f"cell{place}") for place, text in enumerate(many)]
    write(lab, "long.ipynb", cells)
    lab.open_notebook("long.ipynb")
    picker(lab).select_option("ask")
    due = [
        edit(f"cell{place}", many[place], f"{many[place]}\nprint()") for place in range(0, 200, 4)
    ]
    provider.add(ToolCalls(*due), Text("Done."))
    lab.send("improve it")
    expect(bar(lab)).to_contain_text("50 changes proposed", timeout=60_000)
    expect(changes(lab).first.locator(".cm-changedLine")).to_have_count(1)
    # From the press of a key until the next frame after its change was drawn.
    measure = """async () => {
        const times = [];
        for (let step = 0; step < 10; step++) {
            const began = performance.now();
            document.querySelector('.jp-Caesarion-changeBar [aria-label^="Next"]').click();
            await new Promise(drawn => requestAnimationFrame(() => setTimeout(drawn)));
            times.push(performance.now() - began);
            await new Promise(rest => setTimeout(rest, 300));
        }
        return times;
    }"""
    times = sorted(lab.page.evaluate(measure))
    print(f"\nNext change of 50 in 200 cells: median {times[5]:.0f} ms, most {times[-1]:.0f} ms")
    expect(bar(lab)).to_contain_text("10 of 50")
    visits.picture(lab, "long")
    bar(lab).get_by_role("button", name="Reject all").click()
    expect(changes(lab)).to_have_count(0)
    expect(lab.messages.last).to_contain_text("Done.", timeout=60_000)
    picker(lab).select_option("auto")
