"""What an endpoint refuses to take, or to do without, is learned once."""

from typing import Any

import pytest
from caesarion.agent.provider_fields import AcceptedFields

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
USER = {"role": "user", "content": "go"}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "1"}
PLAIN = {"role": "assistant", "content": None, "tool_calls": [CALL]}
SIGNED = {
    **PLAIN,
    "tool_calls": [{**CALL, "extra_content": {"signature": "s"}}],
    "reasoning_content": "Let me see.",
}


def test_everything_is_sent_until_something_was_refused() -> None:
    fields = AcceptedFields()
    assert fields.stream_options
    assert fields.apply([USER, SIGNED, RESULT]) == [USER, SIGNED, RESULT]


@pytest.mark.parametrize(
    "words",
    [
        "body.messages.1.assistant.reasoning_content: Extra inputs are not permitted",
        "'messages.1' : property 'reasoning_content' is unsupported",
        "Please remove the reasoning_content from your message.",
    ],
)
def test_a_field_that_a_refusal_names_is_left_out_and_others_are_not(words: str) -> None:
    fields = AcceptedFields()
    assert fields.learn(words, [USER, SIGNED, RESULT])
    [_, asked, _] = fields.apply([USER, SIGNED, RESULT])
    assert "reasoning_content" not in asked
    assert asked["tool_calls"] == SIGNED["tool_calls"]
    assert not fields.learn(words, [USER, PLAIN, RESULT])


def test_a_field_of_a_call_is_left_out_too() -> None:
    fields = AcceptedFields()
    assert fields.learn("Unknown parameter: 'messages[1].tool_calls[0].extra_content'", [SIGNED])
    assert fields.apply([SIGNED])[0]["tool_calls"] == [CALL]
    assert fields.apply([SIGNED])[0]["reasoning_content"] == "Let me see."


def test_a_refusal_of_unknown_fields_that_names_none_leaves_out_all() -> None:
    fields = AcceptedFields()
    assert fields.learn("Unrecognized keys in message", [SIGNED])
    assert fields.apply([SIGNED]) == [PLAIN]


@pytest.mark.parametrize(
    "words",
    [
        "Missing `reasoning_content` field in the assistant message at index 1",
        "thinking is enabled but reasoning_content is missing in assistant tool call message",
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
    ],
)
def test_reasoning_that_an_endpoint_wants_back_is_filled_in_where_it_is_not_known(
    words: str,
) -> None:
    fields = AcceptedFields()
    assert fields.learn(words, [USER, PLAIN, RESULT])
    [user, asked, result] = fields.apply([USER, PLAIN, RESULT])
    assert (user, asked, result) == (USER, {**PLAIN, "reasoning_content": " "}, RESULT)
    assert fields.apply([SIGNED]) == [SIGNED]
    assert not fields.learn(words, [asked])


@pytest.mark.parametrize(
    "words", ["", "This model's maximum context length is 8192 tokens.", "Unknown model."]
)
def test_other_refusals_teach_nothing(words: str) -> None:
    messages: list[dict[str, Any]] = [USER, PLAIN, RESULT]
    fields = AcceptedFields()
    assert not fields.learn(words, messages)
    assert fields.apply(messages) == messages


def test_stream_options_are_left_out_once_refused() -> None:
    fields = AcceptedFields()
    words = "Unknown field: stream_options"
    assert fields.learn(words, [USER])
    assert not fields.stream_options
    assert not fields.learn(words, [USER])
