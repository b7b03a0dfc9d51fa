"""
The demo model's plan for an attached table, and what it does when told to go ahead. Pure.

Called by ``rules``. The plan and the cells come from the same steps, which the table's digest
alone decides: a conversation needs no memory but its messages.
"""

import keyword
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from caesarion_hub.gateway.upstream.demo.cell import last_id
from caesarion_hub.gateway.upstream.demo.chart import columns_of, reader_of
from caesarion_hub.gateway.upstream.demo.chunks import Call, Reply
from caesarion_hub.gateway.upstream.demo.notebook import (
    EMPTY,
    INSERT,
    READ,
    RUN,
    changed_id,
    not_read,
)
from caesarion_hub.gateway.upstream.demo.results import failure, sentence
from caesarion_hub.gateway.upstream.demo.turn import Turn

NO_TABLE = "Attach a table (CSV, TSV, Excel or Parquet): I plan by its columns."

_PLAN = re.compile(
    r"\W*(?:please\s+|(?:can|could)\s+you\s+|make\s+(?:me\s+)?an?\s+)*plan\b", re.IGNORECASE
)
_GO = re.compile(r"\W*go ahead\b", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """A step of the plan: what it does, and the cell that does it."""

    text: str
    source: str


def plan(turn: Turn) -> Reply | None:
    """Plan an analysis of the attached table."""
    if not _PLAN.match(turn.question):
        return None
    steps = steps_for(turn.files)
    if not steps:
        return Reply(NO_TABLE)
    listed = "\n".join(f"{number}. {step.text}" for number, step in enumerate(steps, 1))
    return Reply(
        f"This is my plan:\n\n{listed}\n\nEach step is a cell at the end of the notebook. Press "
        "*Go*, or say `go ahead`: I propose the cells, and run those that you accept."
    )


def go_ahead(turn: Turn) -> Reply | None:
    """Propose the cells of the plan, and run those that were accepted, one after the other."""
    if not _GO.match(turn.question):
        return None
    steps = steps_for(turn.files)
    if not steps:
        return Reply(f"There is no plan of mine in this chat. {NO_TABLE}")
    if not turn.steps:
        return Reply("I look where the notebook ends.", (Call(READ, {"outputs": False}),))
    made = [done for done in turn.steps if done.tool == INSERT]
    if not made:
        return _propose(steps, turn.results[-1])
    accepted = [id for done in made if (id := changed_id(done.result))]
    ran = [done for done in turn.steps if done.tool == RUN]
    if ran and failure(ran[-1].result):
        return Reply(f"I stop here. {sentence(ran[-1].result)}")
    if len(ran) < len(accepted):
        return Reply("", (Call(RUN, {"cell_id": accepted[len(ran)]}),))
    left = len(made) - len(accepted)
    told = f"Done: {_counted(len(accepted))} added and run"
    return Reply(f"{told}, {left} left out." if left else f"{told}.")


def _propose(steps: Sequence[Step], read: str) -> Reply:
    after = last_id(read)
    if not after and EMPTY not in read:
        return Reply(not_read(read))
    calls = [
        Call(
            INSERT,
            {
                "after": after or None,
                "type": "code",
                "source": step.source,
                "why": step.text.replace("`", ""),
            },
        )
        for step in steps
    ]
    return Reply("These are the cells.", tuple(calls))


def steps_for(files: Sequence[tuple[str, tuple[str, ...]]]) -> list[Step]:
    """Return the steps for the newest table in ``files``; none if there is no table."""
    table = next((file for file in files if reader_of(*file)), None)
    if table is None:
        return []
    path, known = table
    name, columns = _variable(path), columns_of(known)
    numbers = [column for column, kind in columns.items() if "number" in kind]
    dates = [column for column, kind in columns.items() if kind.startswith("date")]
    groups = [column for column, kind in columns.items() if kind.startswith("text")]
    steps = [
        Step(
            f"Read `{PurePosixPath(path).name}` and look at its first rows.",
            f"import pandas as pd\n\n{name} = {reader_of(path, known)}\n{name}.head()",
        ),
        Step(
            "Summarise the columns, and count what is missing.",
            f'{name}.describe(include="all").T.assign(missing={name}.isna().sum())',
        ),
    ]
    if numbers and groups:
        number, group = numbers[0], groups[0]
        totals = f"{name}.groupby({group!r})[{number!r}].sum()"
        steps.append(
            Step(f"Add up `{number}` by `{group}`.", f"{totals}.sort_values(ascending=False)")
        )
    if numbers and dates:
        number, date = numbers[0], dates[0]
        steps.append(
            Step(
                f"Plot `{number}` by month.",
                f'months = pd.to_datetime({name}[{date!r}]).dt.to_period("M")\n'
                f"{name}.groupby(months)[{number!r}].sum()"
                f".plot.bar(title={f'{number} by month'!r});",
            )
        )
    return steps


def _variable(path: str) -> str:
    """Return a name for the table in ``path`` that Python takes."""
    name = re.sub(r"\W+", "_", PurePosixPath(path).stem.lower()).strip("_")
    return name if name.isidentifier() and not keyword.iskeyword(name) else "table"


def _counted(cells: int) -> str:
    return f"{cells} {'cell' if cells == 1 else 'cells'}"
