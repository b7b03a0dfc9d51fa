"""
The demo model behind the OpenAI protocol, streamed at a readable pace.

Called by ``api.metering`` as a :class:`~caesarion_hub.gateway.upstream.backend.Backend`. Its
usage counts words in the place of tokens: one for each run of letters and digits, and one for
each other character that is not a space.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from caesarion_dialects import AnswerReader, Piece

from caesarion_hub.gateway.upstream.backend import Condition, Response, json_response
from caesarion_hub.gateway.upstream.demo.chunks import Frame, Reply, stream
from caesarion_hub.gateway.upstream.demo.rules import answer
from caesarion_hub.gateway.upstream.demo.turn import read_turn
from caesarion_hub.values.gateway import Timeouts

MODEL = "caesarion-demo"

PACE = 0.005
"""Seconds between two words: fast, but visibly streamed."""


_PIECE = 65_536  # letters


class DemoModel:
    """Answers for any model's name. ``pace`` is the number of seconds between two words."""

    def __init__(self, pace: float = PACE) -> None:
        self._pace = pace

    @property
    def silence(self) -> float:
        """Seconds that none of its answers is silent for: the default of any upstream's."""
        return Timeouts().silence

    def model_name(self, model: str) -> str:
        """Return the demo model's own name, for the ledger and the audit."""
        return MODEL

    def extra_fields(self, model: str) -> tuple[str, ...]:
        """Return no field: the rules read none."""
        return ()

    def problem(self) -> str:
        """Return "": it can always answer."""
        return ""

    def conditions(self) -> tuple[Condition, ...]:
        """Return no health: there is no upstream."""
        return ()

    @contextlib.asynccontextmanager
    async def complete(self, raw: bytes, body: dict[str, Any]) -> AsyncIterator[Response]:
        """Answer with the rules' reply."""
        # In a thread: a long conversation takes the loop's time otherwise.
        reply, counted = await asyncio.to_thread(_answer, body)
        frame = Frame(f"chatcmpl-{uuid4().hex}", int(time.time()), MODEL)
        call_id = f"call_{uuid4().hex[:24]}"
        if body.get("stream"):
            options = body.get("stream_options")
            wanted = isinstance(options, dict) and options.get("include_usage")
            pieces = stream(frame, reply, call_id, counted, with_usage=bool(wanted))
            headers = {"Content-Type": "text/event-stream; charset=utf-8"}
            yield Response(200, headers, self._paced(pieces))
        else:
            yield _whole(frame.completion(reply, call_id, counted))

    @contextlib.asynccontextmanager
    async def models(self) -> AsyncIterator[Response]:
        """List the demo model."""
        model = {"id": MODEL, "object": "model", "created": 0, "owned_by": "caesarion"}
        yield json_response({"object": "list", "data": [model]})

    async def _paced(self, pieces: Iterable[Piece]) -> AsyncIterator[Piece]:
        for number, piece in enumerate(pieces):
            if number:
                await asyncio.sleep(self._pace)
            yield piece


def _whole(body: dict[str, Any]) -> Response:
    """Return a response that is no stream, with the chunks that it amounts to."""
    reader = AnswerReader()
    reader.feed(json.dumps(body).encode())
    said = reader.end()
    response = json_response(body)

    async def content() -> AsyncIterator[Piece]:
        async for piece in response.content:
            yield piece._replace(chunks=said.chunks, usage=said.usage)

    return replace(response, content=content())


def _answer(body: dict[str, Any]) -> tuple[Reply, dict[str, int]]:
    reply = answer(read_turn(body))
    return reply, usage(body["messages"], reply)


def usage(messages: Any, reply: Reply) -> dict[str, int]:
    """Return OpenAI's usage object, with words for tokens (see the module)."""
    called = " ".join(json.dumps(call.arguments, ensure_ascii=False) for call in reply.calls)
    prompt = _count(json.dumps(_without_images(messages), ensure_ascii=False))
    completion = _count(f"{reply.text} {called}")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _without_images(value: Any) -> Any:
    """Return ``value`` without images, whose data has no words."""
    if isinstance(value, list):
        return [_without_images(item) for item in value]
    if isinstance(value, dict):
        return {name: _without_images(v) for name, v in value.items() if name != "image_url"}
    return value


def _count(text: str) -> int:
    # Piece by piece, so that other threads get their turn; a word that is cut counts twice.
    pieces = (text[begin : begin + _PIECE] for begin in range(0, len(text), _PIECE))
    return sum(len(re.findall(r"\w+|[^\w\s]", piece)) for piece in pieces)
