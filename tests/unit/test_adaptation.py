"""What a model refuses of a message, or wants back with it, is learned from its words."""

import json
from typing import Any

import pytest
from caesarion_dialects import RequestForm, learned

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USER = {"role": "user", "content": "go"}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "1"}
PLAIN = {"role": "assistant", "content": None, "tool_calls": [CALL]}
SIGNED = {
    **PLAIN,
    "tool_calls": [{**CALL, "extra_content": {"signature": "s"}}],
    "reasoning_content": "Let me see.",
}


def request(*messages: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages)}


def refused(form: RequestForm, words: str, *messages: Any) -> RequestForm | None:
    """Return what is learned when ``messages`` are refused in these words."""
    body = json.dumps({"error": {"message": words}}).encode()
    return learned(form, form.apply(request(*messages)), 400, body)


def applied(form: RequestForm | None, message: dict[str, Any]) -> Any:
    assert form is not None
    return form.apply(request(USER, message))["messages"][1]


def test_everything_is_sent_until_something_was_refused() -> None:
    assert RequestForm().apply(request(USER, SIGNED, RESULT)) == request(USER, SIGNED, RESULT)


@pytest.mark.parametrize(
    "words",
    [
        "body.messages.1.assistant.reasoning_content: Extra inputs are not permitted",
        "'messages.1' : property 'reasoning_content' is unsupported",
        "Unknown parameter: 'messages[1].reasoning_content'.",
        "Please remove the reasoning_content from your message.",
    ],
)
def test_a_field_that_a_refusal_names_is_left_out_and_others_are_not(words: str) -> None:
    form = refused(RequestForm(), words, USER, SIGNED, RESULT)
    asked = applied(form, SIGNED)
    assert "reasoning_content" not in asked
    assert asked["tool_calls"] == SIGNED["tool_calls"]


def test_a_field_of_a_call_is_left_out_too() -> None:
    words = "Unknown parameter: 'messages[1].tool_calls[0].extra_content'"
    form = refused(RequestForm(), words, USER, SIGNED)
    assert applied(form, SIGNED) == {**PLAIN, "reasoning_content": "Let me see."}


@pytest.mark.parametrize(
    "words",
    [
        "Missing `reasoning_content` field in the assistant message at index 1",
        "thinking is enabled but reasoning_content is missing in assistant tool call message",
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
    ],
)
def test_reasoning_that_a_model_wants_back_is_filled_in_where_nobody_knows_it(words: str) -> None:
    form = refused(RequestForm(), words, USER, PLAIN, RESULT)
    assert form is not None
    assert applied(form, PLAIN) == {**PLAIN, "reasoning_content": " "}
    assert applied(form, SIGNED) == SIGNED
    assert form.changes(RequestForm()) == "with reasoning in messages that call tools"
    assert refused(form, words, USER, PLAIN, RESULT) is None


@pytest.mark.parametrize(
    "words", ["", "This model's maximum context length is 8192 tokens.", "Unknown model."]
)
def test_other_refusals_teach_nothing(words: str) -> None:
    assert refused(RequestForm(), words, USER, PLAIN, RESULT) is None
