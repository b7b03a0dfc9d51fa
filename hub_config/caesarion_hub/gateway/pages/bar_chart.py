"""
Bar charts as SVG, for pages without JavaScript: pure functions.

Called by the templates. Widths are in percent and heights in pixels, so that a chart is as
wide as its place and its letters keep their size.
"""

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

_HEIGHT = 128
_LABELS_HEIGHT = 20
_TICKS = 4  # at most, above zero
_DAYS = 7  # between two labels


def ticks(most: float, smallest_step: float = 1) -> list[float]:
    """Return round numbers from 0 to ``most`` or just above, in equal steps."""
    step = max(most / _TICKS, smallest_step)
    power = 10.0 ** math.floor(math.log10(step))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= step * 0.999999)
    return [number * step for number in range(math.ceil(most / step * 0.999999) + 1)]


def bars(
    title: str,
    values: Sequence[tuple[str, float, str]],
    in_words: Callable[[float], str],
    smallest_step: float = 1,
) -> Markup:
    """
    Return a chart with a bar for each of ``(label, value, value in words)``.

    ``in_words`` writes the numbers of the axis. The highest value is in the caption, for
    people who cannot point at a bar.
    """
    highest = max(values, key=lambda value: value[1], default=("", 0.0, ""))
    if not highest[1]:
        return Markup('<p class="quiet">{}: none on these days.</p>').format(title)
    axis = ticks(highest[1], smallest_step)
    lines = [_line(_HEIGHT * (1 - tick / axis[-1])) for tick in axis]
    width = 100 / len(values)
    drawn = [_bar(number * width, width, value, axis[-1]) for number, value in enumerate(values)]
    labels = [
        _label((number + 0.5) * width, values[number][0])
        for number in range(len(values) - 1, 0, -_DAYS)
    ]
    numbers = [Markup("<span>{}</span>").format(in_words(tick)) for tick in reversed(axis)]
    return Markup(
        '<figure class="bars"><figcaption><strong>{}</strong> <span>highest: {} on {}</span>'
        '</figcaption><div class="axis" aria-hidden="true">{}</div>'
        '<svg height="{}" role="img" aria-label="{}, highest: {} on {}">{}</svg></figure>'
    ).format(
        *(title, in_words(highest[1]), highest[0], Markup("").join(numbers)),
        *(_HEIGHT + _LABELS_HEIGHT, title, in_words(highest[1]), highest[0]),
        Markup("").join([*lines, *drawn, *labels]),
    )


def _line(y: float) -> Markup:
    return Markup('<line x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>').format(y)


def _bar(x: float, width: float, value: tuple[str, float, str], top: float) -> Markup:
    label, number, in_words = value
    height = max(1.0, number / top * _HEIGHT) if number else 0.0
    # The first rectangle is the bar; the second one, as high as the chart, shows its title.
    return Markup(
        '<g><rect x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}"/>'
        '<rect class="all" x="{:.2f}%" y="0" width="{:.2f}%" height="{}"/>'
        "<title>{}: {}</title></g>"
    ).format(
        *(x + width * 0.1, _HEIGHT - height, width * 0.8, height),
        *(x, width, _HEIGHT, label, in_words),
    )


def _label(x: float, label: str) -> Markup:
    return Markup('<text x="{:.2f}%" y="{}" text-anchor="{}">{}</text>').format(
        *(100 if x > 95 else x, _HEIGHT + _LABELS_HEIGHT - 4, "end" if x > 95 else "middle"),
        label,
    )
