"""Whatever dialect a model server speaks, its answer comes out in OpenAI's own form."""

import copy
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest
from caesarion_dialects import (
    Answer,
    AnswerReader,
    Assembler,
    Canonicaliser,
    EventReader,
    completion,
    errors,
)
from caesarion_dialects.sse import MAX_EVENT
from caesarion_dialects.usage import Usage, merge
from caesarion_dialects.usage import read as read_usage
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import dialects
from tests.dialects import Case

CASES = dialects.read()


def read(pieces: Sequence[bytes], **settings: Any) -> tuple[AnswerReader, Assembler, bytes]:
    """Return the reader, what was put together, and the canonical bytes."""
    reader, assembler, sent = AnswerReader(**settings), Assembler(), b""
    for data in (*pieces, None):
        piece = reader.end() if data is None else reader.feed(data)
        sent += piece.data
        for chunk in piece.chunks:
            assembler.add(chunk)
    return reader, assembler, sent


def said(reader: AnswerReader, assembler: Assembler) -> dict[str, Any]:
    """Return what an answer says, as the fixtures have it; ids that were made are left out."""
    failure, usage = reader.failure, assembler.usage
    return spelled(assembler.answer) | {
        "usage": usage and {name: n for name, n in vars(usage).items() if n},
        "error": errors.words(failure.said) if failure else "",
        "failure": failure.kind if failure else "",
    }


def spelled(answer: Answer) -> dict[str, Any]:
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "refusal": answer.refusal,
        "calls": [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            | ({"extras": call.extras} if call.extras else {})
            for call in answer.calls
        ],
        "finish": answer.finish_reason,
        "extras": answer.extras,
    }


def all_said(assembler: Assembler) -> Any:
    return [spelled(answer) for answer in assembler.answers()], assembler.usage


def check(found: dict[str, Any], case: Case) -> None:
    calls = found["calls"]
    assert len({call["id"] for call in calls}) == len(calls)
    for call, expected in zip(calls, case.expected["calls"], strict=False):
        if "id" not in expected and call["id"]:
            del call["id"]
    assert found == case.expected


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_says_the_same_in_any_dialect(case: Case) -> None:
    reader, assembler, sent = read(case.pieces)
    check(said(reader, assembler), case)
    if case.unchanged:
        assert sent == case.body


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_answer_says_the_same_wherever_the_network_cuts_it(case: Case) -> None:
    for length in (1, 2, 7):
        cuts = range(0, len(case.body), length)
        reader, assembler, sent = read([case.body[at : at + length] for at in cuts])
        check(said(reader, assembler), case)
        if case.unchanged:
            assert sent == case.body


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_comes_out_is_canonical_and_passes_unchanged_when_it_is_read_again(case: Case) -> None:
    _, assembler, sent = read(case.pieces)
    reader, again, passed = read([sent])
    if not case.expected["failure"]:
        assert passed == sent
        assert all_said(again) == all_said(assembler)
        assert reader.failure is None


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_chunk_is_never_changed(case: Case) -> None:
    canonicaliser = Canonicaliser()
    for line in case.body.decode().splitlines():
        try:
            chunk = json.loads(line.removeprefix("data:"))
        except ValueError:
            continue
        if isinstance(chunk, dict):
            before = copy.deepcopy(chunk)
            canonicaliser.feed(chunk)
            assert chunk == before


STREAM = b"".join(
    case.body.removesuffix(b"data: [DONE]\n\n")
    for case in [case for case in CASES if case.body.startswith(b"data: {")][::8]
    if not case.expected["failure"]
)


