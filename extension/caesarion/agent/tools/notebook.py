"""
The tools of notebooks: read one, and edit, insert, delete and move its cells.

Made by :mod:`caesarion.services` for each turn, whose notebooks they share;
:mod:`caesarion.notebooks` does the work. What a notebook says is told to the model as data.
"""

from abc import abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager
from typing import Annotated, Any, TypeVar
from uuid import uuid4

from nbformat import NotebookNode
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.notebooks.cells import (
    Applied,
    CellType,
    DeleteCell,
    EditCell,
    InsertCell,
    MoveCell,
    Operation,
    new_id,
)
from caesarion.notebooks.changes import Change
from caesarion.notebooks.outline import describe_notebook
from caesarion.notebooks.remote_content import inert_markdown
from caesarion.notebooks.turn import NotebookTurn
from caesarion.text import without_surrogates

_AFTER = "Id of the cell above; null: at the top."


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    path: str | None = None


class ReadArguments(_Arguments):
    """The arguments of ``read_notebook``."""

    cells: str | Annotated[list[int | str], Field(fail_fast=True)] | None = Field(
        None,
        description='What to read whole: "all", or ids, numbers (3), ranges ("3-7"), execution '
        'counts ("[12]").',
    )
    outputs: bool = True


# Half a character cannot be stored in a file.
Source = Annotated[str, AfterValidator(without_surrogates)]


class _ChangeArguments(_Arguments):
    why: Source = Field("", max_length=500)
    _change: Change | None = PrivateAttr(None)
    _is_decided: bool = PrivateAttr(False)


class EditArguments(_ChangeArguments):
    """The arguments of ``edit_cell``."""

    cell_id: str
    source: Source
    base_hash: str


class InsertArguments(_ChangeArguments):
    """The arguments of ``insert_cell``."""

    after: str | None = Field(description=_AFTER)
    type: CellType = "code"
    source: Source


class DeleteArguments(_ChangeArguments):
    """The arguments of ``delete_cell``."""

    cell_id: str
    base_hash: str


class MoveArguments(_ChangeArguments):
    """The arguments of ``move_cell``."""

    cell_id: str
    after: str | None = Field(description=_AFTER)


class ReadNotebook(Tool[ReadArguments]):
    """Reads a notebook, in the page that has it open or in its file."""

    name = "read_notebook"
    description = (
        "Read a notebook as it is now: ids, hashes, sources and outputs of its cells. A long one "
        "comes in outline; then read the cells that matter."
    )
    kind = "read"
    arguments = ReadArguments

    def __init__(self, turn: NotebookTurn) -> None:
        self._turn = turn

    async def run(self, arguments: ReadArguments) -> AsyncGenerator[Step, None]:
        """Yield the result alone: the user sees the notebook itself."""
        reading = await self._turn.document(arguments.path).read("text")
        yield ToolResult(
            "ok", describe_notebook(reading, arguments.cells, outputs=arguments.outputs)
        )


Changing = TypeVar("Changing", bound=_ChangeArguments)


class ChangeTool(Tool[Changing]):
    """A tool that changes one cell; subclasses say how."""

    kind = "edit"
    batches = True
    edited = "source"

    def __init__(self, turn: NotebookTurn) -> None:
        self._turn = turn

    @abstractmethod
    def operation(self, arguments: Changing, notebook: NotebookNode) -> Operation:
        """Return what a call does to a notebook."""

    @abstractmethod
    def result(self, applied: Applied, path: str) -> str:
        """Return what the model is told of a call that was done."""

    def begin_answer(self) -> None:
        """Let the calls of the next answer be a group of their own."""
        self._turn.begin_answer()

    async def preview(self, arguments: Changing) -> Mapping[str, Any]:
        """Return the change as the chat shows it; raise ToolError if it could not be made."""
        return (await self._plan(arguments)).card()

    def waiting(self, arguments: Changing, approval_id: str) -> AbstractContextManager[None]:
        """Propose the change to the pages for as long as the call waits."""
        assert arguments._change
        arguments._is_decided = True
        return self._turn.changes.proposed(arguments._change, approval_id)

    def revise(self, arguments: Changing, text: str) -> Changing:
        """Return the arguments with the person's source; the change stays the one they saw."""
        revised = self.parse(text)
        assert arguments._change
        revised._change = arguments._change.with_source(str(getattr(revised, self.edited)))
        revised._is_decided = True
        return revised

    async def run(self, arguments: Changing) -> AsyncGenerator[Step, None]:
        """Yield the result alone: the user sees the notebook itself."""
        change = await self._plan(arguments)
        applied = await self._turn.apply(change, is_decided=arguments._is_decided)
        yield ToolResult("ok", self.result(applied, change.path))

    async def _plan(self, arguments: Changing) -> Change:
        if arguments._change is None:
            arguments._change = await self._turn.plan(
                arguments.path, lambda notebook: self.operation(arguments, notebook), arguments.why
            )
        return arguments._change


