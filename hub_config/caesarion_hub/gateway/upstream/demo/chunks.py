"""
OpenAI's answers, built from words and calls: pure functions.

Called by ``model``. Source: https://platform.openai.com/docs/api-reference/chat
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from caesarion_dialects import Piece
from caesarion_dialects.reader import DONE, encoded
from caesarion_dialects.usage import read as read_usage

Json = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A call of one of the request's tools."""

    name: str
    arguments: Json


@dataclass(frozen=True)
class Reply:
    """An answer: its text, and the tool calls behind it, if any."""

    text: str
    calls: tuple[Call, ...] = ()

    @property
    def finish_reason(self) -> str:
        """OpenAI's finish reason."""
        return "tool_calls" if self.calls else "stop"


@dataclass(frozen=True)
class Frame:
    """The fields that are the same in every chunk of one answer."""

    id: str
    created: int
    model: str

    def chunk(self, choices: list[Json]) -> Json:
        """Return one ``chat.completion.chunk``."""
        return self._body("chat.completion.chunk", choices)

    def completion(self, reply: Reply, call_id: str, usage: Json) -> Json:
        """Return the whole answer at once; further calls have numbers behind ``call_id``."""
        message: Json = {"role": "assistant", "content": reply.text or None, "refusal": None}
        if reply.calls:
            message["tool_calls"] = [
                _call(call, f"{call_id}{number or ''}", _arguments(call))
                for number, call in enumerate(reply.calls)
            ]
        choice = {"index": 0, "message": message, "logprobs": None}
        choice["finish_reason"] = reply.finish_reason
        return self._body("chat.completion", [choice]) | {"usage": usage}

    def _body(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.model,
            "choices": choices,
        }


def stream(
    frame: Frame, reply: Reply, call_id: str, usage: Json, *, with_usage: bool
) -> Iterator[Piece]:
    """Yield the answer word by word; the last piece counts the tokens and ends the stream."""
    for delta in _deltas(reply, call_id):
        chunk = frame.chunk([_choice(delta)])
        yield Piece(encoded(chunk), [chunk])
    last = [frame.chunk([_choice({}, reply.finish_reason)])]
    if with_usage:
        last.append(frame.chunk([]) | {"usage": usage})
    yield Piece(b"".join(map(encoded, last)) + DONE, last, read_usage(usage))


def words(text: str) -> list[str]:
    """Split ``text`` into words with the spaces behind them; joined, they are the text."""
    return re.findall(r"\s*\S+\s*|\s+", text)


def _deltas(reply: Reply, call_id: str) -> Iterator[Json]:
    yield {"role": "assistant", "content": ""}
    for word in words(reply.text):
        yield {"content": word}
    for number, call in enumerate(reply.calls):
        begun = _call(call, f"{call_id}{number or ''}", "")
        yield {"tool_calls": [{"index": number} | begun]}
        for piece in words(_arguments(call)):
            yield {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}


def _choice(delta: Json, finish_reason: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _call(call: Call, call_id: str, arguments: str) -> Json:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def _arguments(call: Call) -> str:
    return json.dumps(call.arguments, ensure_ascii=False)
