"""
What the parts have used: their own metrics, read before and after.

``process_cpu_seconds_total`` and ``process_resident_memory_bytes`` are there for each part. The
hub's also say how long it took no notice of anybody (its event loop's intervals).
"""

import asyncio
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import psutil

from tests.bench.users.hub import Hub, RefusedError

CPU, MEMORY = "process_cpu_seconds_total", "process_resident_memory_bytes"
_STILL = re.compile(r'jupyterhub_event_loop_interval_seconds_bucket\{le="(.+)"\}')

_PAUSES = (0, 1, 5, 15, 30)
"""Seconds before each try to read metrics; made-up numbers."""

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Reading:
    """The metrics of each part at a moment, in seconds."""

    at: float
    parts: Mapping[str, Metrics]


async def read(hub: Hub, proxy: str) -> Reading:
    """Read hub, gateway and, where its address is known, proxy; and this process."""
    addresses = {"hub": f"{hub.url}/hub/metrics", "gateway": f"{hub.url}/services/gateway/metrics"}
    parts = {name: await _scrape(hub, url) for name, url in addresses.items()}
    if proxy:
        parts["proxy"] = await _scrape(hub, proxy)
    here = psutil.Process()
    with here.oneshot():
        used = {CPU: sum(here.cpu_times()[:2]), MEMORY: float(here.memory_info().rss)}
    return Reading(time.perf_counter(), {**parts, "simulator": used})


async def _scrape(hub: Hub, url: str) -> Metrics:
    """Read metrics, also of a part that has more to do than it can and answers late."""
    why = ""
    for pause in _PAUSES:
        await asyncio.sleep(pause)
        try:
            async with hub.http.get(url, headers=hub.headers) as answer:
                metrics = parse(await answer.text()) if answer.status == 200 else {}
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = repr(error)
            continue
        if CPU in metrics:
            return metrics
        why = f"it answers {answer.status}"
        if answer.status < 500:
            break
    raise RefusedError(f"{url} shows no {CPU}: {why}.")


def parse(text: str) -> Metrics:
    """Return the series of Prometheus' text, by name and labels as they are written."""
    lines = [line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#"]
    return {name: float(value) for name, _, value in lines}


def used(part: str, before: Reading, after: Reading) -> float:
    """Return the CPU seconds of a part between two readings."""
    return after.parts[part][CPU] - before.parts[part][CPU]


def megabytes(part: str, reading: Reading) -> float:
    """Return the memory of a part."""
    return reading.parts[part][MEMORY] / 1e6


def stood_still(before: Reading, after: Reading) -> float:
    """
    Return the longest time in which the hub did one thing only.

    In seconds, rounded up to a bound of its histogram; the greatest stands for all above it.
    """
    earlier, later = before.parts["hub"], after.parts["hub"]
    counts = {
        float(found[1]): value - earlier.get(series, 0.0)
        for series, value in later.items()
        if (found := _STILL.fullmatch(series))
    }
    most = max(counts.values(), default=0.0)
    finite = [bound for bound in counts if bound < math.inf]
    return min((bound for bound in finite if counts[bound] == most), default=max(finite, default=0))
