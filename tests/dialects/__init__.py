"""
What model servers send, each with what it says: fixtures for everything that reads answers.

Each JSON file here holds a list of cases. A case has a ``name`` and one of these forms:

- ``wire``: a list of texts, which joined are the body as it stands on the wire;
- ``chunks``: a list of JSON values, each sent as an event, then ``[DONE]``, unless ``done``
  is false;
- ``deltas``: a list of deltas, each sent in a chunk of OpenAI's own form, then a chunk with the
  ``finish`` reason ("stop"), one with ``count`` (OpenAI's usage) if there is one, and ``[DONE]``;
- ``body``: a JSON value, which is the whole body.

``content_type`` is "text/event-stream", of a ``body`` "application/json", if not said. ``request``
has fields that the request needs. ``expected`` is what the answer says: ``text``, ``reasoning``,
``refusal``, ``calls`` (name, arguments, perhaps id and extras), ``finish``, ``usage`` (prompt,
completion, cached, reasoning), ``extras``, ``error`` (the provider's words) and ``failure``
("error", "garbled", "cut"). What is not named is empty, and the finish "stop" unless it failed.
``unchanged`` says that the bytes go on as they came.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]

HEAD: Json = {
    "id": "chatcmpl-1",
    "object": "chat.completion.chunk",
    "created": 1700000000,
    "model": "gpt-4.1",
}

NOTHING: Json = {
    "text": "",
    "reasoning": "",
    "refusal": "",
    "calls": [],
    "finish": "stop",
    "usage": None,
    "extras": {},
    "error": "",
    "failure": "",
}


@dataclass(frozen=True)
class Case:
    """One answer of a server: its body as it comes, and what it says."""

    name: str
    content_type: str
    pieces: tuple[bytes, ...]
    expected: Json
    request: Json = field(default_factory=dict)
    unchanged: bool = False

    @property
    def body(self) -> bytes:
        """The whole body."""
        return b"".join(self.pieces)

    def __str__(self) -> str:
        return self.name


def read() -> list[Case]:
    """Return all cases, in the order of their files."""
    files = sorted(Path(__file__).parent.glob("*.json"))
    cases = [_case(said) for file in files for said in json.loads(file.read_text("utf-8"))]
    names = [case.name for case in cases]
    assert len(set(names)) == len(names), "two cases have the same name"
    return cases


def event(said: Any) -> bytes:
    """Return a server-sent event."""
    return f"data: {json.dumps(said, ensure_ascii=False)}\n\n".encode()


def _case(said: Json) -> Case:
    known = {"name", "wire", "chunks", "deltas", "body", "done", "finish", "count", "content_type"}
    assert said.keys() <= known | {"request", "expected", "unchanged"}, said
    assert said["expected"].keys() <= NOTHING.keys(), said
    is_body = "body" in said
    failed = {"finish": ""} if said["expected"].get("failure") else {}
    return Case(
        name=said["name"],
        content_type=said.get(
            "content_type", "application/json" if is_body else "text/event-stream"
        ),
        pieces=tuple(_pieces(said)),
        expected=NOTHING | failed | said["expected"],
        request=said.get("request", {}),
        unchanged=said.get("unchanged", False),
    )


def _pieces(said: Json) -> list[bytes]:
    if "wire" in said:
        return [text.encode() for text in said["wire"]]
    if "body" in said:
        return [json.dumps(said["body"], ensure_ascii=False).encode()]
    chunks = list(said.get("chunks", ()))
    if "deltas" in said:
        chunks = [_chunk(delta, None) for delta in said["deltas"]]
        chunks.append(_chunk({}, said.get("finish", "stop")))
        if "count" in said:
            chunks.append({**HEAD, "choices": [], "usage": said["count"]})
    done = [b"data: [DONE]\n\n"] if said.get("done", True) else []
    return [*map(event, chunks), *done]


def _chunk(delta: Any, finish: str | None) -> Json:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**HEAD, "choices": [choice]}
