"""
The share of a journal in the CPU of a run of 10,000 outputs: the server's and the kernel's.

Both are measured in the same run: two runs of this length differ by more than the journal takes.
"""

import contextlib
import time
from pathlib import Path

import psutil
from caesarion.config import CaesarionKernel, CaesarionRuns
from caesarion.events import StatusChange
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.run import RunEnd
from caesarion.runs.run import Subject
from caesarion.runs.store import Runs
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from tests.bench.figures import Row

_OUTPUTS = 10_000
_RUNS = 3
_CODE = f"""\
from IPython.display import display
for number in range({_OUTPUTS}):
    display({{"text/html": f"<b>{{number}}</b>"}}, raw=True)"""


async def measure(folder: Path) -> list[Row]:
    """Run the code some times."""
    kernel_manager = AsyncMappingKernelManager()  # type: ignore[no-untyped-call]
    kernel_id = await kernel_manager.start_kernel()
    kernel = Kernel(CaesarionKernel(max_outputs=2 * _OUTPUTS), kernel_manager, kernel_id)
    runs = Runs(CaesarionRuns(), folder, 0)
    try:
        samples = [await _run(kernel, runs) for _ in range(_RUNS)]
    finally:
        await kernel.close()
        await kernel_manager.shutdown_all(now=True)
    ours, bare = zip(*samples, strict=True)
    return [Row(f"{_OUTPUTS:,} outputs", "ms", ours, "no journal", bare, "ratio 1.05 or less")]


async def _run(kernel: Kernel, runs: Runs) -> tuple[float, float]:
    """Return the milliseconds of CPU of a run, with those of the journal and without."""
    began, journal, shown = _cpu(kernel), 0.0, 0
    recording = runs.record(Subject("execute"), lambda: None)
    async with contextlib.aclosing(kernel.run(_CODE)) as steps:
        async for step in steps:
            if not isinstance(step, StatusChange | RunEnd):
                clock, before = time.thread_time(), time.thread_time()
                recording.step(step)
                # Less what it costs to read the clock, which is a call of the system.
                journal += time.thread_time() - before - (before - clock)
                shown += 1
    before = time.process_time()
    await recording.end("completed")
    journal += time.process_time() - before
    spent = _cpu(kernel) - began
    assert shown == _OUTPUTS + 1
    return spent * 1000, (spent - journal) * 1000


def _cpu(kernel: Kernel) -> float:
    """Return the seconds of CPU that this process and the kernel have used."""
    times = psutil.Process(kernel.process_id).cpu_times()
    return time.process_time() + times.user + times.system
