"""Cells: their ids and hashes, and the operations that change them."""

from copy import deepcopy
from typing import Any

import nbformat
import pytest
from caesarion.errors import StaleCell, ToolError, UnknownCell
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
from nbformat import NotebookNode, v4

MARK = {"chat": "c", "message": "m", "at": "2026-01-01T00:00:00+00:00"}
OUTPUT = v4.new_output("stream", text="1\n")


def notebook() -> NotebookNode:
    """Return a notebook of the cells a, b and c, of which b has an output."""
    made: NotebookNode = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# A", id="a"),
            v4.new_code_cell("b = 1", id="b", outputs=[deepcopy(OUTPUT)], execution_count=3),
            v4.new_code_cell("c = 1", id="c"),
        ]
    )
    return made


def told(notebook: NotebookNode) -> list[tuple[str, str]]:
    return [(cell.id, cell.source) for cell in notebook.cells]


BEFORE = told(notebook())
EDIT = EditCell("1", "b", "b = 2", source_hash("b = 1"))
INSERT = InsertCell("2", "new", "markdown", "Text", "a")
DELETE = DeleteCell("3", "b", source_hash("b = 1"))
MOVE = MoveCell("4", "c", "a")
EVERY = [EDIT, INSERT, DELETE, MOVE]


def of_kind(operation: Operation) -> str:
    return operation.kind


@pytest.mark.parametrize(
    ("source", "digits"),
    [("", "e3b0c44298fc"), ("x = 1", "8ff436def145"), ("é 🙂", "5aab27a5e8e8")],
)
def test_a_hash_is_the_beginning_of_the_sha_256_of_the_source(source: str, digits: str) -> None:
    assert source_hash(source) == digits


def test_half_a_character_has_the_hash_that_a_browser_computes() -> None:
    assert source_hash("\ud83d") == source_hash("\ufffd")


def test_an_edit_replaces_the_source_and_leaves_outputs_and_count() -> None:
    changed = notebook()
    assert cells.apply(changed, EDIT, MARK) == Applied("b", source_hash("b = 2"))
    cell = changed.cells[1]
    assert (cell.source, cell.outputs, cell.execution_count) == ("b = 2", [OUTPUT], 3)
    assert cell.metadata["caesarion"] == MARK


@pytest.mark.parametrize(("after", "place"), [(None, 0), ("a", 1), ("c", 3)])
def test_an_insertion_stands_below_its_cell_or_at_the_top(after: str | None, place: int) -> None:
    changed = notebook()
    inserted = InsertCell("2", "new", "markdown", "Text", after)
    assert cells.apply(changed, inserted, MARK) == Applied("new", source_hash("Text"))
    cell = changed.cells[place]
    assert (cell.id, cell.source, cell.cell_type) == ("new", "Text", "markdown")
    assert cell.metadata["caesarion"] == MARK


def test_a_deletion_leaves_the_other_cells() -> None:
    changed = notebook()
    assert cells.apply(changed, DELETE, MARK) == Applied("b", "")
    assert told(changed) == [("a", "# A"), ("c", "c = 1")]


@pytest.mark.parametrize(
    ("cell_id", "after", "order"),
    [("c", "a", "acb"), ("c", None, "cab"), ("a", "c", "bca"), ("a", None, "abc")],
)
def test_a_move_takes_the_cell_with_its_outputs(cell_id: str, after: str, order: str) -> None:
    changed = notebook()
    cells.apply(changed, MoveCell("4", cell_id, after), MARK)
    assert "".join(cell.id for cell in changed.cells) == order
    assert next(cell for cell in changed.cells if cell.id == "b").outputs == [OUTPUT]


@pytest.mark.parametrize("operation", EVERY, ids=of_kind)
def test_what_was_applied_is_not_applied_again(operation: Operation) -> None:
    changed = notebook()
    assert cells.applied(changed, operation) is None
    first = cells.apply(changed, operation)
    assert cells.applied(changed, operation) == first
    again = deepcopy(changed)
    if not isinstance(operation, DeleteCell):
        assert cells.apply(again, operation) == first
    assert told(again) == told(changed)