@settings(max_examples=50)
@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_however_a_stream_is_cut_the_same_bytes_come_out(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    _, _, sent = read([STREAM[begin:end] for begin, end in itertools.pairwise(places)])
    assert made_up(sent) == made_up(read([STREAM])[2])


def made_up(sent: bytes) -> bytes:
    """Return a stream without the ids and times that are made where a server sends none."""
    return re.sub(rb'(call_|chatcmpl-)[0-9a-f]{32}|"created":\d+', b"", sent)


@given(st.binary(max_size=200))
def test_whatever_comes_is_an_answer_or_a_failure(body: bytes) -> None:
    reader, _, _ = read([body])
    assert reader.is_done is (reader.failure is None)


FIELDS = ["choices", "delta", "message", "content", "tool_calls", "function", "arguments", "index"]
FIELDS += ["id", "name", "usage", "prompt_tokens", "finish_reason", "reasoning", "text", "type"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(st.lists(JSON | st.fixed_dictionaries({"choices": st.lists(JSON, max_size=2)}), max_size=4))
def test_whatever_json_a_stream_holds_what_comes_out_is_canonical(chunks: list[Any]) -> None:
    _, assembler, sent = read([*map(dialects.event, chunks), b"data: [DONE]\n\n"])
    again = read([sent])[1]
    assert all_said(again) == all_said(assembler)


# Server-sent events.


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@given(data=st.data())
def test_events_are_read_as_the_specification_says(end: bytes, data: st.DataObject) -> None:
    lines = [b"\xef\xbb\xbfdata: a", b"data:b", b"", b": comment", b"", b"event: e", b"data"]
    lines += [b"id: 1", b"data:  c", b"", b"", b"event: none", b"", b"data: cut"]
    wire = end.join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    reader = EventReader()
    events = [
        event
        for begin, stop in itertools.pairwise([0, *cuts, len(wire)])
        for event in reader.feed(wire[begin:stop])
    ]
    assert [(event.data, event.name) for event in events] == [
        (b"a\nb", ""),
        (None, ""),
        (b"\n c", "e"),
    ]
    last = reader.end()
    assert last
    assert last.data == b"cut"


def test_an_event_without_an_end_is_garbled() -> None:
    reader = AnswerReader()
    for _ in range(MAX_EVENT // 2**20):
        reader.feed(b"x" * 2**20)
        assert reader.failure is None
    reader.feed(b"x")
    assert reader.failure
    assert reader.failure.kind == "garbled"


def test_comments_go_on_and_so_does_any_other_sign_of_life() -> None:
    reader = AnswerReader()
    assert reader.feed(b": OPENROUTER PROCESSING\n\n").data == b": OPENROUTER PROCESSING\n\n"
    assert reader.feed(b'event: ping\ndata: {"type": "ping"}\n\n').data == b": keep-alive\n\n"
    assert reader.feed(b"data:\n\n").data == b": keep-alive\n\n"


# Tool calls and choices.


def test_a_request_with_functions_is_answered_with_a_function_call() -> None:
    (case,) = (case for case in CASES if case.name == "calls: the older function_call")
    _, assembler, sent = read(case.pieces, legacy=True)
    assert sent == case.body
    answer = assembler.answer
    assert [(call.name, call.arguments) for call in answer.calls] == [("f", '{"a":1}')]
    assert answer.message()["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert answer.finish_reason == "function_call"


def test_two_choices_end_each_for_itself() -> None:
    def chunk(index: int, delta: Any, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        return dialects.event({**dialects.HEAD, "choices": [choice]})

    pieces = [
        chunk(0, {"role": "assistant", "content": "a"}),
        chunk(1, {"role": "assistant", "content": "b"}),
        chunk(0, {}, "stop"),
        chunk(1, {"content": "c"}),
    ]
    reader, assembler, _ = read(pieces, choices=2)
    assert reader.failure
    assert reader.failure.kind == "cut"
    assert not assembler.is_complete
    _, assembler, sent = read([*pieces, chunk(1, {}, "length"), b"data: [DONE]\n\n"], choices=2)
    assert [(one.text, one.finish_reason) for one in assembler.answers()] == [
        ("a", "stop"),
        ("bc", "length"),
    ]
    assert sent.count(b'"finish_reason": "stop"') == 1


# Models that begin within reasoning.

THOUGHT = [
    dialects.event({**dialects.HEAD, "choices": [{"index": 0, "delta": {"content": text}}]})
    for text in ("Okay, ", "so.\n</think", ">\n\n42")
]


def test_a_model_that_does_not_open_its_reasoning_is_known_from_its_first_answer() -> None:
    reader, _, sent = read([*THOUGHT, b"data: [DONE]\n\n"])
    assert reader.canonicaliser.thinks
    # What was shown cannot be taken back; the closing tag says what it was.
    assert b'"content":"</think>\\n","content_was_reasoning":true' in sent
    reader, assembler, sent = read([*THOUGHT, b"data: [DONE]\n\n"], is_thinking=True)
    assert (assembler.answer.reasoning, assembler.answer.text) == ("Okay, so.\n", "42")
    assert b"think" not in sent
    assert reader.canonicaliser.thinks


def test_an_answer_of_such_a_model_is_never_lost_for_want_of_a_tag() -> None:
    reader, assembler, _ = read([THOUGHT[0], b"data: [DONE]\n\n"], is_thinking=True)
    assert (assembler.answer.reasoning, assembler.answer.text) == ("Okay, ", "Okay,")
    assert not reader.canonicaliser.thinks


# What goes back to the provider.


def test_a_message_has_all_that_its_provider_wants_back() -> None:
    cases = {case.name: case for case in CASES}
    _, assembler, _ = read(cases["reasoning: with a call, to be sent back"].pieces)
    assert assembler.answer.message() == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "I run it.",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        ],
    }
    _, assembler, _ = read(cases["calls: Gemini's signature of thoughts on a call"].pieces)
    assert assembler.answer.message()["tool_calls"][0]["extra_content"] == {
        "google": {"thought_signature": "c2ln"}
    }
    _, assembler, _ = read(cases["reasoning: OpenRouter's reasoning and its details"].pieces)
    assert assembler.answer.message()["reasoning_details"][0]["signature"] == "c2ln"


def test_the_field_of_the_reasoning_is_known() -> None:
    cases = {case.name: case for case in CASES}
    for name, field in (
        ("reasoning: DeepSeek's reasoning_content", "reasoning_content"),
        ("reasoning: OpenRouter's reasoning and its details", "reasoning"),
        ("reasoning: Copilot's reasoning_text and its opaque part", "reasoning_text"),
        ("reasoning: think tags", ""),
    ):
        reader, _, _ = read(cases[name].pieces)
        assert reader.canonicaliser.reasoning_field == field


# Answers that are no stream.


@pytest.mark.parametrize("case", [case for case in CASES if not case.expected["failure"]], ids=str)
def test_a_whole_answer_says_what_the_stream_says(case: Case) -> None:
    reader, assembler, _ = read(case.pieces)
    made = completion(reader.head, assembler)
    assert made["object"] == "chat.completion"
    _, again, _ = read([json.dumps(made).encode()])
    assert all_said(again) == all_said(assembler)


def test_a_whole_answer_that_is_canonical_is_the_very_same() -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi", "refusal": None}}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "queue_time": 0.1}
    body = {
        **dialects.HEAD,
        "object": "chat.completion",
        "choices": [{**choice, "finish_reason": "stop"}],
        "usage": usage,
    }
    reader, assembler, _ = read([json.dumps(body).encode()])
    assert completion(reader.head, assembler) is reader.head
    del body["object"]
    reader, assembler, _ = read([json.dumps(body).encode()])
    assert completion(reader.head, assembler)["object"] == "chat.completion"


# Errors.


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": {"message": "No such model.", "code": 404}}', "No such model."),
        (b'[{"error": {"message": "API key not valid"}}]', "API key not valid"),
        (b'{"detail": [{"loc": ["body", "n"], "msg": "too big"}]}', "body.n: too big"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'{"error": "model not found"}', "model not found"),
        (b'{"message": "{\\"error\\": {\\"message\\": \\"inner\\"}}"}', "inner"),
        (b'{"error": {"message": "Provider returned error", "metadata": {"raw": "busy"}}}', "busy"),
        (b'{"errors": [{"message": "a"}, {"message": "b"}, {"message": "a"}]}', "a; b"),
        (b'{"error_msg": "Access token expired", "error_code": 111}', "Access token expired"),
        (b"Bad\n gateway ", "Bad gateway"),
        (b"<html><head><title>502 Bad &amp; Gateway</title></head><h1>x</h1>", "502 Bad & Gateway"),
        (b"<p>Request <b>blocked</b></p>", "Request blocked"),
        (b"\xef\xbb\xbf" + b'{"error": "bom"}', "bom"),
        (b'{"code": 1}', ""),
        (b"[" * 100_000, "[" * 499 + "…"),
        (b"", ""),
    ],
)
def test_the_words_of_an_error_are_found_in_any_shape(body: bytes, words: str) -> None:
    assert errors.words(body) == words


def test_the_parameter_and_the_code_of_an_error_are_found() -> None:
    body = b'[{"error": {"message": "No.", "param": "max_tokens", "code": 400}}]'
    assert (errors.field(body, "param"), errors.field(body, "code")) == ("max_tokens", "400")
    assert errors.field(b"<html>", "code") == ""


# Counts.


def test_a_later_count_wins_unless_it_is_zero() -> None:
    assert merge(Usage(100, 1), Usage(100, 5)) == Usage(100, 5)
    assert merge(Usage(100, 5, 10), Usage(0, 0)) == Usage(100, 5, 10)
    assert merge(None, Usage(1, 2)) == Usage(1, 2)


@given(JSON)
def test_whatever_is_no_count_is_none(said: Any) -> None:
    usage = read_usage(said)
    assert usage is None or (usage.total > 0 and 0 <= usage.cached <= usage.prompt)
