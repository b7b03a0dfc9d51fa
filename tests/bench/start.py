"""A user's server, started cold, over plain JupyterLab: time, CPU and memory."""

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.bench.figures import Row
from tests.server import running_server

_RUNS = 7
_LAB = ("--ServerApp.jpserver_extensions=jupyterlab=True",)
# What Caesarion brings, its own and Jupyter AI's parts of it.
_BROUGHT = (
    "caesarion",
    "jupyter_ai_chat_commands",
    "jupyter_ai_persona_manager",
    "jupyter_ai_router",
    "jupyterlab_chat",
)
_PLAIN = tuple(f"--ServerApp.jpserver_extensions={name}=False" for name in _BROUGHT)


async def measure(folder: Path) -> list[Row]:
    """Start both in turn; nothing answers a model, since none is asked."""
    ours: list[tuple[float, float, float]] = []
    plain: list[tuple[float, float, float]] = []
    for run in range(_RUNS + 1):
        plain.append(await _start(folder / f"plain-{run}", _PLAIN))
        ours.append(await _start(folder / f"ours-{run}", ()))
    # The first of each reads the disk.
    rows = zip(
        ("start to first answer", "CPU of it", "memory after it"),
        ("s", "s", "MB"),
        zip(*ours[1:], strict=True),
        zip(*plain[1:], strict=True),
        ("+0.35 s or less", "", "+20 MB or less"),
        strict=True,
    )
    return [Row(name, unit, a, "JupyterLab", b, aim) for name, unit, a, b, aim in rows]


async def _start(folder: Path, arguments: Sequence[str]) -> tuple[float, float, float]:
    """Return seconds to the first answer of the API, CPU seconds by then, and resident MB."""
    began = time.perf_counter()
    with running_server(
        folder, model_url="http://127.0.0.1:9/v1", arguments=(*_LAB, *arguments)
    ) as server:
        async with server.client() as http:
            (await http.get("api")).raise_for_status()
        seconds = time.perf_counter() - began
        process = psutil.Process(server.process.pid)
        cpu = sum(process.cpu_times()[:2])
        await asyncio.sleep(1)  # What runs just after the start counts as memory too.
        return seconds, cpu, process.memory_info().rss / 1e6
