"""Undoing any turn: the notebook is as it was, and nothing that a person wrote since is lost."""

import asyncio
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import uuid4

from caesarion.agent.approval import Approvals
from caesarion.agent.undo import TurnUndo, Undone
from caesarion.notebooks import cells
from caesarion.notebooks.cells import (
    Applied,
    DeleteCell,
    EditCell,
    InsertCell,
    MoveCell,
    Operation,
    source_hash,
)
from caesarion.notebooks.change_record import Record
from caesarion.notebooks.changes import Change, Changes, Origin
from caesarion.notebooks.checkpoints import Checkpoints
from caesarion.notebooks.document import Reading
from caesarion.notebooks.pages import Pages
from caesarion.notebooks.turn import NotebookTurn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

PATH = "a.ipynb"
SOURCES = st.text(alphabet="xy\n", max_size=3)


class MemoryNotebook:
    """A notebook in memory, with the interface of a document."""

    path = PATH

    def __init__(self, count: int) -> None:
        self.notebook: NotebookNode = new_notebook(
            cells=[
                new_code_cell(
                    f"cell {number}",
                    id=f"c{number}",
                    outputs=[new_output("stream", name="stdout", text=str(number))],
                )
                for number in range(count)
            ]
        )

    def document(self, path: str, page: str = "") -> "MemoryNotebook":
        assert path == PATH
        return self

    async def read(self, outputs: str = "all") -> Reading:
        return Reading(PATH, deepcopy(self.notebook))

    async def apply(self, operation: Operation, mark: Mapping[str, Any] | None = None) -> Applied:
        return cells.apply(self.notebook, operation)

    async def show_outputs(
        self, cell_id: str, execution_count: int | None, outputs: Sequence[Any], *, source_hash: str
    ) -> None:
        cell = self.notebook.cells[cells.find(self.notebook, cell_id)]
        if cells.source_hash(cell.source) != source_hash:
            raise cells.stale(cell_id, cell.source)
        cell.outputs, cell.execution_count = list(outputs), execution_count

    def snapshot(self) -> list[dict[str, Any]]:
        return [deepcopy(dict(cell)) for cell in self.notebook.cells]


class Turns:
    """Turns of an agent in one notebook, and their undoing."""

    def __init__(self, folder: Path, count: int) -> None:
        self.memory = MemoryNotebook(count)
        documents: Any = self.memory
        self._documents = documents
        self.changes = Changes(Pages())
        self._checkpoints = Checkpoints(folder)
        self.reported: list[Record] = []
        self.undo_of = TurnUndo(
            self._checkpoints,
            documents,
            self.changes,
            Approvals(),
            lambda _, records: self.reported.extend(records),
        )

    def turn(self, message: str) -> NotebookTurn:
        origin = Origin("c0ffee", "", message, "", PATH)
        return NotebookTurn(self._documents, self.changes, self._checkpoints, origin)

    def has_changed(self, message: str) -> bool:
        return self._checkpoints.exists("c0ffee", message)

    async def undo(self, message: str) -> Undone:
        undone = await self.undo_of.undo("c0ffee", message, "hana")
        assert undone
        return undone


def operation(notebook: NotebookNode, kind: str, at: int, to: int, source: str) -> Operation | None:
    """Return an operation on some cell of a notebook, as a model would ask for it."""
    ids: list[str] = [cell.id for cell in notebook.cells]
    after = [None, *ids][to % (len(ids) + 1)]
    number = uuid4().hex
    if kind == "insert":
        return InsertCell(number, number[:8], "code", source, after)
    if not ids:
        return None
    id = ids[at % len(ids)]
    base = source_hash(notebook.cells[at % len(ids)].source)
    match kind:
        case "edit":
            return EditCell(number, id, source, base)
        case "delete":
            return DeleteCell(number, id, base)
        case _:
            return MoveCell(number, id, after) if after != id else None


steps = st.lists(
    st.tuples(
        st.sampled_from(["edit", "insert", "delete", "move", "run"]),
        st.integers(0, 6),
        st.integers(0, 6),
        SOURCES,
    ),
    max_size=10,
)


