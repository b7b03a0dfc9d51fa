"""Read JSON, and describe its shape. Called by ``digest``, and by ``notebook`` to read."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caesarion.files.inspection.encoding import Text
from caesarion.files.inspection.source import NotReadable, Source, clipped, counted, megabytes

_KEYS = 30
_ITEMS = 1_000

# Strings, complete or not, whose content is skipped; brackets and commas.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+("?)|[\[\]{},]', re.DOTALL)
_CLOSING = {"[": "]", "{": "}"}


@dataclass(frozen=True)
class Document:
    """The content of a JSON file, or of its first megabyte."""

    value: Any
    note: str
    """What is special about it, in parentheses and after a space; or ""."""
    begins: str


def describe(source: Source, text: Text) -> Iterator[str]:
    """Yield the shape of a JSON file."""
    document = load(source, text)
    value = document.value
    lines = [f"JSON{document.note}: {_shape(value)}"]
    if isinstance(value, dict):
        lines[0] += ":"
        lines += _keys(value)
    elif isinstance(value, list) and (objects := [v for v in value[:_ITEMS] if type(v) is dict]):
        lines[0] += ", with the keys:"
        together: dict[str, Any] = {}
        for one in objects:
            together |= {key: one[key] for key in one if key not in together}
        lines += _keys(together)
    yield "\n".join([*lines, f"It begins: {document.begins}"])


def load(source: Source, text: Text) -> Document:
    """Return the content of a JSON file; raise NotReadable if it is malformed."""
    begins = text.head.strip()
    content, notes = begins, []
    if not text.is_plain:
        notes.append(text.sentence[0].lower() + text.sentence[1:-1])
    if not text.whole:
        content = _completed(begins)
        notes.append(f"only the first MB of {megabytes(source.size)} was read")
    try:
        value, end = json.JSONDecoder().raw_decode(content)
    except RecursionError as error:
        raise NotReadable("This JSON is nested too deeply to be inspected.") from error
    except ValueError as error:
        raise NotReadable(f"This cannot be read as JSON: {error}.") from error
    if content[end:].strip():
        notes.append("several values one after another, of which this is the first")
    note = f" ({'; '.join(notes)})" if notes else ""
    return Document(value, note, clipped(" ".join(begins[:2_000].split()), 400))


def _completed(text: str) -> str:
    """Return the beginning of a JSON text without its last item, and with brackets closed."""
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
    """Return the kind of a value, in a few words."""
    match value:
        case dict():
            return f"an object with {counted(len(value), 'key')}"
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