@pytest.mark.parametrize("operation", EVERY, ids=of_kind)
def test_the_inverse_restores_the_notebook_with_its_outputs(operation: Operation) -> None:
    changed = notebook()
    undo = cells.inverse(changed, operation)
    cells.apply(changed, operation)
    assert told(changed) != BEFORE
    cells.apply(changed, undo)
    assert changed == notebook()
    nbformat.validate(changed)


@pytest.mark.parametrize("operation", [EDIT, DELETE], ids=of_kind)
def test_a_cell_that_was_changed_is_refused_with_its_source_as_it_is(operation: Operation) -> None:
    changed = notebook()
    changed.cells[1].source = "b = 5\nprint(b)"
    with pytest.raises(StaleCell, match="not as it was when you read it") as refused:
        cells.apply(changed, operation)
    assert refused.value.source == "b = 5\nprint(b)"
    hash = source_hash("b = 5\nprint(b)")
    assert str(refused.value).endswith(f"(base_hash {hash}):\n| b = 5\n| print(b)")
    assert changed.cells[1].source == "b = 5\nprint(b)"


def test_a_long_source_is_not_quoted_and_has_to_be_read_again() -> None:
    changed = notebook()
    changed.cells[1].source = "b" * 20_000
    with pytest.raises(StaleCell, match=r"Read it again before you change it\.$"):
        cells.apply(changed, EDIT)


@pytest.mark.parametrize(
    "operation",
    [
        EditCell("1", "x", "", ""),
        DeleteCell("1", "x", ""),
        InsertCell("1", "new", "code", "", "x"),
        MoveCell("1", "x", None),
        MoveCell("1", "a", "x"),
    ],
    ids=of_kind,
)
def test_a_cell_that_is_not_there_is_named_and_nothing_changes(operation: Operation) -> None:
    changed = notebook()
    with pytest.raises(UnknownCell, match="no cell of the id 'x' among the 3 cells"):
        cells.apply(changed, operation)
    assert told(changed) == BEFORE


def test_a_number_instead_of_an_id_is_answered_with_the_id() -> None:
    with pytest.raises(UnknownCell, match="Cell number 2 has the id 'b'"):
        cells.find(notebook(), "2")


def test_a_cell_is_not_moved_below_itself() -> None:
    changed = notebook()
    with pytest.raises(ToolError, match="cannot be moved below itself"):
        cells.apply(changed, MoveCell("4", "a", "a"))
    assert told(changed) == BEFORE


@pytest.mark.parametrize(
    ("operation", "lock"), [(EDIT, "editable"), (DELETE, "deletable")], ids=["edit", "delete"]
)
def test_a_cell_that_its_user_has_locked_stays(operation: Operation, lock: str) -> None:
    changed = notebook()
    changed.cells[1].metadata[lock] = False
    with pytest.raises(ToolError, match=f"has {lock}: false"):
        cells.apply(changed, operation)
    assert told(changed) == BEFORE


def older(*sources: str, **metadata: Any) -> NotebookNode:
    """Return a notebook of nbformat 4.4, which has no ids."""
    made: NotebookNode = v4.new_notebook(
        cells=[v4.new_code_cell(source) for source in sources], metadata=metadata
    )
    for cell in made.cells:
        del cell["id"]
    made.nbformat_minor = 4
    return made


def test_cells_of_an_older_notebook_get_the_same_ids_at_each_reading() -> None:
    first, second = (cells.with_ids(older("x", "x", "y")) for _ in range(2))
    nbformat.validate(first)
    assert first.nbformat_minor == 5
    assert told(first) == told(second)
    assert len({cell.id for cell in first.cells}) == 3


def test_an_older_cell_keeps_its_id_when_cells_are_put_before_it() -> None:
    [only] = cells.with_ids(older("y")).cells
    assert cells.with_ids(older("new", "y")).cells[1].id == only.id


def test_what_nbformat_has_upgraded_with_random_ids_gets_lasting_ones() -> None:
    upgraded = [v4.upgrade(older("x", orig_nbformat=3), 4, 4) for _ in range(2)]
    assert upgraded[0].cells[0].id != upgraded[1].cells[0].id
    assert told(cells.with_ids(upgraded[0])) == told(cells.with_ids(upgraded[1]))


def test_ids_of_a_notebook_that_has_them_stay() -> None:
    assert cells.with_ids(notebook()) == notebook()
