"""
Undo what a turn did to notebooks, from its checkpoint.

Called by :mod:`caesarion.api.undo`; no model is involved. Invariant: nothing that somebody wrote
after the turn is lost. A cell that was changed since is proposed as it was, and a person decides,
as about any change. Variables and files stay as they are.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from nbformat import NotebookNode

from caesarion.agent.approval import Approvals
from caesarion.agent.shown import hash_of_shown
from caesarion.errors import StaleCell, ToolError, UnknownCell
from caesarion.events import ToolCall
from caesarion.notebooks import cells
from caesarion.notebooks.cells import DeleteCell, EditCell, InsertCell, MoveCell, Operation
from caesarion.notebooks.change_record import Decision, Record, record_decision
from caesarion.notebooks.changes import Change, Changes, Origin
from caesarion.notebooks.checkpoints import CellRun, ChangeMade, Checkpoint, Checkpoints
from caesarion.notebooks.document import Documents, NotebookDocument

_log = logging.getLogger(__name__)

_WHY = "Undo: somebody has changed this cell since the agent did. This is how it was before."


@dataclass
class Undone:
    """
    What an undo did: how many cells it restored, and in which notebooks.

    ``conflicts`` are the cells that were changed since, which it has proposed; ``problems`` are
    sentences about notebooks that could not be changed.
    """

    restored: int = 0
    conflicts: list[str] = field(default_factory=list)
    notebooks: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class _Conflict:
    """
    A cell that was changed since, how it was before the turn, and the steps that this undoes.

    ``kind`` is that of the turn's last change of it.
    """

    cell_id: str
    kind: str
    undo: Operation
    steps: set[str]


class TurnUndo:
    """Undoes turns of one server."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        documents: Documents,
        changes: Changes,
        approvals: Approvals,
        report: Callable[[str, Sequence[Record]], None],
    ) -> None:
        """``report`` takes what the audit records of a chat's decisions."""
        self._checkpoints = checkpoints
        self._documents = documents
        self._changes = changes
        self._approvals = approvals
        self._report = report
        # The cells that are proposed as they were, by turn and cell.
        self._proposed: dict[tuple[str, str, str], asyncio.Task[None]] = {}

    async def undo(self, chat_id: str, message_id: str, by: str) -> Undone | None:
        """
        Undo the turn that answers a message, as ``by`` wants it.

        None if it has nothing that can be undone.
        """
        checkpoint = await asyncio.to_thread(self._checkpoints.read, chat_id, message_id)
        if checkpoint is None:
            return None
        undone = Undone()
        origin = Origin(chat_id, checkpoint.chat_path, message_id)
        for path in dict.fromkeys(step.path for step in checkpoint.steps):
            work = _NotebookUndo(self._documents.document(path), checkpoint)
            try:
                await work.run()
            except ToolError as error:
                undone.problems.append(str(error))
            if work.done:
                self._checkpoints.note_undone(chat_id, message_id, work.done)
            # What is proposed now takes the place of what was applied.
            proposed = set[str]().union(*(one.steps for one in work.conflicts.values()))
            self._changes.looked_at(path, work.done | proposed)
            self._report(chat_id, [record_decision(card, "undone", by) for card in work.undone])
            undone.restored += len(work.restored)
            if work.restored or work.conflicts:
                undone.notebooks.append(path)
            undone.conflicts += work.conflicts
            for conflict in work.conflicts.values():
                self._propose(path, conflict, origin)
        self._end_if_undone(chat_id, message_id)
        return undone

    async def close(self) -> None:
        """End what waits for a person's decision; the turn can be undone again."""
        for task in self._proposed.values():
            task.cancel()
        await asyncio.gather(*self._proposed.values(), return_exceptions=True)

    def _end_if_undone(self, chat_id: str, message_id: str) -> None:
        checkpoint = self._checkpoints.read(chat_id, message_id)
        if checkpoint and not checkpoint.steps:
            self._checkpoints.end(chat_id, message_id)

    def _propose(self, path: str, conflict: _Conflict, origin: Origin) -> None:
        key = origin.message_id, path, conflict.cell_id
        if key not in self._proposed:
            task = asyncio.create_task(self._decide(path, conflict, origin))
            self._proposed[key] = task
            task.add_done_callback(lambda _: self._proposed.pop(key, None))

    async def _decide(self, path: str, conflict: _Conflict, origin: Origin) -> None:
        """Propose a cell as it was until a person has decided, though others change it again."""
        document = self._documents.document(path)
        try:
            while not await self._decide_once(document, conflict, origin):
                pass
        except ToolError:
            # The notebook, or the cell, is gone. The turn can be undone again if it comes back.
            _log.info("A cell could not be proposed as it was before the turn.")

    async def _decide_once(
        self, document: NotebookDocument, conflict: _Conflict, origin: Origin
    ) -> bool:
        """Propose a cell as it was; return whether that is settled."""
        notebook = (await document.read("none")).notebook
        operation = _on(notebook, conflict.undo)
        if operation is None or cells.is_applied(notebook, operation):
            self._settle(conflict, origin)
            return True
        before = notebook.cells[cells.find(notebook, operation.cell_id)].source
        undo = cells.inverse(notebook, operation)
        change = Change(document.path, operation, before, _WHY, origin, undo)
        call = ToolCall(operation.id, "undo", json.dumps({"source": ""}))
        shown = hash_of_shown(call, change.card())
        with (
            self._approvals.open(call, _edit, (), origin.chat_id, shown) as pending,
            self._changes.proposed(change, pending.id),
        ):
            while (decision := await pending.decided()) is None:
                pass  # The pages are told again what is proposed.
            if decision.arguments and isinstance(operation, EditCell):
                operation = replace(operation, source=json.loads(decision.arguments)["source"])
            if decision.decision == "run":
                try:
                    await document.apply(operation)
                except StaleCell:
                    return False
            card = _card(document.path, conflict.kind, notebook, operation)
            decided: Decision = "undone" if decision.decision == "run" else "kept"
            self._report(origin.chat_id, [record_decision(card, decided, decision.by)])
            # Before the pages are told that it is decided: then they ask for the turn's state.
            self._settle(conflict, origin)
        return True

    def _settle(self, conflict: _Conflict, origin: Origin) -> None:
        self._checkpoints.note_undone(origin.chat_id, origin.message_id, conflict.steps)
        self._end_if_undone(origin.chat_id, origin.message_id)


