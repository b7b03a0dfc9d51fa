"""
Draw a dashboard's panels from what a Prometheus answers to their queries.

Called by ``dashboards.py``. This is no Grafana: it lays out the panels as the dashboard's JSON
says, asks the same queries over time, and draws lines, areas and numbers with matplotlib.
"""

import math
import re
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from PIL import Image

from tests.prometheus import Json, Prometheus, filled

COLUMNS, ROW, MARGIN = 24, 30, 8  # Grafana's columns; pixels of a row, and between panels
WIDTH, TOP, DPI = 1500, 52, 100  # pixels
PAGE, PANEL, INK, FAINT, LINE = "#f4f5f7", "#ffffff", "#24292e", "#6a737d", "#e1e4e8"
COLORS = ("#3274d9", "#e0752d", "#37872d", "#8f3bb8", "#c4162a", "#0a9aa5", "#b8860b", "#6a737d")
GOOD, BAD = "#2b8a3e", "#c4162a"
FONT = {"family": "DejaVu Sans"}


def number(value: float) -> str:
    """Return a number with at most three digits that matter, and no zeros behind the point."""
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            return f"{number(value / (1e3 if suffix == 'k' else limit))}{suffix}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    if 0 < abs(value) < 0.1:
        digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(value: float) -> str:
    """Return a time in milliseconds, seconds or minutes."""
    if value == 0 or 1 <= abs(value) < 120:
        return f"{number(value)} s"
    return f"{number(value * 1000)} ms" if abs(value) < 1 else f"{number(value / 60)} min"


def size(value: float) -> str:
    """Return a number of bytes."""
    for limit, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if abs(value) >= limit:
            return f"{number(value / limit)} {unit}"
    return f"{number(value)} B"


UNITS: dict[str, Callable[[float], str]] = {
    "short": number,
    "s": seconds,
    "bytes": size,
    "percentunit": lambda value: f"{number(100 * value)} %",
    "currencyUSD": lambda value: f"${number(value)}",
    "reqps": number,
    "bool_yes_no": lambda value: "Yes" if value else "No",
}
"""How a value is written in each of Grafana's units that the dashboards use."""


