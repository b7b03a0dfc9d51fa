"""Runs in a real kernel, which is the user's: outputs, limits, stops, deaths, and other people."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import psutil
import pytest
import pytest_asyncio
from caesarion.config import CaesarionKernel
from caesarion.errors import KernelError, Stopped
from caesarion.events import RunStart
from caesarion.kernels.connection import Connection
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.process import NEW_KERNEL

from tests.kernels import Gate, Notebook, Ran, run, start, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

DEAF = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN)"
FOREVER = "import time\nwhile True: time.sleep(1)"
RESTARTED = "The kernel did not stop when interrupted and was restarted; its variables are gone."
WAITING = "is waiting for your running cell to finish"


@pytest_asyncio.fixture(loop_scope="module")
async def kernel(make: Callable[..., Kernel]) -> Kernel:
    return make()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


async def begin(kernel: Kernel, code: str, first: str = "") -> asyncio.Task[Ran]:
    """Begin a run, and return when what comes ``first`` in it is done."""
    ran = Ran()
    code = f"{first}\nprint('begun', flush=True)\n{code}"
    task = asyncio.ensure_future(run(kernel, code, ran))
    await until(lambda: "begun" in ran.text)
    return task


async def stop(task: asyncio.Task[Ran]) -> str:
    """Cancel the run; return what it says to that."""
    task.cancel()
    with pytest.raises(Stopped) as stopped:
        await task
    return str(stopped.value)


async def test_the_value_of_a_cell_is_its_output_and_its_digest(kernel: Kernel) -> None:
    ran = await run(kernel, "40 + 2")
    assert ran.notices == []
    assert [output["data"] for output in ran.outputs] == [{"text/plain": "42"}]
    assert (ran.end.status, ran.end.digest, ran.end.note) == ("ok", "42", "")
    assert ran.end.execution_count == ran.outputs[0]["execution_count"]


async def test_a_first_run_beside_the_warming_up_is_heard_from_its_start(
    kernel: Kernel,
) -> None:
    _, ran = await asyncio.gather(kernel.connect(), run(kernel, "print('early')"))
    assert (ran.text, ran.end.status) == ("early\n", "ok")


async def test_no_reply_goes_unheard_while_requests_are_sent(
    make: Callable[..., Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    # So often that requests and replies cross; seen to lose a reply in one connection of fifteen.
    monkeypatch.setattr("caesarion.kernels.connection._ASK_AGAIN", 0.0002)
    for _ in range(50):
        kernel = make()
        assert (await run(kernel, "1")).end.status == "ok"
        await kernel.close()


async def test_outputs_come_while_the_cell_runs(kernel: Kernel, gate: Gate) -> None:
    task = await begin(kernel, f"{gate.code}print('went on')")
    gate.open()
    assert (await task).text == "begun\nwent on\n"


async def test_a_failing_cell_is_an_output_and_a_status(kernel: Kernel) -> None:
    ran = await run(kernel, "print('before')\n1 / 0")
    assert ran.text == "before\n"
    assert (ran.outputs[1]["ename"], ran.outputs[1]["evalue"]) == (
        "ZeroDivisionError",
        "division by zero",
    )
    assert (ran.end.status, ran.end.note) == ("error", "")
    assert ran.end.digest.startswith("before\n---")
    assert ran.end.digest.endswith("ZeroDivisionError: division by zero")
    assert "\x1b" not in ran.end.digest


async def test_input_is_refused_at_once(kernel: Kernel) -> None:
    ran = await run(kernel, "input('name? ')")
    assert (ran.end.status, ran.outputs[0]["ename"]) == ("error", "StdinNotImplementedError")


async def test_variables_are_the_notebooks_too(kernel: Kernel, user: Notebook) -> None:
    assert await user.run("x = 41") == "ok"
    assert (await run(kernel, "x += 1; print(x)")).text == "42\n"
    assert await user.run("assert x == 42") == "ok"


async def test_a_failing_run_does_not_abort_the_users_queued_cell(
    kernel: Kernel, user: Notebook, gate: Gate
) -> None:
    task = await begin(kernel, f"{gate.code}1 / 0")
    queued = user.queue("y = 1")
    gate.open()
    assert (await task).end.status == "error"
    assert await user.reply(queued) == "ok"


async def test_a_run_over_its_limit_is_interrupted_and_says_so(
    make: Callable[..., Kernel],
) -> None:
    ran = await run(make(time_limit=0.5), "kept = 1\nimport time; time.sleep(60)")
    note = "The run was stopped after the limit of 0.5 seconds."
    assert (ran.end.status, ran.end.note, ran.text) == ("timeout", note, f"{note}\n")
    assert ran.outputs[0]["ename"] == "KeyboardInterrupt"
    assert (await run(make(), "kept")).end.digest == "1"


async def test_a_loop_that_ignores_interrupts_costs_the_kernel_and_says_so(
    make: Callable[..., Kernel],
) -> None:
    kernel = make(time_limit=0.5, stop_limit=0.5)
    await run(kernel, "gone = 1")
    ran = await run(kernel, f"{DEAF}\n{FOREVER}")
    note = f"The run was stopped after the limit of 0.5 seconds. {RESTARTED}"
    assert (ran.end.status, ran.end.note, ran.text) == ("timeout", note, f"{note}\n")
    assert (await run(kernel, "print('gone' in globals())")).text == "False\n"


@pytest.mark.parametrize("wait", ["time.sleep(60)", "await asyncio.sleep(60)"])
async def test_stop_keeps_the_variables(kernel: Kernel, wait: str) -> None:
    task = await begin(kernel, f"kept = 2\nimport asyncio, time\n{wait}")
    sentence = await stop(task)
    assert sentence == ""
    assert (await run(kernel, "kept")).end.digest == "2"


async def test_an_interrupt_that_is_lost_is_followed_by_another(
    make: Callable[..., Kernel],
) -> None:
    kernel = make(stop_limit=10)
    await run(kernel, "kept = 3")
    lost = """
