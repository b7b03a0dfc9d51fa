"""Describe any text: number of lines, encoding, first lines. Called by ``digest``."""

from collections.abc import Iterator

from caesarion.files.inspection.encoding import Text
from caesarion.files.inspection.source import Source, clipped

_LINES = 10
_LINE = 200


def describe(source: Source, text: Text) -> Iterator[str]:
    """Yield the description of a text."""
    ending = "\n"
    lines, last = 0, ending
    for block in source.blocks(text.encoding):
        if not source.seconds():
            count = f"more than {lines:,}"
            break
        lines += block.count(ending)
        last = block[-1]
    else:
        count = f"{lines + (last != ending):,}"
    kind = f"Text, {count} line{'s' * (count != '1')}"
    kind += ", UTF-8." if text.is_plain else f". {text.sentence}"
    yield " ".join(filter(None, (kind, nuls(text.head), f"It begins:\n{first_lines(text.head)}")))


def first_lines(text: str, number: int = _LINES) -> str:
    """Return the first lines, each cut to 200 characters."""
    lines = text.split("\n", number)[:number]
    return "\n".join(clipped(line, _LINE) for line in lines).rstrip("\n")


def nuls(text: str) -> str:
    """Return a sentence about NUL characters, or "" if there are none."""
    count = text.count("\0")
    return f"It contains {count:,} NUL character{'s' * (count != 1)}." if count else ""
