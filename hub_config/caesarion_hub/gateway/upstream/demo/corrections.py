"""
Corrections of code that failed, for the handful of errors that the demo model knows. Pure.

Called by ``notebook``. What is said of an error, and what replaces the code, are in one place.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

IMPORTS = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
    "Path": "from pathlib import Path",
    **{name: f"import {name}" for name in ("datetime", "json", "math", "os", "random", "re")},
}
"""Names that are imported by habit, and how."""

_NAME = re.compile(r"NameError: name '(?P<name>\w+)' is not defined")
_ZERO = re.compile(r"ZeroDivisionError: .+")
_KEY = re.compile(r"KeyError: '(?P<key>[^'\n]+)'")
_LINE = re.compile(r"^-+> (?P<line>\d+) ", re.MULTILINE)
_SIMILAR = re.compile(r"^There is no variable (\w+), but there is (?P<name>\w+)", re.MULTILINE)
_COLUMNS = re.compile(r"^\| columns: (?P<columns>.+)$", re.MULTILINE)
_COLUMN = re.compile(r"(?:^|, )(?P<name>[^:,]+): ")
_LAST_LINE = re.compile(r"^\w*(?:Error|Exception|Interrupt|Exit)\b.*$", re.MULTILINE)


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, as a sentence, and the source that mends it; empty if none is known."""

    sentence: str
    source: str = ""


def diagnose(source: str, error: str, context: str) -> Diagnosis:
    """
    Return what is wrong with ``source``, by its ``error``.

    ``context`` is what else is known: names like the one that is missing, columns of tables.
    """
    for look in (_name, _zero, _key):
        if found := look(source, error, context):
            return found
    lines = _LAST_LINE.findall(error)
    last = f" `{lines[-1][:200]}`" if lines else ""
    return Diagnosis(
        f"It failed:{last}. My rules know misspelt names and columns, missing imports and "
        "divisions by zero; anything else needs a real model."
    )


def _name(source: str, error: str, context: str) -> Diagnosis | None:
    found = _NAME.search(error)
    if not found:
        return None
    name = found["name"]
    similar = _SIMILAR.search(context)
    if similar and similar[1] == name:
        right = similar["name"]
        return Diagnosis(
            f"There is no `{name}`; the kernel has `{right}`, so it is misspelt.",
            _replaced(source, tokenize.NAME, lambda token: token == name, right),
        )
    if name in IMPORTS:
        return Diagnosis(f"`{name}` is used, but not imported.", f"{IMPORTS[name]}\n\n{source}")
    return Diagnosis(f"There is no `{name}` in the kernel, and nothing whose name is like it.")


def _zero(source: str, error: str, context: str) -> Diagnosis | None:
    if not _ZERO.search(error):
        return None
    lines = [int(found["line"]) for found in _LINE.finditer(error)]
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
    divisions = [
        node
        for node in nodes
        if isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod)
        and node.lineno == node.end_lineno
        and node.lineno in lines[:1]
        and isinstance(node.right, ast.Name | ast.Attribute | ast.Subscript | ast.Call)
    ]
    if len(divisions) != 1:
        return Diagnosis("It divides by zero; which number was meant my rules cannot guess.")
    node = divisions[0]
    divisor = ast.unparse(node.right)
    guarded = f"({ast.unparse(node)} if {divisor} else float('nan'))"
    rows = source.splitlines()
    row = rows[node.lineno - 1].encode()
    rows[node.lineno - 1] = (
        row[: node.col_offset] + guarded.encode() + row[node.end_col_offset :]
    ).decode()
    return Diagnosis(
        f"`{divisor}` is zero, and nothing can be divided by it; then there is no value.",
        "\n".join(rows),
    )


def _key(source: str, error: str, context: str) -> Diagnosis | None:
    found = _KEY.search(error)
    if not found:
        return None
    key = found["key"]
    known = [
        column["name"].strip()
        for columns in _COLUMNS.finditer(context)
        for column in _COLUMN.finditer(columns["columns"])
    ]
    right = _closest(key, known)
    if not right:
        return Diagnosis(f"There is no `{key}`, and no column whose name is like it.")
    return Diagnosis(
        f"There is no column `{key}`; the table has `{right}`.",
        _replaced(source, tokenize.STRING, lambda token: token[1:-1] == key, repr(right)),
    )


def _closest(name: str, known: Sequence[str]) -> str:
    lower = {one.lower(): one for one in known}
    return next((lower[one] for one in get_close_matches(name.lower(), lower, n=1)), "")


def _replaced(source: str, kind: int, is_wrong: Callable[[str], bool], right: str) -> str:
    """Return ``source`` with each token of this kind that is wrong replaced."""
    lines = source.splitlines(keepends=True)
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    except (tokenize.TokenError, SyntaxError):
        return ""
    for token in reversed(tokens):
        if token.type == kind and is_wrong(token.string):
            (row, begin), (_, end) = token.start, token.end
            lines[row - 1] = f"{lines[row - 1][:begin]}{right}{lines[row - 1][end:]}"
    return "".join(lines)
