"""
Tables in text, as DuckDB's sniffer reads them: columns, their types, how many rows.

Called by ``digest``. The text is decoded here and given to DuckDB through a pipe, as UTF-8
with plain line ends, so that every encoding is read one way. What the sniffer of DuckDB
2.0 does not see is added: a ``sep=`` line, years as names, lines of prose that
contain the separator, numbers with decimal commas.
"""

import contextlib
import itertools
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb

from caesarion.files.inspection.encoding import Text
from caesarion.files.inspection.plain_text import first_lines, nuls
from caesarion.files.inspection.source import NotReadable, Source, clipped, counted

# Rows whose values decide whether a column has empty ones, and how its numbers are written.
_SAMPLE = 1_000
_COLUMNS = 50
_FIRST_LINES = 6
# Bytes of a row at most; DuckDB's own limit is a quarter of it.
_LINE = 8_000_000
# Lines above a table that are skipped at most.
_PROSE = 20

_SNIFFED = '"Delimiter", "Quote", "Escape", "Comment", "SkipRows", "HasHeader", "Columns"'
_SEPARATOR_LINE = re.compile(r"sep=(.)\n", re.IGNORECASE)
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
# DuckDB takes "1 2 3" for a day of the year 1.
_OF_A_DATE = re.compile(r"\d[-/.:]\d")
_DECIMAL_COMMA = re.compile(r"[+-]?(\d{1,3}([. \u00a0\u202f]\d{3})+|\d+)(,\d+)?")
_COMMA_BETWEEN_THOUSANDS = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?")


@dataclass(frozen=True)
class _Dialect:
    """How a table is written."""

    delimiter: str
    quote: str
    escape: str
    comment: str
    skip: int
    has_names: bool
    types: list[str]
    uneven: bool = False
    """Whether rows differ in their number of fields."""


@dataclass
class _Columns:
    names: list[str]
    rows: list[list[str]] = field(default_factory=list)


def describe(source: Source, text: Text) -> Iterator[str]:
    """Yield the description of a table in text."""
    if not text.head.strip():
        yield "A table without rows: the file is empty."
        return
    with connect() as database:
        yield "\n".join(_Reader(database, source, text).lines())


