"""
The gateway's own cost: time to the first token, CPU, and memory, against less.

Hub, provider, gateway and the pass-through that it is compared with are processes
of their own. The gateway keeps its ledger, its audit and budgets of each kind. The
provider paces its answers, so at a concurrency of 20 there are 20 streams under
way, each of another user, whose chunks come between. LiteLLM's proxy is measured
too where it is installed.
"""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from tests.bench.figures import Row
from tests.fakes.bare_hub import bare_hub
from tests.fakes.gateway_process import gateway_process
from tests.other_servers import LITELLM, litellm

SCOPE = "access:services!service=gateway"
_WORDS = 20
_PACE = 0.02
_PAUSE = 0.03
"""Seconds between two questions of one user, who reads meanwhile."""
_AIMS = {1: "+1.5 ms or less", 20: "+10 ms or less", 100: "twice the provider's or less"}
_AIM_OF_CPU = "2.5 times or less"
_ROUNDS = {1: 20, 20: 4, 100: 3}
_MANY = int(os.environ.get("BENCH_REQUESTS", "10000"))
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
class _Way:
    """A way to the provider: milliseconds to each first token, and the CPU of its process."""

    name: str
    url: str
    process: psutil.Process | None = None
    first: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def seconds(self) -> float:
        """Return the CPU seconds that its process has used."""
        return sum(self.process.cpu_times()[:2]) if self.process else 0.0


async def measure(folder: Path) -> list[Row]:
    """Measure each way in turn, at each concurrency; then the memory of many requests."""
    rows: list[Row] = []
    paced = {"text": [f"word{number} " for number in range(_WORDS)], "delay": _PACE}
    with _ways(folder / "paced", paced) as (ways, tokens):
        for streams in _AIMS:
            rows += await _at(ways, tokens, streams)
    with _ways(folder / "quick", {"text": ["now"]}) as (ways, tokens):
        rows += await _bare_cost(ways, tokens)
        rows.append(await _memory(ways[2], tokens))
    return rows


async def _at(ways: Sequence[_Way], tokens: Sequence[str], streams: int) -> list[Row]:
    for way in ways:
        way.first.clear()
    async with _client(streams) as client:
        for way in ways:
            await asyncio.gather(*(_ask(client, way.url, token) for token in tokens[:streams]))
        for _ in range(3):
            for way in ways:
                await asyncio.gather(
                    *(
                        _asker(client, way, tokens[number], number / streams, _ROUNDS[streams])
                        for number in range(streams)
                    )
                )
    direct, _, gateway, *others = ways
    rows = []
    for way in (gateway, *others):
        p99 = f"p99 {_p99(way.first):.3g} and {_p99(direct.first):.3g} ms"
        name = f"{way.name}: to the first token, {streams} at once"
        aim = _AIMS[streams] if way is gateway else "-"
        rows.append(
            Row(name, "ms", list(way.first), direct.name, list(direct.first), f"{aim}; {p99}")
        )
    return rows


async def _asker(
    client: aiohttp.ClientSession, way: _Way, token: str, late: float, rounds: int
) -> None:
    """Ask again and again, as one of many who do not all begin at once."""
    await asyncio.sleep(late * _WORDS * _PACE)
    for _ in range(rounds):
        way.first.append(await _ask(client, way.url, token))
        await asyncio.sleep(_PAUSE)


async def _bare_cost(ways: Sequence[_Way], tokens: Sequence[str]) -> list[Row]:
    """Return the CPU that a request of one word costs, beside the least that it can cost."""
    async with _client(1) as client:
        for way in ways[1:]:
            for token in tokens:
                await _ask(client, way.url, token)
        for _ in range(10):
            for way in ways[1:]:
                before = way.seconds()
                for token in tokens:
                    await _ask(client, way.url, token)
                way.cpu.append((way.seconds() - before) / len(tokens) * 1000)
    _, least, gateway, *others = ways
    return [
        Row(f"{way.name}: CPU a request", "ms", way.cpu, least.name, least.cpu, _AIM_OF_CPU)
        for way in (gateway, *others)
    ]


async def _memory(gateway: _Way, tokens: Sequence[str]) -> Row:
    """Return the memory after many requests, beside that after a tenth of them."""
    assert gateway.process
    async with _client(10) as client:
        sizes = []
        for _ in range(10):
            for _ in range(_MANY // 100):
                asked = [_ask(client, gateway.url, token) for token in tokens[:10]]
                await asyncio.gather(*asked)
            sizes.append(gateway.process.memory_info().rss / 2**20)
    name = f"{gateway.name}: memory after {_MANY:,} requests"
    return Row(name, "MiB", sizes[-1:], "after a tenth", sizes[:1], "flat")


@contextlib.contextmanager
def _ways(folder: Path, reply: dict[str, Any]) -> Iterator[tuple[list[_Way], list[str]]]:
    """Provide the ways, the bare one first and then the least, and tokens of many users."""
    (folder / "hub").mkdir(parents=True)
    script = folder / "script.json"
    script.write_text(json.dumps([reply]))
    provider = ["tests.fakes.openai_server", "--loop", f"--script={script}"]
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(bare_hub(folder / "hub"))
        users = [f"user-{number}" for number in range(max(_AIMS))]
        for user in users:
            hub.add_user(user)
        direct, _ = stack.enter_context(_running(provider))
        least, process = stack.enter_context(_running(["tests.bench.pass_through", direct]))
        settings = folder / "gateway.yaml"
        database = {"url": f"sqlite:///{folder}/gateway.sqlite"}
        settings.write_text(json.dumps({**_VALUES, "baseUrl": direct, "database": database}))
        told = {"JUPYTERHUB_API_URL": hub.api_url, "CAESARION_GATEWAY_CONFIG": str(settings)}
        gateway = stack.enter_context(gateway_process(folder, told))
        ways = [
            _Way("the provider alone", direct),
            _Way("a pass-through", least, process),
            _Way("the gateway", gateway.base_url, psutil.Process(gateway.process.pid)),
        ]
        if LITELLM.exists():
            proxy = stack.enter_context(litellm(folder, direct))
            ways.append(_Way("LiteLLM", proxy.base_url, psutil.Process(proxy.process.pid)))
        yield ways, [hub.make_token(user, [SCOPE]) for user in users]


@contextlib.contextmanager
def _running(words: Sequence[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Run a module that prints its address."""
    command = [sys.executable, "-m", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip(), psutil.Process(process.pid)
        finally:
            process.terminate()


@contextlib.asynccontextmanager
async def _client(streams: int) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=streams)) as client:
        yield client


async def _ask(client: aiohttp.ClientSession, url: str, token: str) -> float:
    """Return the milliseconds to the first token, after reading the whole answer."""
    began = time.perf_counter()
    first = 0.0
    headers = {"Authorization": f"Bearer {token}"}
    async with client.post(f"{url}/chat/completions", json=_BODY, headers=headers) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if not first and _has_word(line):
                first = time.perf_counter() - began
    return first * 1000


def _has_word(line: bytes) -> bool:
    said = json.loads(line[6:]) if line.startswith(b"data: {") else {}
    return any(choice["delta"].get("content") for choice in said.get("choices", ()))


def _p99(samples: Sequence[float]) -> float:
    return statistics.quantiles(samples, n=100)[-1]
