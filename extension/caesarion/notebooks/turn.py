"""
The notebooks of one turn: which one is meant, and the changes that its calls make.

Made by :mod:`caesarion.services` for each turn; the agent's notebook tools share it. Changes go
through :mod:`caesarion.notebooks.document`, are listed in :mod:`caesarion.notebooks.changes`, and
are kept in :mod:`caesarion.notebooks.checkpoints`.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from nbformat import NotebookNode

from caesarion.errors import ToolError, UnknownCell
from caesarion.notebooks import cells
from caesarion.notebooks.cells import Applied, DeleteCell, InsertCell, MoveCell, Operation
from caesarion.notebooks.changes import Change, Changes, Origin
from caesarion.notebooks.checkpoints import CellRun, ChangeMade, Checkpoints
from caesarion.notebooks.document import Documents, NotebookDocument, Reading

_NONE_IN_FRONT = (
    "No notebook is in front of the user, so there is none to take by default. Give the path of "
    "the notebook, from the folder that JupyterLab shows as its root."
)


class NotebookTurn:
    """What one turn does in notebooks, and where it comes from."""

    def __init__(
        self, documents: Documents, changes: Changes, checkpoints: Checkpoints, origin: Origin
    ) -> None:
        self.origin = origin
        self.changes = changes
        self._documents = documents
        self._checkpoint = checkpoints.turn(origin.chat_id, origin.chat_path, origin.message_id)
        # The notebooks as the calls of one answer were made for them; each call would read the
        # whole notebook again.
        self._readings: dict[str, Reading] = {}
        # The cells that one answer inserts at one place, in its calls' order; those that stand
        # before each cell; and those that have been inserted.
        self._siblings: dict[tuple[str, str | None], list[str]] = {}
        self._earlier: dict[str, list[str]] = {}
        self._inserted: set[str] = set()

    def begin_answer(self) -> None:
        """Forget what holds for the calls of one answer alone."""
        self._readings.clear()
        self._siblings.clear()

    def document(self, path: str | None) -> NotebookDocument:
        """Return the notebook at ``path``, or the one in front; raise ToolError for none."""
        if not (path or self.origin.front):
            raise ToolError(_NONE_IN_FRONT)
        return self._documents.document(path or self.origin.front, self.origin.page)

    async def plan(
        self, path: str | None, make: Callable[[NotebookNode], Operation], why: str
    ) -> Change:
        """
        Return the change that ``make`` makes of a notebook, which it does not apply.

        Raises ToolError, StaleCell or UnknownCell if it could not be applied now.
        """
        document = self.document(path)
        reading = self._readings.get(document.path) or await document.read("none")
        self._readings[document.path] = reading
        operation = make(reading.notebook)
        cells.check(reading.notebook, operation)
        if isinstance(operation, InsertCell):
            siblings = self._siblings.setdefault((document.path, operation.after), [])
            self._earlier[operation.cell_id] = list(siblings)
            siblings.append(operation.cell_id)
            before = None
        else:
            before = reading.notebook.cells[cells.find(reading.notebook, operation.cell_id)].source
        undo = cells.inverse(reading.notebook, operation)
        return Change(document.path, operation, before, why, self.origin, undo)

    async def apply(self, change: Change, *, is_decided: bool) -> Applied:
        """
        Apply a change; raise ToolError, StaleCell or UnknownCell if that is not possible.

        One that no person has decided about is listed as applied, to be looked at.
        """
        self._readings.pop(change.path, None)
        document = self.document(change.path)
        undo = await self._keep_and_invert(document, change)
        if isinstance(change.operation, InsertCell):
            # Before it is done: the next one may be decided about meanwhile, and goes below it.
            self._inserted.add(change.operation.cell_id)
            applied = await self._insert(document, change.operation)
        else:
            applied = await document.apply(change.operation, self._mark())
        self._checkpoint.note(ChangeMade(change.path, change.operation, undo))
        if not is_decided:
            self.changes.applied(replace(change, undo=undo))
        return applied

    async def keep(self, reading: Reading) -> None:
        """Keep a notebook as it is before the turn's first change or run; raise ToolError."""
        await self._checkpoint.keep(reading.path, reading.notebook)

    def note_run(self, path: str, cell: NotebookNode, execution_count: int | None) -> None:
        """Note that ``cell``, as it is now, runs."""
        self._checkpoint.note(
            CellRun(
                uuid4().hex,
                path,
                cell.id,
                cells.source_hash(cell.source),
                execution_count,
                tuple(cell.outputs),
                cell.execution_count,
            )
        )

    async def _keep_and_invert(self, document: NotebookDocument, change: Change) -> Operation:
        """Keep the notebook, and return what undoes a change of it as it is now."""
        operation = change.operation
        # What a deletion and a move undo is of this moment, not of when they were proposed.
        is_of_now = isinstance(operation, DeleteCell | MoveCell)
        is_kept = self._checkpoint.has(document.path)
        if is_kept and not is_of_now:
            return change.undo
        needs_outputs = not is_kept or isinstance(operation, DeleteCell)
        reading = await document.read("all" if needs_outputs else "none")
        await self.keep(reading)
        if not is_of_now:
            return change.undo
        cells.check(reading.notebook, operation)
        return cells.inverse(reading.notebook, operation)

    async def _insert(self, document: NotebookDocument, operation: InsertCell) -> Applied:
        """Insert a cell below those that earlier calls of its answer have inserted there."""
        earlier = self._earlier.get(operation.cell_id, [])
        for cell_id in reversed([one for one in earlier if one in self._inserted]):
            try:
                return await document.apply(replace(operation, after=cell_id), self._mark())
            except UnknownCell:
                continue  # The person has deleted it, or it could not be inserted.
        return await document.apply(operation, self._mark())

    def _mark(self) -> dict[str, Any]:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        return {"chat": self.origin.chat_id, "message": self.origin.message_id, "at": at}
