"""Inspecting a real kernel, which is the user's: what is told, and that no trace is left."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from caesarion.config import CaesarionKernel
from caesarion.errors import BusyKernel, KernelError
from caesarion.kernels import variables
from caesarion.kernels.kernel import Kernel

from tests.kernels import Gate, Notebook, run, start

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What a look must leave as it was: names, history, count, modules of ours, timers.
TRACES = """
import signal, sys
from IPython import get_ipython as shell
print(sorted(n for n in globals() if not n.startswith("_i") and n != "_dh"))
print(shell().execution_count, len(shell().history_manager.input_hist_raw))
print(list(shell().history_manager.get_tail(3)))
print([m for m in sys.modules if "caesarion" in m], signal.getitimer(signal.ITIMER_REAL))
print(signal.getsignal(signal.SIGALRM))
"""


@pytest_asyncio.fixture(loop_scope="module")
async def kernel(make: Callable[..., Kernel]) -> Kernel:
    kernel = make()
    await run(kernel, "%reset -f")
    return kernel


async def test_the_list_has_the_users_own_names_and_no_others(kernel: Kernel) -> None:
    await run(
        kernel,
        "import math, pandas as pd\nx = 41\ntable = pd.DataFrame({'a': [1, 2]})\n_hidden = 1\n"
        "def double(x): return 2 * x",
    )
    assert await variables.list_variables(kernel) == [
        {"name": "x", "type": "int", "shape": ""},
        {"name": "table", "type": "DataFrame", "shape": "2 rows x 1 column"},
        {"name": "double", "type": "function", "shape": ""},
    ]


async def test_a_digest_is_told_and_an_unknown_name_too(kernel: Kernel) -> None:
    await run(kernel, "rain = [1.5, 2.5]")
    assert await variables.digests(kernel, ["rain", "snow"]) == {
        "rain": "list, 2 items\n[1.5, 2.5]",
        "snow": None,
    }


async def test_a_look_leaves_no_trace(kernel: Kernel) -> None:
    await run(kernel, "x = [1]")
    before = await run(kernel, TRACES)
    # The second cell's own number and history line are all that may differ.
    again = await run(kernel, TRACES)
    await variables.list_variables(kernel)
    await variables.digests(kernel, ["x"])
    after = await run(kernel, TRACES)
    counts = [
        [int(number) for number in ran.text.split("\n")[1].split()]
        for ran in (before, again, after)
    ]
    assert [[b - a for a, b in zip(*pair, strict=True)] for pair in (counts[:2], counts[1:])] == [
        [1, 1],
        [1, 1],
    ]
    others = [ran.text.split("\n")[:1] + ran.text.split("\n")[3:] for ran in (again, after)]
    assert others[0] == others[1]
    assert "variables" not in after.text


async def test_a_look_counts_on_no_name_that_the_user_may_have_taken(kernel: Kernel) -> None:
    await run(kernel, "exec = type = print = list = dict = repr = json = getattr = len = 3")
    assert {"name": "exec", "type": "int", "shape": ""} in await variables.list_variables(kernel)
    assert await variables.digests(kernel, ["len"]) == {"len": "int\n3"}


async def test_a_busy_kernel_is_not_waited_for(
    kernel: Kernel, user: Notebook, tmp_path: Path
) -> None:
    await run(kernel, "x = 1")
    gate = Gate(tmp_path)
    cell = await user.begin(gate.code)
    with pytest.raises(BusyKernel, match="The kernel is busy: something runs in it"):
        await variables.list_variables(kernel)
    gate.open()
    assert await user.reply(cell) == "ok"
    assert (await variables.digests(kernel, ["x"]))["x"] == "int\n1"


async def test_a_run_of_ours_is_not_waited_for_either(kernel: Kernel, tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    running = asyncio.ensure_future(run(kernel, gate.code))
    await asyncio.sleep(0)
    with pytest.raises(BusyKernel):
        await variables.list_variables(kernel)
    gate.open()
    assert (await running).end.status == "ok"


async def test_values_that_take_too_long_or_fail_are_said_to(kernel: Kernel) -> None:
    await run(
        kernel,
        "import time\n"
        "class Slow:\n    def __repr__(self): time.sleep(60)\n"
        "class Bad:\n    def __repr__(self): print('printed'); raise ValueError('x')\n"
        "slow, bad, good = Slow(), Bad(), 1",
    )
    told = await variables.digests(kernel, ["slow", "bad", "good"])
    assert told == {
        "slow": "Slow\n[not shown: it took longer than 0.5 seconds]",
        "bad": "Bad\n[not shown: ValueError when it was looked at]",
        "good": "int\n1",
    }


async def test_what_cannot_be_stopped_by_a_clock_is_interrupted(kernel: Kernel) -> None:
    """With the clock taken away, as on a platform without it."""
    await run(
        kernel,
        "import signal, time\nsignal.setitimer(signal.ITIMER_REAL, 3600)\n"
        "class Slow:\n    def __repr__(self): time.sleep(60)\n"
        "slow = Slow()",
    )
    with pytest.raises(KernelError, match="could not be looked into: KeyboardInterrupt"):
        await variables.digests(kernel, ["slow"])
    ran = await run(kernel, "print(signal.setitimer(signal.ITIMER_REAL, 0)[0] > 0)")
    assert ran.text == "True\n"


async def test_halves_of_characters_go_no_further(kernel: Kernel) -> None:
    await run(kernel, "half = 'a\\ud83d\\x1b[31mb'")
    [told] = (await variables.digests(kernel, ["half"])).values()
    assert told is not None
    assert told.encode("utf-8")


async def test_of_a_kernel_that_was_shut_down_it_is_said(kernel_manager: Any) -> None:
    gone = Kernel(CaesarionKernel(), kernel_manager, await start(kernel_manager))
    await kernel_manager.shutdown_kernel(gone.id, now=True)
    assert await gone.state() == "failed"
    with pytest.raises(KernelError, match=r"The kernel was shut down\."):
        await variables.list_variables(gone)
