"""
The complete answer, put together from canonical chunks.

Called by the gateway for its audit and by the extension for the chat; calls ``continued`` and
``usage``. It reads
OpenAI's own form only, which ``canonical`` makes of all others.
"""

from dataclasses import dataclass, field
from typing import Any

from caesarion_dialects import usage
from caesarion_dialects.choice import CONTENT_WAS_REASONING
from caesarion_dialects.continued import Continued

Json = dict[str, Any]

_TEXTS = ("content", "reasoning_content", "refusal")
_CALL_READ = frozenset(("index", "id", "type", "function"))


@dataclass
class Call:
    """A tool call; ``fields`` are the provider's own, which are sent back with it."""

    id: str = ""
    name: str = ""
    fields: dict[str, Continued] = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)

    @property
    def arguments(self) -> str:
        """The arguments: JSON, unless the model wrote something else."""
        return "".join(self.pieces)

    @property
    def extras(self) -> Json:
        """The provider's own fields."""
        return {name: one.value() for name, one in self.fields.items()}

    def as_json(self) -> Json:
        """Return the call in the form of a message's ``tool_calls``."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.id, "type": "function", "function": function, **self.extras}


@dataclass
class Answer:
    """
    One choice's answer so far; it is complete once it has a ``finish_reason``.

    ``fields`` are those that only the provider knows (``reasoning_details``, signatures),
    which are sent back with the message. ``is_legacy``: the call is a ``function_call``.
    """

    calls: list[Call] = field(default_factory=list)
    finish_reason: str = ""
    fields: dict[str, Continued] = field(default_factory=dict)
    is_legacy: bool = False
    pieces: dict[str, list[str]] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The answer's text."""
        return "".join(self.pieces.get("content", ()))

    @property
    def reasoning(self) -> str:
        """The model's reasoning, if the provider sends it."""
        return "".join(self.pieces.get("reasoning_content", ()))

    @property
    def refusal(self) -> str:
        """The model's refusal to answer."""
        return "".join(self.pieces.get("refusal", ()))

    @property
    def extras(self) -> Json:
        """The fields that only the provider knows."""
        return {name: one.value() for name, one in self.fields.items()}

    @property
    def is_complete(self) -> bool:
        """Whether the answer has ended."""
        return bool(self.finish_reason)

    def message(self) -> Json:
        """Return the answer as an assistant message, with the fields that providers want back."""
        message: Json = {"role": "assistant", "content": self.text or None}
        if self.refusal:
            message["refusal"] = self.refusal
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.calls and self.is_legacy:
            message["function_call"] = self.calls[0].as_json()["function"]
        elif self.calls:
            message["tool_calls"] = [call.as_json() for call in self.calls]
        return message | self.extras

    def add(self, delta: Json) -> bool:
        """Take a delta; return whether it had text or a piece of a call."""
        if delta.get(CONTENT_WAS_REASONING):
            # The content so far was reasoning, and this is its closing tag: see ``choice``.
            said = self.pieces.pop("content", [])
            self.pieces.setdefault("reasoning_content", []).extend(said)
            return False
        is_said = False
        for name, value in delta.items():
            if not value:
                continue
            if name in _TEXTS:
                self.pieces.setdefault(name, []).append(value)
                is_said = True
            elif name == "tool_calls":
                for piece in value:
                    self._add_call(piece)
                is_said = True
            elif name == "function_call" and isinstance(value, dict):
                self.is_legacy = is_said = True
                self._add_call({"index": 0, "function": value})
            elif name != "role":
                self.fields.setdefault(name, Continued()).add(value)
        return is_said

    def _add_call(self, piece: Json) -> None:
        index = piece["index"]
        while len(self.calls) <= index:
            self.calls.append(Call())
        call, function = self.calls[index], piece.get("function") or {}
        call.id = piece.get("id") or call.id
        call.name = function.get("name") or call.name
        if arguments := function.get("arguments"):
            call.pieces.append(arguments)
        for name in piece.keys() - _CALL_READ:
            call.fields.setdefault(name, Continued()).add(piece[name])


class Assembler:
    """
    Puts canonical chunks together.

    ``usage`` is the provider's count. ``deltas`` is the number of deltas with text or a piece
    of a call, each of which has at least one token.
    """

    def __init__(self) -> None:
        self.usage: usage.Usage | None = None
        self.deltas = 0
        self._answers: dict[int, Answer] = {}

    @property
    def answer(self) -> Answer:
        """The first choice's answer; an empty one if there is none."""
        return next(iter(self.answers()), Answer())

    @property
    def is_complete(self) -> bool:
        """Whether there is an answer, and each one has ended."""
        return bool(self._answers) and all(one.is_complete for one in self._answers.values())

    def answers(self) -> list[Answer]:
        """Return the answers in the order of their choices."""
        return [self._answers[number] for number in sorted(self._answers)]

    def add(self, chunk: Json) -> None:
        """Take a canonical chunk."""
        if counted := chunk.get("usage"):
            self.usage = usage.read(counted)
        for choice in chunk["choices"]:
            number = choice["index"]
            answer = self._answers.get(number)
            if answer is None:
                answer = self._answers[number] = Answer()
            if answer.add(choice["delta"]):
                self.deltas += 1
            if reason := choice.get("finish_reason"):
                answer.finish_reason = reason

    def size(self) -> int:
        """Return the bytes of UTF-8 in all texts, and in the names and arguments of calls."""
        return sum(
            len(text.encode("utf-8", "surrogatepass"))
            for answer in self._answers.values()
            for text in (
                *(piece for pieces in answer.pieces.values() for piece in pieces),
                *(part for call in answer.calls for part in (call.name, *call.pieces)),
            )
        )
