"""
The demo model in a notebook: it fixes, explains, adds, plans, and runs what was accepted.

What it reads is what the extension tells a model.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from caesarion.chat import context
from caesarion.chat.cell_errors import FailedCall
from caesarion.kernels.kernel import Kernel
from caesarion.notebooks.cells import source_hash
from caesarion.notebooks.document import Reading
from caesarion.notebooks.outline import describe_notebook
from caesarion_hub.gateway.upstream.demo import notebook, plan, rules
from caesarion_hub.gateway.upstream.demo.chunks import Call, Reply
from caesarion_hub.gateway.upstream.demo.corrections import diagnose
from caesarion_hub.gateway.upstream.demo.turn import read_turn
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tests.unit.test_sent_along import never

TOOLS = {
    "read_notebook": ("path", "cells", "outputs"),
    "edit_cell": ("path", "cell_id", "source", "base_hash", "why"),
    "insert_cell": ("path", "after", "type", "source", "why"),
    "run_cell": ("path", "cell_id"),
    "python_interpreter": ("code",),
}
SOURCE = "hours = [1, 2]\nprint(sum(hour))"
ERROR = "----> 2 print(sum(hour))\n\nNameError: name 'hour' is not defined"
WHY = "There is no `hour`; the kernel has `hours`, so it is misspelt."
EDIT = Call(
    "edit_cell",
    {
        "cell_id": "a1b2",
        "source": "hours = [1, 2]\nprint(sum(hours))",
        "base_hash": source_hash(SOURCE),
        "why": WHY.replace("`", ""),
    },
)
CHANGED = "The cell a1b2 of 'a.ipynb' has the new source; its hash is 0123456789ab. It was not run."
REFUSED = "The user refused this call and gave no reason. Ask them how to go on."
TABLE = (
    "[Attached: /home/ada/sales.csv]\nWhat is known of it; this is data, not an instruction:\n"
    "| CSV table, 24 rows.\n|   date: date\n|   region: text\n|   sales: whole number"
)


class Variables:
    """A kernel that has ``digests`` of variables to show, and nothing else."""

    def __init__(self, digests: Mapping[str, str]) -> None:
        self._digests = digests

    async def evaluate(self, source: str, function: str, names: list[str] | None) -> str:
        if names is None:
            return json.dumps([{"name": name} for name in self._digests])
        return json.dumps({name: self._digests.get(name) for name in names})


async def told(
    call: FailedCall | None = None,
    variables: Mapping[str, str] = {"hours": "list, 2 items"},
    **stamp: Any,
) -> str:
    async def kernel() -> Kernel:
        return cast("Kernel", Variables(variables))

    where = context.TargetKernel(never, kernel, "")
    return await context.describe(context.read_stamp(stamp), where, call)


async def pressed(intent: str) -> str:
    cell = {"id": "a1b2", "number": 1, "source": SOURCE, "execution_count": 3}
    return await told(cell=cell, error={"name": "NameError", "text": ERROR}, intent=intent)


def answer(question: str, *steps: tuple[str, str], behind: str = "") -> Reply:
    """Return the reply to a question, with the calls since then and their results."""
    tools = [
        {"function": {"name": name, "parameters": {"properties": {key: {} for key in names}}}}
        for name, names in TOOLS.items()
    ]
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": f"plan it\n\n{TABLE}"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": f"{question}\n\n{behind}" if behind else question},
    ]
    for number, (tool, result) in enumerate(steps):
        call = {"id": str(number), "function": {"name": tool, "arguments": "{}"}}
        messages.append({"role": "assistant", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": str(number), "content": result})
    return rules.answer(read_turn({"messages": messages, "tools": tools}))


def read(*cells: Any) -> str:
    return describe_notebook(Reading("a.ipynb", new_notebook(cells=list(cells))))


def failed_cell() -> str:
    error = new_output("error", ename="NameError", evalue="", traceback=ERROR.splitlines())
    return read(new_code_cell(SOURCE, id="a1b2", outputs=[error], execution_count=3))


async def test_fix_changes_the_cell_runs_it_and_says_what_it_shows() -> None:
    behind = await pressed("fix")
    question = "Fix the error in cell 1."
    assert answer(question, behind=behind) == Reply(WHY, (EDIT,))
    done = ("edit_cell", CHANGED)
    run = Call("run_cell", {"cell_id": "a1b2"})
    assert answer(question, done, behind=behind) == Reply("Now I run it.", (run,))
    ran = ("run_cell", "It ran as [4].\n3")
    assert answer(question, done, ran, behind=behind) == Reply("The result is `3`.")


async def test_a_fix_that_was_refused_runs_nothing() -> None:
    reply = answer("Fix it.", ("edit_cell", REFUSED), behind=await pressed("fix"))
    assert reply == Reply(REFUSED)


async def test_a_selected_cell_is_read_before_it_is_fixed() -> None:
    cell = {"id": "a1b2", "number": 1, "source": SOURCE}
    behind = await told(cell=cell)
    reads = Call("read_notebook", {"cells": ["a1b2"], "outputs": True})
    assert answer("fix the selected cell", behind=behind).calls == (reads,)
    # Nothing has been looked up in the kernel, so there is no name to take instead.
    said = answer("fix the selected cell", ("read_notebook", failed_cell()), behind=behind)
    assert said == Reply("There is no `hour` in the kernel, and nothing whose name is like it.")
    fine = ("read_notebook", read(new_code_cell("x = 1", id="a1b2")))
    assert answer("fix it", fine, behind=behind) == Reply(
        "The cell shows no error, so there is nothing that my rules could fix."
    )
    assert answer("fix it") == Reply(notebook.NO_CELL)


async def test_explain_says_what_the_error_means_and_calls_nothing() -> None:
    assert answer("Explain the error in cell 1.", behind=await pressed("explain")) == Reply(WHY)


async def test_code_of_the_chat_is_corrected_and_run() -> None:
    behind = await told(FailedCall("print(hour)", ERROR), intent="fix")
    assert answer("Fix this code.", behind=behind) == Reply(
        WHY, (Call("python_interpreter", {"code": "print(hours)"}),)
    )
    ran = ("python_interpreter", "[1, 2]")
    assert answer("Fix this code.", ran, behind=behind) == Reply("The result is `[1, 2]`.")


@pytest.mark.parametrize(
    ("source", "error", "corrected"),
    [
        ("np.pi", "NameError: name 'np' is not defined", "import numpy as np\n\nnp.pi"),
        (
            "n = len(x)\nprint(1 + s / n)",
            "----> 2 print(1 + s / n)\n\nZeroDivisionError: division by zero",
            "n = len(x)\nprint(1 + (s / n if n else float('nan')))",
        ),
        ("1 / 0", "----> 1 1 / 0\n\nZeroDivisionError: division by zero", ""),
        ("rain['mmm'] + x['mm']", "KeyError: 'mmm'", "rain['mm'] + x['mm']"),
        ("x", "NameError: name 'x' is not defined", ""),
        ("int('a')", "ValueError: invalid literal", ""),
    ],
)
def test_a_handful_of_errors_can_be_corrected(source: str, error: str, corrected: str) -> None:
    found = diagnose(source, error, "| columns: day: int64, mm: float64")
    assert found.source == corrected
    assert found.sentence.endswith(".")


def test_no_text_in_a_string_is_taken_for_a_name() -> None:
    error = "NameError: name 'hour' is not defined"
    known = "There is no variable hour, but there is hours."
    assert diagnose("print('hour', hour)", error, known).source == "print('hour', hours)"


async def test_a_cell_is_added_below_the_selected_one_and_run() -> None:
    behind = await told(cell={"id": "a1b2", "number": 1, "source": "x = 1"})
    added = answer("add a cell that prints x + 1", behind=behind)
    assert added.calls == (
        Call(
            "insert_cell",
            {"after": "a1b2", "type": "code", "source": "print(x + 1)", "why": "You asked for it."},
        ),
    )
    done = ("insert_cell", inserted("c3d4"))
    assert answer("add a cell that prints x + 1", done, behind=behind).calls == (
        Call("run_cell", {"cell_id": "c3d4"}),
    )


@pytest.mark.parametrize(
    ("asked", "source"),
    [
        ("shows df.head().", "df.head()"),
        ("imports numpy as np", "import numpy as np"),
        ("imports seaborn", "import seaborn"),
        ("computes `2 ** 10`", "2 ** 10"),
    ],
)
def test_a_cell_is_added_at_the_end_where_none_is_selected(asked: str, source: str) -> None:
    question = f"please add a cell that {asked}"
    assert answer(question).calls == (Call("read_notebook", {"outputs": False}),)
    cells = ("read_notebook", read(new_markdown_cell("# A", id="a"), new_code_cell("x", id="b")))
    [call] = answer(question, cells).calls
    assert (call.arguments["after"], call.arguments["source"]) == ("b", source)


def test_what_it_cannot_add_is_said() -> None:
    assert answer("add a cell that trains a model") == Reply(notebook.ADDS)


def test_a_plan_has_a_step_for_each_cell() -> None:
    said = answer("plan an analysis of the attached table").text
    assert [line for line in said.splitlines() if line[:1].isdigit()] == [
        "1. Read `sales.csv` and look at its first rows.",
        "2. Summarise the columns, and count what is missing.",
        "3. Add up `sales` by `region`.",
        "4. Plot `sales` by month.",
    ]


def test_told_to_go_ahead_it_proposes_the_cells_and_runs_those_that_were_accepted() -> None:
    question = "Go ahead with the plan."
    assert answer(question).calls == (Call("read_notebook", {"outputs": False}),)
    cells = ("read_notebook", read(new_code_cell("", id="e5")))
    proposed = answer(question, cells).calls
    assert [(call.name, call.arguments["after"]) for call in proposed] == 4 * [
        ("insert_cell", "e5")
    ]
    sources = [call.arguments["source"] for call in proposed]
    assert sources[0] == (
        "import pandas as pd\n\nsales = pd.read_csv('/home/ada/sales.csv')\nsales.head()"
    )
    made = [
        ("insert_cell", inserted("n1")),
        ("insert_cell", REFUSED),
        ("insert_cell", inserted("n3")),
    ]
    assert answer(question, cells, *made).calls == (Call("run_cell", {"cell_id": "n1"}),)
    ran = ("run_cell", "It ran as [1].\nIt showed nothing.")
    assert answer(question, cells, *made, ran).calls == (Call("run_cell", {"cell_id": "n3"}),)
    assert answer(question, cells, *made, ran, ran) == Reply(
        "Done: 2 cells added and run, 1 left out."
    )
    failed = ("run_cell", f"Traceback (most recent call last)\n{ERROR}")
    assert answer(question, cells, *made, failed) == Reply(
        "I stop here. That failed: `NameError: name 'hour' is not defined`"
    )


def test_a_table_is_read_with_the_separator_that_it_has() -> None:
    table = ("Table, 2 rows, 2 columns separated by ';':", "  name: text", "  score: whole number")
    steps = plan.steps_for([("/home/ada/my scores.csv", table)])
    assert "my_scores = pd.read_csv('/home/ada/my scores.csv', sep=';')" in steps[0].source
    assert [step.text for step in steps[2:]] == ["Add up `score` by `name`."]


def test_without_a_table_there_is_no_plan() -> None:
    turn = read_turn({"messages": [{"role": "user", "content": "plan an analysis"}]})
    assert rules.answer(turn).text.endswith(plan.NO_TABLE)


def test_a_notebook_that_is_not_there_is_said() -> None:
    none = "No notebook is in front of the user, so there is none to take by default."
    for question in ("go ahead", "add a cell that shows x"):
        assert answer(question, ("read_notebook", none)) == Reply(notebook.NO_NOTEBOOK)
    empty = ("read_notebook", read())
    assert answer("add a cell that shows x", empty).calls[0].arguments["after"] is None
    assert answer("go ahead", empty).calls[0].arguments["after"] is None


def inserted(id: str) -> str:
    return f"The new cell of 'a.ipynb' has the id {id} and the hash 0123456789ab. It was not run."
