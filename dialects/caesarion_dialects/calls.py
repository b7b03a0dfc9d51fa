"""
Tool calls, put together from the pieces that a server sends.

Called by ``choice``; calls ``json_end`` and ``reasoning``. Each piece is returned in OpenAI's
form: with the number of its call, and the first one of a call with its id, type and name.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from caesarion_dialects.errors import TooMuchError
from caesarion_dialects.json_end import JsonEnd, is_json
from caesarion_dialects.reasoning import is_whole, joined

Piece = dict[str, Any]

MAX_CALLS = 128
"""Calls of one answer; the number of tools that OpenAI takes."""

MAX_PIECES = 1_024
"""Pieces of calls in one delta, which usually has one; a made-up number."""

# Fields of a piece that are read here; others belong to the provider and go on as they are.
_KNOWN = frozenset(("index", "id", "type", "function", "name", "arguments", "input", "parameters"))
_ARGUMENTS = ("arguments", "input", "parameters", "args")


@dataclass
class _Call:
    """A call so far; ``is_quoted``: its arguments are JSON within a JSON string."""

    number: int
    id: str = ""
    name: str = ""
    arguments: JsonEnd = field(default_factory=JsonEnd)
    is_begun: bool = False
    is_quoted: bool = False
    held: JsonEnd = field(default_factory=JsonEnd)
    extras: Piece = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether its arguments are a JSON object."""
        return (self.arguments or self.held).is_object

    def repeats(self, arguments: str) -> bool:
        """Whether ``arguments`` are those that it has, and whole."""
        return self.is_whole and self.arguments.text == arguments


