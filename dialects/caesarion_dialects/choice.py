"""
One choice of an answer: a server's deltas in OpenAI's own form.

Called by ``canonical``; calls ``calls`` and ``reasoning``.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from caesarion_dialects.calls import CallPieces
from caesarion_dialects.reasoning import (
    DETAILS,
    FIELDS,
    Kind,
    Said,
    ThinkTags,
    is_whole,
    joined,
    of_delta,
)

Delta = dict[str, Any]

CONTENT_WAS_REASONING = "content_was_reasoning"
"""
Marks the delta of a closing tag without an opening one: the content before it was reasoning.

The content was sent already; a client that knows the mark takes it for reasoning from here on.
Other clients see the tag as the model wrote it.
"""

# Fields of a delta whose value is a text or null in OpenAI's own form.
_PLAIN = frozenset(("role", "content", "refusal", "reasoning_content"))
# Fields that are read here; the others go on under their own names.
_READ = frozenset(("role", "content", "refusal", "tool_calls", "function_call", "usage", *FIELDS))
# Fields that OpenAI's own deltas do not have.
_ODD = (_READ | frozenset(DETAILS)) - _PLAIN - {"tool_calls"}

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "tool_use": "tool_calls",
    "tool_call": "tool_calls",
    "function_call": "tool_calls",
    "refusal": "content_filter",
    "safety": "content_filter",
}
"""Finish reasons of other protocols, in small letters, and OpenAI's for them."""

_KNOWN_REASONS = frozenset(("stop", "length", "tool_calls", "content_filter"))
_NO_REASONS = ("", "null", "none", "finish_reason_unspecified")


class Choice:
    """
    Makes the deltas of one choice canonical.

    ``is_thinking`` says that it begins within reasoning; ``legacy`` that its
    client expects a ``function_call``. ``reason`` is the finish reason so far,
    ``size`` the number of bytes that were said.
    """

    def __init__(self, *, is_thinking: bool, legacy: bool) -> None:
        self.reason = ""
        self.size = 0
        self.thinks = is_thinking
        self.reasoning_field = ""
        self.has_role = False
        self._is_thinking = is_thinking
        self._legacy = legacy
        self._tags = ThinkTags(is_open=is_thinking)
        self._calls = CallPieces()
        self._halves: dict[Kind, str] = {}
        self._thoughts: list[str] = []
        self._speaker: int | None = None

    def take_canonical(self, delta: Delta, index: int) -> bool:
        """Take ``delta`` if it is in OpenAI's own form; return whether it is."""
        if self._halves or delta.get("role") != (None if self.has_role else "assistant"):
            return False
        for name, value in delta.items():
            if value is None:
                continue
            if name in _PLAIN:
                if type(value) is not str or not is_whole(value):
                    return False
            elif name in _ODD and not (name == "function_call" and self._legacy):
                return False
        calls, content = delta.get("tool_calls"), delta.get("content")
        if calls:
            if content or not self._calls.take_canonical(calls):
                return False
        elif delta.get(CONTENT_WAS_REASONING):
            self._tags.only_text()
            self.thinks = True
        elif content and not self._tags.take_plain(content):
            return False
        self.has_role = True
        if reasoning := delta.get("reasoning_content"):
            self.reasoning_field = "reasoning_content"
            self._tags.only_text()
            self.size += _bytes(reasoning)
        if content:
            self._speaker = index
            self.size += _bytes(content)
        return True

    def feed(self, delta: Delta, index: int) -> list[Delta]:
        """Return ``delta`` as canonical deltas; ``index`` is the server's number of the choice."""
        said = [one for one in of_delta(delta) if self._is_of_speaker(one, index)]
        fields = (name for name in FIELDS if isinstance(delta.get(name), str) and delta[name])
        self.reasoning_field = next(fields, self.reasoning_field)
        made = self._deltas(self._untagged(said))
        calls = delta.get("tool_calls")
        if not calls and not self._legacy and delta.get("function_call"):
            calls = [{"index": 0, "function": delta["function_call"]}]
        made += [{"tool_calls": [piece]} for piece in self._calls.feed(calls)]
        extras = self._extras(delta)
        if extras and made:
            made[0] |= extras
        elif extras or (not made and not self.has_role):
            made.append(extras or {"content": ""})
        if made and not self.has_role:
            made[0] = {"role": "assistant", **made[0]}
            self.has_role = True
        return made

    def note_reason(self, said: Any) -> bool:
        """Take a finish reason; return whether ``said`` is one."""
        if not isinstance(said, str) or said.lower() in _NO_REASONS:
            return False
        small = said.lower()
        known = small if small in _KNOWN_REASONS else said
        is_legacy = self._legacy and said == "function_call"
        self.reason = said if is_legacy else _REASONS.get(small, known)
        return True

    def end(self) -> list[Delta]:
        """Return what was held back, and make a finish reason if the server sent none."""
        said = [*self._tags.end(), *(Said(kind, "\ufffd") for kind in self._halves)]
        if self._tags.is_open and self._is_thinking:
            # Not reasoning after all, since the model did not end it.
            self.thinks = False
            if self.reason != "length" and not self._calls:
                said.append(Said("content", "".join(self._thoughts).strip()))
        made = self._deltas(said)
        made += [{"tool_calls": [piece]} for piece in self._calls.end()]
        self.reason = self.reason or ("tool_calls" if self._calls else "stop")
        return made

    def _is_of_speaker(self, said: Said, index: int) -> bool:
        """Whether a text counts: of an answer that is split over choices, one has the text."""
        if self._speaker is None and said.text.strip():
            self._speaker = index
        return self._speaker in (None, index)

    def _untagged(self, said: list[Said]) -> Iterator[Said]:
        for one in said:
            if self._halves or not is_whole(one.text):
                text, half = joined(self._halves.pop(one.kind, "") + one.text)
                if half:
                    self._halves[one.kind] = half
                one = Said(one.kind, text)
            if one.kind == "content":
                yield from self._tags.feed(one.text)
            else:
                if one.kind == "reasoning_content":
                    self._tags.only_text()
                yield one

    def _deltas(self, said: Iterable[Said]) -> list[Delta]:
        """Return a delta for each run of texts of one kind."""
        made: list[Delta] = []
        last, texts = "", list[str]()
        for kind, text in said:
            self.size += _bytes(text)
            if kind == "unopened":
                self.thinks = True
                _write(made, last, texts)
                made.append({"content": text, CONTENT_WAS_REASONING: True})
            elif kind == last:
                texts.append(text)
            else:
                _write(made, last, texts)
                made.append({kind: text})
                texts = [text]
            last = kind
            if self._is_thinking and kind == "reasoning_content":
                self._thoughts.append(text)
        _write(made, last, texts)
        return made

    def _extras(self, delta: Delta) -> Delta:
        """Return the fields of a delta that only its provider knows."""
        read = _READ - {"function_call"} if self._legacy else _READ
        return {name: said for name, said in delta.items() if name not in read and said is not None}


def _write(made: list[Delta], kind: str, texts: list[str]) -> None:
    """Give the last delta the texts that follow each other in it."""
    if len(texts) > 1 and kind in made[-1]:
        made[-1][kind] = "".join(texts)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
