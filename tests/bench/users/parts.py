"""
What the parts have used: their own metrics, read before and after.

``process_cpu_seconds_total`` and ``process_resident_memory_bytes`` are there for each part. The
hub's also say how long it took no notice of anybody (its event loop's intervals).
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
import psutil

from tests.bench.users.hub import Hub, RefusedError

CPU, MEMORY = "process_cpu_seconds_total", "process_resident_memory_bytes"
_STILL = re.compile(r'jupyterhub_event_loop_interval_seconds_bucket\{le="(.+)"\}')

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
    try:
        async with hub.http.get(url, headers=hub.headers) as answer:
            text = await answer.text()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise RefusedError(f"{url} cannot be read: {error!r}.") from error
    metrics = parse(text) if answer.status == 200 else {}
    if CPU not in metrics:
        raise RefusedError(f"{url} shows no {CPU}: it answers {answer.status}.")
    return metrics


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
    """Return the longest time, in seconds and rounded up, in which the hub did one thing only."""
    earlier, later = before.parts["hub"], after.parts["hub"]
    counts = {
        float(found[1]): value - earlier.get(series, 0.0)
        for series, value in later.items()
        if (found := _STILL.fullmatch(series))
    }
    most = max(counts.values(), default=0.0)
    return min((bound for bound, count in counts.items() if count == most), default=0.0)
