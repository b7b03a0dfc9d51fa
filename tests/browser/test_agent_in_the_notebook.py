"""
The agent in a notebook from end to end: the demo model, the gateway, the hub and a person.

A failing cell is fixed; an uploaded table becomes a plan, cells, and a notebook as it was.
"""

import json
import re
from collections import Counter
from typing import Any

from playwright.sync_api import Locator, expect

from docs.screenshot import TABLE
from tests.browser.conftest import Visits
from tests.browser.lab import Lab
from tests.browser.test_uploads import drop
from tests.hub import RunningHub

AUDIT = "/services/gateway/admin/audit.jsonl"


def enter(visits: Visits, hub: RunningHub, user: str) -> Lab:
    """Let ``user`` open a notebook beside the chat; they are asked about everything."""
    lab = visits(hub, user)
    lab.log_in()
    lab.new_notebook()
    choose(lab, "ask")
    return lab


def choose(lab: Lab, mode: str) -> None:
    lab.side.get_by_label("Who decides what runs").select_option(mode)


def proposed(lab: Lab) -> Locator:
    """Return the changes in the notebook that wait for a decision."""
    return lab.notebook.locator(".jp-Caesarion-change[data-state='proposed']")


def accept(change: Locator) -> None:
    change.get_by_role("button", name=re.compile("^Accept")).click()


def reject(change: Locator) -> None:
    change.get_by_role("button", name=re.compile("^Reject")).click()


def run_when_asked(lab: Lab) -> None:
    """Allow the next run, in the chat."""
    lab.side.get_by_role("button", name="Run", exact=True).click()


def sources(lab: Lab) -> list[str]:
    """Return the cells of the notebook, as its editors show them."""
    editors = lab.notebook.locator(".jp-Cell .jp-InputArea-editor .cm-content")
    return ["\n".join(text.splitlines()) for text in editors.all_inner_texts()]


def decisions(lab: Lab, count: int) -> list[dict[str, Any]]:
    """Return what the audit says of a person's changes and runs, as soon as it has ``count``."""
    admin = lab.hub.login("admin")

    def found() -> list[dict[str, Any]]:
        lines = admin.get(AUDIT).raise_for_status().text.splitlines()
        said = [json.loads(line)["record"].get("change") for line in lines]
        return [change for change in said if change and change["by"] == lab.user]

    lab.until(lambda: len(found()) >= count)
    return found()


def test_a_failing_cell_is_fixed_seen_accepted_and_run(hub: RunningHub, visits: Visits) -> None:
    ada = enter(visits, hub, "fixes")
    ada.run_cell("hours = [1, 2]\nprint(sum(hour))")
    ada.notebook.get_by_role("button", name="Fix", exact=True).click()
    expect(proposed(ada)).to_contain_text("There is no hour; the kernel has hours")
    expect(proposed(ada)).to_contain_text("print(sum(hours))")
    visits.picture(ada, "diff")
    assert sources(ada)[0].endswith("print(sum(hour))")

    accept(proposed(ada))
    expect(proposed(ada)).to_have_count(0)
    run_when_asked(ada)
    expect(ada.messages.last).to_contain_text("The result is 3.")
    expect(ada.cell_output("3")).to_have_count(1)
    assert sources(ada)[0].endswith("print(sum(hours))")
    expect(ada.notebook.locator(".jp-InputPrompt").first).to_have_text("[2]:")
    visits.picture(ada, "ran")

    edit, run = decisions(ada, 2)
    assert (edit["operation"], edit["decision"]) == ("edit", "accepted")
    assert (run["operation"], run["decision"], run["cell"]) == ("run", "accepted", edit["cell"])
    assert edit["before"] != edit["after"] == run["before"]


def test_a_plan_becomes_cells_that_are_decided_run_and_undone(
    hub: RunningHub, visits: Visits
) -> None:
    hana = enter(visits, hub, "hana")
    hana.run_cell("x = 1")
    before = sources(hana)
    drop(hana, {"sales.csv": TABLE.encode()})
    expect(hana.side.locator(".jp-chat-input-container .jp-chat-attachment")).to_be_visible()
    choose(hana, "plan")
    hana.ask("plan an analysis of the attached table", "Plot sales by month.")
    visits.picture(hana, "plan")
    assert sources(hana) == before

    hana.side.get_by_role("button", name="Go", exact=True).click()
    expect(proposed(hana)).to_have_count(4)
    visits.picture(hana, "proposed")
    assert sources(hana) == before
    reject(proposed(hana).nth(1))
    expect(proposed(hana)).to_have_count(3)
    hana.notebook.get_by_role("button", name="Accept all").click()
    for _ in range(3):
        run_when_asked(hana)
    expect(hana.messages.last).to_contain_text("Done: 3 cells added and run, 1 left out.")
    expect(hana.notebook.locator(".jp-OutputArea-output img")).to_have_count(1)
    visits.picture(hana, "done")
    firsts = [source.splitlines()[0] for source in sources(hana) if source.strip()]
    assert firsts == [
        "x = 1",
        "import pandas as pd",
        "sales.groupby('region')['sales'].sum().sort_values(ascending=False)",
        "months = pd.to_datetime(sales['date']).dt.to_period(\"M\")",
    ]

    hana.side.get_by_role("button", name="Undo this turn").click()
    expect(hana.notebook.locator(".jp-Cell")).to_have_count(len(before))
    visits.picture(hana, "undone")
    assert sources(hana) == before
    decided = [(one["operation"], one["decision"]) for one in decisions(hana, 10)]
    assert Counter(decided) == {
        ("insert", "accepted"): 3,
        ("insert", "rejected"): 1,
        ("run", "accepted"): 3,
        ("insert", "undone"): 3,
    }
