"""CSV and TSV: rows, columns, their types, the first lines."""

import csv
import io
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from caesarion.files.inspection.text import (
    Head,
    NotReadable,
    blocks,
    clipped,
    first_lines,
    head_text,
)

_HEAD = 262_144
_SAMPLE = 1_000
_COLUMNS = 50
_FIRST_LINES = 6


def delimited(path: Path, until: float) -> str:
    """Return the digest of a table in text."""
    head = head_text(path, _HEAD)
    if not head.text.strip():
        return "A table without rows: the file is empty."
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(head.text)
    rows = _rows(head, delimiter)
    named = len(rows) > 1 and _is_header(rows[0])
    names = rows[0] if named else [str(i + 1) for i in range(len(rows[0]))]
    data = rows[named:]
    count = f"{len(data):,}" if head.whole else _count(path, head, named, until)
    sample = data[:_SAMPLE]
    columns = [
        f"  {clipped(name, 60) or '(no name)'}: {_type([row[i] for row in sample if i < len(row)])}"
        for i, name in enumerate(names[:_COLUMNS])
    ]
    if len(names) > _COLUMNS:
        columns.append(f"  and {len(names) - _COLUMNS:,} more")
    return "\n".join(
        [
            f"Table, {count} row{'s' * (count != '1')}, {len(names):,} "
            f"column{'s' * (len(names) != 1)} separated by {_said(delimiter)}"
            f"{'' if named else ', without a line of names'}:",
            *columns,
            "It begins:",
            *first_lines(head.text).split("\n")[:_FIRST_LINES],
        ]
    )


def _delimiter(text: str) -> str:
    line = text.lstrip("\r\n").split("\n", 1)[0]
    return max(",;\t|", key=line.count)


def _said(delimiter: str) -> str:
    return "tabs" if delimiter == "\t" else repr(delimiter)


def _rows(head: Head, delimiter: str) -> list[list[str]]:
    """Return the rows of the head without blank ones, and without the one that it cuts."""
    reader = csv.reader(io.StringIO(head.text, newline=""), delimiter=delimiter)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise NotReadable(f"This cannot be read as a table: {error}.") from error
    return rows if head.whole or len(rows) == 1 else rows[:-1]


def _is_header(row: Sequence[str]) -> bool:
    return len(set(row)) == len(row) and all(_type([name]) == "text" for name in row)


def _count(path: Path, head: Head, named: bool, until: float) -> str:
    """
    Return how many rows a file has that is longer than its head.

    Line breaks within quotes are not counted. A quote that quotes nothing would
    turn that around, so that with quotes the number is said to be about right.
    """
    lines, quotes, last = 0, 0, "\n"
    try:
        for block in blocks(path, head.encoding, until):
            pieces = block.split('"')
            lines += sum(piece.count("\n") for piece in pieces[quotes % 2 :: 2])
            quotes += len(pieces) - 1
            last = block[-1]
    except TimeoutError:
        return f"more than {lines:,}"
    rows = lines + (last != "\n") - named
    return f"about {rows:,}" if quotes else f"{rows:,}"


def _type(values: Sequence[str]) -> str:
    """Return what all of ``values`` are, those that are empty excepted."""
    given = [value.strip() for value in values if value.strip()]
    if not given:
        return "empty"
    for name, fits in (
        ("whole number", _is_whole),
        ("number", _is_number),
        ("true or false", _is_boolean),
        ("date", _is_date),
    ):
        if all(map(fits, given)):
            return name if len(given) == len(values) else f"{name}, some empty"
    return "text" if len(given) == len(values) else "text, some empty"


def _is_whole(value: str) -> bool:
    return value.removeprefix("-").removeprefix("+").isdecimal()


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_boolean(value: str) -> bool:
    return value.lower() in ("true", "false", "yes", "no")


def _is_date(value: str) -> bool:
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True
