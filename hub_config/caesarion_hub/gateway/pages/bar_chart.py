"""
Bars as SVG, for pages without JavaScript: pure functions.

Called by the templates. Across, all is in percent and up in pixels, so that a plot
is as wide as its place and its letters stay as they are.
"""

import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

_HEIGHT = 128
_BELOW = 20  # for the labels of the days
_TICKS = 4  # at most, above zero
_DAYS = 7  # between two labels


def ticks(most: float, whole: float = 1) -> list[float]:
    """Return round numbers from 0 to ``most`` or just above; they are ``whole`` apart, or more."""
    step = max(most / _TICKS, whole)
    power = 10.0 ** math.floor(math.log10(step))
    step = next(one * power for one in (1, 2, 5, 10) if one * power >= step * 0.999999)
    return [number * step for number in range(math.ceil(most / step * 0.999999) + 1)]


def bars(
    title: str,
    values: Sequence[tuple[str, float, str]],
    word: Callable[[float], str],
    whole: float = 1,
) -> Markup:
    """
    Return a bar for each of ``(label, value, value in words)``, and the greatest in words.

    ``word`` says a number of the axis, whose steps are no smaller than ``whole``.
    """
    most = max(values, key=lambda value: value[1], default=("", 0.0, ""))
    if not most[1]:
        return Markup('<p class="quiet">{}: nothing in these days.</p>').format(title)
    axis = ticks(most[1], whole)
    top = axis[-1]
    lines = [_line(_HEIGHT * (1 - tick / top)) for tick in axis]
    step = 100 / len(values)
    drawn = [_bar(number * step, step, value, top) for number, value in enumerate(values)]
    labels = [
        _label((number + 0.5) * step, values[number][0])
        for number in range(len(values) - 1, 0, -_DAYS)
    ]
    numbers = [Markup("<span>{}</span>").format(word(tick)) for tick in reversed(axis)]
    return Markup(
        '<figure class="bars"><figcaption><strong>{}</strong> <span>most: {} on {}</span>'
        '</figcaption><div class="axis" aria-hidden="true">{}</div>'
        '<svg height="{}" role="img" aria-label="{}, most: {} on {}">{}</svg></figure>'
    ).format(
        *(title, word(most[1]), most[0], Markup("").join(numbers)),
        *(_HEIGHT + _BELOW, title, word(most[1]), most[0]),
        Markup("").join([*lines, *drawn, *labels]),
    )


def _line(y: float) -> Markup:
    return Markup('<line x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/>').format(y)


def _bar(x: float, step: float, value: tuple[str, float, str], top: float) -> Markup:
    label, number, words = value
    height = max(1.0, number / top * _HEIGHT) if number else 0.0
    # The first rectangle is seen, the second one is what a pointer finds.
    return Markup(
        '<g><rect x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}"/>'
        '<rect class="all" x="{:.2f}%" y="0" width="{:.2f}%" height="{}"/>'
        "<title>{}: {}</title></g>"
    ).format(
        *(x + step * 0.1, _HEIGHT - height, step * 0.8, height),
        *(x, step, _HEIGHT, label, words),
    )


def _label(x: float, label: str) -> Markup:
    return Markup('<text x="{:.2f}%" y="{}" text-anchor="{}">{}</text>').format(
        *(100 if x > 95 else x, _HEIGHT + _BELOW - 4, "end" if x > 95 else "middle", label),
    )
