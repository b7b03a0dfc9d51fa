"""
One provider's chunks, turned into OpenAI's own.

Called by ``reader``; calls ``calls``, ``reasoning`` and ``usage``. Its law: a
chunk that is canonical comes out as the very same object, and none is changed.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from caesarion_dialects import usage
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

Chunk = dict[str, Any]

OBJECT = "chat.completion.chunk"

# A delta of these fields alone, each of them a text or null, is OpenAI's own.
_PLAIN = frozenset(("role", "content", "refusal", "reasoning_content"))
# What is read here, of a delta and of a choice; the rest goes on under its own name.
_READ = frozenset(("role", "content", "refusal", "tool_calls", "function_call", "usage", *FIELDS))
_CHOICE_READ = frozenset(("index", "delta", "message", "text", "finish_reason", "usage", "error"))
_HEAD = ("id", "created", "model")
_CHUNK_READ = frozenset(("choices", "object", "usage", *_HEAD, *usage.OTHER_PLACES))
# Fields that a canonical delta has not, and those that a canonical choice has not.
_ODD = (_READ | frozenset(DETAILS)) - _PLAIN
_CHOICE_ODD = frozenset(("message", "text", "usage", "error"))

MARKER = "content_was_reasoning"
"""
Marks the delta of a closing tag that nothing opened: the content before it was reasoning.

It cannot be taken back from whoever reads the stream, but need not be taken for
the answer either. Clients that do not know the mark see the tag as the model wrote it.
"""

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
"""Reasons of other protocols, in small letters, and OpenAI's for them."""

_KNOWN_REASONS = frozenset(("stop", "length", "tool_calls", "content_filter", "function_call"))
_NO_REASONS = ("", "null", "none", "finish_reason_unspecified")


@dataclass
class _Choice:
    """One choice under way. ``finish`` is the chunk with its reason, kept until its end."""

    number: int
    tags: ThinkTags
    calls: CallPieces = field(default_factory=CallPieces)
    has_role: bool = False
    speaker: Any = None
    halves: dict[Kind, str] = field(default_factory=dict)
    reason: str = ""
    finish: Chunk | None = None