async def work(turns: Turns, message: str, made: Sequence[tuple[str, int, int, str]]) -> None:
    """Let a turn change the notebook, one answer after the other."""
    turn, memory = turns.turn(message), turns.memory
    for kind, at, to, source in made:
        turn.begin_answer()
        if kind == "run":
            await run(turn, memory, at)
            continue
        wanted = operation(memory.notebook, kind, at, to, source)
        if wanted is None:
            continue
        change: Change = await turn.plan(None, lambda _, wanted=wanted: wanted, "")  # type: ignore[misc]
        await turn.apply(change, is_decided=False)


async def run(turn: NotebookTurn, memory: MemoryNotebook, at: int) -> None:
    if memory.notebook.cells:
        reading = await memory.read()
        cell = reading.notebook.cells[at % len(reading.notebook.cells)]
        await turn.keep(reading)
        turn.note_run(PATH, cell, 7)
        output = new_output("stream", name="stdout", text="ran")
        await memory.show_outputs(cell.id, 7, [output], source_hash=source_hash(cell.source))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(count=st.integers(0, 4), made=steps)
def test_the_notebook_is_as_it_was_before_the_turn(
    tmp_path: Path, count: int, made: list[tuple[str, int, int, str]]
) -> None:
    async def check() -> None:
        turns = Turns(tmp_path / uuid4().hex, count)
        before = turns.memory.snapshot()
        await work(turns, "m1", made)
        if turns.has_changed("m1"):
            undone = await turns.undo("m1")
            assert (undone.conflicts, undone.problems) == ([], [])
        assert turns.memory.snapshot() == before
        assert turns.changes.of(PATH) == []
        await turns.undo_of.close()

    asyncio.run(check())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    count=st.integers(1, 4),
    made=steps,
    mine=st.lists(
        st.tuples(
            st.sampled_from(["edit", "insert", "delete", "move"]),
            st.integers(0, 6),
            st.integers(0, 6),
        ),
        max_size=4,
    ),
)
def test_nothing_that_a_person_wrote_since_is_lost(
    tmp_path: Path,
    count: int,
    made: list[tuple[str, int, int, str]],
    mine: list[tuple[str, int, int]],
) -> None:
    async def check() -> None:
        turns = Turns(tmp_path / uuid4().hex, count)
        await work(turns, "m1", made)
        written: list[str] = []
        for number, (kind, at, to) in enumerate(mine):
            words = f"mine {number}"
            if wanted := operation(turns.memory.notebook, kind, at, to, words):
                if kind == "delete":
                    doomed = turns.memory.notebook.cells[at % len(turns.memory.notebook.cells)]
                    written = [one for one in written if one != doomed.source]
                elif kind == "edit":
                    edited = turns.memory.notebook.cells[at % len(turns.memory.notebook.cells)]
                    written = [one for one in written if one != edited.source]
                if kind in ("edit", "insert"):
                    written.append(words)
                cells.apply(turns.memory.notebook, wanted)
        if turns.has_changed("m1"):
            await turns.undo("m1")
        sources = [cell.source for cell in turns.memory.notebook.cells]
        assert [words for words in written if words not in sources] == []
        await turns.undo_of.close()

    asyncio.run(check())


async def test_an_older_turn_of_the_same_cell_is_proposed(tmp_path: Path) -> None:
    turns = Turns(tmp_path, 1)
    await work(turns, "m1", [("edit", 0, 0, "x")])
    await work(turns, "m2", [("edit", 0, 0, "y")])
    undone = await turns.undo("m1")
    assert (undone.restored, undone.conflicts) == (0, ["c0"])
    assert [cell.source for cell in turns.memory.notebook.cells] == ["y"]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    [listed] = [one for one in turns.changes.of(PATH) if one.state == "proposed"]
    assert isinstance(listed.operation, EditCell)
    assert (listed.operation.source, listed.before) == ("cell 0", "y")
    await turns.undo_of.close()
