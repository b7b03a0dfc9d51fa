"""How a measurement is told: medians, p95 and ratios, in one table."""

import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Row:
    """One figure of ours beside the bare one, each as samples in ``unit``; ``aim`` in words."""

    name: str
    unit: str
    ours: Sequence[float]
    bare_name: str
    bare: Sequence[float]
    aim: str

    @property
    def ratio(self) -> float:
        """Ours over the bare one, of the medians."""
        return statistics.median(self.ours) / statistics.median(self.bare)


def p95(samples: Sequence[float]) -> float:
    """Return the 95th percentile, by nearest rank."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]


def machine() -> str:
    """Say what machine this is."""
    return (
        f"{_processor()}, {psutil.cpu_count()} cores, "
        f"{psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}, load {psutil.getloadavg()[0]:.1f} before"
    )


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| figure | ours: median, p95 | bare: median, p95 | ratio | difference | aim |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        gap = statistics.median(row.ours) - statistics.median(row.bare)
        lines.append(
            f"| {row.name} | {_pair(row.ours)} {row.unit} | {_pair(row.bare)} {row.unit} "
            f"({row.bare_name}) | {row.ratio:.2f} | {gap:+.3g} {row.unit} | {row.aim} |"
        )
    return "\n".join(lines)


def _pair(samples: Sequence[float]) -> str:
    return f"{statistics.median(samples):.3g}, {p95(samples):.3g}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
