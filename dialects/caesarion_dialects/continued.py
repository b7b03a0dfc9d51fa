"""
A provider's own field, continued by later deltas.

Called by ``assembler``; calls no other module. Law: taking a delta costs what the delta is long,
whatever came before, since a provider may send thousands of them.
"""

from typing import Any

# Fields of a part that identify it, and are never continued.
_NAMES = frozenset(("type", "id", "format", "index"))

_Part = dict[str, Any]


class _Text:
    """A text in pieces."""

    def __init__(self, text: str) -> None:
        self.pieces = [text]

    def __bool__(self) -> bool:
        return any(self.pieces)

    def __str__(self) -> str:
        self.pieces = ["".join(self.pieces)]
        return self.pieces[0]


class _Parts:
    """Parts of a list; those that are objects have their texts as :class:`_Text`."""

    def __init__(self, parts: list[Any]) -> None:
        self._parts: list[Any] = []
        self._by_index: dict[Any, _Part] = {}
        for part in parts:
            self._append(part)

    def add(self, parts: list[Any]) -> None:
        """Continue the parts."""
        for part in parts:
            before = self._continued_by(part)
            if before is None:
                self._append(part)
                continue
            for name, value in part.items():
                old = before.get(name)
                if value is None:
                    continue
                if name not in _NAMES and isinstance(old, _Text) and isinstance(value, str):
                    old.pieces.append(value)
                else:
                    before[name] = _Text(value) if isinstance(value, str) else value

    def value(self) -> list[Any]:
        """Return the parts as JSON."""
        return [_plain(part) if isinstance(part, dict) else part for part in self._parts]

    def _append(self, part: Any) -> None:
        if isinstance(part, dict):
            part = {
                name: _Text(value) if isinstance(value, str) else value
                for name, value in part.items()
            }
            if (index := part.get("index")) is not None:
                self._by_index.setdefault(_key(index), part)
        self._parts.append(part)

    def _continued_by(self, part: Any) -> _Part | None:
        """Return the part that ``part`` continues, or None."""
        if not isinstance(part, dict):
            return None
        if (index := part.get("index")) is not None:
            return self._by_index.get(_key(index))
        last = self._parts[-1] if self._parts else None
        is_unsigned = isinstance(last, dict) and "thinking" in last and not last.get("signature")
        return last if is_unsigned and "thinking" in part else None


class Continued:
    """
    A field, which is what its deltas make together.

    Texts are concatenated. Parts of lists are continued by those with the same ``index``, and a
    block of thinking without a signature by the next one. Of other values the last one counts.
    """

    def __init__(self) -> None:
        self._held: Any = None

    def add(self, new: Any) -> None:
        """Take the value in a delta, which is not changed."""
        held = self._held
        if isinstance(held, _Text) and isinstance(new, str):
            held.pieces.append(new)
        elif isinstance(held, dict) and isinstance(new, dict):
            held |= new
        elif isinstance(held, _Parts) and isinstance(new, list):
            held.add(new)
        elif isinstance(new, str):
            self._held = _Text(new)
        elif isinstance(new, dict):
            self._held = {**new}
        elif isinstance(new, list):
            self._held = _Parts(new)
        elif new is not None:
            self._held = new

    def value(self) -> Any:
        """Return the field as JSON."""
        held = self._held
        if isinstance(held, _Parts):
            return held.value()
        return str(held) if isinstance(held, _Text) else held


def _plain(part: _Part) -> _Part:
    return {name: str(value) if isinstance(value, _Text) else value for name, value in part.items()}


def _key(index: Any) -> Any:
    """Return an index as texts of JSON compare it; some servers send other things than numbers."""
    if isinstance(index, _Text):
        return str(index)
    return index if isinstance(index, str | int | float) else repr(index)
