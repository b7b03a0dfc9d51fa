"""How a kernel, or a run in it, ended is told as it was: exits, signals, errors, late outputs."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from caesarion.config import CaesarionKernel
from caesarion.events import RunStart
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.process import NEW_KERNEL

from tests.fakes.kubernetes.node.ability import UnableError, check
from tests.fakes.kubernetes.node.cgroups import Tree
from tests.kernels import Gate, Ran, run, start, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel(kernel_manager: Any) -> AsyncIterator[Kernel]:
    """One kernel for all; whoever ends it leaves a new one."""
    kernel = Kernel(CaesarionKernel(time_limit=60), kernel_manager, await start(kernel_manager))
    yield kernel
    await kernel.close()


@pytest_asyncio.fixture(loop_scope="module")
async def mortal(kernel_manager: Any) -> AsyncIterator[Kernel]:
    """A kernel of its own: one that dies five times in a row is not restarted any more."""
    kernel = Kernel(CaesarionKernel(time_limit=60), kernel_manager, await start(kernel_manager))
    yield kernel
    await kernel.close()
    # jupyter_client 8.10 cannot shut a kernel down that is just being restarted.
    await asyncio.wait([kernel_manager.get_kernel(kernel.id).ready], timeout=60)
    await kernel_manager.shutdown_kernel(kernel.id, now=True)


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


@pytest.mark.parametrize("code", ["exit()", "quit()", "exit()\n1 / 0"])
async def test_an_exit_is_told_and_costs_the_next_run_nothing(kernel: Kernel, code: str) -> None:
    ran = await run(kernel, f"gone = 1\nprint('bye')\n{code}")
    note = f"The code ended the kernel with exit(). {NEW_KERNEL}"
    assert (ran.end.status, ran.end.note) == ("dead", note)
    assert ran.text == f"bye\n{note}\n"
    assert (await run(kernel, "print('alive', 'gone' in globals())")).text == "alive False\n"


@pytest.mark.parametrize(
    ("code", "digest"),
    [
        ("import sys; sys.exit()", "SystemExit"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("raise SystemExit('bad')", "SystemExit: bad"),
    ],
)
async def test_an_exit_that_ipython_refuses_is_an_error(
    kernel: Kernel, code: str, digest: str
) -> None:
    await run(kernel, "kept = 1")
    ran = await run(kernel, code)
    assert ran.end.status == "error"
    assert digest in ran.end.digest
    assert (await run(kernel, "kept")).end.digest == "1"


async def test_an_exit_that_keeps_the_kernel_is_no_end(kernel: Kernel) -> None:
    assert (await run(kernel, "kept = 2\nexit(keep_kernel=True)")).end.status == "ok"
    assert (await run(kernel, "kept")).end.digest == "2"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("os._exit(3)", "The kernel ended itself with exit code 3, as by os._exit(3)."),
        ("os._exit(0)", "The kernel ended itself with exit code 0."),
        ("os.kill(os.getpid(), 9)", "The kernel was killed by the signal SIGKILL."),
        ("os.kill(os.getpid(), 15)", "The kernel was killed by the signal SIGTERM."),
        ("os.kill(os.getpid(), 7)", "The kernel crashed (SIGBUS: Bus error)."),
        ("os.abort()", "The kernel crashed (SIGABRT: Aborted)."),
        (
            "import ctypes; ctypes.string_at(0)",
            "The kernel crashed (SIGSEGV: Segmentation fault).",
        ),
        ("os.kill(os.getpid(), 40)", "The kernel was killed by signal 40."),
    ],
)
async def test_how_a_kernel_died_is_told_from_its_exit(
    mortal: Kernel, code: str, cause: str
) -> None:
    ran = await run(mortal, f"import os\nprint('last words', flush=True)\n{code}")
    note = f"{cause} {NEW_KERNEL}"
    assert (ran.end.status, ran.end.note) == ("dead", note)
    assert ran.text.endswith(f"{note}\n")
    assert (await run(mortal, "1 + 1")).end.digest == "2"


async def test_a_kernel_that_a_full_disk_ended_says_so(
    mortal: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=4096))
    ran = await run(mortal, "import os\nos.kill(os.getpid(), 7)")
    assert ran.end.note == (
        "The kernel crashed (SIGBUS: Bus error). The disk of the home is full: delete files that"
        f" are not needed. {NEW_KERNEL}"
    )


async def test_code_that_ends_its_kernel_at_once_has_run(mortal: Kernel) -> None:
    await run(mortal, "import os, sys; sys.setswitchinterval(1000)")
    ran = await run(mortal, "os._exit(1)")
    note = f"The kernel ended itself with exit code 1, as by os._exit(1). {NEW_KERNEL}"
    assert (ran.end.status, ran.end.note) == ("dead", note)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("raise Exception(chr(0xd8ff))", "UnicodeEncodeError"),
        ("raise type(chr(0xd8ff), (Exception,), {})", "UnicodeEncodeError"),
        ("class E(Exception):\n  def _render_traceback_(self): return []\nraise E('x')", "E: x"),
        ("class E(Exception):\n  def _render_traceback_(self): return ['a']\nraise E('x')", "E: x"),
        (
            "class E(Exception):\n  def __str__(self): raise ValueError('y')\nraise E",
            "ValueError: y",
        ),
        ("%no_such_magic", "UsageError"),
        ("x = (", "SyntaxError"),
        ("raise ExceptionGroup('g', [ValueError('v')])", "ExceptionGroup: g"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ],
)
async def test_an_error_is_told_by_its_name_and_once(kernel: Kernel, code: str, name: str) -> None:
    ran = await run(kernel, code)
    assert ran.end.status == "error"
    assert name in ran.end.digest
    assert ran.end.digest.count("UsageError") <= 1
    assert ran.outputs != []


async def test_outputs_of_a_task_that_goes_on_belong_to_their_run(
    kernel: Kernel, gate: Gate
) -> None:
    late: list[tuple[RunStart, dict[str, Any]]] = []
    ran = await run(
        kernel,
        "import asyncio, pathlib, sys\n"
        "async def work():\n"
        "    for step in range(3):\n"
        f"        while not pathlib.Path({str(gate.path)!r}).exists(): await asyncio.sleep(0.01)\n"
        "        sys.stdout.write(f'\\r{step + 1} of 3')\n"
        "        sys.stdout.flush()\n"
        "        await asyncio.sleep(0.05)\n"
        "    display('shown')\n"
        "task = asyncio.create_task(work())\n"
        "print('0 of 3', end='')",
        late=lambda start, output: late.append((start, output)),
    )
    assert (ran.text, ran.end.status) == ("0 of 3", "ok")
    other = await run(kernel, "print('other')")
    gate.open()
    await until(lambda: any(output["output_type"] == "display_data" for _, output in late))
    assert other.text == "other\n"
    assert {start for start, _ in late} == set(ran.starts)
    assert (await run(kernel, "print('third')")).text == "third\n"
    ran.outputs += [output for _, output in late]
    assert ran.text == "3 of 3"


async def test_outputs_of_a_thread_are_the_ones_of_the_run_that_the_kernel_names(
    kernel: Kernel, gate: Gate
) -> None:
    late: list[str] = []
    code = "import threading\ndef work():\n    "
    body = gate.code.replace("\n", "\n    ")
    ran = await run(
        kernel,
        f"{code}{body}print('from a thread', flush=True)\nthreading.Thread(target=work).start()",
        late=lambda _, output: late.append(output["text"]),
    )
    assert ran.text == ""
    gate.open()
    await until(lambda: "".join(late) == "from a thread\n")


async def test_late_outputs_keep_to_the_limits_of_their_run(
    kernel_manager: Any, kernel: Kernel
) -> None:
    small = Kernel(CaesarionKernel(shown_text=1_024), kernel_manager, kernel.id)
    late: list[dict[str, Any]] = []
    await run(
        small,
        "import asyncio\n"
        "async def work():\n"
        "    await asyncio.sleep(0.1)\n"
        "    for _ in range(1_000): print('x' * 99)\n"
        "    display('end')\n"
        "task = asyncio.create_task(work())",
        late=lambda _, output: late.append(output),
    )
    await until(lambda: late[-1:] != [] and late[-1]["output_type"] == "display_data")
    await small.close()
    assert len(Ran(late).text) == 512


@pytest.fixture
def limited(mortal: Kernel, kernel_manager: Any) -> Iterator[Kernel]:
    """A kernel that may use 256 MiB."""
    try:
        check()
    except UnableError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    tree = Tree(os.getpid())
    group = tree.add("pod", "kernel")
    group.limit({"limits": {"memory": "256Mi"}})
    for processes in group.doors:
        Path(processes).write_text(str(kernel_manager.get_kernel(mortal.id).provisioner.pid))
    yield mortal
    tree.remove()


async def test_a_kernel_that_ran_out_of_memory_is_told_so_with_its_limit(limited: Kernel) -> None:
    ran = await run(limited, "gone = b'x' * 2**30")
    told, _, rest = ran.end.note.partition(", and ")
    assert told == "The kernel ran out of memory and was killed: its limit is 256 MiB"
    assert rest == f"256 MiB were used. {NEW_KERNEL}"
    assert ran.end.status == "dead"


async def test_a_kernel_that_is_killed_in_spite_of_its_limit_did_not_run_out_of_memory(
    limited: Kernel,
) -> None:
    ran = await run(limited, "import os; os.kill(os.getpid(), 9)")
    assert ran.end.note == f"The kernel was killed by the signal SIGKILL. {NEW_KERNEL}"