class Canonicaliser:
    """
    One answer's chunks made canonical.

    ``choices`` is how many the request asked for: some servers spread one
    answer over several. ``model`` stands for the name that a server leaves
    out. ``is_thinking`` says that the answer begins within reasoning, as
    :attr:`thinks` found of an earlier one. ``legacy``: the request has
    ``functions``, so that its client expects a ``function_call``. Without
    ``with_usage`` no chunk counts the tokens, for clients that did not ask.
    """

    def __init__(
        self,
        *,
        choices: int = 1,
        model: str = "",
        is_thinking: bool = False,
        legacy: bool = False,
        with_usage: bool = True,
    ) -> None:
        self.thinks = is_thinking
        """Whether the model's answers begin within reasoning that they do not open."""
        self.reasoning_field = ""
        """The field that the server has reasoning in, if it has one."""
        self._number = choices
        self._legacy = legacy
        self._with_usage = with_usage
        self._is_thinking = is_thinking
        self._thoughts: list[str] = []
        self._choices: dict[int, _Choice] = {}
        self.usage: usage.Usage | None = None
        """What the server has counted so far."""
        self._counting: Chunk | None = None
        self._size = 0
        self._last: Chunk = {}
        self._head: Chunk = {
            "id": f"chatcmpl-{uuid4().hex}",
            "object": OBJECT,
            "created": int(time.time()),
            "model": model,
        }

    @property
    def is_finished(self) -> bool:
        """Whether each choice has a finish reason that nothing has followed yet."""
        return bool(self._choices) and all(one.finish for one in self._choices.values())

    def feed(self, chunk: Chunk) -> list[Chunk]:
        """Return the canonical chunks that ``chunk`` makes: often itself, sometimes none."""
        choices = chunk.get("choices")
        if type(choices) is list and len(choices) == 1 and self._take_canonical(chunk, choices[0]):
            self._last = chunk
            return [chunk]
        counted = usage.find(chunk)
        if counted is not None:
            self._count(counted, chunk)
        if not isinstance(choices, list) or not choices:
            return [] if counted or "choices" not in chunk else [self._headed(chunk, [])]
        made: list[Chunk] = []
        for place, choice in enumerate(choices):
            if isinstance(choice, dict):
                made += self._feed_choice(chunk, choice, place)
        return made

    def end(self) -> list[Chunk]:
        """Return what ends the answer: what was held back, the finish reasons, and the usage."""
        self._keep_head(self._last)
        made: list[Chunk] = []
        for choice in sorted(self._choices.values(), key=lambda one: one.number):
            halves = [Said(kind, "\ufffd") for kind in choice.halves]
            said = [*choice.tags.end(), *halves]
            if choice.tags.is_open and self._is_thinking:
                self.thinks = False
                if choice.reason != "length" and not choice.calls:
                    said.append(Said("content", "".join(self._thoughts).strip()))
            deltas = self._deltas(choice, said)
            deltas += [{"tool_calls": [piece]} for piece in choice.calls.end()]
            made += [self._chunk({}, choice, delta) for delta in deltas]
            made.append(choice.finish or self._finish({}, {}, choice))
        if self._counting and self._with_usage:
            made.append(self._counting)
        return made

    def keeps(self, chunk: Chunk) -> bool:
        """Whether ``chunk`` itself is kept for the end."""
        return chunk is self._counting or any(chunk is one.finish for one in self._choices.values())

    def _take_canonical(self, chunk: Chunk, choice: Any) -> bool:
        """Take a chunk of one choice if it is OpenAI's own already, and say whether it is."""
        if (
            type(choice) is not dict
            or chunk.get("object") != OBJECT
            or chunk.get("usage")
            or choice.get("finish_reason") is not None
            or type(delta := choice.get("delta")) is not dict
            or type(number := choice.get("index")) is not int
            or not 0 <= number < self._number
            or not _has_head(chunk)
            or not chunk.keys().isdisjoint(usage.OTHER_PLACES)
            or not choice.keys().isdisjoint(_CHOICE_ODD)
        ):
            return False
        state = self._state(number)
        role = delta.get("role")
        if state.finish or state.halves or role != (None if state.has_role else "assistant"):
            return False
        calls, content = delta.get("tool_calls"), delta.get("content")
        for name, value in delta.items():
            if value is None or (name == "tool_calls" and not content):
                continue
            if name in _PLAIN:
                if type(value) is not str or not is_whole(value):
                    return False
            elif name in _ODD and not (name == "function_call" and self._legacy):
                return False
        if calls:
            if not state.calls.take_canonical(calls):
                return False
        elif delta.get(MARKER):
            state.tags.only_text()
            self.thinks = True
        elif content and not state.tags.take_plain(content):
            return False
        state.has_role = True
        if reasoning := delta.get("reasoning_content"):
            self.reasoning_field = "reasoning_content"
            state.tags.only_text()
            self._size += _bytes(reasoning)
        if content:
            state.speaker = number
            self._size += _bytes(content)
        return True

    def _feed_choice(self, chunk: Chunk, choice: Chunk, place: int) -> list[Chunk]:
        index = choice.get("index")
        index = index if type(index) is int and index >= 0 else place
        state = self._state(min(index, self._number - 1))
        delta = self._delta_of(choice, state)
        said = [one for one in of_delta(delta) if self._is_of_speaker(one, state, index)]
        for name in FIELDS:
            if isinstance(delta.get(name), str) and delta[name]:
                self.reasoning_field = name
                break
        made = self._deltas(state, self._untagged(state, said))
        calls = delta.get("tool_calls")
        if not calls and not self._legacy and delta.get("function_call"):
            calls = [{"index": 0, "function": delta["function_call"]}]
        made += [{"tool_calls": [piece]} for piece in state.calls.feed(calls)]
        kept = self._extras(delta)
        if kept and made:
            made[0] |= kept
        elif kept or (not made and not state.has_role):
            made.append(kept or {"content": ""})
        if made and not state.has_role:
            made[0] = {"role": "assistant", **made[0]}
            state.has_role = True
        if made:
            state.finish = None
        return self._with_finish(chunk, choice, state, made)

    def _with_finish(
        self, chunk: Chunk, choice: Chunk, state: _Choice, made: list[Chunk]
    ) -> list[Chunk]:
        """Return chunks of the deltas ``made``; keep the finish reason until the end."""
        chunks = [self._chunk(chunk, state, delta) for delta in made]
        if (reason := self._reason(choice.get("finish_reason"))) or state.reason:
            state.reason = reason or state.reason
        if reason and not made and self._is_canonical_finish(chunk, choice, state):
            state.finish = chunk
        elif reason:
            state.finish = self._finish(chunk, choice, state)
        elif chunks and (kept := _kept(choice)):
            chunks[-1]["choices"][0] |= kept
        return chunks

    def _is_canonical_finish(self, chunk: Chunk, choice: Chunk, state: _Choice) -> bool:
        return (
            chunk.get("object") == OBJECT
            and _has_head(chunk)
            and not chunk.get("usage")
            and chunk.keys().isdisjoint(usage.OTHER_PLACES)
            and choice.keys().isdisjoint(_CHOICE_ODD)
            and len(chunk["choices"]) == 1
            and choice.get("index") == state.number
            and choice.get("finish_reason") == state.reason
            and isinstance(delta := choice.get("delta"), dict)
            and "role" not in delta
        )

    def _state(self, number: int) -> _Choice:
        state = self._choices.get(number)
        if state is None:
            state = _Choice(number, ThinkTags(is_open=self._is_thinking))
            self._choices[number] = state
        return state

    def _delta_of(self, choice: Chunk, state: _Choice) -> Chunk:
        """Return what a choice says: its delta, or the message of an answer that is whole."""
        for name in ("delta", "message"):
            delta = choice.get(name)
            if isinstance(delta, str):
                return {"content": delta}
            if isinstance(delta, dict) and delta and (name == "delta" or not state.has_role):
                return delta
        text = choice.get("text")  # of the older protocol, for completions
        return {"content": text} if isinstance(text, str) and text else {}

    def _is_of_speaker(self, said: Said, state: _Choice, index: int) -> bool:
        """Whether a text counts: where one answer is spread over choices, one of them speaks."""
        if state.speaker is None and said.text.strip():
            state.speaker = index
        return state.speaker in (None, index)

    def _untagged(self, state: _Choice, said: list[Said]) -> Iterator[Said]:
        for one in said:
            if state.halves or not is_whole(one.text):
                text, half = joined(state.halves.pop(one.kind, "") + one.text)
                one = Said(one.kind, text)
                if half:
                    state.halves[one.kind] = half
            if one.kind == "content":
                yield from state.tags.feed(one.text)
            else:
                if one.kind == "reasoning_content":
                    state.tags.only_text()
                yield one

    def _deltas(self, state: _Choice, said: Iterable[Said]) -> list[Chunk]:
        """Return a delta for each run of texts of one kind."""
        made: list[Chunk] = []
        last = ""
        for kind, text in said:
            self._size += _bytes(text)
            if kind == "unopened":
                self.thinks = True
                made.append({"content": text, MARKER: True})
            elif kind == last:
                made[-1][kind] += text
            else:
                made.append({kind: text})
            last = kind
            if self._is_thinking and kind == "reasoning_content":
                self._thoughts.append(text)
        return made

    def _extras(self, delta: Chunk) -> Chunk:
        """Return the fields of a delta that belong to its provider."""
        read = _READ - {"function_call"} if self._legacy else _READ
        return {name: said for name, said in delta.items() if name not in read and said is not None}

    def _reason(self, said: Any) -> str:
        if not isinstance(said, str) or said.lower() in _NO_REASONS:
            return ""
        if said == "function_call" and self._legacy:
            return said
        small = said.lower()
        return _REASONS.get(small, small if small in _KNOWN_REASONS else said)

    def _finish(self, chunk: Chunk, choice: Chunk, state: _Choice) -> Chunk:
        reason = state.reason or ("tool_calls" if state.calls else "stop")
        made = {"index": state.number, "delta": {}, "finish_reason": reason, **_kept(choice)}
        return self._headed(chunk, [made])

    def _chunk(self, chunk: Chunk, state: _Choice, delta: Chunk) -> Chunk:
        choice = {"index": state.number, "delta": delta, "finish_reason": None}
        return self._headed(chunk, [choice])

    def _headed(self, chunk: Chunk, choices: list[Chunk]) -> Chunk:
        """Return a chunk with these choices and the fields of ``chunk`` that are no answer."""
        self._keep_head(chunk)
        kept = {
            name: said
            for name, said in chunk.items()
            if name not in _CHUNK_READ and said is not None
        }
        return {**self._head, **kept, "choices": choices}

    def _keep_head(self, chunk: Chunk) -> None:
        self._head |= {name: chunk[name] for name in _HEAD if chunk.get(name)}

    def _count(self, counted: Any, chunk: Chunk) -> None:
        """Keep what the tokens are counted as; the last count is the answer's."""
        read = usage.read(counted, self._size)
        if read is None:
            return
        self.usage = usage.merge(self.usage, read)
        is_canonical = (
            chunk.get("choices") == []
            and chunk.get("object") == OBJECT
            and _has_head(chunk)
            and usage.is_canonical(chunk.get("usage"))
            and usage.read(chunk["usage"]) == self.usage
        )
        if is_canonical:
            self._counting = chunk
        else:
            self._counting = self._headed(chunk, []) | {"usage": self.usage.as_json()}


def _has_head(chunk: Chunk) -> bool:
    return "id" in chunk and "created" in chunk and "model" in chunk


def _kept(choice: Chunk) -> Chunk:
    """Return the fields of a choice that belong to its provider, and logprobs."""
    return {name: said for name, said in choice.items() if name not in _CHOICE_READ}


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
