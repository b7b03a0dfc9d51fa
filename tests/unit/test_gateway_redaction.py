"""The provider's key is taken out of what it sends: errors, headers, and answers in any pieces."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest
from caesarion_dialects import AnswerReader, Assembler, Piece
from caesarion_hub.gateway.upstream.redaction import AnswerRedactor, redact
from hypothesis import given
from hypothesis import strategies as st

from tests import dialects
from tests.dialects import HEAD

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"Incorrect API key provided: {KEY}.", "Incorrect API key provided: [key]."),
        ("Incorrect API key provided: sk-pr***************0123.", "provided: [key]"),
        ("Your key 'sk-...0123' is wrong", "Your key '[key]' is wrong"),
        ("Your key (ending in …0123)", "Your key (ending in [key])"),
        ("key=****0123, retry", "[key], retry"),
        ("starts with sk-proj-abcdef", "starts with [key]"),
        (f"Bearer {KEY}x", "Bearer [key]x"),
    ],
)
def test_the_key_and_its_ends_are_redacted(text: str, clean: str) -> None:
    assert redact(text, KEY).endswith(clean)


@pytest.mark.parametrize(
    "text",
    [
        "The model `gpt-9` does not exist...",
        "messages.[3].role: expected **kwargs, got 'tool'",
        "see https://platform.openai.com/account/api-keys.",
        "10..20 and a*b and xxxx",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert redact(text, KEY) == text
    assert redact(text, None) == text


def test_a_short_key_is_redacted_as_a_word_only() -> None:
    assert redact("none of the keys: none.", "none") == "[key] of the keys: [key]"
    assert redact("nonentity", "none") == "nonentity"


# Answers.


def redacted(deltas: Sequence[dict[str, Any]], key: str = KEY) -> tuple[Assembler, bytes]:
    """Return what is left of an answer, put together and as bytes."""
    reader, redactor, assembler, sent = AnswerReader(), AnswerRedactor(key), Assembler(), b""
    first = {"role": "assistant", "content": ""}
    choices = [
        {"index": 0, "delta": delta, "finish_reason": reason}
        for delta, reason in [*((delta, None) for delta in (first, *deltas)), ({}, "stop")]
    ]
    events = [dialects.event({**HEAD, "choices": [choice]}) for choice in choices]
    for event in (*events, b"data: [DONE]\n\n"):
        piece = redactor.redact(reader.feed(event))
        sent += piece.data
        for chunk in piece.chunks:
            assembler.add(chunk)
    return assembler, sent


def pieces(text: str, cuts: Sequence[int]) -> list[str]:
    places = [0, *sorted(cuts), len(text)]
    return [text[begin:end] for begin, end in itertools.pairwise(places)]


@given(st.lists(st.integers(0, len(KEY) + 20), max_size=len(KEY) + 20))
def test_in_whatever_pieces_the_key_comes_it_does_not_leave(cuts: list[int]) -> None:
    text = f"Your key: {KEY}, and {KEY[:9]}."
    assembler, sent = redacted([{"content": one} for one in pieces(text, cuts)])
    said = dialects.canonical(sent)["text"]
    assert said == assembler.answer.text
    assert KEY not in said
    # Two characters may have left before the key was recognised.
    assert KEY[2:] not in said
    assert said.startswith("Your key: ")
    assert said.endswith(f"[key], and {KEY[:9]}.")


def test_letter_by_letter_the_key_does_not_leave_from_any_field() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
    deltas: list[dict[str, Any]] = [
        *({"reasoning_content": letter} for letter in KEY),
        *({"content": letter} for letter in KEY),
        {"tool_calls": [{"index": 0, **call}]},
        *(
            {"tool_calls": [{"index": 0, "function": {"arguments": letter}}]}
            for letter in json.dumps({"code": KEY})
        ),
    ]
    assembler, sent = redacted(deltas)
    answer = assembler.answer
    assert (answer.reasoning, answer.text) == ("sk[key]", "sk[key]")
    assert json.loads(answer.calls[0].arguments) == {"code": "sk[key]"}
    assert KEY[2:].encode() not in sent


def test_half_a_key_is_text_when_the_answer_ends() -> None:
    assembler, sent = redacted([{"content": "It begins with sk-pr"}])
    assert assembler.answer.text == "It begins with sk-pr"
    assert dialects.canonical(sent)["text"] == "It begins with sk-pr"


def test_the_key_is_taken_out_of_fields_that_are_no_text() -> None:
    reader, redactor = AnswerReader(), AnswerRedactor(KEY)
    choice = {"index": 0, "delta": {"role": "assistant", "content": "Hi"}, "finish_reason": None}
    chunk = {**HEAD, "id": KEY, "choices": [choice]}
    assert KEY.encode() not in redactor.redact(reader.feed(dialects.event(chunk))).data


def test_an_answer_without_the_key_passes_as_it_is() -> None:
    chunk = {**HEAD, "choices": [{"index": 0, "delta": {"content": "s"}, "finish_reason": None}]}
    piece = Piece(b": comment\n\n" + dialects.event(chunk), [chunk])
    made = AnswerRedactor(KEY).redact(piece)
    assert made.data is piece.data
    assert made.chunks[0] is chunk
    assert AnswerRedactor(None).redact(piece) is piece
    # A made-up key of a local server may be a plain word.
    assert AnswerRedactor("none").redact(piece) is piece
