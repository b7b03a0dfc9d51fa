"""
The tool ``run_cell``: run a cell of a notebook in the notebook's own kernel.

Made by :mod:`caesarion.services` for each turn; :mod:`caesarion.kernels` runs the code by the
rules of ``python_interpreter``, :mod:`caesarion.notebooks.cell_run` puts the outputs into the
notebook. The chat shows their last lines.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any
from uuid import uuid4

from nbformat import NotebookNode
from pydantic import BaseModel, ConfigDict, PrivateAttr

from caesarion.agent.risk import classify
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.errors import KernelError, OtherLanguage, ToolError
from caesarion.events import RiskClass, RunStart, StatusChange
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.run import RunEnd, RunStep, show_note
from caesarion.notebooks import cells
from caesarion.notebooks.cell_run import CellRun
from caesarion.notebooks.turn import NotebookTurn

# Lines of a run's digest that the chat shows; the notebook has its outputs.
_LINES = 6

_STOPPED = "The run was stopped."

_CHANGED_WHILE_WAITING = (
    "The cell {!r} was changed while the call waited, so it was not run. Read it again."
)


class RunArguments(BaseModel):
    """The arguments of ``run_cell``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    path: str | None = None
    cell_id: str
    # The source that the person has seen.
    _source: str | None = PrivateAttr(None)


class RunCell(Tool[RunArguments]):
    """Runs cells; ``find_kernel`` returns the kernel of the notebook at a path."""

    name = "run_cell"
    description = (
        "Run a code cell in its notebook's kernel. The outputs go into the notebook; you are told "
        "a digest."
    )
    kind = "run"
    arguments = RunArguments

    def __init__(self, turn: NotebookTurn, find_kernel: Callable[[str], Awaitable[Kernel]]) -> None:
        self._turn = turn
        self._find_kernel = find_kernel
        # Last updates of notebooks, which go on when the turn is stopped.
        self._finishing: set[asyncio.Future[str]] = set()

    async def preview(self, arguments: RunArguments) -> Mapping[str, Any]:
        """Return which cell would run, for the chat; the person decides about this source."""
        document = self._turn.document(arguments.path)
        cell = _code_cell((await document.read("none")).notebook, arguments.cell_id)
        arguments._source = cell.source
        return {
            "id": uuid4().hex,
            "path": document.path,
            "cell_id": cell.id,
            "cell_type": None,
            "operation": "run",
            "after": None,
            "source": cell.source,
            "before": None,
            "why": "",
        }

    async def classes(self, arguments: RunArguments) -> tuple[RiskClass, ...]:
        """Return what the cell's code can do, as far as its text shows."""
        return classify(arguments._source or "")

    async def run(self, arguments: RunArguments) -> AsyncGenerator[Step, None]:
        """Yield the last lines that the cell shows; the result of code that fails has its error."""
        document = self._turn.document(arguments.path)
        reading = await document.read()
        cell = _code_cell(reading.notebook, arguments.cell_id)
        if arguments._source not in (None, cell.source):
            raise ToolError(_CHANGED_WHILE_WAITING.format(arguments.cell_id))
        await self._turn.keep(reading)
        shown = CellRun(document, cell.id, cells.source_hash(cell.source))
        problem, end = "", None
        try:
            kernel = await self._find_kernel(document.path)
            try:
                async with contextlib.aclosing(self._steps(kernel, cell, shown)) as steps:
                    async for step in steps:
                        if isinstance(step, RunStart):
                            self._turn.note_run(document.path, cell, step.execution_count)
                            shown.start(step.execution_count)
                            yield step
                        elif isinstance(step, StatusChange):
                            yield step
                        elif isinstance(step, RunEnd):
                            end = step
                        else:
                            shown.show(step)
            finally:
                if end is None:
                    shown.show(show_note(_STOPPED))
                problem = await self._finish(shown)
        except OtherLanguage as error:
            yield ToolResult("refused", str(error))
        except KernelError as error:
            yield ToolResult("dead", str(error))
        else:
            assert end
            if end.digest:
                lines = end.digest.splitlines()[-_LINES:]
                name = "stdout" if end.status == "ok" else "stderr"
                yield {"output_type": "stream", "name": name, "text": "\n".join(lines)}
            yield _result(end, problem)

    def _steps(
        self, kernel: Kernel, cell: NotebookNode, shown: CellRun
    ) -> AsyncGenerator[RunStep, None]:
        return kernel.run(cell.source, lambda _, output: shown.show_late(output), cell_id=cell.id)

    async def _finish(self, shown: CellRun) -> str:
        """Put the outputs into the notebook, also when the turn is stopped."""
        finishing = asyncio.ensure_future(shown.finish())
        self._finishing.add(finishing)
        finishing.add_done_callback(self._finishing.discard)
        return await asyncio.shield(finishing)


def _code_cell(notebook: NotebookNode, cell_id: str) -> NotebookNode:
    cell: NotebookNode = notebook.cells[cells.find(notebook, cell_id)]
    if cell.cell_type != "code":
        raise ToolError(f"The cell {cell_id!r} is {cell.cell_type}, so there is nothing to run.")
    if not cell.source.strip():
        raise ToolError(f"The cell {cell_id!r} is empty, so there is nothing to run.")
    return cell


def _result(end: RunEnd, problem: str) -> ToolResult:
    count = f"It ran as [{end.execution_count}]." if end.execution_count else ""
    digest = end.digest or ("It showed nothing." if end.status == "ok" else "")
    text = "\n".join(part for part in (count, digest, end.note, problem) if part)
    return ToolResult("refused" if end.status == "aborted" else end.status, text)
