"""
A user's server, started cold under a hub, over JupyterHub's own with plain JupyterLab.

By stages: the server's first answer, with its CPU and memory; then the result of ``1+1``,
asked for at once, and a second later, when the kernel that was started ahead is there. Then the
same of a server that waits for its user, from its claim, over our own cold start.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.figures import Row
from tests.fakes.bare_hub import BareHub, bare_hub
from tests.singleuser import JUPYTERHUBS, OURS, Singleuser, singleuser, warm_server

_RUNS = 7
_USER = "ada"
_PAUSE = 1.0
# What Caesarion brings, its own and Jupyter AI's parts of it.
_BROUGHT = (
    "caesarion",
    "jupyter_ai_chat_commands",
    "jupyter_ai_persona_manager",
    "jupyter_ai_router",
    "jupyterlab_chat",
)
PLAIN = tuple(f"--ServerApp.jpserver_extensions={name}=False" for name in _BROUGHT)


@dataclass(frozen=True)
class _Way:
    """How a server is started, and how long after its answer it is asked for ``1+1``."""

    ours: bool = True
    prewarm: bool = True
    warm: bool = False
    pause: float = 0.0


@dataclass(frozen=True)
class _Start:
    """Seconds, CPU seconds and resident MB of a start; seconds from the question to its result."""

    answer: float
    cpu: float
    memory: float
    result: float

    @property
    def both(self) -> float:
        """Seconds from the start to the result."""
        return self.answer + self.result


_OURS, _PLAINLY, _WARM = _Way(), _Way(ours=False), _Way(warm=True)
_LATER, _LATER_NONE, _LATER_PLAINLY = (
    _Way(pause=_PAUSE),
    _Way(prewarm=False, pause=_PAUSE),
    _Way(ours=False, pause=_PAUSE),
)


async def measure(folder: Path) -> list[Row]:
    """Start in each way in turn; nothing answers a model, since none is asked."""
    starts: dict[_Way, list[_Start]] = {
        way: [] for way in (_OURS, _PLAINLY, _WARM, _LATER, _LATER_NONE, _LATER_PLAINLY)
    }
    with bare_hub(_made(folder)) as hub:
        hub.add_user(_USER)
        for run in range(_RUNS + 1):
            for number, (way, samples) in enumerate(starts.items()):
                started = await _start(folder / f"{run}-{number}", hub, way)
                if run:  # The first of each reads the disk.
                    samples.append(started)

    def row(name: str, unit: str, figure: str, aim: str, *ways: _Way, over: str = "plain") -> Row:
        ours, bare = ([getattr(start, figure) for start in starts[way]] for way in ways)
        return Row(name, unit, ours, over, bare, aim)

    cold = "a cold start"
    later = f"1+1, asked {_PAUSE:g} s after that"
    return [
        row("start to first answer", "s", "answer", "ratio 0.8 or less", _OURS, _PLAINLY),
        row("CPU of it", "s", "cpu", "ratio 0.8 or less", _OURS, _PLAINLY),
        row("memory after it", "MB", "memory", "no more", _LATER_NONE, _LATER_PLAINLY),
        row("1+1, asked at once", "s", "result", "ratio 0.8 or less", _OURS, _PLAINLY),
        row("start to the result of it", "s", "both", "ratio 0.8 or less", _OURS, _PLAINLY),
        row(later, "s", "result", "ratio 0.3 or less", _LATER, _LATER_PLAINLY),
        row(later, "s", "result", "ratio 0.3 or less", _LATER, _LATER_NONE, over="no kernel ahead"),
        row("claim to first answer", "s", "answer", "ratio 0.2 or less", _WARM, _OURS, over=cold),
        row("CPU of it", "s", "cpu", "ratio 0.2 or less", _WARM, _OURS, over=cold),
        row(
            "claim to 1+1, asked at once", "s", "both", "ratio 0.3 or less", _WARM, _OURS, over=cold
        ),
    ]


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


async def _start(folder: Path, hub: BareHub, way: _Way) -> _Start:
    if way.warm:
        return await _claimed(folder, hub)
    began = time.perf_counter()
    with singleuser(
        folder,
        hub,
        _USER,
        command=OURS if way.ours else JUPYTERHUBS,
        environment={} if way.prewarm else {"CAESARION_KERNEL_PREWARM": "0"},
        arguments=() if way.ours else PLAIN,
    ) as server:
        return await _asked(server, way, began, 0.0)


async def _claimed(folder: Path, hub: BareHub) -> _Start:
    with warm_server(folder) as warm:
        await warm.wait()
        await asyncio.sleep(_PAUSE)  # for its kernel, too
        spent = sum(psutil.Process(warm.process.pid).cpu_times()[:2])
        began = time.perf_counter()
        return await _asked(await warm.claim(hub, _USER), _WARM, began, spent)


async def _asked(server: Singleuser, way: _Way, began: float, spent: float) -> _Start:
    """Return what the start took that ``began`` then, with ``spent`` CPU seconds before."""
    server.wait()
    answer = time.perf_counter() - began
    process = psutil.Process(server.process.pid)
    cpu = sum(process.cpu_times()[:2]) - spent
    await asyncio.sleep(way.pause)
    memory = process.memory_info().rss / 1e6
    asked = time.perf_counter()
    await (_ask if way.ours else _ask_plainly)(server)
    return _Start(answer, cpu, memory, time.perf_counter() - asked)


async def _ask(server: Singleuser) -> None:
    async with server.as_running().client() as http:
        done = await http.post("caesarion/api/execute", json={"code": "1+1", "session_id": "s"})
        assert '"2"' in done.raise_for_status().text


async def _ask_plainly(server: Singleuser) -> None:
    running = server.as_running()
    await running.run_cell(await running.start_kernel(), "1+1")
