"""
A provider's chunks in OpenAI's own form.

Called by ``reader``; calls ``choice`` and ``usage``. Invariant: a canonical chunk is returned as
the same object, and no chunk is modified.
"""

import time
from typing import Any
from uuid import uuid4

from caesarion_dialects import usage
from caesarion_dialects.choice import Choice
from caesarion_dialects.errors import TooMuchError

Chunk = dict[str, Any]

MAX_CHOICES = 128
"""Choices in one chunk, the most that OpenAI takes of a request."""

_MAX_HEAD = 1_000  # characters of an id, which stands in each chunk that is made

OBJECT = "chat.completion.chunk"

_HEAD = ("id", "created", "model")
# What is read here, of a chunk and of a choice; the rest goes on under its own name.
_READ = frozenset(("choices", "object", "usage", *_HEAD, *usage.OTHER_PLACES))
_CHOICE_READ = frozenset(("index", "delta", "message", "text", "finish_reason", "usage", "error"))
# Fields that OpenAI's own choices do not have in a stream.
_CHOICE_ODD = frozenset(("message", "text", "usage", "error"))


class Canonicaliser:
    """
    Makes the chunks of one answer canonical.

    ``choices`` is the number that the request asked for: some servers split one answer over
    several. ``model`` is used if a server does not name the model. ``is_thinking``: the answer
    begins within reasoning, as :attr:`thinks` said of an earlier one. ``legacy``: the request
    has ``functions``, so that its client expects a ``function_call``. Without ``with_usage``
    no chunk has the usage, for clients that did not ask for it.
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
        self.usage: usage.Usage | None = None
        """What the server has counted so far."""
        self._number = choices
        self._settings = {"is_thinking": is_thinking, "legacy": legacy}
        self._with_usage = with_usage
        self._choices: dict[int, Choice] = {}
        # The last chunk of each finished choice, until another delta follows.
        self._finishes: dict[int, Chunk] = {}
        self._counting: Chunk | None = None
        self._last: Chunk = {}
        self._head: Chunk = {
            "id": f"chatcmpl-{uuid4().hex}",
            "object": OBJECT,
            "created": int(time.time()),
            "model": model,
        }

    @property
    def is_finished(self) -> bool:
        """Whether each choice has a finish reason, and no delta has followed it."""
        return bool(self._choices) and len(self._finishes) == len(self._choices)

    @property
    def thinks(self) -> bool:
        """Whether the model's answers begin within reasoning, without an opening tag."""
        found = [one.thinks for one in self._choices.values()] or [self._settings["is_thinking"]]
        return any(found)

    @property
    def reasoning_field(self) -> str:
        """The server's field for reasoning; "" if it has none."""
        return next((field for one in self._choices.values() if (field := one.reasoning_field)), "")

    def feed(self, chunk: Chunk) -> list[Chunk]:
        """Return ``chunk`` as canonical chunks: usually itself, sometimes none."""
        choices = chunk.get("choices")
        if type(choices) is list and len(choices) == 1:
            taken = self._take_canonical(chunk, choices[0])
            if taken is not None:
                self._last = chunk
                return taken
        counted = usage.find(chunk)
        if counted is not None:
            self._count(counted, chunk)
        if not isinstance(choices, list) or not choices:
            return [] if counted or "choices" not in chunk else [self._headed(chunk, [])]
        if len(choices) > MAX_CHOICES:
            raise TooMuchError(f"The model sent more than {MAX_CHOICES} choices at once.")
        made: list[Chunk] = []
        for place, choice in enumerate(choices):
            if isinstance(choice, dict):
                made += self._feed_choice(chunk, choice, place)
        return made

    def end(self) -> list[Chunk]:
        """Return the end of the answer: what was held back, finish reasons and usage."""
        self._keep_head(self._last)
        made: list[Chunk] = []
        for number in sorted(self._choices):
            choice = self._choices[number]
            made += [self._chunk({}, number, delta) for delta in choice.end()]
            made.append(self._finishes.get(number) or self._finish({}, {}, number))
        if self._counting and self._with_usage:
            made.append(self._counting)
        return made

    def keeps(self, chunk: Chunk) -> bool:
        """Whether ``chunk`` itself will be returned at the end."""
        return chunk is self._counting or any(chunk is one for one in self._finishes.values())

    def _take_canonical(self, chunk: Chunk, choice: Any) -> list[Chunk] | None:
        """Take a chunk with one choice in OpenAI's own form; return None for any other."""
        if (
            type(choice) is not dict
            or chunk.get("object") != OBJECT
            or chunk.get("usage")
            or type(delta := choice.get("delta")) is not dict
            or type(number := choice.get("index")) is not int
            or not 0 <= number < self._number
            or number in self._finishes
            or not ("id" in chunk and "created" in chunk and "model" in chunk)
            or not chunk.keys().isdisjoint(usage.OTHER_PLACES)
            or not choice.keys().isdisjoint(_CHOICE_ODD)
        ):
            return None
        state = self._state(number)
        reason = choice.get("finish_reason")
        if reason is None:
            return [chunk] if state.take_canonical(delta, number) else None
        if not state.has_role or any(delta.values()):
            return None
        if not state.note_reason(reason) or state.reason != reason:
            return None
        self._finishes[number] = chunk
        return []

    def _feed_choice(self, chunk: Chunk, choice: Chunk, place: int) -> list[Chunk]:
        index = choice.get("index")
        index = index if type(index) is int and index >= 0 else place
        number = min(index, self._number - 1)
        state = self._state(number)
        made = state.feed(_delta_of(choice, state), index)
        if made:
            self._finishes.pop(number, None)
        # The chunk's other fields once: they would be sent again with each delta.
        chunks = [
            self._chunk({} if place else chunk, number, delta) for place, delta in enumerate(made)
        ]
        if state.note_reason(choice.get("finish_reason")):
            self._finishes[number] = self._finish(chunk, choice, number)
        elif chunks:
            chunks[-1]["choices"][0] |= _kept(choice)
        return chunks

    def _state(self, number: int) -> Choice:
        state = self._choices.get(number)
        if state is None:
            state = self._choices[number] = Choice(**self._settings)
        return state

    def _finish(self, chunk: Chunk, choice: Chunk, number: int) -> Chunk:
        reason = self._choices[number].reason
        made = {"index": number, "delta": {}, "finish_reason": reason, **_kept(choice)}
        return self._headed(chunk, [made])

    def _chunk(self, chunk: Chunk, number: int, delta: Chunk) -> Chunk:
        return self._headed(chunk, [{"index": number, "delta": delta, "finish_reason": None}])

    def _headed(self, chunk: Chunk, choices: list[Chunk]) -> Chunk:
        """Return a chunk with these choices and the other fields of ``chunk``."""
        self._keep_head(chunk)
        kept = {
            name: said for name, said in chunk.items() if name not in _READ and said is not None
        }
        return {**self._head, **kept, "choices": choices}

    def _keep_head(self, chunk: Chunk) -> None:
        self._head |= {
            name: said
            for name in _HEAD
            if (said := chunk.get(name))
            and not (isinstance(said, list | dict | str) and len(said) > _MAX_HEAD)
        }

    def _count(self, counted: Any, chunk: Chunk) -> None:
        """Keep the counts, of which the last ones are the answer's."""
        read = usage.read(counted, sum(one.size for one in self._choices.values()))
        if read is None:
            return
        self.usage = usage.merge(self.usage, read)
        is_canonical = (
            chunk.get("choices") == []
            and chunk.get("object") == OBJECT
            and chunk.keys() >= {*_HEAD}
            and counted is chunk.get("usage")
            and usage.is_canonical(counted)
            and read == self.usage
        )
        if is_canonical:
            self._counting = chunk
        else:
            self._counting = self._headed(chunk, []) | {"usage": self.usage.as_json()}


def _delta_of(choice: Chunk, state: Choice) -> Chunk:
    """Return a choice's delta; of an answer that is no stream, its message."""
    for name in ("delta", "message"):
        delta = choice.get(name)
        if isinstance(delta, str):
            return {"content": delta}
        if isinstance(delta, dict) and delta and (name == "delta" or not state.has_role):
            return delta
    text = choice.get("text")  # of the older protocol, for completions
    return {"content": text} if isinstance(text, str) and text else {}


def _kept(choice: Chunk) -> Chunk:
    """Return the fields of a choice that only its provider knows, and logprobs."""
    return {name: said for name, said in choice.items() if name not in _CHOICE_READ}
