"""
From the click to the first result on a cluster, when a warm server waits, beside a cold start.

The cluster is that of ``cluster``, and so is what is measured. Homes are no volumes. Between two
measurements the pool is full again.
"""

import asyncio
from pathlib import Path

import aiohttp

from tests.bench.cluster import BOTH, STAGES, Figures, Side, converse
from tests.bench.figures import Row
from tests.cluster.harness import Installation, open_any_cluster

_AT_ONCE = {1: 7, 20: 2}
"""How often so many click at once."""

_AIMS = {1: "0.5 s or less", 20: "2 s or less"}


async def measure(folder: Path) -> list[Row]:
    """Measure cold starts, then warm ones."""
    with (
        open_any_cluster(folder) as cluster,
        Installation.installed(cluster, "bench-warm", BOTH) as chart,
    ):
        side = Side(chart, converse)
        await side.prepare(max(_AT_ONCE))
        await side.measure(1, Figures())  # reads the disk, and is not counted
        cold = {count: await _measured(side, count, 0) for count in _AT_ONCE}
        chart.upgrade(values=({"singleuser": {"warm": {"replicas": max(_AT_ONCE)}}},))
        warm = {count: await _measured(side, count, max(_AT_ONCE)) for count in _AT_ONCE}
    return [row for count in _AT_ONCE for row in _rows(count, warm[count], cold[count])]


async def _measured(side: Side, count: int, waiting: int) -> Figures:
    """Measure starts of ``count`` at once, each time when so many servers are ``waiting``."""
    figures = Figures()
    for _ in range(_AT_ONCE[count]):
        if waiting:
            await _wait_for(side, waiting)
        await side.measure(count, figures)
    return figures


async def _wait_for(side: Side, waiting: int) -> None:
    name = 'caesarion_warm_pods{state="ready"}'
    async with aiohttp.ClientSession() as http, asyncio.timeout(600):
        while await side.metric(http, name) < waiting:  # noqa: ASYNC110
            await asyncio.sleep(1)


def _rows(count: int, warm: Figures, cold: Figures) -> list[Row]:
    name = "cold"
    return [
        *(
            Row(f"{count}, warm: {stage}", "s", warm.stages[stage], name, cold.stages[stage], aim)
            for stage in STAGES
            for aim in (_AIMS[count] if stage == STAGES[-1] else "",)
        ),
        Row(f"{count}, warm: the hub's CPU for each", "ms", warm.cpu, name, cold.cpu, ""),
    ]
