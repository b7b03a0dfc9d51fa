"""
The cells of a notebook: their ids and hashes, and the operations that change them.

Called by :mod:`caesarion.notebooks.document`, which knows where a notebook is, and by the tools
that read and change one. The browser does the same operations on its own model
(notebook_model.ts). Pure: no I/O.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, ClassVar, Literal
from uuid import uuid4

from nbformat import NotebookNode, from_dict, v4

from caesarion.errors import StaleCell, ToolError, UnknownCell
from caesarion.text import without_surrogates

KEY = "caesarion"
"""Where a cell's metadata says which message of which chat has changed it last."""

CellType = Literal["code", "markdown", "raw"]

_MAKE: Mapping[CellType, Callable[..., NotebookNode]] = {
    "code": v4.new_code_cell,
    "markdown": v4.new_markdown_cell,
    "raw": v4.new_raw_cell,
}

# Characters of a source that an error quotes; a longer one has to be read again.
_QUOTED = 12_000


@dataclass(frozen=True)
class EditCell:
    """Replace the source of a cell, if it still has the hash ``base_hash``."""

    kind: ClassVar = "edit"
    id: str
    cell_id: str
    source: str
    base_hash: str


@dataclass(frozen=True)
class InsertCell:
    """
    Insert a cell of the id ``cell_id`` below the cell ``after``, or at the top for None.

    ``cell`` has the other parts of a cell that comes back: outputs, metadata, attachments.
    """

    kind: ClassVar = "insert"
    id: str
    cell_id: str
    cell_type: CellType
    source: str
    after: str | None
    cell: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class DeleteCell:
    """Delete a cell, if its source still has the hash ``base_hash``."""

    kind: ClassVar = "delete"
    id: str
    cell_id: str
    base_hash: str


@dataclass(frozen=True)
class MoveCell:
    """Move a cell below the cell ``after``, or to the top for None."""

    kind: ClassVar = "move"
    id: str
    cell_id: str
    after: str | None


Operation = EditCell | InsertCell | DeleteCell | MoveCell
"""A change of one cell. ``id`` is the operation's own: no operation is applied twice."""


@dataclass(frozen=True)
class Applied:
    """A cell after an operation; the hash of one that was deleted is empty."""

    cell_id: str
    hash: str


