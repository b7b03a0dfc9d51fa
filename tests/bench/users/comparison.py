"""A short simulation for ``make bench``: a hundred users beside ten, on the tests' cluster."""

from pathlib import Path

from tests.bench.figures import Row
from tests.bench.users import report
from tests.bench.users.cluster import running_target
from tests.bench.users.crowd import PAGE, START, WORD, Crowd, Plan, Size
from tests.bench.users.hub import Hub

_PLAN = Plan(sizes=(10, 100), seconds=10, burst=100, questions=6)


async def measure(folder: Path) -> list[Row]:
    """Measure what each waits for, and what the hub needs."""
    with running_target(folder) as target:
        async with Hub.connect(target.url, target.token) as hub:
            few, many = await Crowd(hub, _PLAN, target.proxy).measure()
    for size in (few, many):
        assert not size.samples.failures, size.samples.failures
    return _rows(few, many)


def _rows(few: Size, many: Size) -> list[Row]:
    aims = {START: "", PAGE: "300 ms or less", WORD: ""}
    name, bare = f"{many.users} users", f"{few.users} users"
    return [
        *(
            Row(f"{name}: {kind}", "ms", _ms(many, kind), bare, _ms(few, kind), aim)
            for kind, aim in aims.items()
        ),
        *(
            Row(
                f"{name}: {figure.name}", figure.unit, [figure.of(many)], bare, [figure.of(few)], ""
            )
            for figure in report.figures_of("hub", _PLAN)
        ),
    ]


def _ms(size: Size, kind: str) -> list[float]:
    return [1000 * seconds for seconds in size.samples.seconds[kind]]
