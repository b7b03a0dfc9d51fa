"""
Run all benchmarks, or those that are named, and print one table: ``... cluster start``.

``... users`` alone has arguments of its own, and a report.
"""

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench import (
    api,
    chat,
    cluster,
    execute,
    first_login,
    gateway,
    hub,
    page,
    runs,
    start,
    warm,
)
from tests.bench.figures import Row, machine, table
from tests.bench.users import command, comparison

_ALL: dict[str, Callable[[Path], Awaitable[list[Row]]]] = {
    "execute": lambda _: execute.measure(),
    "runs": runs.measure,
    "chat": chat.measure,
    "start": start.measure,
    "page": page.measure,
    "first_login": first_login.measure,
    "gateway": gateway.measure,
    "api": api.measure,
    "hub": hub.measure,
    "cluster": cluster.measure,
    "warm": warm.measure,
    "users": comparison.measure,
}


async def _measure(folder: Path, names: list[str]) -> list[Row]:
    rows: list[Row] = []
    for name in names:
        print(f"Measuring {name} ...", file=sys.stderr)
        rows += await _ALL[name](folder / name)
    return rows


if sys.argv[1:2] == ["users"]:
    sys.exit(command.main(sys.argv[2:]))
if unknown := set(sys.argv[1:]) - set(_ALL):
    sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}. There are {', '.join(_ALL)}.")
with tempfile.TemporaryDirectory() as scratch:
    where = machine()
    rows = asyncio.run(_measure(Path(scratch), sys.argv[1:] or list(_ALL)))
    print(f"{table(rows)}\n\n{where}")
