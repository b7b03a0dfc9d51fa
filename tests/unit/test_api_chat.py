"""Every event of a turn is sent in the documented form."""

import pytest
from caesarion.api.chat import server_sent
from caesarion.events import (
    CallEnd,
    Done,
    Event,
    Failure,
    Output,
    Reasoning,
    Refusal,
    StatusChange,
    Text,
    TextWasReasoning,
    ToolCall,
    Usage,
)

STREAM = {"output_type": "stream", "name": "stdout", "text": "1\n"}
UPDATE = {
    "output_type": "update_display_data",
    "data": {"text/plain": "2"},
    "metadata": {},
    "transient": {"display_id": "a"},
}


@pytest.mark.parametrize(
    ("event", "sent"),
    [
        (Text("Hé\n\ndata: x"), r'event: text|data: {"delta": "H\u00e9\n\ndata: x"}'),
        (Reasoning("Hm"), 'event: reasoning|data: {"delta": "Hm"}'),
        (TextWasReasoning(), "event: text_was_reasoning|data: {}"),
        (Refusal("No"), 'event: refusal|data: {"delta": "No"}'),
        (
            ToolCall("c1", "python_interpreter", '{"code": "1"}', {"signature": "s"}),
            r'event: tool_call|data: {"id": "c1", "name": "python_interpreter", '
            r'"arguments": "{\"code\": \"1\"}"}',
        ),
        (
            Output("c1", STREAM),
            r'event: output|data: {"call_id": "c1", "output": '
            r'{"output_type": "stream", "name": "stdout", "text": "1\n"}}',
        ),
        (
            Output("c1", {"output_type": "clear_output", "wait": True}),
            'event: clear_output|data: {"call_id": "c1", "output": '
            '{"output_type": "clear_output", "wait": true}}',
        ),
        (
            Output("c1", UPDATE),
            'event: update_display_data|data: {"call_id": "c1", "output": '
            '{"output_type": "update_display_data", "data": {"text/plain": "2"}, '
            '"metadata": {}, "transient": {"display_id": "a"}}}',
        ),
        (
            CallEnd("c1", "ok", "1"),
            'event: tool_result|data: {"call_id": "c1", "status": "ok", "text": "1"}',
        ),
        (
            Usage(10, 5, 2, 1, 0.25),
            'event: usage|data: {"prompt_tokens": 10, "completion_tokens": 5, "seconds": 0.25, '
            '"total_tokens": 15, "prompt_tokens_details": {"cached_tokens": 2}, '
            '"completion_tokens_details": {"reasoning_tokens": 1}}',
        ),
        (Failure("It broke."), 'event: error|data: {"message": "It broke."}'),
        (Done("rounds"), 'event: done|data: {"reason": "rounds"}'),
        (StatusChange("is waiting"), ": is waiting"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_an_event_is_sent_in_the_documented_form(event: Event, sent: str) -> None:
    assert server_sent(event) == sent.replace("|", "\n") + "\n\n"
