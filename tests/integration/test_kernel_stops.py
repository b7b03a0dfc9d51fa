"""Code that keeps its kernel silent is stopped, and a cell of the user's never is."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from caesarion.errors import Stopped
from caesarion.kernels.connection import Connection
from caesarion.kernels.kernel import Kernel

from tests.kernels import Notebook, Ran, run, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

RESTARTED = "The kernel did not stop when interrupted and was restarted; its variables are gone."
WAITING = "is waiting for your running cell to finish"

# No thread of the kernel's gets the GIL from code that does not give it away: without this,
# it is a matter of milliseconds whether the kernel can say that a cell has begun.
SILENT = "import ctypes, re, sys; sys.setswitchinterval(1000); libc = ctypes.PyDLL(None)"

# Code in C that looks for no signal: in the end its kernel is restarted.
DEAF = "sum(range(10**12))"

# Keeps an interrupt from coming in the moment before the code in C begins: ipykernel 7 lets
# SIGINT raise KeyboardInterrupt in this hook.
DEAFEN = "get_ipython().kernel.pre_handler_hook = lambda: None"

# Code in C that holds the GIL, too, but looks for signals.
HEARING = ["7**(10**9)", "re.match('(a+)+$', 'a' * 40 + 'b')"]


class HeldGate:
    """Holds a cell, and with it the GIL, until it is opened."""

    def __init__(self, folder: Path) -> None:
        self._fifo, self._began = folder / "fifo", folder / "began"
        os.mkfifo(self._fifo)

    @property
    def code(self) -> str:
        """A cell after SILENT: in C, it says that it runs and waits for a writer."""
        began, fifo = bytes(self._began), bytes(self._fifo)
        return f"opened = (libc.creat({began!r}, 0o600), libc.open({fifo!r}, 0))[1] >= 0"

    async def closed(self) -> None:
        """Wait until the cell runs."""
        await until(self._began.exists)

    def open(self) -> None:
        """Let the cell go on."""
        os.close(os.open(self._fifo, os.O_WRONLY))


@pytest.fixture
def gate(tmp_path: Path) -> HeldGate:
    return HeldGate(tmp_path)


async def begin(kernel: Kernel, code: str) -> asyncio.Task[Ran]:
    """Begin a run, and return when it is known to run."""
    ran = Ran()
    task = asyncio.ensure_future(run(kernel, code, ran))
    await until(lambda: ran.starts != [])
    return task


async def stop(task: asyncio.Task[Ran]) -> str:
    """Cancel the run; return what it says to that."""
    task.cancel()
    with pytest.raises(Stopped) as stopped:
        await task
    return str(stopped.value)


@pytest.mark.parametrize("code", HEARING)
async def test_code_in_c_is_interrupted(make: Callable[..., Kernel], code: str) -> None:
    kernel = make(stop_limit=30)
    await run(kernel, f"{SILENT}; kept = 1")
    assert await stop(await begin(kernel, code)) == ""
    assert (await run(kernel, "kept")).end.digest == "1"


async def test_code_in_c_that_hears_nothing_costs_the_kernel(make: Callable[..., Kernel]) -> None:
    kernel = make(stop_limit=0.5)
    await run(kernel, f"{SILENT}; {DEAFEN}; gone = 1")
    assert await stop(await begin(kernel, DEAF)) == RESTARTED
    assert (await run(kernel, "'gone' in globals()")).end.digest == "False"


async def test_code_in_c_is_stopped_at_the_time_limit(make: Callable[..., Kernel]) -> None:
    kernel = make(time_limit=1, stop_limit=0.5)
    await run(kernel, SILENT)
    ran = await run(kernel, DEAF)
    note = f"The run was stopped after the limit of 1 seconds. {RESTARTED}"
    assert (ran.end.status, ran.end.note) == ("timeout", note)
    assert (await run(kernel, "1 + 1")).end.digest == "2"


async def test_code_in_c_is_known_to_run(make: Callable[..., Kernel]) -> None:
    kernel = make(stop_limit=30)
    await run(kernel, SILENT)
    ran = Ran()
    task = asyncio.ensure_future(run(kernel, HEARING[0], ran))
    await until(lambda: ran.starts != [])
    assert ran.notices == []
    await stop(task)


async def test_a_silent_cell_of_the_users_is_waited_for_and_never_interrupted(
    make: Callable[..., Kernel], user: Notebook, gate: HeldGate
) -> None:
    kernel = make()
    await run(kernel, SILENT)
    cell = user.queue(gate.code)
    await gate.closed()
    ran = Ran()
    task = asyncio.ensure_future(run(kernel, "late = 1", ran))
    await until(lambda: ran.notices == [WAITING])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    assert await user.reply(cell) == "ok"
    assert (await run(kernel, "opened, 'late' in globals()")).end.digest == "(True, False)"


async def test_at_the_time_limit_a_silent_cell_of_the_users_goes_on(
    make: Callable[..., Kernel], user: Notebook, gate: HeldGate
) -> None:
    kernel = make(time_limit=1)
    await run(kernel, SILENT)
    cell = user.queue(gate.code)
    await gate.closed()
    ran = await run(kernel, "late = 1")
    gate.open()
    assert (ran.end.status, ran.starts) == ("timeout", [])
    assert ran.end.note.startswith("The code was not run: for 1 seconds the kernel was busy")
    assert await user.reply(cell) == "ok"
    assert (await run(make(), "opened")).end.digest == "True"


Queue = Callable[[Kernel, str], Awaitable[tuple[asyncio.Task[Ran], Ran]]]


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    """Put a run into the kernel's queue, as if a cell had begun in that very moment."""

    async def queue(kernel: Kernel, code: str) -> tuple[asyncio.Task[Ran], Ran]:
        ran = Ran()
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "occupied", False)
            task = asyncio.ensure_future(run(kernel, code, ran))
            await until(lambda: bool(kernel._connection and kernel._connection._requests))
        return task, ran

    return queue