import signal, time
def lose(*_): signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGINT, lose)
"""
    task = await begin(kernel, "time.sleep(60)", first=lost)
    assert await stop(task) == ""
    assert (await run(kernel, "kept")).end.digest == "3"


async def test_stop_of_a_loop_that_ignores_it_says_what_that_cost(
    make: Callable[..., Kernel],
) -> None:
    kernel = make(stop_limit=0.5)
    task = await begin(kernel, FOREVER, first=DEAF)
    sentence = await stop(task)
    assert sentence == RESTARTED
    assert (await run(kernel, "1 + 1")).end.digest == "2"


async def test_a_stop_is_a_stop_though_the_kernel_cannot_be_restarted(
    make: Callable[..., Kernel], kernel_manager: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise OSError("no process can be started")

    kernel = make(stop_limit=0.5)
    task = await begin(kernel, FOREVER, first=DEAF)
    with monkeypatch.context() as patch:
        patch.setattr(kernel_manager, "restart_kernel", fail)
        sentence = await stop(task)
    assert sentence == (
        "The kernel did not stop and could not be restarted. Shut it down in the Running panel "
        "and ask again."
    )
    await (await kernel_manager.restart_kernel(kernel.id, now=True))


async def test_whoever_stops_listening_stops_the_run(kernel: Kernel) -> None:
    async with contextlib.aclosing(
        kernel.run("print('begun')\nimport time; time.sleep(60); late = 1")
    ) as steps:
        assert await anext(steps) == RunStart(ANY, kernel.id, "")
        assert (await anext(steps))["text"] == "begun\n"  # type: ignore[index]
    assert (await run(kernel, "'late' in globals()")).end.digest == "False"


async def test_a_killed_kernel_is_dead_and_the_next_run_has_a_new_one(kernel: Kernel) -> None:
    ran = await run(
        kernel, "gone = 1\nprint('last words', flush=True)\nimport os; os.kill(os.getpid(), 9)"
    )
    note = f"The kernel was killed by the signal SIGKILL. {NEW_KERNEL}"
    assert (ran.end.status, ran.end.note) == ("dead", note)
    assert ran.text.endswith(f"{note}\n")
    assert (await run(kernel, "print('gone' in globals())")).text == "False\n"


async def test_stop_of_a_dead_kernel_does_not_wait_for_it(
    make: Callable[..., Kernel], kernel_manager: Any, kernel_id: str
) -> None:
    kernel = make(stop_limit=30)
    task = await begin(kernel, "import time; time.sleep(60)")
    psutil.Process(kernel_manager.get_kernel(kernel_id).provisioner.pid).kill()
    sentence = await stop(task)
    assert sentence == f"The kernel was killed by the signal SIGKILL. {NEW_KERNEL}"


async def test_a_restart_by_the_user_is_not_called_a_death(
    kernel: Kernel, kernel_manager: Any, kernel_id: str
) -> None:
    task = await begin(kernel, FOREVER, first=DEAF)
    await kernel_manager.restart_kernel(kernel_id)
    ran = await task
    assert (ran.end.status, ran.end.note) == (
        "dead",
        "The user restarted the kernel; its variables are gone.",
    )
    assert (await run(kernel, "1 + 1")).end.digest == "2"


async def test_no_output_is_lost_after_a_restart_between_two_runs(
    kernel: Kernel, kernel_manager: Any, kernel_id: str
) -> None:
    await run(kernel, "gone = 1")
    await kernel_manager.restart_kernel(kernel_id)
    ran = await run(kernel, "print('gone' in globals())")
    assert (ran.text, ran.end.status) == ("False\n", "ok")


@pytest.mark.parametrize("connected", [True, False], ids=["connected", "new"])
async def test_a_cell_of_the_users_is_waited_for(
    kernel: Kernel, user: Notebook, gate: Gate, connected: bool
) -> None:
    if connected:
        await kernel.connect()
    cell = await user.begin(f"{gate.code}z = 5")
    ran = Ran()
    task = asyncio.ensure_future(run(kernel, "z", ran))
    await until(lambda: ran.notices == [WAITING])
    gate.open()
    assert (await task).end.digest == "5"
    assert await user.reply(cell) == "ok"


async def test_a_cell_that_runs_too_long_is_left_alone_and_told(
    make: Callable[..., Kernel], user: Notebook, gate: Gate
) -> None:
    cell = await user.begin(f"{gate.code}z = 7")
    ran = await run(make(time_limit=0.3), "z = 8")
    gate.open()
    assert ran.end.status == "timeout"
    assert ran.end.note == (
        "The code was not run: for 0.3 seconds the kernel was busy with a cell of the user's. "
        "It can be run again when that cell has finished."
    )
    assert await user.reply(cell) == "ok"
    assert (await run(make(), "z")).end.digest == "7"


async def test_stop_while_waiting_for_a_cell_leaves_the_cell_alone(
    kernel: Kernel, user: Notebook, gate: Gate
) -> None:
    cell = await user.begin(f"{gate.code}z = 9")
    ran = Ran()
    task = asyncio.ensure_future(run(kernel, "z = 10", ran))
    await until(lambda: ran.notices == [WAITING])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open()
    assert await user.reply(cell) == "ok"
    assert (await run(kernel, "z")).end.digest == "9"


@pytest.fixture
def unaware(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs go into the kernel's queue: as if the cell had begun in that very moment."""

    monkeypatch.setattr(Connection, "occupied", False)


