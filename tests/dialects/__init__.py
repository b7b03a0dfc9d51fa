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

import copy
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


def canonical(body: bytes) -> Json:
    """
    Return what a stream of OpenAI's own form says; raise AssertionError if it is of another.

    A reader of its own, short and strict, to check what the gateway sends by.
    """
    said: Json = {**copy.deepcopy(NOTHING), "finish": ""}
    *events, done, rest = body.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", ""), "the stream does not end with [DONE]"
    has_role = has_usage = False
    for event in events:
        if event.startswith(":"):
            continue
        assert event.startswith("data: {"), event
        assert "\n" not in event, event
        assert not has_usage, "something follows the usage"
        chunk = json.loads(event.removeprefix("data: "))
        assert chunk["object"] == HEAD["object"]
        assert {"id", "created", "model"} <= chunk.keys()
        if chunk.get("usage"):
            said["usage"], has_usage = usage_of(chunk), True
        for choice in chunk["choices"]:
            assert not said["finish"], "something follows the finish reason"
            assert choice["index"] == 0
            delta = choice["delta"]
            assert ("role" in delta) is not has_role or not delta, "the role comes once, first"
            has_role = True
            _take_delta(delta, said)
            said["finish"] = choice["finish_reason"] or ""
    return said


def usage_of(chunk: Json) -> Json:
    """Return the counts of a chunk in OpenAI's own form, as the fixtures have them."""
    assert chunk["choices"] == []
    usage = chunk["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    counts = {"prompt": usage["prompt_tokens"], "completion": usage["completion_tokens"]}
    counts["cached"] = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
    details = usage.get("completion_tokens_details") or {}
    counts["reasoning"] = details.get("reasoning_tokens", 0)
    return {name: count for name, count in counts.items() if count}


def _take_delta(delta: Json, said: Json) -> None:
    if delta.get("content_was_reasoning"):
        said["reasoning"], said["text"] = said["reasoning"] + said["text"], ""
        return
    names = {"content": "text", "reasoning_content": "reasoning", "refusal": "refusal"}
    for name, value in delta.items():
        if value is None or name == "role":
            continue
        if name in names:
            assert isinstance(value, str)
            said[names[name]] += value
        elif name == "tool_calls":
            for piece in value:
                _take_piece(piece, said["calls"])


def _take_piece(piece: Json, calls: list[Json]) -> None:
    function = piece["function"]
    if piece["index"] == len(calls):
        assert piece["type"] == "function"
        calls.append({"id": piece["id"], "name": function["name"], "arguments": ""})
        assert piece["id"], "a call has an id"
    else:
        assert "id" not in piece or not piece["id"] or piece["id"] == calls[piece["index"]]["id"]
    calls[piece["index"]]["arguments"] += function["arguments"]
