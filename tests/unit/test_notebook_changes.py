"""Changes that are proposed, decided, applied and undone, in any order with the person's edits."""

import asyncio
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from caesarion.errors import ToolError
from caesarion.notebooks import pages
from caesarion.notebooks.cells import (
    DeleteCell,
    EditCell,
    InsertCell,
    MoveCell,
    Operation,
    new_id,
    source_hash,
)
from caesarion.notebooks.changes import Change, Origin
from caesarion.notebooks.checkpoints import Checkpoints
from caesarion.notebooks.turn import NotebookTurn
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from nbformat import NotebookNode, v4, validate

from tests.notebooks import LocalPage, Notebooks

PATH = "a.ipynb"
ORIGIN = Origin("chat", "a.chat", "message", "", PATH)

_KINDS = st.sampled_from(["edit", "insert", "delete", "move"])
_PLACES = st.integers(0, 30)


class PersonAndAgent(RuleBasedStateMachine):
    """
    A notebook that a person edits, in a page or in its file, while an agent proposes changes.

    Every text is written once. ``kept`` are those that nobody has agreed to lose: the person, by
    overwriting or deleting them, or by accepting a change that shows them as what goes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.resources = ExitStack()
        self.loop = asyncio.new_event_loop()
        self.resources.callback(self.loop.close)
        root = self.resources.enter_context(tempfile.TemporaryDirectory())
        patch = self.resources.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(pages, "BACK_WITHIN", 0.0)
        patch.setenv("JUPYTER_DATA_DIR", root)
        self.place = Notebooks(Path(root))
        self.page: LocalPage | None = None
        self.turn = NotebookTurn(
            self.place.documents, self.place.changes, Checkpoints(Path(root)), ORIGIN
        )
        self.proposed: list[Change] = []
        self.kept: set[str] = set()
        self.written = 0

    def teardown(self) -> None:
        self.resources.close()

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def text(self, who: str) -> str:
        """Return a text that is nowhere yet."""
        self.written += 1
        return f"{who} {self.written}"

    @property
    def notebook(self) -> NotebookNode:
        """The notebook as the person has it."""
        return self.page.models[PATH] if self.page else self.place.read(PATH)

    @initialize(count=st.integers(0, 5))
    def begin(self, count: int) -> None:
        self.kept = {self.text("person") for _ in range(count)}
        self.place.write(PATH, *sorted(self.kept))

    @rule(kind=_KINDS, place=_PLACES, other=_PLACES)
    def the_person_changes_the_notebook(self, kind: str, place: int, other: int) -> None:
        notebook = self.notebook
        cells = notebook.cells
        if not cells or kind == "insert":
            text = self.text("person")
            cells.insert(place % (len(cells) + 1), v4.new_code_cell(text))
            self.kept.add(text)
        elif kind == "move":
            cells.insert(other % len(cells), cells.pop(place % len(cells)))
        else:
            cell = cells[place % len(cells)]
            self.kept.discard(cell.source)
            if kind == "delete":
                cells.remove(cell)
            else:
                cell.source = self.text("person")
                self.kept.add(cell.source)
        if self.page is None:
            (self.place.root / PATH).write_text(v4.writes(notebook))

    @precondition(lambda self: self.page is None)
    @rule()
    def the_person_opens_the_notebook(self) -> None:
        self.page = self.do(self.place.open(PATH))

    @precondition(lambda self: self.page is not None)
    @rule()
    def the_person_closes_the_notebook_which_is_saved(self) -> None:
        assert self.page
        self.page.save(PATH)
        self.page.leave()
        self.page = None

    @rule(kind=_KINDS, place=_PLACES, other=_PLACES)
    def the_agent_proposes_a_change(self, kind: str, place: int, other: int) -> None:
        text = self.text("agent")

        def make(notebook: NotebookNode) -> Operation:
            cells = notebook.cells
            after = cells[other % len(cells)].id if cells and other % 5 else None
            if kind == "insert" or not cells:
                return InsertCell(new_id(), new_id(), "markdown", text, after)
            cell = cells[place % len(cells)]
            if kind == "move":
                return MoveCell(new_id(), cell.id, after if after != cell.id else None)
            hash = source_hash(cell.source)
            if kind == "delete":
                return DeleteCell(new_id(), cell.id, hash)
            return EditCell(new_id(), cell.id, text, hash)

        self.turn.begin_answer()
        self.proposed.append(self.do(self.turn.plan(None, make, "so")))

    @precondition(lambda self: self.proposed)
    @rule(which=_PLACES)
    def the_person_refuses_a_change(self, which: int) -> None:
        self.proposed.pop(which % len(self.proposed))

    @precondition(lambda self: self.proposed)
    @rule(which=_PLACES, vanishes=st.sampled_from(["", "", "", "before", "after", "saved"]))
    def the_person_accepts_a_change(self, which: int, vanishes: Any) -> None:
        change = self.proposed.pop(which % len(self.proposed))
        if self.page:
            # What a person loses by closing a page unsaved is not lost by the agent.
            self.page.save(PATH)
            self.page.vanishes = vanishes
        try:
            self.do(self.turn.apply(change, is_decided=True))
        except ToolError:
            pass  # It is stale, and the person is told so; nothing must have happened.
        else:
            operation = change.operation
            if isinstance(operation, EditCell | DeleteCell) and change.before is not None:
                self.kept.discard(change.before)
            if isinstance(operation, EditCell | InsertCell):
                self.kept.add(operation.source)
        if self.page and self.page.connected not in self.place.pages.with_notebook(PATH):
            self.page = None

    @invariant()
    def the_notebook_is_valid_and_nothing_is_lost_or_there_twice(self) -> None:
        if not self.written:
            return
        notebook = self.notebook
        validate(notebook)
        counts = Counter(cell.source for cell in notebook.cells)
        assert self.kept <= counts.keys()
        assert set(counts.values()) <= {1}
        assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


PersonAndAgent.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestNoTextOfThePersonsIsLost = PersonAndAgent.TestCase
