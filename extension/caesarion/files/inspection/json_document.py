"""JSON's shape and a notebook's cells. Called by ``caesarion.files.inspection``."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from caesarion.files.inspection.text import NotReadable, clipped, head_text, megabytes

_HEAD = 1_048_576
_KEYS = 30
_ITEMS = 1_000
_CELLS = 6
_CELL = 300

# Strings, ended or not, so that what is in them is passed over, and what makes the tree.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+("?)|[\[\]{},]', re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}


def json_text(path: Path, until: float) -> str:
    """Return the digest of a JSON file: its shape, one level deep."""
    value, limits, begins = _load(path)
    lines = [f"JSON{limits}: {_shape(value)}"]
    if isinstance(value, dict):
        lines[0] += ":"
        lines += _keys(value)
    elif isinstance(value, list) and (objects := [v for v in value[:_ITEMS] if type(v) is dict]):
        lines[0] += ", with the keys:"
        together: dict[str, Any] = {}
        for one in objects:
            together |= {key: one[key] for key in one if key not in together}
        lines += _keys(together)
    return "\n".join([*lines, f"It begins: {begins}"])


def notebook(path: Path, until: float) -> str:
    """Return the digest of a notebook: kinds of cells, kernel, the first cells."""
    value, limits, _ = _load(path)
    cells = value.get("cells") if isinstance(value, dict) else None
    if not isinstance(cells, list):
        raise NotReadable("This is not a notebook of format 4, whatever its name says.")
    cells = [cell for cell in cells if isinstance(cell, dict)]
    kinds = Counter(str(cell.get("cell_type")) for cell in cells)
    kernel = _at(value, "metadata", "kernelspec", "display_name")
    lines = [
        f"Jupyter notebook{limits}: {len(cells):,} cell{'s' * (len(cells) != 1)} "
        f"({', '.join(f'{count} {kind}' for kind, count in kinds.items()) or 'none'})"
        f"{f', for the kernel {clipped(str(kernel), 60)}' if kernel else ''}."
    ]
    for cell in cells[:_CELLS]:
        source = cell.get("source", "")
        text = "".join(map(str, source)) if isinstance(source, list) else str(source)
        lines.append(f"[{cell.get('cell_type')}] {clipped(text.strip(), _CELL)}")
    return "\n".join(lines)


def _load(path: Path) -> tuple[Any, str, str]:
    """Return a file's JSON, of a large one what its head holds; what to say of that; its text."""
    head = head_text(path, _HEAD)
    text = head.text.strip()
    limits = ""
    if not head.whole:
        text = _completed(text)
        limits = f" (only the first MB of {megabytes(path.lstat().st_size)} was read)"
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except RecursionError as error:
        raise NotReadable("This JSON is nested too deep to be inspected.") from error
    except ValueError as error:
        raise NotReadable(f"This cannot be read as JSON: {error}.") from error
    if text[end:].strip():
        limits += " (several values one after another, this is the first)"
    return value, limits, clipped(" ".join(text[:2_000].split()), 400)


def _completed(text: str) -> str:
    """Return the beginning of a JSON text without its last item, and its brackets closed."""
    open_: list[str] = []
    closed: list[str] = []  # since the cut
    cut = 0
    for token in _TOKEN.finditer(text):
        sign = token.group()
        if sign in _CLOSING:
            open_.append(sign)
            closed, cut = [], token.end()
        elif sign == ",":
            closed, cut = [], token.start()
        elif sign in ("]", "}") and open_:
            closed.append(open_.pop())
    return text[:cut] + "".join(_CLOSING[bracket] for bracket in (*closed, *reversed(open_)))


def _keys(value: dict[str, Any]) -> list[str]:
    lines = [f"  {clipped(key, 60)}: {_shape(value[key])}" for key in list(value)[:_KEYS]]
    return lines + [f"  and {len(value) - _KEYS:,} more"] * (len(value) > _KEYS)


def _shape(value: Any) -> str:
    """Return what a value is, in a few words."""
    match value:
        case dict():
            return f"an object with {len(value):,} key{'s' * (len(value) != 1)}"
        case list():
            kinds = {_kind(item) for item in value[:_ITEMS]}
            items = kinds.pop() + "s" if len(kinds) == 1 else "items"
            return f"a list of {len(value):,} {items if len(value) != 1 else items[:-1]}"
        case _:
            return _kind(value)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list():
            return "list"
        case _:
            return "object"


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