class EditCellTool(ChangeTool[EditArguments]):
    """Replaces the source of a cell."""

    name = "edit_cell"
    description = "Give a cell another source, whole; it is not run."
    arguments = EditArguments

    def operation(self, arguments: EditArguments, notebook: NotebookNode) -> Operation:
        """Return the edit."""
        types = {cell.id: cell.cell_type for cell in notebook.cells}
        source = _written(types.get(arguments.cell_id), arguments.source)
        return EditCell(uuid4().hex, arguments.cell_id, source, arguments.base_hash)

    def result(self, applied: Applied, path: str) -> str:
        """Return what the model is told."""
        return (
            f"The cell {applied.cell_id} of {path!r} has the new source; its hash is "
            f"{applied.hash}. It was not run."
        )


class InsertCellTool(ChangeTool[InsertArguments]):
    """Inserts a cell."""

    name = "insert_cell"
    description = "Insert a cell; several with the same after keep their order. It is not run."
    arguments = InsertArguments

    def operation(self, arguments: InsertArguments, notebook: NotebookNode) -> Operation:
        """Return the insertion of a cell with a new id."""
        source = _written(arguments.type, arguments.source)
        return InsertCell(uuid4().hex, new_id(), arguments.type, source, arguments.after)

    def result(self, applied: Applied, path: str) -> str:
        """Return what the model is told."""
        return (
            f"The new cell of {path!r} has the id {applied.cell_id} and the hash {applied.hash}. "
            "It was not run."
        )


class DeleteCellTool(ChangeTool[DeleteArguments]):
    """Deletes a cell."""

    name = "delete_cell"
    description = "Delete a cell with its outputs."
    arguments = DeleteArguments

    def operation(self, arguments: DeleteArguments, notebook: NotebookNode) -> Operation:
        """Return the deletion."""
        return DeleteCell(uuid4().hex, arguments.cell_id, arguments.base_hash)

    def result(self, applied: Applied, path: str) -> str:
        """Return what the model is told."""
        return f"The cell {applied.cell_id} of {path!r} is deleted."


class MoveCellTool(ChangeTool[MoveArguments]):
    """Moves a cell."""

    name = "move_cell"
    description = "Move a cell."
    arguments = MoveArguments

    def operation(self, arguments: MoveArguments, notebook: NotebookNode) -> Operation:
        """Return the move."""
        return MoveCell(uuid4().hex, arguments.cell_id, arguments.after)

    def result(self, applied: Applied, path: str) -> str:
        """Return what the model is told."""
        return f"The cell {applied.cell_id} of {path!r} was moved."


def _written(cell_type: str | None, source: str) -> str:
    """Return the source that a call gives a cell: the page draws Markdown at once, and loads it."""
    return inert_markdown(source) if cell_type == "markdown" else source


def notebook_tools(turn: NotebookTurn) -> list[Tool[Any]]:
    """Return the tools of this module for one turn."""
    return [
        ReadNotebook(turn),
        EditCellTool(turn),
        InsertCellTool(turn),
        DeleteCellTool(turn),
        MoveCellTool(turn),
    ]
