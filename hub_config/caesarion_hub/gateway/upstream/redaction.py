"""
Redact the provider's key, and the parts of it that providers quote, in what they send.

Called by ``client``, ``endpoint`` and ``refusals``. Providers answer with messages such as
"Incorrect API key provided: sk-ab***yz". Neither the key nor its ends may reach a user, in an
error, a header or an answer.
"""

import re
from typing import Any

from caesarion_dialects import Piece
from caesarion_dialects.reader import DONE, encoded

REMOVED = "[key]"

# Characters that stand for the middle of a key: asterisks, dots, bullets, an ellipsis.
_MASK = re.compile(r"[*•…]+|\.{2,}|[xX]{4,}")
_WORD = re.compile(r"[^\s\"'`<>(),;\\]+")
# Characters of the key from which on a match is no coincidence.
_PIECE = 8
# First characters of the key from which on a text may be its beginning.
_SEEN = 3
_TEXTS = ("content", "reasoning_content", "refusal")
# A text of an answer: its choice, its field, and its call.
_Place = tuple[int, str, int]


def redact(text: str, key: str | None) -> str:
    """Return ``text`` with each word replaced that has ``key`` or a part of it."""
    if not key:
        return text
    if len(key) >= _PIECE:
        text = text.replace(key, REMOVED)
    return _WORD.sub(lambda word: REMOVED if _shows(word[0], key) else word[0], text)


def _shows(word: str, key: str) -> bool:
    word = word.rstrip(".:!?") if not _MASK.search(word) else word
    if word == key:
        return True
    if len(key) < _PIECE:
        return False  # A made-up key of a local server, such as "none", may be a plain word.
    if any(word[at : at + _PIECE] in key for at in range(len(word) - _PIECE + 1)):
        return True
    ends = _MASK.split(word)
    head, tail = ends[0], ends[-1].rstrip(".:!?")
    if len(ends) == 1:
        return False
    return (len(head) >= 2 and key.startswith(head)) or (len(tail) >= 2 and key.endswith(tail))


class AnswerRedactor:
    """
    Redacts a key in an answer, however the answer is split.

    A text that ends like the beginning of the key is held back until the next delta of its
    field, or the end of its choice. An answer without the key passes unchanged.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key if key and len(key) >= _PIECE else ""
        self._raw = self._key.encode()
        # For each text, the end of what was sent, and what is held back behind it.
        self._ends: dict[_Place, tuple[str, str]] = {}
        self._is_holding = False

    def redact(self, piece: Piece) -> Piece:
        """Return ``piece`` with the key redacted."""
        if not self._key:
            return piece
        chunks = [self._chunk(chunk) for chunk in piece.chunks]
        data = piece.data
        if any(new is not old for new, old in zip(chunks, piece.chunks, strict=True)):
            done = DONE if data.endswith(DONE) else b""
            data = b"".join(map(encoded, chunks)) + done
        if self._raw in data:
            data = data.replace(self._raw, REMOVED.encode())
        return piece._replace(data=data, chunks=chunks)

    def _chunk(self, chunk: dict[str, Any]) -> dict[str, Any]:
        choices = [self._choice(choice) for choice in chunk["choices"]]
        if all(new is old for new, old in zip(choices, chunk["choices"], strict=True)):
            return chunk
        return {**chunk, "choices": choices}

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        delta, index = choice["delta"], choice["index"]
        made: dict[str, Any] = {}
        for name in _TEXTS:
            text = delta.get(name)
            if text and (new := self._text(text, (index, name, 0))) != text:
                made[name] = new
        if calls := delta.get("tool_calls"):
            redacted = [self._call(call, index) for call in calls]
            if any(new is not old for new, old in zip(redacted, calls, strict=True)):
                made["tool_calls"] = redacted
        if self._is_holding and choice.get("finish_reason"):
            made |= self._rest(index)
        return {**choice, "delta": {**delta, **made}} if made else choice

    def _call(self, call: dict[str, Any], index: int) -> dict[str, Any]:
        function = call.get("function") or {}
        arguments = function.get("arguments")
        if not arguments:
            return call
        new = self._text(arguments, (index, "tool_calls", call["index"]))
        return call if new == arguments else {**call, "function": {**function, "arguments": new}}

    def _text(self, text: str, place: _Place) -> str:
        sent, held = self._ends.get(place, ("", ""))
        whole = sent + held + text
        if not held and self._key[:_SEEN] not in whole:
            self._ends[place] = whole[1 - _SEEN :], ""
            return text
        made, begin, searched = "", len(sent), 0
        while (at := whole.find(self._key, searched)) >= 0:
            searched = at + len(self._key)
            made += whole[begin:at] + REMOVED
            begin = max(begin, searched)
        end = max(begin, len(whole) - self._beginning(whole[searched:]))
        self._ends[place] = whole[max(searched, end + 1 - _SEEN) : end], whole[end:]
        self._is_holding = self._is_holding or end < len(whole)
        return made + whole[begin:end]

    def _beginning(self, text: str) -> int:
        """Return the length of the end of ``text`` that the key may begin with, or 0."""
        longest = min(len(text), len(self._key) - 1)
        lengths = range(longest, _SEEN - 1, -1)
        return next((length for length in lengths if self._key.startswith(text[-length:])), 0)

    def _rest(self, index: int) -> dict[str, Any]:
        """Return what was held back of a choice, for the delta of its end."""
        rest: dict[str, Any] = {}
        for place, (sent, held) in self._ends.items():
            if place[0] != index or not held:
                continue
            self._ends[place] = sent, ""
            if place[1] == "tool_calls":
                piece = {"index": place[2], "function": {"arguments": held}}
                rest.setdefault("tool_calls", []).append(piece)
            else:
                rest[place[1]] = held
        return rest
