"""
The gateway's own cost: time to the first token, and CPU, against the provider alone.

Hub, provider and gateway are processes of their own; the gateway keeps its ledger,
its audit and budgets of each kind. The provider paces its answers, so that at a
concurrency of 20 there are 20 streams under way, whose chunks are between.
"""

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.bench.figures import Row
from tests.fakes.bare_hub import bare_hub
from tests.fakes.gateway_process import gateway_process

SCOPE = "access:services!service=gateway"
_WORDS = 20
_PACE = 0.02
_AIMS = {1: "2 ms or less more", 20: "10 ms or less more", 100: "-"}
_ROUNDS = {1: 100, 20: 10, 100: 4}
_MEMORY_REQUESTS = 10_000
_BODY = {
    "model": "gpt-4.1",
    "messages": [{"role": "user", "content": "go"}],
    "stream": True,
    "stream_options": {"include_usage": True},
}
_VALUES = {
    "prices": {"gpt-4.1": {"prompt": 2, "completion": 8}},
    "budgets": [
        {"scope": "user", "window": "day", "tokens": 10**9},
        {"scope": "group", "window": "week", "money": 10**6},
        {"scope": "everyone", "window": "month", "tokens": 10**12, "money": 10**6},
    ],
    "limits": {"requestsPerMinute": 10**6, "concurrentStreams": 1000},
}


@dataclass
class _Run:
    """What one way took: seconds to each first token, and the gateway's CPU seconds a request."""

    first: list[float] = field(default_factory=list)
    cpu: float = 0.0


async def measure(folder: Path) -> list[Row]:
    """Measure at each concurrency, each way in turn."""
    rows: list[Row] = []
    reply = {"text": [f"word{number} " for number in range(_WORDS)], "delay": _PACE}
    with _setting(folder, reply) as setting:
        for streams, aim in _AIMS.items():
            rows += await _at(setting, streams, aim)
    return rows


@dataclass(frozen=True)
class _Setting:
    """Where each way begins, and the gateway's process."""

    direct: str
    gateway: str
    token: str
    process: psutil.Process


@contextlib.contextmanager
def _setting(folder: Path, reply: dict[str, Any]) -> Iterator[_Setting]:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hub").mkdir()
    script = folder / "script.json"
    script.write_text(json.dumps([reply]))
    command = [sys.executable, "-m", "tests.fakes.openai_server", "--loop", f"--script={script}"]
    with (
        bare_hub(folder / "hub") as hub,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as provider,
    ):
        try:
            assert provider.stdout
            direct = provider.stdout.readline().strip()
            values = {
                **_VALUES,
                "baseUrl": direct,
                "database": {"url": f"sqlite:///{folder}/gateway.sqlite"},
            }
            settings = folder / "gateway.yaml"
            settings.write_text(json.dumps(values))
            hub.add_user("ada")
            told = {"JUPYTERHUB_API_URL": hub.api_url, "CAESARION_GATEWAY_CONFIG": str(settings)}
            with gateway_process(folder, told) as gateway:
                token = hub.make_token("ada", [SCOPE])
                process = psutil.Process(gateway.process.pid)
                yield _Setting(direct, gateway.base_url, token, process)
        finally:
            provider.terminate()


async def _at(setting: _Setting, streams: int, aim: str) -> list[Row]:
    direct, through = _Run(), _Run()
    async with _client(setting, streams) as client:
        await _ask(client, setting.direct)
        await _ask(client, setting.gateway)
        for _ in range(_ROUNDS[streams]):
            direct.first += await _round(client, setting.direct, streams)
            before = sum(setting.process.cpu_times()[:2])
            through.first += await _round(client, setting.gateway, streams)
            through.cpu += sum(setting.process.cpu_times()[:2]) - before
    through.cpu /= len(through.first)
    p99 = f"p99 {_p99(through.first):.3g} ms, without {_p99(direct.first):.3g} ms"
    name = f"to the first token, {streams} at once"
    return [
        Row(name, "ms", through.first, "without the gateway", direct.first, f"{aim}; {p99}"),
        Row(
            f"the gateway's CPU a request of {_WORDS} words, {streams} at once",
            "ms",
            [through.cpu * 1000],
            "a pass-through, as measured once",
            [0.9],
            "2 ms or less" if streams == 1 else "-",
        ),
    ]


@contextlib.asynccontextmanager
async def _client(setting: _Setting, streams: int) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {setting.token}"},
        connector=aiohttp.TCPConnector(limit=streams),
    ) as client:
        yield client


async def _round(client: aiohttp.ClientSession, url: str, streams: int) -> list[float]:
    return list(await asyncio.gather(*(_ask(client, url) for _ in range(streams))))


async def _ask(client: aiohttp.ClientSession, url: str) -> float:
    """Return the milliseconds to the first token, after reading the whole answer."""
    began = time.perf_counter()
    first = 0.0
    async with client.post(f"{url}/chat/completions", json=_BODY) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if not first and b'"content": "w' in line:
                first = time.perf_counter() - began
    return first * 1000


def _p99(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=100)[-1]


if __name__ == "__main__":
    import tempfile

    from tests.bench.figures import machine, table

    with tempfile.TemporaryDirectory() as scratch:
        where = machine()
        print(f"{table(asyncio.run(measure(Path(scratch))))}\n\n{where}")
