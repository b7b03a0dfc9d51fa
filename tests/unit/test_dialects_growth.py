"""An answer costs what it is long, however a hostile provider cuts it: steps are counted."""

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from caesarion_dialects import AnswerReader, Assembler, json_end
from caesarion_dialects.calls import MAX_CALLS, MAX_PIECES
from caesarion_dialects.canonical import MAX_CHOICES

Chunks = list[dict[str, Any]]


def said(**delta: Any) -> dict[str, Any]:
    return chunk([{"index": 0, "delta": delta}])


def chunk(choices: list[Any], **fields: Any) -> dict[str, Any]:
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": choices, **fields}


def call(arguments: str, number: int | None = 0, **fields: Any) -> dict[str, Any]:
    index = {} if number is None else {"index": number}
    return said(tool_calls=[{**index, "function": {"name": "f", "arguments": arguments}, **fields}])


def usage(number: int) -> dict[str, Any]:
    counts = {"prompt_tokens": number, "completion_tokens": 1, "total_tokens": number + 1}
    return chunk([], usage=counts)


FINISH = chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])

GROWING: dict[str, Callable[[int], Chunks]] = {
    "details by index": lambda n: [said(reasoning_details=[{"index": i} for i in range(n)])] * 2,
    "details one by one": lambda n: [said(reasoning_details=[{"index": i}]) for i in range(n)],
    "details of one index": lambda n: [said(reasoning_details=[{"index": 0, "text": "x"}])] * n,
    "details without an index": lambda n: [said(reasoning_details=[{"text": "x"}])] * n,
    "blocks of thinking": lambda n: [said(thinking_blocks=[{"thinking": "x"}])] * n,
    "names": lambda n: [said(**{f"name{i}": "x"}) for i in range(n)],
    "a table": lambda n: [said(table={f"name{i}": "x"}) for i in range(n)],
    "annotations": lambda n: [said(annotations=[{"url": "x"}])] * n,
    "arguments in braces": lambda n: [call('{"a":['), *[call("{},")] * n],
    "arguments that are no JSON": lambda n: [call("")] + [call("{x}")] * n,
    "arguments without an index": lambda n: [call('{"a":[', None), *[call("{},", None)] * n],
    "arguments in quotes": lambda n: [call('"a'), *[call('\\"')] * n],
    "white space behind arguments": lambda n: [call('{"a": 1}'), *[call(" ")] * n],
    "a call's own fields": lambda n: [call("x", signature="x")] * n,
    "ids": lambda n: [call("x", None, id=f"id{i}") for i in range(n)],
    "a function_call": lambda n: [said(function_call={"name": "f", "arguments": "{x}"})] * n,
    "parts of content": lambda n: [said(content=[{"text": "x"}] * n)],
    "tags": lambda n: [said(content="<think>a</think>" * n)],
    "tags one by one": lambda n: [said(content="<think>a</think>")] * n,
    "white space": lambda n: [said(content=" " * 100)] * n,
    "halves of tags": lambda n: [said(content="<\n</think")] * n,
    "halves of characters": lambda n: [said(content="\ud83d")] * n,
    "refusals": lambda n: [said(refusal="x")] * n,
    "reasoning": lambda n: [said(reasoning="x")] * n,
    "usages": lambda n: [usage(i + 1) for i in range(n)] + [said(content=["x"])] * n,
    "finish reasons": lambda n: [FINISH, said(content=["x"])] * n,
    "choices": lambda n: [chunk([{"index": i, "delta": {"content": "x"}}]) for i in range(n)],
}


def answered(chunks: Chunks, separator: bytes = b"\n\n") -> AnswerReader:
    """Read an answer as the gateway and the extension do, in pieces of 1,000 bytes."""
    begin = b"data: " if separator == b"\n\n" else b""
    data = b"".join(begin + json.dumps(one).encode() + separator for one in chunks)
    reader, assembler = AnswerReader(), Assembler()
    for place in range(0, len(data), 1_000):
        for one in reader.feed(data[place : place + 1_000]).chunks:
            assembler.add(one)
    for one in reader.end().chunks:
        assembler.add(one)
    assembler.answer.message()
    return reader


def steps(chunks: Chunks, separator: bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    """Return the calls of functions, and the characters of arguments that are parsed."""
    count = 0
    parse = json_end.is_json

    def parsed(text: str) -> bool:
        nonlocal count
        count += len(text)
        return parse(text)

    def called(_: FrameType, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    with monkeypatch.context() as patched:
        patched.setattr(json_end, "is_json", parsed)
        sys.setprofile(called)
        try:
            answered(chunks, separator)
        finally:
            sys.setprofile(before)
    return count


@pytest.mark.parametrize("separator", [b"\n\n", b"\n"], ids=["events", "lines"])
@pytest.mark.parametrize("name", GROWING)
def test_twice_the_answer_takes_twice_the_steps(
    name: str, separator: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = GROWING[name]
    small = steps(make(80), separator, monkeypatch)
    large = steps(make(160), separator, monkeypatch)
    assert 0 < large <= 2.3 * small


def test_blank_lines_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = AnswerReader()
    reader.feed(b'{"choices": []}\n')
    reader.feed(b"\n" * 100_000 + b"  ")
    assert len(reader._rest) == reader._looked == 2
    for _ in range(3):
        reader.feed(b" ")
    assert len(reader._rest) == reader._looked == 5


@pytest.mark.parametrize(
    ("chunks", "sentence"),
    [
        (
            [call("{}", number, id=f"id{number}") for number in range(MAX_CALLS + 1)],
            "The model called more than 128 tools in one answer.",
        ),
        (
            [said(tool_calls=[{"index": 0}] * (MAX_PIECES + 1))],
            "The model sent more than 1,024 pieces of calls at once.",
        ),
        (
            [chunk([{"index": 0, "delta": {"content": "x"}}] * (MAX_CHOICES + 1))],
            "The model sent more than 128 choices at once.",
        ),
    ],
)
def test_an_answer_with_more_than_is_read_fails_with_a_sentence(
    chunks: Chunks, sentence: str
) -> None:
    failure = answered(chunks).failure
    assert failure
    assert (failure.kind, failure.said) == ("error", sentence)


def test_other_fields_of_a_chunk_are_sent_once() -> None:
    parts = [{"text": "x"}, {"type": "thinking", "text": "y"}] * 100
    made = AnswerReader().feed(
        b"data: " + json.dumps(said(content=parts) | {"other": "z" * 1_000}).encode() + b"\n\n"
    )
    assert len(made.chunks) == 200
    assert made.data.count(b"zzz") <= 1_000


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "}{\\"\\\\"}',
        '  {"a": {"b": []}}  ',
        '"a\\"b"',
        '{"a": 1}{',
        "{}}{",
        '{"\\\\": 1}',
        "{a}",
    ],
)
def test_the_end_of_a_value_is_found_wherever_it_is_cut(text: str) -> None:
    for cut in range(1, len(text)):
        for other in range(cut, len(text)):
            value, so_far = json_end.JsonEnd(), ""
            for piece in (text[:cut], text[cut:other], text[other:]):
                value.add(piece)
                so_far += piece
                is_whole = json_end.is_json(so_far)
                assert (value.is_object or value.is_text) == is_whole, so_far
                assert value.text == so_far
