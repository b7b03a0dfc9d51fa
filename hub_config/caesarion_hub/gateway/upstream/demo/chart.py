"""
Code that plots an attached table: one column by another, or by time. Pure.

Called by ``rules`` and ``plan``. The columns come from the digest that the message has of the
file, in lines such as ``  name: type``.
"""

import re
from collections.abc import Sequence

_READERS = {
    ".csv": "pd.read_csv({path!r})",
    ".tsv": 'pd.read_csv({path!r}, sep="\\t")',
    ".xlsx": "pd.read_excel({path!r})",
    ".parquet": "pd.read_parquet({path!r})",
}
_PERIODS = {"day": "D", "week": "W", "month": "M", "quarter": "Q", "year": "Y"}
_SEPARATOR = re.compile(r"^Table, .* separated by '(.)'")
_COLUMN = re.compile(r"  (?P<name>.+): (?P<type>[a-z ]+).*")

_CODE = """\
import matplotlib.pyplot as plt
import pandas as pd

def _plot(table):
    by = {by}
    totals = table.groupby(by)[{column!r}].sum()
    totals.plot.bar(title={title!r}, xlabel={axis!r}, ylabel={column!r}, rot=30)
    plt.tight_layout()
    plt.show()
    print(totals.to_string())

_plot({reader})"""


def chart_code(words: str, files: Sequence[tuple[str, tuple[str, ...]]]) -> str | None:
    """
    Return Python code that plots ``words`` ("sales by month") from the first table in ``files``.

    Returns None if there is no table, no such column, or no column of numbers to add up.
    """
    wanted = re.fullmatch(r"(?P<what>.*?)\bby\s+(?P<by>.+?)[\s.?!]*", words.strip(), re.I | re.S)
    table = next((file for file in files if reader_of(*file)), None)
    if wanted is None or table is None:
        return None
    path, known = table
    columns = columns_of(known)
    axis = _named(wanted["by"], columns) or wanted["by"].strip("\"'` ").lower()
    numbers = [name for name, kind in columns.items() if "number" in kind and name != axis]
    column = _named(wanted["what"], numbers) or next(iter(numbers), None)
    dates = [name for name, kind in columns.items() if kind.startswith("date")]
    if axis in columns:
        by = f"table[{axis!r}]"
    elif axis in _PERIODS and dates:
        by = f"pd.to_datetime(table[{dates[0]!r}]).dt.to_period({_PERIODS[axis]!r}).astype(str)"
    else:
        return None
    if column is None:
        return None
    return _CODE.format(
        by=by,
        column=column,
        axis=axis,
        title=f"{column} by {axis}",
        reader=reader_of(path, known),
    )


def reader_of(path: str, known: Sequence[str]) -> str:
    """Return the code that reads the table in ``path``; empty if that is no table."""
    end = next((end for end in _READERS if path.lower().endswith(end)), "")
    code = _READERS[end].format(path=path) if end else ""
    separator = next((found[1] for line in known if (found := _SEPARATOR.search(line))), ",")
    return f"{code[:-1]}, sep={separator!r})" if end == ".csv" and separator != "," else code


def columns_of(known: Sequence[str]) -> dict[str, str]:
    """Return the types of a table's columns by their names, from the lines of its digest."""
    return {found["name"]: found["type"] for line in known if (found := _COLUMN.fullmatch(line))}


def _named(words: str, columns: Sequence[str] | dict[str, str]) -> str | None:
    """Return the first column whose name is in ``words``."""
    return next((c for c in columns if re.search(rf"\b{re.escape(c)}\b", words, re.I)), None)
