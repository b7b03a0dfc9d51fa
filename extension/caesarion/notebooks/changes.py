"""
The changes of notebooks that are proposed, or applied and not looked at yet.

The tools (:mod:`caesarion.notebooks.turn`) put them here; the pages that have a notebook open
are told its whole list whenever it changes, and draw that and nothing else.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from caesarion.errors import PageGone
from caesarion.notebooks.cells import (
    DeleteCell,
    EditCell,
    InsertCell,
    MoveCell,
    Operation,
    as_json,
    source_hash,
)
from caesarion.notebooks.pages import Page, Pages

# Applied changes of one notebook that are kept to be looked at; made up. The oldest count as seen.
_MOST = 500


@dataclass(frozen=True)
class Origin:
    """
    Where a turn comes from: its chat, its message, and the page and notebook it was asked in.

    All are empty where there is none: a program has no page.
    """

    chat_id: str = ""
    chat_path: str = ""
    message_id: str = ""
    page: str = ""
    front: str = ""


@dataclass(frozen=True)
class Change:
    """
    An operation on the notebook at ``path``, for the reason ``why``.

    ``before`` is the source of the cell as it is (None for a new one), ``undo`` what undoes the
    operation; ``approval_id`` is there while it waits for a decision.
    """

    path: str
    operation: Operation
    before: str | None
    why: str
    origin: Origin
    undo: Operation
    state: Literal["proposed", "applied"] = "proposed"
    approval_id: str | None = None

    @property
    def id(self) -> str:
        """The id of the operation."""
        return self.operation.id

    def with_source(self, source: str) -> "Change":
        """Return an edit or an insertion with another source."""
        assert isinstance(self.operation, EditCell | InsertCell)
        assert isinstance(self.undo, EditCell | DeleteCell)
        return replace(
            self,
            operation=replace(self.operation, source=source),
            undo=replace(self.undo, base_hash=source_hash(source)),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the change as the pages read it."""
        return {
            "id": self.id,
            "approval_id": self.approval_id,
            "state": self.state,
            "operation": as_json(self.operation),
            "before": self.before,
            "above": self.undo.after if isinstance(self.undo, InsertCell) else None,
            "why": self.why,
            "chat": {"id": self.origin.chat_id, "path": self.origin.chat_path},
            "message": self.origin.message_id,
            "page": self.origin.page,
        }

    def card(self) -> dict[str, Any]:
        """Return the change as the chat shows it."""
        operation = self.operation
        return {
            "id": self.id,
            "path": self.path,
            "cell_id": operation.cell_id,
            "cell_type": operation.cell_type if isinstance(operation, InsertCell) else None,
            "operation": operation.kind,
            "after": operation.after if isinstance(operation, InsertCell | MoveCell) else None,
            "source": operation.source if isinstance(operation, EditCell | InsertCell) else None,
            "before": self.before,
            "why": self.why,
        }


@dataclass
class Changes:
    """The changes of one server, by notebook, the oldest first."""

    pages: Pages
    _listed: dict[str, dict[str, Change]] = field(default_factory=dict)

    def of(self, path: str) -> list[Change]:
        """Return the changes of a notebook."""
        return list(self._listed.get(path, {}).values())

    @contextlib.contextmanager
    def proposed(self, change: Change, approval_id: str) -> Iterator[None]:
        """List a change as proposed for as long as the block lasts."""
        self._put(replace(change, state="proposed", approval_id=approval_id))
        try:
            yield
        finally:
            self._remove(change.path, {change.id})

    def applied(self, change: Change) -> None:
        """List a change that nobody was asked about as applied, until somebody looks at it."""
        listed = [one.id for one in self.of(change.path) if one.state == "applied"]
        for id in listed[: max(0, len(listed) - _MOST + 1)]:
            del self._listed[change.path][id]
        self._put(replace(change, state="applied", approval_id=None))

    def looked_at(self, path: str, ids: set[str]) -> None:
        """Take applied changes off the list; others of ``ids`` are passed over."""
        applied = {change.id for change in self.of(path) if change.state == "applied"}
        self._remove(path, ids & applied)

    def _remove(self, path: str, ids: set[str]) -> None:
        listed = self._listed.get(path, {})
        if not ids & listed.keys():
            return
        for id in ids:
            listed.pop(id, None)
        if not listed:
            self._listed.pop(path, None)
        self._tell(path)

    def tell(self, page: Page, path: str) -> None:
        """Send a page the list of a notebook."""
        changes = [change.as_json() for change in self.of(path)]
        with contextlib.suppress(PageGone):
            page.send({"type": "changes", "path": path, "changes": changes})

    def tell_again(self) -> None:
        """Send the pages all lists, where one may show something else."""
        for path in self._listed:
            self._tell(path)

    def _put(self, change: Change) -> None:
        self._listed.setdefault(change.path, {})[change.id] = change
        self._tell(change.path)

    def _tell(self, path: str) -> None:
        for page in self.pages.with_notebook(path):
            self.tell(page, path)