@pytest.mark.usefixtures("unaware")
async def test_stop_of_a_run_in_the_kernels_queue_leaves_the_cell_before_it_alone(
    kernel: Kernel, user: Notebook, gate: Gate
) -> None:
    await kernel.connect()
    cell = await user.begin(f"{gate.code}z = 11")
    task = asyncio.ensure_future(run(kernel, "print('begun'); time.sleep(30); z = 12"))
    await asyncio.sleep(0.1)
    sentence = await stop(task)
    assert sentence == ""
    gate.open()
    assert await user.reply(cell) == "ok"
    assert (await run(kernel, "z")).end.digest == "11"


@pytest.mark.usefixtures("unaware")
async def test_a_run_aborted_by_the_cell_before_it_says_so(
    kernel: Kernel, user: Notebook, gate: Gate
) -> None:
    await kernel.connect()
    cell = await user.begin(f"{gate.code}1 / 0")
    task = asyncio.ensure_future(run(kernel, "z = 13"))
    await asyncio.sleep(0.3)  # until it is in the kernel's queue, of which nobody tells
    gate.open()
    ran = await task
    note = "The code was not run: a cell before it in the kernel's queue failed."
    assert (ran.end.status, ran.end.note, ran.text) == ("aborted", note, f"{note}\n")
    assert await user.reply(cell) == "error"


async def test_two_runs_take_turns(kernel: Kernel, gate: Gate) -> None:
    first = await begin(kernel, f"{gate.code}print('first')")
    ran = Ran()
    second = asyncio.ensure_future(run(kernel, "print('second')", ran))
    await until(lambda: ran.notices == ["is waiting for another run in the same kernel"])
    gate.open()
    assert (await first).text == "begun\nfirst\n"
    assert (await second).text == "second\n"


