"""
The demo model in the notebook: fix or explain a cell, add one, and run what was changed. Pure.

Called by ``rules``. A cell that is not told with the question is read first; what a person has
refused is left as it is.
"""

import re

from caesarion_hub.gateway.upstream.demo.cell import (
    Cell,
    failed_call,
    last_id,
    read_cell,
    selected_cell,
)
from caesarion_hub.gateway.upstream.demo.chunks import Call, Reply
from caesarion_hub.gateway.upstream.demo.corrections import IMPORTS, diagnose
from caesarion_hub.gateway.upstream.demo.plot import expression_of, plot_code
from caesarion_hub.gateway.upstream.demo.results import sentence
from caesarion_hub.gateway.upstream.demo.turn import Turn

READ = "read_notebook"
EDIT = "edit_cell"
INSERT = "insert_cell"
RUN = "run_cell"

EMPTY = "It has no cells."
"""What ``read_notebook`` says of a notebook without cells."""
NO_NOTEBOOK = "Open the notebook in which I shall work, and ask again."
NO_CELL = "Select the cell in a notebook, or press the button above its error."
ADDS = (
    "I can add a cell that `prints x + 1`, `shows x`, `plots sin(x)` or `imports numpy as np`; "
    "other code needs a real model."
)

_INTENT = re.compile(r"^The user pressed (?P<intent>Fix|Explain) at this", re.MULTILINE)
_POLITE = r"\W*(?:please\s+|(?:can|could)\s+you\s+)*"
_FIX = re.compile(rf"{_POLITE}fix\b", re.IGNORECASE)
_EXPLAIN = re.compile(rf"{_POLITE}explain\b", re.IGNORECASE)
_ADD = re.compile(
    rf"{_POLITE}(?:add|insert)\s+(?:a|another)\s+(?:new\s+)?cell\s+(?:that|which|to)\s+"
    r"(?P<verb>print|show|display|compute|plot|draw|import)s?\s+(?P<rest>.+?)[\s.?!]*",
    re.IGNORECASE | re.DOTALL,
)
_ADD_ANY = re.compile(
    rf"{_POLITE}(?:add|insert)\s+(?:a|another)\s+(?:new\s+)?cell\b", re.IGNORECASE
)
_CHANGED = re.compile(
    r"The (?:cell (?P<cell>[\w-]+) .+ has the new source|new cell .+ has the id (?P<new>[\w-]+) )"
)


def changed_id(result: str) -> str:
    """Return the id of the cell that a result says is changed or new; empty if it was not."""
    found = _CHANGED.match(result)
    return (found["cell"] or found["new"]) if found else ""


def fix(turn: Turn) -> Reply | None:
    """Correct the cell, or the code of the chat, that failed; then run the cell."""
    intent = _INTENT.search(turn.context)
    if not (intent["intent"] == "Fix" if intent else _FIX.match(turn.question)):
        return None
    if call := failed_call(turn.context):
        return _fix_call(turn, call)
    if turn.steps and turn.steps[-1].tool == EDIT:
        return run_changed(turn)
    if turn.steps and turn.steps[-1].tool == RUN:
        return Reply(sentence(turn.results[-1]))
    cell = _cell(turn)
    if isinstance(cell, Reply):
        return cell
    if not cell.error:
        return Reply("The cell shows no error, so there is nothing that my rules could fix.")
    found = diagnose(cell.source, cell.error, turn.context)
    if not found.source or not cell.hash:
        return Reply(found.sentence)
    arguments = {
        "cell_id": cell.id,
        "source": found.source,
        "base_hash": cell.hash,
        "why": found.sentence.replace("`", ""),
    }
    return Reply(found.sentence, (Call(EDIT, arguments),))


def explain(turn: Turn) -> Reply | None:
    """Say what an error means."""
    intent = _INTENT.search(turn.context)
    if not (intent["intent"] == "Explain" if intent else _EXPLAIN.match(turn.question)):
        return None
    cell = failed_call(turn.context) or _cell(turn)
    if isinstance(cell, Reply):
        return cell
    if not cell.error:
        lines = len(cell.source.splitlines())
        return Reply(
            f"The cell has {lines} {'line' if lines == 1 else 'lines'} and shows no error; what "
            "it is for needs a real model."
        )
    return Reply(diagnose(cell.source, cell.error, turn.context).sentence)


def add(turn: Turn) -> Reply | None:
    """Add a cell below the selected one, else at the end, and run it."""
    if not _ADD_ANY.match(turn.question):
        return None
    asked = _ADD.fullmatch(turn.question)
    source = _source(asked["verb"].lower(), asked["rest"].strip("` ")) if asked else ""
    if not source:
        return Reply(ADDS)
    if turn.steps and turn.steps[-1].tool == INSERT:
        return run_changed(turn)
    if turn.steps and turn.steps[-1].tool == RUN:
        return Reply(sentence(turn.results[-1]))
    above = selected_cell(turn.context)
    if above:
        after = above.id
    elif not turn.steps:
        return Reply("I look where the notebook ends.", (Call(READ, {"outputs": False}),))
    elif not (after := last_id(turn.results[-1])) and EMPTY not in turn.results[-1]:
        return Reply(not_read(turn.results[-1]))
    arguments = {
        "after": after or None,
        "type": "code",
        "source": source,
        "why": "You asked for it.",
    }
    return Reply("I add it below.", (Call(INSERT, arguments),))


def not_read(result: str) -> str:
    """Return what to say where no notebook was read."""
    return NO_NOTEBOOK if result.startswith("No notebook is in front") else sentence(result)


def run_changed(turn: Turn) -> Reply:
    """Run the cell of the last change, if it was made."""
    id = changed_id(turn.results[-1])
    if not id:
        return Reply(sentence(turn.results[-1]))
    return Reply("Now I run it.", (Call(RUN, {"cell_id": id}),))


def _fix_call(turn: Turn, call: Cell) -> Reply:
    if turn.results:
        return Reply(sentence(turn.results[-1]))
    found = diagnose(call.source, call.error, turn.context)
    if not found.source:
        return Reply(found.sentence)
    return Reply(found.sentence, (Call("python_interpreter", {"code": found.source}),))


def _cell(turn: Turn) -> Cell | Reply:
    """Return the cell that is meant, with its error, or the reply that reads it."""
    cell = selected_cell(turn.context)
    if cell is None:
        return Reply(NO_CELL)
    if cell.error and cell.hash:
        return cell
    if not turn.steps:
        return Reply("I read the cell.", (Call(READ, {"cells": [cell.id], "outputs": True}),))
    return read_cell(turn.results[0]) or Reply(sentence(turn.results[-1]))


def _source(verb: str, rest: str) -> str:
    if verb in ("plot", "draw"):
        expression = expression_of(rest)
        return plot_code(expression) if expression else ""
    if verb == "import":
        name = rest.split()[-1]
        return IMPORTS.get(name, f"import {rest}") if re.fullmatch(r"[\w. ]+", rest) else ""
    return f"print({rest})" if verb == "print" else rest
