"""The report of a simulation, in Markdown."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from tests.bench.figures import machine, p95
from tests.bench.users import parts
from tests.bench.users.crowd import (
    CHECKS_EVERY,
    PAGES_EVERY,
    POLLS_EVERY,
    REPORTS_EVERY,
    Plan,
    Size,
)

_CORES = 1.0
"""What the hub, the proxy and one gateway can use: each is one thread."""

_FAILED = 0.01
"""The share of failed requests from which nothing is extrapolated; a made-up number."""

_REASONS = 3
"""Reasons of failures that are named for each kind."""


@dataclass(frozen=True)
class Figure:
    """A number that each size has, with its name and unit; ``is_linear``: it grows with users."""

    name: str
    unit: str
    of: Callable[[Size], float]
    is_linear: bool = False


def make_report(sizes: Sequence[Size], plan: Plan, where: str, count: int) -> str:
    """Return the report; what ``count`` users would need is extrapolated if they are no size."""
    users = " and ".join(f"{size.users:,}" for size in sizes)
    parts_of_it = [
        f"# {count:,} simulated users",
        f"{where} On {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {users} users with open chats for "
        f"{plan.seconds:.0f} s; the simulator ran on {machine()}.",
        _rates(plan),
        "## What users wait for",
        _waits(sizes),
        *_failures(sizes),
        "## What it costs",
        _costs(sizes, count, plan),
        *_notes(sizes, count, plan),
    ]
    return "\n\n".join(parts_of_it)


def _rates(plan: Plan) -> str:
    servers = f"{plan.burst} servers start at a time" if plan.burst else "no servers are started"
    polls = f" and its page asks it every {POLLS_EVERY:.0f} s" if plan.burst else ""
    return (
        f"For each user a server reports activity every {REPORTS_EVERY:.0f} s, asks the hub whose "
        f"token it is every {CHECKS_EVERY:.0f} s{polls}, and the model is asked "
        f"{plan.questions:g} times a minute. The hub's pages are asked for every "
        f"{PAGES_EVERY:g} s; {servers}."
    )


def _waits(sizes: Sequence[Size]) -> str:
    kinds = dict.fromkeys(kind for size in sizes for kind in size.samples.kinds())
    heads = [f"{size.users:,} users: p50, p95, worst | failed" for size in sizes]
    lines = [_line("", *heads), _rule(2 * len(sizes))]
    for kind in kinds:
        cells = []
        for size in sizes:
            taken = size.samples.seconds.get(kind, ())
            lost = sum(size.samples.failures.get(kind, {}).values())
            cells += [_three(taken), f"{lost:,} of {len(taken) + lost:,}"]
        lines.append(_line(kind, *cells))
    return "\n".join(lines)


def _three(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    three = (statistics.median(seconds), p95(seconds), max(seconds))
    unit, scale = ("s", 1) if max(three) >= 1 else ("ms", 1000)
    return f"{', '.join(f'{_number(scale * value)}' for value in three)} {unit}"


def _number(value: float) -> str:
    """Return a number with three digits that count, and no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _failures(sizes: Sequence[Size]) -> list[str]:
    lines = [
        f"- {size.users:,} users, {kind}: {number:,} times {reason}"
        for size in sizes
        for kind, reasons in size.samples.failures.items()
        for reason, number in reasons.most_common(_REASONS)
    ]
    return ["Failures:\n\n" + "\n".join(lines)] if lines else []


def _costs(sizes: Sequence[Size], count: int, plan: Plan) -> str:
    extrapolated = count not in [size.users for size in sizes] and not _overloaded(sizes)
    heads = [f"{size.users:,} users" for size in sizes]
    heads += [f"{count:,}, extrapolated"] if extrapolated else []
    lines = [_line("", *heads), _rule(len(heads))]
    figures = [one for part in sizes[-1].worked.parts for one in figures_of(part, plan)]
    for figure in figures:
        values = [figure.of(size) for size in sizes]
        if extrapolated and figure.is_linear:
            values.append(extrapolate([size.users for size in sizes], values, count))
        cells = [f"{_number(value)} {figure.unit}" for value in values]
        lines.append(_line(figure.name, *cells, *["-"] * (len(heads) - len(cells))))
    return "\n".join(lines)


def figures_of(part: str, plan: Plan) -> list[Figure]:
    """Return what is told of a part."""
    figures = [
        Figure(f"{part}: CPU while chats are open", "cores", _cores(part), is_linear=True),
        Figure(f"{part}: memory", "MB", _memory(part), is_linear=True),
    ]
    if part != "hub":
        return figures
    if plan.burst:
        starts = Figure("starts", "/s", lambda size: size.arrived / _seconds_of_starts(size))
        figures = [starts, Figure("hub: CPU for each start", "ms", _cpu_of_start), *figures]
    return [*figures, Figure("hub: answered nobody for, at most", "s", _stood_still)]


def _stood_still(size: Size) -> float:
    return parts.stood_still(size.started, size.worked)


def _cores(part: str) -> Callable[[Size], float]:
    def cores(size: Size) -> float:
        seconds = size.worked.at - size.started.at
        return parts.used(part, size.started, size.worked) / seconds

    return cores


def _memory(part: str) -> Callable[[Size], float]:
    return lambda size: parts.megabytes(part, size.worked)


def _seconds_of_starts(size: Size) -> float:
    return size.started.at - size.came.at


def _cpu_of_start(size: Size) -> float:
    return 1000 * parts.used("hub", size.came, size.started) / size.arrived


def extrapolate(users: Sequence[int], values: Sequence[float], count: int) -> float:
    """Return the value at ``count`` on the straight line through the last two sizes."""
    (earlier, later), (low, high) = users[-2:], values[-2:]
    return high + (high - low) / (later - earlier) * (count - later)


def _overloaded(sizes: Sequence[Size]) -> bool:
    return any(size.samples.failed_share() > _FAILED for size in sizes)


def _notes(sizes: Sequence[Size], count: int, plan: Plan) -> list[str]:
    users = [size.users for size in sizes]
    if count in users:
        return []
    if _overloaded(sizes):
        return [
            f"{count:,} users are not extrapolated: too many requests failed, and a failed one "
            "costs less. Choose smaller --sizes."
        ]
    notes = [
        f"{count:,} users were not measured: the last column is the straight line through the "
        f"figures of {users[-2]:,} and {users[-1]:,}. Waiting and starts are not "
        "extrapolated: both get worse without bound where a part comes near one core."
    ]
    for part in ("hub", "gateway", "proxy"):
        if part in sizes[-1].worked.parts:
            needed = extrapolate(users, [_cores(part)(size) for size in sizes], count)
            if needed >= _CORES:
                notes.append(
                    f"**{count:,} users are too many for one {part}**: it would need "
                    f"{needed:.1f} cores, and uses one."
                )
    return notes


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rule(columns: int) -> str:
    return "|---" * (columns + 1) + "|"
