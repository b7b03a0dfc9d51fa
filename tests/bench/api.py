"""What the api service adds to calls of a user's server, which go through the proxy either way."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.bench.figures import Row
from tests.hub import RunningHub, running_hub

_WARM_UP = 20
_PAIRS = 150
_EVENTS = 2000
_ROUNDS = 3
_CLIENTS = 50
_RUNS = 1000

Run = Callable[[str], Awaitable[int]]
"""Runs code in the session that all share, and returns how many lines came."""


async def measure(folder: Path) -> list[Row]:
    """Run the same code through the service and past it, in turn, with the same client."""
    with running_hub(make_folder(folder), values={"api": {"enabled": True}}) as hub:
        ada = hub.login("ada")
        ada.start_server()
        headers = {"Authorization": f"token {ada.token()}"}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=hub.url, headers=headers, timeout=300, limits=limits
        ) as http:
            through = _runner(http, "/services/api/sandboxes/home/execute")
            past = _runner(http, "/user/ada/caesarion/api/execute")
            return await _rows(hub, through, past)


def make_folder(folder: Path) -> Path:
    """Make the folder of the hub's state."""
    folder.mkdir(parents=True)
    return folder / "state"


def _runner(http: httpx.AsyncClient, path: str) -> Run:
    async def run(code: str) -> int:
        count = 0
        body: dict[str, Any] = {"code": code, "session_id": "bench"}
        async with http.stream("POST", path, json=body) as answer:
            assert answer.status_code == 200
            async for line in answer.aiter_lines():
                count += bool(line)
        return count

    return run


async def _rows(hub: RunningHub, through: Run, past: Run) -> list[Row]:
    for _ in range(_WARM_UP):
        await through("1+1")
        await past("1+1")
    ours, bare = await _in_turn(through, past, lambda run: run("1+1"), _PAIRS)

    async def events(run: Run) -> float:
        return await run(f"for n in range({_EVENTS}): display(n)")

    often, often_bare = await _in_turn(through, past, events, _ROUNDS)
    rates = [[_EVENTS / seconds for seconds in samples] for samples in (often, often_bare)]

    async def crowd(run: Run) -> None:
        await asyncio.gather(*(run("1+1") for _ in range(_CLIENTS)))

    many, many_bare = await _in_turn(through, past, crowd, _ROUNDS)
    (process,) = [one for one in hub.processes() if "caesarion_hub.api" in one.cmdline()]
    before, worked = _megabytes(process), _cpu(process)
    for _ in range(_RUNS):
        await through("1+1")
    cpu = 1000 * (_cpu(process) - worked) / _RUNS
    direct = "user's server"
    return [
        Row("1+1 by the API", "ms", _ms(ours), direct, _ms(bare), "difference 8 ms or less"),
        Row("CPU of the API for 1+1", "ms", [cpu], "one core, 1 ms", [1.0], "ratio 4 or less"),
        Row("events by the API", "/s", rates[0], direct, rates[1], "ratio 0.5 or more"),
        Row(
            *(f"1+1 of {_CLIENTS} clients by the API", "ms", _ms(many)),
            *(direct, _ms(many_bare), "ratio 2 or less"),
        ),
        Row(
            *(f"memory of the API after {_RUNS} runs", "MB", [_megabytes(process)]),
            *("before", [before], "ratio 1.05 or less"),
        ),
    ]


async def _in_turn(
    through: Run, past: Run, work: Callable[[Run], Awaitable[object]], times: int
) -> tuple[list[float], list[float]]:
    """Return the seconds that ``work`` takes each time, with either."""
    taken: dict[Run, list[float]] = {through: [], past: []}
    for _ in range(times):
        for run, samples in taken.items():
            began = time.perf_counter()
            await work(run)
            samples.append(time.perf_counter() - began)
    return taken[through], taken[past]


def _ms(samples: list[float]) -> list[float]:
    return [1000 * sample for sample in samples]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _megabytes(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 1e6
