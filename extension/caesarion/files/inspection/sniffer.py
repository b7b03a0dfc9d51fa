"""
Read a table in text with DuckDB's CSV sniffer: its dialect, its first rows, their number.

Called by ``table``. DuckDB reads the text through a pipe, decoded and with plain line ends, so
that all encodings are read in one way. The sniffer of DuckDB 2.0 does not recognise a ``sep=``
line, numbers as names, and lines of prose that contain the separator; these are handled here.
"""

import contextlib
import csv
import io
import itertools
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from caesarion.files.inspection.database import connect, piped
from caesarion.files.inspection.encoding import Text
from caesarion.files.inspection.source import Source, counted

# The longest row, in bytes; DuckDB's default is a quarter of it.
_LINE = 8_000_000
# The number of lines above a table that are skipped at most.
_PROSE = 20
# The number of columns above which only this many are sniffed.
_WIDE = 100
# The digits of a number that may be the name of a column; years have four.
_DIGITS = 6

_SNIFFED = '"Delimiter", "Quote", "Escape", "Comment", "SkipRows", "HasHeader", "Columns"'
_SEPARATOR_LINE = re.compile(r"sep=(.)\n", re.IGNORECASE)


@dataclass(frozen=True)
class Dialect:
    """The way in which a table is written."""

    delimiter: str
    quote: str
    escape: str
    comment: str
    skip: int
    """The number of lines above the table."""
    has_names: bool
    width: int
    """The number of columns."""
    types: list[str]
    """DuckDB's types of the columns, or of the first ones if there are very many."""
    is_uneven: bool = False
    """Whether rows differ in their number of values."""
    names_separator: bool = False
    """Whether the first line names the separator, as Excel's ``sep=;`` does."""


class Sniffer:
    """A reader of one table, and a context that closes its database."""

    def __init__(self, source: Source, text: Text) -> None:
        self._source, self._text = source, text
        # The last line may be cut; it would be a row with too few values.
        cut = text.head.rfind("\n") + 1
        self._lines = text.head if text.whole or not cut else text.head[:cut]
        self._sample, self._width = _narrowed(self._lines)
        self._database = connect()

    def __enter__(self) -> "Sniffer":
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def dialect(self) -> Dialect | None:
        """Return the table's dialect, or None if there is no table."""
        if found := _SEPARATOR_LINE.match(self._sample):
            dialect = self._sniff_any(delim=found[1], skip=1)
            dialect = dialect and replace(dialect, names_separator=True)
        elif self._source.suffix == "tsv":
            dialect = self._sniff_any(delim="\t")
        else:
            dialect = self._sniff()
            if dialect is None or len(dialect.types) == 1:
                better = self._below_prose() or self._sniff_uneven()
                if better and len(better.types) > 1:
                    dialect = better
        if dialect and not dialect.has_names and _are_names(self.rows(dialect, 10)):
            named = self._sniff(header=True, delim=dialect.delimiter, skip=dialect.skip)
            dialect = replace(dialect, has_names=True, types=(named or dialect).types)
        return dialect

    def _sniff_any(self, **options: Any) -> Dialect | None:
        return self._sniff(**options) or self._sniff_uneven(**options)

    def _sniff(self, **options: Any) -> Dialect | None:
        """Return the dialect that DuckDB's sniffer finds, or None."""
        given = "".join(f", {name} := ${name}" for name in options)
        query = f"FROM sniff_csv($path{given}) SELECT {_SNIFFED}"
        with piped([self._sample]) as path:
            try:
                row = self._database.execute(query, {"path": path, **options}).fetchone()
            except duckdb.Error:
                return None
        assert row is not None
        delimiter, quote, escape, comment = ("" if it == "(empty)" else it for it in row[:4])
        types = [column["type"] for column in row[6]]
        width = self._width or len(types)
        return Dialect(delimiter, quote, escape, comment, row[4], row[5], width, types)

    def _sniff_uneven(self, **options: Any) -> Dialect | None:
        """Return the dialect that the sniffer finds if rows may have different lengths, or None."""
        dialect = self._sniff(strict_mode=False, null_padding=True, **options)
        return dialect and replace(dialect, is_uneven=True)

    def _below_prose(self) -> Dialect | None:
        """Return the dialect of a table of several columns below lines of prose, or None."""
        for skip in range(1, min(_PROSE, self._sample.count("\n") - 2) + 1):
            dialect = self._sniff(skip=skip)
            if dialect and len(dialect.types) > 1 and len(self.rows(dialect, 3)) == 3:
                return dialect
        return None

    def rows(self, dialect: Dialect, limit: int) -> list[list[str]]:
        """Return the first rows of the sample, as texts; the names of columns are the first row."""
        with piped([self._sample]) as path:
            found = self._select("*", path, dialect, len(dialect.types), limit)
            return [["" if value is None else value for value in row] for row in found]

    def count(self, dialect: Dialect) -> str:
        """Return the number of rows in words, estimated if the file takes too long to read."""
        if self._text.whole:
            with piped([self._lines]) as path:
                return counted(self._rows_at(path, dialect), "row")
        # DuckDB keeps what it reads through a pipe in memory, so a file in UTF-8 is read
        # directly, unless it turns out to have invalid bytes.
        places: list[contextlib.AbstractContextManager[str]] = []
        if self._text.is_plain:
            places.append(contextlib.nullcontext(self._source.path))
        places.append(piped(self._source.blocks(self._text.encoding)))
        for place in places:
            # Fails when time is over, memory exhausted, or a row too long.
            with contextlib.suppress(duckdb.Error), self._interrupted_in_time(), place as path:
                return counted(self._rows_at(path, dialect), "row")
        with piped([self._lines]) as path:
            rows = self._rows_at(path, dialect)
        if rows <= 0:
            return "rows too long to be counted"
        read = len(self._lines.encode(self._text.encoding, errors="replace"))
        estimate = float(f"{rows * self._source.size / read:.2g}")
        return f"about {counted(round(estimate), 'row')}"

    def _rows_at(self, path: str, dialect: Dialect) -> int:
        # Blank lines are not rows; DuckDB skips them, except in tables of one column.
        what = "count(c0)" if dialect.width == 1 else "count(*)"
        rows: int = self._select(what, path, dialect, dialect.width)[0][0]
        return rows - dialect.has_names

    @contextlib.contextmanager
    def _interrupted_in_time(self) -> Iterator[None]:
        if not self._source.seconds():
            raise duckdb.InterruptException
        timer = threading.Timer(self._source.seconds(), self._database.interrupt)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _select(
        self, what: str, path: str, dialect: Dialect, width: int, limit: int = 0
    ) -> list[tuple[Any, ...]]:
        quote = dialect.quote
        if not quote and '"' not in self._lines:
            quote = '"'  # Rows below the sample may need it.
        options = {
            "path": path,
            "columns": {f"c{i}": "VARCHAR" for i in range(width)},
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
            f" max_line_size := {_LINE}, buffer_size := {_LINE})"
            f" SELECT {what}{f' LIMIT {limit}' if limit else ''}"
        )
        return self._database.execute(query, options).fetchall()


