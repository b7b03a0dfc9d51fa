"""Run all benchmarks, print one table."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.bench import chat, execute, gateway, start
from tests.bench.figures import Row, machine, table


async def _measure(folder: Path) -> list[Row]:
    rows: list[Row] = []
    for name, measuring in (
        ("the kernel", execute.measure()),
        ("the chat", chat.measure(folder)),
        ("the start", start.measure(folder)),
        ("the gateway", gateway.measure(folder / "gateway")),
    ):
        print(f"Measuring {name} ...", file=sys.stderr)
        rows += await measuring
    return rows


with tempfile.TemporaryDirectory() as scratch:
    where = machine()
    print(f"{table(asyncio.run(_measure(Path(scratch))))}\n\n{where}")