def source_hash(source: str) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of a source, as UTF-8."""
    return sha256(without_surrogates(source).encode()).hexdigest()[:12]


def new_id() -> str:
    """Return an id for a cell that is new (nbformat 4.5, section "cell ids")."""
    return uuid4().hex[:8]


def as_json(operation: Operation) -> dict[str, Any]:
    """Return an operation as the pages read it."""
    fields = {key: value for key, value in vars(operation).items() if key != "cell"}
    if isinstance(operation, InsertCell) and operation.cell:
        fields["cell"] = dict(operation.cell)
    return {"kind": operation.kind, **fields}


def operation_from_json(values: Mapping[str, Any]) -> Operation:
    """Return the operation that :func:`as_json` has written; raise KeyError or TypeError."""
    kinds: dict[str, type[Operation]] = {
        kind.kind: kind for kind in (EditCell, InsertCell, DeleteCell, MoveCell)
    }
    fields = {key: value for key, value in values.items() if key != "kind"}
    return kinds[values["kind"]](**fields)


def with_ids(notebook: NotebookNode) -> NotebookNode:
    """
    Return a notebook of nbformat 4 as one of nbformat 4.5, in which every cell has an id.

    A cell of an older notebook gets one that its content alone decides, so that it has the
    same at each reading for as long as nobody saves the notebook.
    """
    older = notebook.nbformat_minor < 5 or "orig_nbformat" in notebook.metadata
    if not older:
        return notebook
    notebook.nbformat_minor = 5
    taken: set[str] = set()
    for cell in notebook.cells:
        number = 0
        while (id := _content_id(cell, number)) in taken:
            number += 1
        taken.add(id)
        cell["id"] = id
    return notebook


def _content_id(cell: NotebookNode, number: int) -> str:
    text = f"{number} {cell.cell_type} {without_surrogates(cell.source)}"
    return sha256(text.encode()).hexdigest()[:8]


def find(notebook: NotebookNode, cell_id: str) -> int:
    """Return the place of a cell, from 0; raise UnknownCell with what there is."""
    for place, cell in enumerate(notebook.cells):
        if cell.id == cell_id:
            return place
    raise UnknownCell(_unknown(notebook, cell_id))


def check(notebook: NotebookNode, operation: Operation) -> None:
    """Raise StaleCell or UnknownCell if ``operation`` cannot be applied to ``notebook``."""
    if isinstance(operation, InsertCell | MoveCell) and operation.after is not None:
        find(notebook, operation.after)
    if isinstance(operation, InsertCell):
        return
    if isinstance(operation, MoveCell) and operation.after == operation.cell_id:
        raise ToolError(
            f"The cell {operation.cell_id!r} cannot be moved below itself. Give the id of the cell "
            "that it shall stand below."
        )
    cell = notebook.cells[find(notebook, operation.cell_id)]
    if isinstance(operation, EditCell | DeleteCell):
        if source_hash(cell.source) != operation.base_hash:
            raise stale(operation.cell_id, cell.source)
        locked = "editable" if isinstance(operation, EditCell) else "deletable"
        if cell.metadata.get(locked) is False:
            raise ToolError(
                f"The cell {operation.cell_id!r} is locked: its metadata has {locked}: false. Tell "
                "the user, who can unlock it in the property inspector."
            )


def stale(cell_id: str, source: str) -> StaleCell:
    """Return the error of an operation whose cell has another source than it was made for."""
    changed = f"The cell {cell_id!r} is not as it was when you read it, so nothing was changed."
    if len(source) > _QUOTED:
        return StaleCell(f"{changed} Read it again before you change it.", source)
    shown = "\n".join(f"| {line}" for line in source.splitlines()) or "| (empty)"
    return StaleCell(
        f"{changed} Call again with what fits its source as it is now (base_hash "
        f"{source_hash(source)}):\n{shown}",
        source,
    )


def is_applied(notebook: NotebookNode, operation: Operation) -> bool:
    """Return whether a notebook is as ``operation`` leaves it."""
    ids = [cell.id for cell in notebook.cells]
    present = operation.cell_id in ids
    match operation:
        case EditCell():
            return present and notebook.cells[ids.index(operation.cell_id)].source == (
                operation.source
            )
        case InsertCell():
            return present
        case DeleteCell():
            return not present
        case MoveCell():
            place = ids.index(operation.cell_id) if present else 0
            return present and (ids[place - 1] if place else None) == operation.after


def applied(notebook: NotebookNode, operation: Operation) -> Applied | None:
    """Return what ``operation`` has left in a notebook, or None if it is not applied."""
    if not is_applied(notebook, operation):
        return None
    if isinstance(operation, DeleteCell):
        return Applied(operation.cell_id, "")
    cell = notebook.cells[find(notebook, operation.cell_id)]
    return Applied(operation.cell_id, source_hash(cell.source))


def apply(
    notebook: NotebookNode, operation: Operation, mark: Mapping[str, Any] | None = None
) -> Applied:
    """
    Apply an operation to ``notebook``, which changes; write ``mark`` to the cell's metadata.

    Raises StaleCell or UnknownCell, and leaves the notebook as it is. An insertion, an edit or a
    move that is there already is not done again.
    """
    if not isinstance(operation, DeleteCell) and (done := applied(notebook, operation)):
        return done
    check(notebook, operation)
    cells = notebook.cells
    match operation:
        case EditCell(source=source):
            cell = cells[find(notebook, operation.cell_id)]
            cell.source = source
        case InsertCell():
            cell = _make(operation)
            cells.insert(_below(notebook, operation.after), cell)
        case DeleteCell():
            del cells[find(notebook, operation.cell_id)]
            return Applied(operation.cell_id, "")
        case MoveCell():
            cell = cells.pop(find(notebook, operation.cell_id))
            cells.insert(_below(notebook, operation.after), cell)
    if mark:
        cell.metadata[KEY] = from_dict(dict(mark))
    return Applied(operation.cell_id, source_hash(cell.source))


def inverse(notebook: NotebookNode, operation: Operation) -> Operation:
    """Return the operation that undoes ``operation``, which is not applied to ``notebook`` yet."""
    id = uuid4().hex
    if isinstance(operation, InsertCell):
        return DeleteCell(id, operation.cell_id, source_hash(operation.source))
    place = find(notebook, operation.cell_id)
    cell = notebook.cells[place]
    above = notebook.cells[place - 1].id if place else None
    match operation:
        case EditCell():
            return EditCell(id, operation.cell_id, cell.source, source_hash(operation.source))
        case DeleteCell():
            rest = {key: value for key, value in cell.items() if key not in _OWN}
            return InsertCell(id, operation.cell_id, cell.cell_type, cell.source, above, rest)
        case MoveCell():
            return MoveCell(id, operation.cell_id, above)


_OWN = ("id", "cell_type", "source")


def _make(operation: InsertCell) -> NotebookNode:
    more = from_dict(dict(operation.cell or {}))
    return _MAKE[operation.cell_type](source=operation.source, id=operation.cell_id, **more)


def _below(notebook: NotebookNode, cell_id: str | None) -> int:
    return 0 if cell_id is None else find(notebook, cell_id) + 1


def _unknown(notebook: NotebookNode, cell_id: str) -> str:
    number = int(cell_id) if cell_id.isascii() and cell_id.isdigit() else 0
    if 0 < number <= len(notebook.cells):
        return (
            f"There is no cell of the id {cell_id!r}. Cell number {number} has the id "
            f"{notebook.cells[number - 1].id!r}."
        )
    return (
        f"There is no cell of the id {cell_id[:80]!r} among the {len(notebook.cells)} cells of the "
        "notebook; it may have been deleted. Read the notebook again."
    )