class _Reader:
    """One table being read."""

    def __init__(self, database: "duckdb.DuckDBPyConnection", source: Source, text: Text) -> None:
        self._database, self._source, self._text = database, source, text
        # A line that is cut would be a row with too few fields.
        cut = text.head.rfind("\n") + 1
        self._sample = text.head if text.whole or not cut else text.head[:cut]

    def lines(self) -> Iterator[str]:
        dialect = self._dialect()
        columns = self._columns(dialect)
        rows = self._count(dialect)
        width = len(columns.names)
        separated = f" separated by {_said(dialect.delimiter)}" if width > 1 else ""
        names = "" if dialect.has_names else ", without a line of names"
        yield f"Table, {rows}, {counted(width, 'column')}{separated}{names}:"
        for i, name in enumerate(columns.names[:_COLUMNS]):
            values = [row[i] for row in columns.rows if i < len(row)]
            yield f"  {clipped(name, 60) or '(no name)'}: {_kind(dialect, i, values)}"
        if width > _COLUMNS:
            yield f"  and {width - _COLUMNS:,} more"
        yield from self._notes(dialect, columns.names)
        yield "It begins:"
        yield first_lines(self._text.head, _FIRST_LINES)

    def _dialect(self) -> _Dialect:
        """Return how the table is written; raise NotReadable if that cannot be found out."""
        if found := _SEPARATOR_LINE.match(self._sample):
            dialect = self._sniff(delim=found[1], skip=1) or self._sniff_uneven(
                delim=found[1], skip=1
            )
        elif self._source.suffix == "tsv":
            dialect = self._sniff(delim="\t") or self._sniff_uneven(delim="\t")
        else:
            dialect = self._sniff()
            if dialect is None or len(dialect.types) == 1:
                better = self._below_prose() or self._sniff_uneven()
                if better and len(better.types) > 1:
                    dialect = better
        if dialect is None:
            raise NotReadable("This cannot be read as a table.")
        if not dialect.has_names and _are_labels(self._rows(dialect, 3)):
            options = {"delim": dialect.delimiter, "skip": dialect.skip}
            dialect = self._sniff(header=True, **options) or replace(dialect, has_names=True)
        return dialect

    def _sniff(self, **options: Any) -> _Dialect | None:
        """Return what DuckDB's sniffer says; None if it finds no table."""
        given = "".join(f", {name} := ${name}" for name in options)
        query = f"FROM sniff_csv($path, max_line_size := {_LINE}{given}) SELECT {_SNIFFED}"
        with _piped([self._sample]) as path:
            try:
                row = self._database.execute(query, {"path": path, **options}).fetchone()
            except duckdb.Error:
                return None
        assert row is not None
        signs = ["" if sign == "(empty)" else sign for sign in row[:4]]
        return _Dialect(*signs, row[4], row[5], [column["type"] for column in row[6]])

    def _sniff_uneven(self, **options: Any) -> _Dialect | None:
        """Return what the sniffer says if rows may differ in their number of fields."""
        dialect = self._sniff(strict_mode=False, null_padding=True, **options)
        return dialect and replace(dialect, uneven=True)

    def _below_prose(self) -> _Dialect | None:
        """Return the first table of several columns that stands below lines of something else."""
        for skip in range(1, min(_PROSE, self._sample.count("\n") - 2) + 1):
            dialect = self._sniff(skip=skip)
            if dialect and len(dialect.types) > 1 and len(self._rows(dialect, 3)) == 3:
                return dialect
        return None

    def _columns(self, dialect: _Dialect) -> _Columns:
        rows = self._rows(dialect, _SAMPLE + 1)
        if dialect.has_names and rows:
            return _Columns(rows[0], rows[1:])
        return _Columns([str(i + 1) for i in range(len(dialect.types))], rows)

    def _rows(self, dialect: _Dialect, limit: int) -> list[list[str]]:
        """Return the first rows of the sample as texts, the names among them."""
        with _piped([self._sample]) as path:
            found = self._select("*", path, dialect, limit=limit)
            return [["" if value is None else value for value in row] for row in found]

    def _count(self, dialect: _Dialect) -> str:
        """Return how many rows there are; of a file that takes too long about how many."""
        if self._text.whole:
            return counted(self._counted([self._sample], dialect), "row")
        # Time may be over, or a row longer than DuckDB reads.
        with contextlib.suppress(duckdb.Error), self._interrupted_in_time():
            blocks = self._source.blocks(self._text.encoding)
            return counted(self._counted(blocks, dialect), "row")
        read = len(self._sample.encode(self._text.encoding, errors="replace"))
        rows = self._counted([self._sample], dialect)
        if rows <= 0:
            return "rows too long to be counted"
        return f"about {counted(round(rows * self._source.size / read), 'row')}"

    def _counted(self, pieces: Iterable[str], dialect: _Dialect) -> int:
        # Blank lines are no rows; DuckDB leaves them out except where there is one column.
        what = "count(c0)" if len(dialect.types) == 1 else "count(*)"
        with _piped(pieces) as path:
            rows: int = self._select(what, path, dialect)[0][0]
        return rows - dialect.has_names

    @contextlib.contextmanager
    def _interrupted_in_time(self) -> Iterator[None]:
        timer = threading.Timer(self._source.seconds(), self._database.interrupt)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _select(
        self, what: str, path: str, dialect: _Dialect, limit: int | None = None
    ) -> list[tuple[Any, ...]]:
        quote = dialect.quote
        if not quote and '"' not in self._sample:
            quote = '"'  # Which a later row may need.
        options = {
            "path": path,
            "columns": {f"c{i}": "VARCHAR" for i in range(len(dialect.types))},
            "delim": dialect.delimiter,
            "quote": quote,
            "escape": dialect.escape or quote,
            "comment": dialect.comment,
            "skip": dialect.skip,
        }
        query = (
            "FROM read_csv($path, columns := $columns, delim := $delim, quote := $quote,"
            " escape := $escape, comment := $comment, skip := $skip, auto_detect := false,"
            " header := false, strict_mode := false, null_padding := true, parallel := false,"
            f" max_line_size := {_LINE})"
            f" SELECT {what}{f' LIMIT {limit}' if limit else ''}"
        )
        return self._database.execute(query, options).fetchall()

    def _notes(self, dialect: _Dialect, names: Sequence[str]) -> Iterator[str]:
        if _SEPARATOR_LINE.match(self._sample):
            yield "The first line names the separator and is not part of the table."
        elif any(line.strip() for line in self._sample.split("\n")[: dialect.skip]):
            lines = "line is" if dialect.skip == 1 else f"{dialect.skip} lines are"
            yield f"The first {lines} not part of the table."
        if dialect.comment:
            yield f"Lines that begin with {dialect.comment!r} are comments."
        if dialect.quote not in ("", '"'):
            yield f"Values are quoted by {dialect.quote}."
        if dialect.has_names:
            for name, times in Counter(names).items():
                if times > 1 and name:
                    yield f"The name {clipped(name, 60)!r} occurs {times} times."
        if dialect.uneven:
            yield "Some rows have fewer or more values than others."
        if not self._text.is_plain:
            yield self._text.sentence
        if note := nuls(self._text.head):
            yield note


def connect() -> "duckdb.DuckDBPyConnection":
    """Return a database in memory that reaches no network and writes no file."""
    return duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": "400MB",
            "temp_directory": "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    )


@contextlib.contextmanager
def _piped(pieces: Iterable[str]) -> Iterator[str]:
    """Provide a path from which ``pieces`` are read as UTF-8."""
    reading, writing = os.pipe()

    def write() -> None:
        # The reader may have seen enough, or may have been interrupted.
        with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
            for piece in pieces:
                pipe.write(piece.encode(errors="replace"))

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)
        thread.join()


def _are_labels(rows: Sequence[Sequence[str]]) -> bool:
    """
    Whether the first of ``rows`` holds years or other numbers as names of columns.

    These are whole numbers in even steps of at most ten, such as 2019, 2020, 2021, and
    the row below has none. What is no number may stand beside them.
    """
    return len(rows) > 1 and _is_series(rows[0]) and not _is_series(rows[1])


def _is_series(row: Sequence[str]) -> bool:
    numbers = [int(value) for value in row if value.isascii() and value.isdecimal()]
    steps = {after - before for before, after in itertools.pairwise(numbers)}
    return (
        len(numbers) > 1
        and len(numbers) >= len(row) / 2
        and len(steps) == 1
        and 0 < abs(steps.pop()) <= 10
        and not any(_is_number(value) for value in row if not value.isdecimal())
    )


def _is_number(value: str) -> bool:
    return bool(_DECIMAL_COMMA.fullmatch(value) or _COMMA_BETWEEN_THOUSANDS.fullmatch(value))


def _kind(dialect: _Dialect, column: int, values: Sequence[str]) -> str:
    """Return what the values of a column are, in words."""
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
    """Return how numbers are written that only a person, or a setting, knows for numbers."""
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