class _NotebookUndo:
    """Undoes a turn in one notebook, its last step first."""

    def __init__(self, document: NotebookDocument, checkpoint: Checkpoint) -> None:
        self._document = document
        self._steps = [step for step in checkpoint.steps if step.path == document.path]
        self._order = checkpoint.order.get(document.path, [])
        self.done: set[str] = set()
        self.restored: set[str] = set()
        self.conflicts: dict[str, _Conflict] = {}
        # The changes that are undone, each as the chat would show it.
        self.undone: list[dict[str, Any]] = []

    async def run(self) -> None:
        """Undo each step that nobody has changed since; raise ToolError."""
        for step in reversed(self._steps):
            if isinstance(step, CellRun):
                await self._undo_run(step)
            elif (conflict := self.conflicts.get(step.cell_id)) and not isinstance(
                step.undo, MoveCell
            ):
                # How the cell was before the earlier step.
                conflict.undo = step.undo
                conflict.steps.add(step.id)
            else:
                await self._undo_change(step)

    async def _undo_change(self, step: ChangeMade) -> None:
        notebook = (await self._document.read("none")).notebook
        operation = self._in_place(notebook, step)
        if operation is None:
            self.done.add(step.id)  # The cell is gone, or stands where somebody has moved it.
            return
        try:
            await self._document.apply(operation)
        except StaleCell:
            self.conflicts[step.cell_id] = _Conflict(
                step.cell_id, step.operation.kind, step.undo, {step.id}
            )
        else:
            self.undone.append(_card(step.path, step.operation.kind, notebook, operation))
            self.done.add(step.id)
            self.restored.add(step.cell_id)

    def _in_place(self, notebook: NotebookNode, step: ChangeMade) -> Operation | None:
        """Return what undoes a step in a notebook as it is; None if there is no need."""
        ids = [cell.id for cell in notebook.cells]
        undo = step.undo
        if isinstance(undo, InsertCell):
            return replace(undo, after=self._nearest(ids, undo))
        if step.cell_id not in ids:
            return None
        if isinstance(undo, MoveCell):
            place = ids.index(step.cell_id)
            above = ids[place - 1] if place else None
            is_where_put = isinstance(step.operation, MoveCell) and above == step.operation.after
            return replace(undo, after=self._nearest(ids, undo)) if is_where_put else None
        return undo

    def _nearest(self, ids: list[str], undo: InsertCell | MoveCell) -> str | None:
        """Return the cell that ``undo`` names, else the next above it that is still there."""
        if undo.after is None or undo.after in ids:
            return undo.after
        place = self._order.index(undo.cell_id) if undo.cell_id in self._order else 0
        return next((id for id in reversed(self._order[:place]) if id in ids), None)

    async def _undo_run(self, step: CellRun) -> None:
        """Show what a cell showed before it ran, unless it ran again or was changed."""
        notebook = (await self._document.read("none")).notebook
        cell: Any = next((cell for cell in notebook.cells if cell.id == step.cell_id), {})
        if cell.get("execution_count") == step.execution_count:
            try:
                await self._document.show_outputs(
                    step.cell_id, step.count_before, step.outputs_before, source_hash=step.hash
                )
                self.restored.add(step.cell_id)
            except (StaleCell, UnknownCell):
                pass  # It keeps its outputs, which are of that run.
        self.done.add(step.id)


def _on(notebook: NotebookNode, undo: Operation) -> Operation | None:
    """Return the operation ``undo`` for a cell as it is now; None if the cell is gone."""
    ids = [cell.id for cell in notebook.cells]
    if undo.cell_id not in ids:
        return None
    base_hash = cells.source_hash(notebook.cells[ids.index(undo.cell_id)].source)
    match undo:
        case EditCell():
            return replace(undo, id=uuid4().hex, base_hash=base_hash)
        case DeleteCell():
            return replace(undo, id=uuid4().hex, base_hash=base_hash)
        case _:
            return None


def _card(path: str, kind: str, notebook: NotebookNode, undo: Operation) -> dict[str, Any]:
    """Return the change that ``undo`` takes back in a notebook, as the chat would show it."""
    source = next((cell.source for cell in notebook.cells if cell.id == undo.cell_id), None)
    match undo:
        case EditCell() | InsertCell():
            before: str | None = undo.source
        case DeleteCell():
            before = None
        case _:
            before = source
    return {
        "path": path,
        "cell_id": undo.cell_id,
        "operation": kind,
        "before": before,
        "source": source,
    }


def _edit(source: str) -> str:
    """Return the arguments of an undo whose source a person has edited."""
    return json.dumps({"source": source})