class Drawing:
    """Dashboards of a release between two moments, in seconds since 1970."""

    def __init__(
        self, prometheus: Prometheus, namespace: str, users: str, begin: float, end: float
    ) -> None:
        self._prometheus = prometheus
        self._names = {"namespace": namespace, "users": users}
        self._step = max(5, round(end - begin) // 160)
        self._when = [datetime.fromtimestamp(at, UTC) for at in (begin, end)]

    def draw(self, dashboard: Json, file: Path) -> None:
        """Write the dashboard's picture."""
        rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
        height = TOP + rows * ROW + MARGIN
        with mpl.rc_context({"font.family": [FONT["family"]], "font.size": 8}):
            figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=PAGE)
            self._figure, self._height = figure, height
            figure.text(
                2 * MARGIN / WIDTH, 1 - 18 / height, dashboard["title"],
                fontsize=13, color=INK, weight="bold", va="center",
            )  # fmt: skip
            figure.text(
                2 * MARGIN / WIDTH, 1 - 38 / height, dashboard["description"],
                fontsize=8.5, color=FAINT, va="center",
            )  # fmt: skip
            for panel in dashboard["panels"]:
                self._panel(panel)
            figure.savefig(file, facecolor=PAGE)
        # A palette is enough for flat colours, and makes the file a third as large.
        Image.open(file).convert("RGB").quantize(255, dither=Image.Dither.NONE).save(
            file, optimize=True
        )

    def _box(self, panel: Json) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a panel, in pixels from the lower left."""
        place, column = panel["gridPos"], (WIDTH - MARGIN) / COLUMNS
        width, height = place["w"] * column - MARGIN, place["h"] * ROW - MARGIN
        left = MARGIN + place["x"] * column
        return left, self._height - TOP - place["y"] * ROW - height, width, height

    def _axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        box = (left / WIDTH, bottom / self._height, width / WIDTH, height / self._height)
        return self._figure.add_axes(box, facecolor="none")

    def _panel(self, panel: Json) -> None:
        left, bottom, width, height = self._box(panel)
        card = FancyBboxPatch(
            (left / WIDTH, bottom / self._height), width / WIDTH, height / self._height,
            boxstyle="round,pad=0,rounding_size=0.002", transform=self._figure.transFigure,
            facecolor=PANEL, edgecolor=LINE, linewidth=0.8, zorder=-1,
        )  # fmt: skip
        self._figure.add_artist(card)
        self._figure.text(
            (left + 10) / WIDTH, (bottom + height - 13) / self._height, panel["title"],
            fontsize=8.5, weight="bold", color=INK, va="center",
        )  # fmt: skip
        series = [one for target in panel["targets"] for one in self._series(target)]
        unit = UNITS[panel["fieldConfig"]["defaults"]["unit"]]
        if panel["type"] == "stat":
            self._number(panel, series, unit, (left, bottom, width, height))
        else:
            self._lines(panel, series, unit, (left, bottom, width, height))

    def _series(self, target: Json) -> list[tuple[str, list[Any], list[float]]]:
        """Return the name, the moments and the values of each series of a query."""
        query = filled(target["expr"], rate="1m", **self._names)
        found = []
        begin, end = (at.timestamp() for at in self._when)
        for one in self._prometheus.range(query, begin, end, self._step):
            name = target["legendFormat"]
            for label in re.findall(r"{{(\w+)}}", name):
                name = name.replace(f"{{{{{label}}}}}", one["metric"].get(label, ""))
            at = [datetime.fromtimestamp(float(moment), UTC) for moment, _ in one["values"]]
            found.append((name.strip(), at, [float(value) for _, value in one["values"]]))
        return sorted(found, key=lambda named: named[0])

    def _number(self, panel: Json, series: list[Any], unit: Any, box: Any) -> None:
        left, bottom, width, height = box
        known = [value for value in series[0][2] if not math.isnan(value)] if series else []
        color, text = FAINT, "none"
        if known:
            steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
            reached = [one for one in steps if one["value"] is None or known[-1] >= one["value"]]
            color = BAD if reached[-1]["color"] == "red" else GOOD
            text = unit(known[-1])
            axes = self._axes(left + 1, bottom + 1, width - 2, height * 0.34)
            axes.axis("off")
            axes.fill_between(series[0][1], series[0][2], color=color, alpha=0.14, linewidth=0)
            axes.plot(series[0][1], series[0][2], color=color, linewidth=0.9, alpha=0.6)
            axes.set_ylim(0, max(known) * 1.15 or 1)
            axes.margins(x=0)
        self._figure.text(
            (left + width / 2) / WIDTH, (bottom + height * 0.55) / self._height, text,
            fontsize=19, weight="bold", color=color, ha="center", va="center",
        )  # fmt: skip

    def _lines(self, panel: Json, series: list[Any], unit: Any, box: Any) -> None:
        left, bottom, width, height = box
        axes = self._axes(left + 58, bottom + 46, width - 74, height - 74)
        axes.grid(axis="y", color=LINE, linewidth=0.7)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(LINE)
        axes.tick_params(colors=FAINT, length=0, labelsize=7.5)
        custom = panel["fieldConfig"]["defaults"].get("custom", {})
        colors = [COLORS[index % len(COLORS)] for index in range(len(series))]
        if custom.get("stacking", {}).get("mode") == "normal":
            self._areas(axes, series, colors)
        else:
            for (_, at, values), color in zip(series, colors, strict=True):
                axes.plot(at, values, color=color, linewidth=1.5)
                axes.fill_between(at, values, color=color, alpha=0.06, linewidth=0)
        axes.set_xlim(*map(date2num, self._when))
        defaults = panel["fieldConfig"]["defaults"]
        top = defaults.get("max") or axes.dataLim.ymax * 1.06
        top = top if math.isfinite(top) and top > 0 else 1
        axes.set_ylim(0, top)
        step = 2 ** math.ceil(math.log2(top / 4))
        is_size = defaults["unit"] == "bytes"
        axes.yaxis.set_major_locator(MultipleLocator(step) if is_size else MaxNLocator(4))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: unit(value)))
        ticks = AutoDateLocator(minticks=3, maxticks=9)
        axes.xaxis.set_major_locator(ticks)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(ticks, show_offset=False))
        self._legend(series, colors, left, bottom, width)
        if not series:
            axes.text(0.5, 0.5, "none", color=FAINT, ha="center", transform=axes.transAxes)

    @staticmethod
    def _areas(axes: Axes, series: list[Any], colors: list[str]) -> None:
        """Draw areas on top of each other; a series that is not there counts as 0."""
        moments = sorted({moment for _, at, _ in series for moment in at})
        base = [0.0] * len(moments)
        for (_, at, values), color in zip(series, colors, strict=True):
            known = dict(zip(at, values, strict=True))
            there = [known.get(moment, 0.0) for moment in moments]
            there = [0.0 if math.isnan(value) else value for value in there]
            above = [low + value for low, value in zip(base, there, strict=True)]
            axes.fill_between(moments, base, above, color=color, alpha=0.45, linewidth=0)
            axes.plot(moments, above, color=color, linewidth=1.1)
            base = above

    def _legend(
        self, series: list[Any], colors: list[str], left: float, bottom: float, width: float
    ) -> None:
        """Write the series' names below their panel, in as many lines as there is room for."""
        x, y = left + 12.0, bottom + 14.0
        for (name, _, _), color in zip(series, colors, strict=True):
            shown = textwrap.shorten(name or "none", 34, placeholder="…")
            text = self._figure.text(
                (x + 15) / WIDTH, y / self._height, shown, fontsize=7.5, color=FAINT, va="center"
            )
            width_of_text = text.get_window_extent().width
            if x + 15 + width_of_text > left + width - 4:
                text.set_text("…")
                return
            self._figure.add_artist(
                FancyBboxPatch(
                    (x / WIDTH, (y - 1.5) / self._height), 11 / WIDTH, 3 / self._height,
                    boxstyle="square,pad=0", transform=self._figure.transFigure,
                    facecolor=color, linewidth=0,
                )
            )  # fmt: skip
            x += width_of_text + 27