class CallPieces:
    """
    Assigns each piece to its call.

    A piece belongs to the call of its index, or to the last call if it has no index. Some
    servers give every call the same index: there another id together with a name, or
    arguments behind complete ones, begin another call.
    """

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[Any, _Call] = {}
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._calls)

    def take_canonical(self, pieces: list[Any]) -> bool:
        """
        Take ``pieces`` if they are in OpenAI's own form; return whether they are.

        The usual delta has one piece, of the last call or of the next one.
        """
        if len(pieces) != 1 or not isinstance(piece := pieces[0], dict):
            return False
        index, function = piece.get("index"), piece.get("function")
        if type(index) is not int or type(function) is not dict:
            return False
        arguments = function.get("arguments")
        if type(arguments) is not str or not is_whole(arguments):
            return False
        call = self._by_index.get(index)
        if not (call and call.arguments) and (_is_quoted(arguments) or arguments == "null"):
            return False
        if call is None:
            name, id_ = function.get("name"), piece.get("id")
            is_next = index == len(self._calls) and piece.get("type") == "function"
            if not (is_next and name and type(name) is str and self._is_new(id_)):
                return False
            call = self._begin(index)
            call.id, call.name, call.is_begun = str(id_), name, True
            self._ids.add(call.id)
        elif (
            not call.is_begun
            or call.held
            or call.number != index
            or piece.get("id")
            or function.get("name")
            or (arguments[:1] == "{" and call.is_whole)
        ):
            return False
        call.arguments.add(arguments)
        return True

    def feed(self, pieces: Any) -> Iterator[Piece]:
        """Yield ``pieces`` in the canonical form."""
        if isinstance(pieces, dict):
            pieces = [pieces]
        touched: set[int] = set()
        pieces = pieces if isinstance(pieces, list) else ()
        if len(pieces) > MAX_PIECES:
            raise TooMuchError(f"The model sent more than {MAX_PIECES:,} pieces of calls at once.")
        for piece in pieces:
            if isinstance(piece, dict):
                call = self._call_of(piece, touched)
                touched.add(call.number)
                yield from self._add(call, piece)

    def end(self) -> Iterator[Piece]:
        """Yield what was held back, and ``{}`` for a call without arguments."""
        for call in self._calls:
            held = call.held.text
            rest, half = joined(_unquoted(held) if call.is_quoted else held)
            rest += "\ufffd" if half else ""
            call.held, call.is_quoted = JsonEnd(), False
            if not call.arguments.text.strip() and not rest.strip():
                rest = "{}"
            if rest or not call.is_begun:
                yield from self._written(call, rest)

    def _call_of(self, piece: Piece, touched: set[int]) -> _Call:
        index = piece.get("index")
        index = int(index) if isinstance(index, str) and index.isdecimal() else index
        has_index = isinstance(index, int) and not isinstance(index, bool)
        if has_index:
            call = self._by_index.get(index)
        else:
            call = self._calls[-1] if self._calls else None
            given = _text(piece.get("id"))
            call = next((one for one in self._calls if given and one.id == given), call)
        is_second = call is not None and call.number in touched
        if call is None or _is_another(call, piece, is_second=is_second):
            call = self._begin(index if has_index else None)
        return call

    def _begin(self, index: int | None) -> _Call:
        if len(self._calls) >= MAX_CALLS:
            raise TooMuchError(f"The model called more than {MAX_CALLS} tools in one answer.")
        call = _Call(len(self._calls))
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    def _add(self, call: _Call, piece: Piece) -> Iterator[Piece]:
        function = _function(piece)
        given, name = _text(piece.get("id")), _text(function.get("name"))
        if not call.id and given and not call.is_begun:
            call.id = given
        if name and not call.is_begun:
            call.name = name
        call.extras |= {key: piece[key] for key in piece if key not in _KNOWN}
        arguments = _arguments(function)
        if arguments and call.repeats(arguments):
            arguments = ""  # Some servers repeat the complete arguments at the end.
        if not call.arguments and not call.held and _is_quoted(arguments):
            call.is_quoted = True
        call.held.add(arguments)
        if call.is_quoted and call.held.is_text:
            said, call.held, call.is_quoted = _unquoted(call.held.text), JsonEnd(), False
            call.held.add(said)
        if call.name and not call.is_quoted:
            held, half = joined(call.held.text)
            call.held = JsonEnd()
            call.held.add(half)
            yield from self._written(call, held)

    def _written(self, call: _Call, arguments: str) -> Iterator[Piece]:
        extras, call.extras = call.extras, {}
        call.arguments.add(arguments)
        if call.is_begun:
            if arguments or extras:
                yield {"index": call.number, "function": {"arguments": arguments}, **extras}
            return
        if not self._is_new(call.id):
            call.id = f"call_{uuid4().hex}"
        self._ids.add(call.id)
        call.is_begun = True
        yield {
            "index": call.number,
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments},
            **extras,
        }

    def _is_new(self, id_: Any) -> bool:
        return isinstance(id_, str) and bool(id_) and id_ not in self._ids


def _is_another(call: _Call, piece: Piece, *, is_second: bool) -> bool:
    """Whether a piece with the index of ``call`` begins another call."""
    given, name = _text(piece.get("id")), _text(_function(piece).get("name"))
    if given and given == call.id:
        return False
    arguments = _arguments(_function(piece))
    if not name:
        # Some servers send another id in each delta of a call.
        return arguments.lstrip()[:1] == "{" and call.is_whole and not call.repeats(arguments)
    if not call.name:
        return False
    if name != call.name or is_second:
        return True
    # Some servers repeat the name in each delta.
    return call.is_whole and bool(arguments or (given and call.id))


def _function(piece: Piece) -> Piece:
    """Return the table with the name and the arguments; some servers have no table."""
    function = piece.get("function")
    return function if isinstance(function, dict) else piece


def _arguments(function: Piece) -> str:
    """Return the arguments as text; an object becomes its JSON."""
    said = next((function[name] for name in _ARGUMENTS if function.get(name) is not None), "")
    if isinstance(said, str):
        return "" if said.strip() == "null" else said
    return json.dumps(said, ensure_ascii=False)


def _is_quoted(arguments: str) -> bool:
    return arguments.lstrip()[:1] == '"'


def _unquoted(arguments: str) -> str:
    """Return arguments that are encoded as a JSON string, once or several times."""
    said: Any = arguments
    while isinstance(said, str) and _is_quoted(said) and is_json(said):
        arguments = said = json.loads(said)
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)


def _text(value: Any) -> str:
    """Return an id or a name as text; some servers send numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else ""