async def test_two_chats_in_one_kernel_keep_their_outputs_apart(
    make: Callable[..., Kernel],
) -> None:
    one, other = make(), make()
    ran = await asyncio.gather(run(one, "print('one')"), run(other, "print('other')"))
    assert [each.text for each in ran] == ["one\n", "other\n"]


async def test_clearing_and_updating_are_passed_on(kernel: Kernel) -> None:
    ran = await run(
        kernel,
        """
from IPython.display import clear_output, display
handle = display("old", display_id="here")
import time; time.sleep(0.5)
handle.update("new")
time.sleep(0.5)
clear_output(wait=True)
print("after")""",
    )
    shown, updated, cleared, printed = ran.outputs
    assert (shown["output_type"], shown["transient"]) == ("display_data", {"display_id": "here"})
    assert updated["output_type"] == "update_display_data"
    assert updated["transient"] == {"display_id": "here"}
    assert updated["data"]["text/plain"] == "'new'"
    assert cleared == {"output_type": "clear_output", "wait": True}
    assert (printed["text"], ran.end.digest) == ("after\n", "after")


async def test_a_bundle_of_nonsense_does_not_hang_the_run(kernel: Kernel) -> None:
    bundle = "{'text/plain': ['a', 5], 'text/html': {}, 'x/y': None}"
    ran = await run(kernel, f"display({bundle}, raw=True)")
    assert (ran.end.status, ran.end.digest) == ("ok", '["a", 5]')


async def beat(beats: list[int], ran: Ran) -> None:
    """Note how many outputs there are whenever the event loop serves others."""
    while True:
        await asyncio.sleep(0.01)
        beats.append(len(ran.outputs))


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("for i in range(1_000_000): print(i)", "999999\n"),
        ("for i in range(5_000): print(i, flush=True)", "4999\n"),
    ],
    ids=["a million prints", "prints that are flushed"],
)
async def test_a_flood_neither_grows_the_server_nor_freezes_it(
    make: Callable[..., Kernel], code: str, last: str
) -> None:
    kernel = make(time_limit=60)
    await run(kernel, "print(1)")
    process, ran, beats = psutil.Process(os.getpid()), Ran(), list[int]()
    before = process.memory_info().rss
    heart = asyncio.ensure_future(beat(beats, ran))
    await run(kernel, code, ran)
    heart.cancel()
    assert ran.end.status == "ok"
    assert ran.text.startswith("0\n1\n2\n")
    assert ran.text.endswith(last)
    assert len(ran.text) < 65_536 + 100
    assert len(ran.end.digest) < 8_192 + 100
    assert process.memory_info().rss - before < 100 * 2**20
    assert len(beats) > 10


async def test_outputs_beyond_the_limit_are_counted(make: Callable[..., Kernel]) -> None:
    ran = await run(
        make(max_outputs=5), "for i in range(1_000): display({'text/plain': f'{i}'}, raw=True)"
    )
    shown = [o["data"]["text/plain"] for o in ran.outputs if o["output_type"] == "display_data"]
    assert shown == ["0", "1", "2", "3", "4"]
    assert ran.text == "[995 more outputs were left out]\n"
    assert ran.end.digest == "0\n1\n2\n3\n4\n[995 more outputs were left out]"


async def test_an_idle_connection_is_closed_and_opened_again(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caesarion.kernels.kernel._LINGER", 0.1)
    files = psutil.Process(os.getpid()).num_fds
    before = files()
    await run(kernel, "1")
    assert files() > before
    await until(lambda: files() <= before)
    assert (await run(kernel, "print('again')")).text == "again\n"


async def test_a_kernel_that_is_shut_down_during_a_run_says_so_and_is_no_more(
    kernel_manager: Any,
) -> None:
    kernel = Kernel(CaesarionKernel(), kernel_manager, await start(kernel_manager))
    task = await begin(kernel, FOREVER, first=DEAF)
    await kernel_manager.shutdown_kernel(kernel.id, now=True)
    ran = await task
    assert (ran.end.status, ran.end.note) == (
        "dead",
        "The kernel was shut down.",
    )
    with pytest.raises(
        KernelError, match=r"^The kernel was shut down\. Ask again to start a new one\.$"
    ):
        await run(kernel, "1")
    await kernel.close()