@pytest.mark.parametrize("code", ["late = 1", *HEARING])
async def test_a_run_behind_a_silent_cell_is_stopped_when_its_turn_comes(
    make: Callable[..., Kernel], user: Notebook, gate: HeldGate, queue: Queue, code: str
) -> None:
    kernel = make(stop_limit=30)
    await run(kernel, f"{SILENT}; late = 0")
    cell = user.queue(gate.code)
    await gate.closed()
    task, ran = await queue(kernel, f"{code}\nlate = 2")
    assert await stop(task) == ""
    assert ran.starts == []
    gate.open()
    assert await user.reply(cell) == "ok"
    assert (await run(kernel, "opened")).end.digest == "True"


async def test_a_stopped_run_that_hears_nothing_costs_the_kernel_when_its_turn_comes(
    make: Callable[..., Kernel], user: Notebook, gate: HeldGate, queue: Queue
) -> None:
    kernel = make(stop_limit=0.5)
    await run(kernel, f"{SILENT}; {DEAFEN}; gone = 1")
    cell = user.queue(gate.code)
    await gate.closed()
    task, _ = await queue(kernel, DEAF)
    assert await stop(task) == ""
    gate.open()
    assert await user.reply(cell) == "ok"
    assert (await run(kernel, "'gone' in globals()")).end.digest == "False"


async def test_a_run_whose_turn_has_come_is_told_from_the_cell_before_it(
    make: Callable[..., Kernel], user: Notebook, gate: HeldGate, queue: Queue
) -> None:
    kernel = make(stop_limit=30)
    await run(kernel, SILENT)
    cell = user.queue(gate.code)
    await gate.closed()
    task, ran = await queue(kernel, HEARING[0])
    gate.open()
    await until(lambda: ran.starts != [])
    assert await stop(task) == ""
    assert await user.reply(cell) == "ok"
    assert (await run(kernel, "opened")).end.digest == "True"
