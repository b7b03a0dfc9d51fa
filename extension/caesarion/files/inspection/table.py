"""
Tables in text: columns and their types, the number of rows, the first lines.

Called by ``digest``; ``sniffer`` reads the table, and this describes it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from caesarion.files.inspection.encoding import Text
from caesarion.files.inspection.plain_text import first_lines, nuls
from caesarion.files.inspection.sniffer import Dialect, Sniffer
from caesarion.files.inspection.source import Source, clipped, counted

# The number of rows that columns are described from.
_SAMPLE = 1_000
_COLUMNS = 50
_FIRST_LINES = 6

_KINDS = {
    "BIGINT": "whole number",
    "HUGEINT": "whole number",
    "DOUBLE": "number",
    "BOOLEAN": "true or false",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "date and time",
    "TIMESTAMP WITH TIME ZONE": "date and time",
}
# DuckDB 2.0 also takes "1 2 3" for a date, in the year 1.
_OF_A_DATE = re.compile(r"\d[-/.:]\d")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}([. \u00a0\u202f]\d{3})+|\d+)(,\d+)?")
_COMMA_BETWEEN_THOUSANDS = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?")


def describe(source: Source, text: Text) -> Iterator[str]:
    """Yield the description of a table in text."""
    if not text.head.strip():
        yield "A table without rows: the file is empty."
        return
    with Sniffer(source, text) as sniffer:
        dialect = sniffer.dialect()
        if dialect is None:
            yield "This cannot be read as a table."
        else:
            rows = sniffer.rows(dialect, _SAMPLE + 1)
            names = rows[0] if dialect.has_names and rows else []
            yield _first_line(dialect, sniffer.count(dialect))
            yield from _columns(dialect, names, rows[dialect.has_names :])
            yield from _notes(dialect, names, text)
    yield f"It begins:\n{first_lines(text.head, _FIRST_LINES)}"


def _first_line(dialect: Dialect, rows: str) -> str:
    width = dialect.width
    delimiter = "tabs" if dialect.delimiter == "\t" else repr(dialect.delimiter)
    separated = f" separated by {delimiter}" if width > 1 else ""
    names = "" if dialect.has_names else ", without a line of names"
    return f"Table, {rows}, {counted(width, 'column')}{separated}{names}:"


def _columns(
    dialect: Dialect, names: Sequence[str], rows: Sequence[Sequence[str]]
) -> Iterator[str]:
    for i in range(min(len(dialect.types), _COLUMNS)):
        name = names[i] or "(no name)" if names else str(i + 1)
        kind = f": {_kind(dialect, i, [row[i] for row in rows])}" if rows else ""
        yield f"  {clipped(name, 60)}{kind}"
    if dialect.width > _COLUMNS:
        yield f"  and {dialect.width - _COLUMNS:,} more"


def _notes(dialect: Dialect, names: Sequence[str], text: Text) -> Iterator[str]:
    """Yield what else is needed to read the table."""
    if dialect.names_separator:
        yield "The first line names the separator and is not part of the table."
    elif any(line.strip() for line in text.head.split("\n")[: dialect.skip]):
        lines = "line is" if dialect.skip == 1 else f"{dialect.skip} lines are"
        yield f"The first {lines} not part of the table."
    if dialect.comment:
        yield f"Lines that begin with {dialect.comment!r} are comments."
    if dialect.quote not in ("", '"'):
        yield f"Values are quoted by {dialect.quote}."
    for name, times in Counter(names).items():
        if times > 1 and name:
            yield f"The name {clipped(name, 60)!r} occurs {times} times."
    if dialect.is_uneven:
        yield "Some rows have fewer or more values than others."
    if not text.is_plain:
        yield text.sentence
    if note := nuls(text.head):
        yield note


def _kind(dialect: Dialect, column: int, values: Sequence[str]) -> str:
    """Return the kind of the values of a column, in words."""
    given = [value.strip() for value in values if value.strip()]
    if not given:
        return "empty"
    kind = _KINDS.get(dialect.types[column], "text")
    if kind.startswith("date") and not all(map(_OF_A_DATE.search, given)):
        kind = "text"
    if kind == "text":
        kind = _local_number(given, dialect.delimiter) or kind
    return kind if len(given) == len(values) else f"{kind}, some empty"


def _local_number(values: Sequence[str], delimiter: str) -> str:
    """Return the kind of numbers that DuckDB reads as text, or "" if they are no numbers."""
    decimal = all(map(_DECIMAL_COMMA.fullmatch, values))
    thousands = all(map(_COMMA_BETWEEN_THOUSANDS.fullmatch, values))
    if any("," in value for value in values):
        if decimal and not (thousands and delimiter == ","):
            return "number with a decimal comma"
        return "number with commas between thousands" if thousands else ""
    dots = decimal and any(value.count(".") > 1 for value in values)
    return "number with dots between thousands" if dots else ""


def _said(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else repr(delimiter)
