"""
What an answer says, read while it passes: usage, tool calls, how it ended.

Called by ``answering`` with the bytes as they come. Its law: nothing is encoded
anew. Bytes go on as they came, but for the one event that counts the tokens
when the client did not ask for it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caesarion_hub.gateway.policy.prices import Usage, read_usage, tokens_of

LONGEST = 16 * 2**20
"""Bytes of one line that are looked into; a longer one passes, and its size is counted."""

_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")


@dataclass
class Call:
    """A tool call that the model asks for, put together from its pieces."""

    id: str = ""
    name: str = ""
    arguments: str = ""


class Tap:
    """
    One answer of so many ``choices``; ``strip``: the client did not ask for the usage.

    ``spoke`` is whether anything was said yet, ``ended`` whether the answer
    said that it is at its end.
    """

    def __init__(self, *, is_stream: bool, strip: bool, choices: int = 1) -> None:
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.calls: list[Call] = []
        self.spoke = False
        self.ended = False
        self._strip = strip and is_stream
        self._is_stream = is_stream
        self._left = choices
        self._by_index: dict[tuple[Any, Any], Call] = {}
        self._rest = bytearray()
        self._seen = 0  # bytes of the rest that hold no end of a line
        self._blank = False  # the next line is the end of an event that was taken out
        self._size = 0
        self._deltas = 0

    def counted(self) -> int:
        """Return how many tokens the answer has so far, by our own count."""
        return max(tokens_of(self._size), self._deltas)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return what may go on now."""
        self._rest += data
        if not self._is_stream:
            return b""
        kept = [line for line in self._lines() if self._read_line(line)]
        if len(self._rest) > LONGEST:
            self._size += len(self._rest)
            kept.append(bytes(self._rest))
            self._rest.clear()
            self._seen = 0
        return b"".join(kept) if self._strip else data

    def finish(self) -> bytes:
        """Take the end of the body and return what is left of it."""
        rest = bytes(self._rest)
        self._rest.clear()
        self.ended = True
        if not self._is_stream:
            self._read_whole(rest)
            return rest
        keep = not rest or self._read_line(rest)
        return rest if self._strip and keep else b""

    def _lines(self) -> Iterator[bytes]:
        begin = 0
        while (end := self._rest.find(b"\n", max(begin, self._seen))) >= 0:
            yield bytes(self._rest[begin : end + 1])
            begin = end + 1
        del self._rest[:begin]
        self._seen = len(self._rest)

    def _read_line(self, line: bytes) -> bool:
        """Take a line; return whether it may go on."""
        if self._blank and not line.strip():
            self._blank = False
            return False
        if not line.startswith(b"data:"):
            return True
        said = line[5:].strip()
        if said == b"[DONE]":
            self.ended = True
            return True
        chunk = _json(said)
        if not isinstance(chunk, dict):
            return True
        self._read(chunk, "delta")
        self._blank = self._strip and chunk.get("choices") == [] and bool(chunk.get("usage"))
        return not self._blank

    def _read_whole(self, body: bytes) -> None:
        whole = _json(body)
        if isinstance(whole, dict):
            self._read(whole, "message")
        elif body:
            self._size += len(body)

    def _read(self, chunk: dict[str, Any], name: str) -> None:
        if counted := read_usage(chunk.get("usage")):
            self.usage = counted
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict):
                continue
            delta = choice.get(name)
            if isinstance(delta, dict):
                self._read_delta(delta, choice.get("index"))
            reason = choice.get("finish_reason")
            if isinstance(reason, str) and reason:
                self.finish_reason = reason
                self._left -= 1
                self.ended = self.ended or self._left <= 0

    def _read_delta(self, delta: dict[str, Any], choice: Any) -> None:
        size = 0
        for text in _TEXTS:
            if isinstance(said := delta.get(text), str):
                size += len(said.encode("utf-8", "surrogatepass"))
        pieces = delta.get("tool_calls")
        for place, piece in enumerate(pieces if isinstance(pieces, list) else ()):
            if isinstance(piece, dict):
                size += self._add_piece(piece, choice, piece.get("index", place))
        if size:
            self._size += size
            self._deltas += 1
            self.spoke = True

    def _add_piece(self, piece: dict[str, Any], choice: Any, index: Any) -> int:
        """Add to the call of this index; another id begins another one. Return the size."""
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        given, name, arguments = (
            said if isinstance(said, str) else ""
            for said in (piece.get("id"), function.get("name"), function.get("arguments"))
        )
        call = self._by_index.get((choice, index))
        if call is None or (given and call.id not in ("", given)):
            call = self._by_index[choice, index] = Call()
            self.calls.append(call)
        call.id = given or call.id
        call.name = name or call.name
        call.arguments += arguments
        return len(name) + len(arguments.encode("utf-8", "surrogatepass"))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
