"""
A run of one cell, as its notebook shows it: live in a page, at the end in the file.

Used by :mod:`caesarion.agent.tools.run_cell`, which runs the code. Invariant: outputs go only to
the source that ran. A cell that somebody changes meanwhile keeps its new source, and gets no
outputs of the old one.
"""

import asyncio
import contextlib
from typing import Any

from caesarion.errors import StaleCell, ToolError, UnknownCell
from caesarion.notebooks import cells
from caesarion.notebooks.document import NotebookDocument
from caesarion.notebooks.run_outputs import RunOutputs

# Seconds between two updates of a page, and characters a second that updates may have. Made up.
_PAUSE = 0.1
_RATE = 400_000

# Seconds between two updates by a task that goes on after the end of its cell; each reads the
# notebook first. Made up.
_LATE_PAUSE = 1.0

_CHANGED = (
    "The cell was changed while it ran. Its new source stays, and it did not get these outputs."
)
_DELETED = "The cell was deleted while it ran, so these outputs are not in the notebook."


class CellRun:
    """The outputs of a run of the cell ``cell_id``, whose source has the hash ``source_hash``."""

    def __init__(self, document: NotebookDocument, cell_id: str, source_hash: str) -> None:
        self.execution_count: int | None = None
        self._document = document
        self._cell_id = cell_id
        self._source_hash = source_hash
        self._outputs = RunOutputs()
        self._fed = asyncio.Event()
        self._live: asyncio.Task[None] | None = None
        self._late: asyncio.Task[None] | None = None

    def start(self, execution_count: int | None) -> None:
        """Begin to show outputs: the code runs, and what the cell showed before goes."""
        self.execution_count = execution_count
        self._fed.set()
        self._live = asyncio.create_task(self._update_page())

    def show(self, output: dict[str, Any]) -> None:
        """Show an output."""
        self._outputs.feed(output)
        self._fed.set()

    async def finish(self) -> str:
        """
        Put all outputs into the notebook; return a sentence where that cannot be done.

        A run whose code has not begun leaves what the cell shows.
        """
        if self._live is None:
            return ""
        self._live.cancel()
        await asyncio.wait({self._live})
        try:
            await self._put(self._outputs.outputs)
        except StaleCell:
            return _CHANGED
        except UnknownCell:
            return _DELETED
        except ToolError as error:
            return f"The outputs are not in the notebook. {error}"
        return ""

    def show_late(self, output: dict[str, Any]) -> None:
        """Show an output of a task that goes on after the end."""
        self.show(output)
        if self._late is None or self._late.done():
            self._late = asyncio.create_task(self._update_late())

    async def _update_page(self) -> None:
        """Show outputs as they come, whenever a page has the notebook open."""
        appends = False
        with contextlib.suppress(ToolError):  # The end will say it.
            while True:
                await self._fed.wait()
                self._fed.clear()
                size = 0
                if await self._document.is_open():
                    new, grows = self._outputs.take()
                    size = len(str(new))
                    await self._put(new, state="running", append=appends and grows)
                    appends = True
                await asyncio.sleep(max(_PAUSE, size / _RATE))

    async def _update_late(self) -> None:
        with contextlib.suppress(ToolError):  # There is nobody left to tell.
            while self._fed.is_set():
                await asyncio.sleep(_LATE_PAUSE)
                self._fed.clear()
                notebook = (await self._document.read("none")).notebook
                cell = notebook.cells[cells.find(notebook, self._cell_id)]
                if cell.get("execution_count") == self.execution_count:
                    await self._put(self._outputs.outputs)

    async def _put(
        self, outputs: list[dict[str, Any]], *, state: str = "idle", append: bool = False
    ) -> None:
        await self._document.show_outputs(
            self._cell_id,
            self.execution_count,
            outputs,
            source_hash=self._source_hash,
            state=state,
            append=append,
        )
