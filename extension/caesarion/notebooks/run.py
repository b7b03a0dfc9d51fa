"""
Run a whole notebook from top to bottom in a fresh kernel, with nbclient.

Called by :mod:`caesarion.api.notebook_run`, which provides the kernel and
shuts it down. Of nbclient only ``async_execute_cell`` is used, which runs one cell:
in nbclient 0.11 ``async_setup_kernel``, which ``async_execute`` begins with, replaces
the server's handler of SIGTERM.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal

from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from caesarion.config import CaesarionKernel
from caesarion.errors import KernelError
from caesarion.kernels.process import KernelProcess, asks_to_exit
from caesarion.kernels.terminal import ANSI, Terminal

_EXITED = "Cell {} ended the kernel with exit(). The cells after it did not run."
_MORE = "\n[... the rest was left out ...]\n"


@dataclass(frozen=True)
class CellStart:
    """Code cell ``cell`` of ``of`` begins to run; cells are counted from 1."""

    cell: int
    of: int


@dataclass(frozen=True)
class CellEnd:
    """Code cell ``cell`` of ``of`` has ended with these ``outputs``; ``cell_id`` is its id."""

    cell: int
    of: int
    cell_id: str
    outputs: list[dict[str, Any]]


@dataclass(frozen=True)
class RunOver:
    """The end of a run; of an error also the code cell, counted from 1, and a sentence."""

    status: Literal["ok", "error"]
    cell: int | None = None
    message: str | None = None


async def run(
    notebook: NotebookNode, process: KernelProcess, settings: CaesarionKernel
) -> AsyncGenerator[CellStart | CellEnd | RunOver, None]:
    """
    Run the code cells of ``notebook``, which changes, in the fresh kernel of ``process``.

    Cells tagged ``skip-execution`` are passed over, those tagged
    ``raises-exception`` may fail; another that fails is the last to run. Raises
    KernelError if the kernel does not answer.
    """
    client = _Client(
        notebook,
        km=process.manager,
        timeout=max(1, round(settings.time_limit)),
        startup_timeout=round(settings.start_limit),
        coalesce_streams=True,
    )
    client.shown_text, client.max_outputs = settings.shown_text, settings.max_outputs
    cells = [
        (index, cell)
        for index, cell in enumerate(notebook.cells)
        if cell.cell_type == "code"
        and cell.source.strip()
        and "skip-execution" not in cell.metadata.get("tags", ())
    ]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    process.begin_run()
    # nbclient looks every second whether the kernel lives: one that was restarted in between
    # seems to, and its cell would be waited for until the limit.
    process.manager.stop_restarter()
    try:
        await client.connect()
        for number, (index, cell) in enumerate(cells, 1):
            yield CellStart(number, len(cells))
            over = await _run_cell(client, process, cell, index, number, settings.time_limit)
            yield CellEnd(number, len(cells), cell.get("id", ""), cell.outputs)
            if not over and client.exits and number < len(cells):
                over = RunOver("error", number, _EXITED.format(number))
            if over:
                yield over
                return
    finally:
        client.disconnect()
    yield RunOver("ok")


async def _run_cell(
    client: "_Client",
    process: KernelProcess,
    cell: NotebookNode,
    index: int,
    number: int,
    limit: float,
) -> RunOver | None:
    """Run one cell; return how that ended the run, if it did."""
    try:
        await client.async_execute_cell(cell, index)
    except CellExecutionError as error:
        reason = ": ".join(filter(None, (error.ename, error.evalue)))
        return RunOver("error", number, f"Cell {number} failed. {reason}")
    except CellTimeoutError:
        return RunOver(
            "error", number, f"Cell {number} ran for longer than {limit:g} seconds and was stopped."
        )
    except DeadKernelError as error:
        # nbclient 0.11 turns a CancelledError of its caller into this, too.
        task = asyncio.current_task()
        if task and task.cancelling():
            raise asyncio.CancelledError from error
        return RunOver("error", number, f"Cell {number} did not end. {process.cause()}")
    return None


class _Client(NotebookClient):
    """nbclient's client, which keeps no more of what a cell shows than the chat does."""

    shown_text = 0
    max_outputs = 0
    exits = False
    """Whether the last cell has ended its kernel by exit()."""
    _watch: "asyncio.Task[Any] | None" = None
    # The stream that was written to last, and the part of its text that can no longer change.
    _written: NotebookNode | None = None
    _terminal = Terminal()
    _settled = ""

    async def connect(self) -> None:
        """Open the channels, when the kernel answers; raise KernelError if it does not."""
        self.reset_execution_trackers()
        self.on_cell_executed = self._note_exit
        assert self.km is not None
        self.kc = self.km.client()
        self.kc.start_channels()
        try:
            await ensure_async(self.kc.wait_for_ready(timeout=self.startup_timeout))
        except RuntimeError as error:
            self.disconnect()
            raise KernelError(
                f"The kernel did not answer within {self.startup_timeout} seconds. "
                "Shut down kernels that are not in use, and try again."
            ) from error
        self.kc.allow_stdin = False
        # Otherwise JupyterLab adds it when the notebook is opened, and counts that as a change.
        reply = await self.async_wait_for_reply(self.kc.kernel_info())
        if reply:
            self.nb.metadata["language_info"] = reply["content"]["language_info"]

    def disconnect(self) -> None:
        """Close the channels; the caller shuts the kernel down."""
        if self._watch:
            self._watch.cancel()
        if self.kc:
            self.kc.stop_channels()

    async def _note_exit(self, execute_reply: dict[str, Any], **_: Any) -> None:
        self.exits = asks_to_exit(execute_reply["content"])

    async def _async_poll_kernel_alive(self) -> None:
        # nbclient 0.11 leaves this task behind when a run is cancelled.
        self._watch = asyncio.current_task()
        await super()._async_poll_kernel_alive()

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Keep an output, within the limits of text and of other outputs."""
        if msg["msg_type"] == "stream":
            return self._stream(outs, msg, display_id, cell_index)
        if len(outs) >= self.max_outputs and msg["msg_type"] != "error":
            return None
        return super().output(outs, msg, display_id, cell_index)

    def _stream(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Keep the text of a stream as a terminal shows it, up to the limit of the cell."""
        last = outs[-1] if outs and not self.clear_before_next_output else None
        goes_on = last and last is self._written and last["name"] == msg["content"]["name"]
        before = outs[:-1] if goes_on else outs
        room = self.shown_text - sum(len(out.get("text", "")) for out in before)
        if room <= 0:
            return None
        if not goes_on:
            self._terminal, self._settled = Terminal(), ""
            empty = {**msg, "content": {**msg["content"], "text": ""}}
            self._written = super().output(outs, empty, display_id, cell_index)
        self._terminal.write(msg["content"]["text"])
        self._settled += "".join(self._terminal.settled())
        text = self._settled + self._terminal.text()
        if len(self._settled) > room:
            self._settled = self._settled[: room + 1]  # No more of it will be seen.
        if self._written:
            fits = len(text) <= room
            self._written["text"] = text if fits else f"{ANSI.sub('', text)[:room]}{_MORE}"
        return None
