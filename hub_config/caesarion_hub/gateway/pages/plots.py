"""
Bars as SVG, for pages without JavaScript: a pure function.

Called by the templates.
"""

from collections.abc import Sequence

from markupsafe import Markup

_WIDTH, _HEIGHT, _GAP = 720, 120, 2


def bars(title: str, values: Sequence[tuple[str, float, str]]) -> Markup:
    """Return a bar for each of ``(label, value, value in words)``; the words show on pointing."""
    most = max((value for _, value, _ in values), default=0) or 1
    step = _WIDTH / max(1, len(values))
    drawn = [
        Markup(
            '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}">'
            "<title>{}: {}</title></rect>"
        ).format(
            number * step,
            _HEIGHT - value / most * _HEIGHT,
            max(1.0, step - _GAP),
            value / most * _HEIGHT,
            label,
            words,
        )
        for number, (label, value, words) in enumerate(values)
    ]
    first, last = (values[0][0], values[-1][0]) if values else ("", "")
    return Markup(
        '<figure class="bars"><figcaption>{}</figcaption>'
        '<svg viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">{}</svg>'
        '<div class="d-flex justify-content-between"><small>{}</small><small>{}</small></div>'
        "</figure>"
    ).format(title, _WIDTH, _HEIGHT, title, Markup("").join(drawn), first, last)