def _narrowed(sample: str) -> tuple[str, int]:
    """
    Return the sample with its first hundred columns, and the number of columns if it has more.

    DuckDB 2.0 needs several times 32 KiB for each column, too much for thousands of them.
    """
    beginning = sample.split("\n", _PROSE)[:_PROSE]
    delimiter, widest = max(
        ((sign, line) for sign in ",;\t|" for line in beginning), key=lambda it: it[1].count(it[0])
    )
    if widest.count(delimiter) < _WIDE:
        return sample, 0
    csv.field_size_limit(_LINE)
    rows = list(itertools.islice(csv.reader(io.StringIO(sample), delimiter=delimiter), 1_000))
    narrow = io.StringIO()
    csv.writer(narrow, delimiter=delimiter, lineterminator="\n").writerows(
        row[:_WIDE] for row in rows
    )
    return narrow.getvalue(), max(map(len, rows[:_PROSE]))


def _are_names(rows: Sequence[Sequence[str]]) -> bool:
    """
    Whether whole numbers in the first of ``rows`` are names of columns.

    They are if they are years, and there are none below them; or if they are three or more
    in even steps, such as hours, and those in the next row are not.
    """
    if len(rows) < 2:
        return False
    first, *below = rows
    places = [i for i, value in enumerate(first) if _is_name(value)]
    if any(map(str.isdigit, "".join(v for v in first if not _is_name(v) and not _has_letters(v)))):
        return False
    years = places and all(_is_year(first[i]) for i in places)
    if years:
        return not any(_is_year(row[i]) for row in below for i in places)
    return len(places) > 2 and _is_even(first, places) and not _is_even(below[0], places)


def _is_name(value: str) -> bool:
    return value.isascii() and value.isdecimal() and len(value) <= _DIGITS


def _is_year(value: str) -> bool:
    return _is_name(value) and 1900 <= int(value) <= 2100


def _is_even(row: Sequence[str], places: Sequence[int]) -> bool:
    """Whether the values at ``places`` are whole numbers in even steps."""
    if not all(_is_name(row[i]) for i in places):
        return False
    steps = {int(row[after]) - int(row[before]) for before, after in itertools.pairwise(places)}
    return len(steps) == 1 and steps != {0}


def _has_letters(value: str) -> bool:
    return any(map(str.isalpha, value))
