"""What a model does not take: learned from its refusals, or set in the values."""

import json
from typing import Any

import pytest
from caesarion_dialects import RequestForm, learned
from caesarion_hub.gateway.upstream.known_forms import MAX_MODELS, KnownForms
from caesarion_hub.values.gateway import ModelParameters

Body = dict[str, Any]

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "Hello"}


def body(**changes: Any) -> Body:
    return {"model": "m", "messages": [USER], **changes}


def openai(message: str, param: str | None = None) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return json.dumps({"error": error}).encode()


REFUSALS: list[tuple[str, Body, int, bytes, RequestForm]] = [
    (
        "OpenAI, o3",
        body(max_tokens=500),
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
        ),
        RequestForm(output_limit="max_completion_tokens"),
    ),
    (
        "Mistral",
        body(max_completion_tokens=500),
        422,
        b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"],'
        b' "msg": "Extra inputs are not permitted"}]}',
        RequestForm(output_limit="max_tokens"),
    ),
    (
        "both limits at once",
        body(max_tokens=500, max_completion_tokens=500),
        400,
        openai("Setting 'max_tokens' and 'max_completion_tokens' is not supported."),
        RequestForm(output_limit="max_completion_tokens"),
    ),
    (
        "OpenAI, more than the model has",
        body(max_tokens=50_000),
        400,
        openai(
            "max_tokens is too large: 50000. This model supports at most 16384 completion tokens, "
            "whereas you provided 50000.",
            "max_tokens",
        ),
        RequestForm(max_output=16_384),
    ),
    (
        "Groq, more than the model has",
        body(max_tokens=50_000),
        400,
        openai("`max_tokens` must be less than or equal to `8192`, the maximum of this model."),
        RequestForm(max_output=8192),
    ),
    (
        "Anthropic, more than the model has",
        body(max_tokens=100_000),
        400,
        openai("max_tokens: 100000 > 64000, which is the maximum allowed number of tokens"),
        RequestForm(max_output=64_000),
    ),
    (
        "OpenAI, temperature",
        body(temperature=0.2),
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. Only the "
            "default (1) value is supported.",
            "temperature",
        ),
        RequestForm(dropped=frozenset({"temperature"})),
    ),
    (
        "Anthropic, temperature beside top_p",
        body(temperature=0.2, top_p=0.9),
        400,
        openai("`temperature` and `top_p` cannot both be specified for this model."),
        RequestForm(dropped=frozenset({"top_p"})),
    ),
    (
        "a list of errors",
        body(stream=True, stream_options={"include_usage": True}),
        400,
        b'[{"error": {"message": "Unrecognized request argument supplied: stream_options"}}]',
        RequestForm(dropped=frozenset({"stream_options"})),
    ),
    (
        "Ollama",
        body(tools=[{}], tool_choice="auto"),
        400,
        b'{"error": "registry.ollama.ai/library/gemma:2b does not support tools"}',
        RequestForm(dropped=frozenset({"tools", "tool_choice", "parallel_tool_calls"})),
    ),
    (
        "OpenRouter",
        body(tools=[{}]),
        404,
        openai("No endpoints found that support tool use. Try disabling some."),
        RequestForm(dropped=frozenset({"tools", "tool_choice", "parallel_tool_calls"})),
    ),
    (
        "vLLM without a parser of tools",
        body(tools=[{}], tool_choice="auto"),
        400,
        openai('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser'),
        RequestForm(dropped=frozenset({"tools", "tool_choice", "parallel_tool_calls"})),
    ),
    (
        "tool_choice alone",
        body(tools=[{}], tool_choice="auto"),
        400,
        openai("Unsupported parameter: 'tool_choice'.", "tool_choice"),
        RequestForm(dropped=frozenset({"tool_choice"})),
    ),
    (
        "parallel_tool_calls",
        body(tools=[{}], parallel_tool_calls=False),
        400,
        openai("Unknown parameter: 'parallel_tool_calls'."),
        RequestForm(dropped=frozenset({"parallel_tool_calls"})),
    ),
    (
        "no streams",
        body(stream=True),
        400,
        openai("Unsupported value: 'stream' does not support true with this model.", "stream"),
        RequestForm(dropped=frozenset({"stream"})),
    ),
    (
        "OpenAI, o1-mini",
        body(messages=[SYSTEM, USER]),
        400,
        openai("Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        RequestForm(system_role="user"),
    ),
    (
        "a model of the system's own words",
        body(messages=[SYSTEM, USER]),
        400,
        openai("The role 'system' is not supported. Use 'developer' instead.", "messages[0].role"),
        RequestForm(system_role="developer"),
    ),
    (
        "DeepSeek",
        body(messages=[{**SYSTEM, "role": "developer"}, USER]),
        422,
        b"Failed to deserialize the JSON body: messages[0].role: unknown variant `developer`, "
        b"expected one of `system`, `user`, `assistant`, `tool`",
        RequestForm(system_role="system"),
    ),
    (
        "Gemma's template",
        body(messages=[SYSTEM, USER]),
        400,
        b'{"object": "error", "message": "System role not supported"}',
        RequestForm(system_role="user"),
    ),
    (
        "Groq, a field of a message",
        body(messages=[USER, {"role": "assistant", "content": "", "reasoning_content": "Hm."}]),
        400,
        openai("'messages.1' : for 'role:assistant' property 'reasoning_content' is unsupported"),
        RequestForm(hidden=frozenset({"reasoning_content"})),
    ),
    (
        "a field of a call",
        body(messages=[{"role": "assistant", "tool_calls": [{"id": "a", "extra_content": {}}]}]),
        400,
        b'{"detail": [{"loc": ["messages", 0, "tool_calls", 0, "extra_content"], '
        b'"msg": "Extra inputs are not permitted"}]}',
        RequestForm(hidden=frozenset({"extra_content"})),
    ),
]


@pytest.mark.parametrize(
    ("sent", "status", "said", "form"),
    [refusal[1:] for refusal in REFUSALS],
    ids=[refusal[0] for refusal in REFUSALS],
)
def test_a_refusal_that_names_a_parameter_leads_to_another_form(
    sent: Body, status: int, said: bytes, form: RequestForm
) -> None:
    assert learned(RequestForm(), sent, status, said) == form


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (body(temperature=3), 400, openai("Invalid 'temperature': 3 is above 2.", "temperature")),
        (body(temperature=1), 500, openai("Unsupported parameter: 'temperature'.")),
        (body(), 400, openai("Unsupported parameter: 'temperature'.", "temperature")),
        (body(seed=1), 400, openai("Unsupported parameter: 'seed'.", "seed")),
        (body(tools=[{}]), 400, openai("The response was filtered by a content policy.")),
        (
            body(max_tokens=500),
            400,
            openai("'max_tokens' is too large: 500. This model's maximum context length is 400."),
        ),
        (body(max_tokens=5), 400, openai("This model supports at most 16384 max_tokens.")),
        (body(messages=[SYSTEM]), 400, openai("Conversation roles must alternate.")),
        (body(), 400, b""),
    ],
)
def test_other_refusals_teach_nothing(sent: Body, status: int, said: bytes) -> None:
    assert learned(RequestForm(), sent, status, said) is None


def test_what_a_user_writes_into_a_wrong_value_teaches_nothing() -> None:
    sent = body(tools=[{}], tool_choice="unsupported")
    said = openai("Invalid value: 'unsupported'. Values are: 'none', 'auto'.", "tool_choice")
    assert learned(RequestForm(), sent, 400, said) is None


def test_what_was_tried_is_not_tried_again() -> None:
    form = RequestForm(output_limit="max_completion_tokens", dropped=frozenset({"top_p"}))
    said = openai("Unsupported parameter: 'max_completion_tokens'.", "max_completion_tokens")
    sent = form.apply(body(max_tokens=5, top_p=1))
    assert learned(form, sent, 400, said) is None
    assert learned(form, sent, 400, openai("Unsupported parameter: 'top_p'.")) is None


def test_system_messages_are_tried_as_the_developers_and_then_as_the_users() -> None:
    said = openai("Developer instruction is not enabled for models/gemma-3", "messages.role")
    sent = body(messages=[SYSTEM, USER])
    first = learned(RequestForm(), sent, 400, said)
    assert first == RequestForm(system_role="developer")
    assert learned(first, first.apply(sent), 400, said) == RequestForm(system_role="user")


# The forms.


@pytest.mark.parametrize(
    ("form", "asked", "sent"),
    [
        (RequestForm(), {"max_tokens": 5}, {"max_tokens": 5}),
        (
            RequestForm(output_limit="max_completion_tokens"),
            {"max_tokens": 5},
            {"max_completion_tokens": 5},
        ),
        (
            RequestForm(output_limit="max_tokens"),
            {"max_tokens": 7, "max_completion_tokens": 5},
            {"max_tokens": 5},
        ),
        (RequestForm(max_output=4), {"max_completion_tokens": 5}, {"max_completion_tokens": 4}),
        (RequestForm(max_output=4), {"max_tokens": 3}, {"max_tokens": 3}),
        (RequestForm(output_limit="max_tokens", max_output=4), {}, {}),
        (RequestForm(dropped=frozenset({"top_p"})), {"top_p": 1, "n": 1}, {"n": 1}),
        (
            RequestForm(),
            {"stream": True},
            {"stream": True, "stream_options": {"include_usage": True}},
        ),
        (
            RequestForm(),
            {"stream": True, "stream_options": {"include_usage": False, "x": 1}},
            {"stream": True, "stream_options": {"include_usage": True, "x": 1}},
        ),
        (
            RequestForm(dropped=frozenset({"stream_options"})),
            {"stream": True, "stream_options": {"include_usage": True}},
            {"stream": True},
        ),
        (
            RequestForm(dropped=frozenset({"stream"})),
            {"stream": True},
            {},
        ),
    ],
)
def test_a_request_is_sent_in_the_form_that_its_model_takes(
    form: RequestForm, asked: Body, sent: Body
) -> None:
    asked, sent = body(**asked), body(**sent)
    before = json.dumps(asked)
    assert form.apply(asked) == sent
    assert json.dumps(asked) == before
    if asked == sent:
        assert form.apply(asked) is asked


@pytest.mark.parametrize(
    ("form", "messages", "sent"),
    [
        (
            RequestForm(system_role="developer"),
            [SYSTEM, USER],
            [{**SYSTEM, "role": "developer"}, USER],
        ),
        (
            RequestForm(system_role="user"),
            [SYSTEM, USER, {"role": "system", "content": [{"type": "text", "text": "And kind."}]}],
            [{"role": "user", "content": "Be brief.\n\nAnd kind.\n\nHello"}],
        ),
        (
            RequestForm(system_role="user"),
            [SYSTEM, {"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Be brief."},
                        {"type": "text", "text": "Hello"},
                    ],
                }
            ],
        ),
        (RequestForm(system_role="user"), [SYSTEM], [{"role": "user", "content": "Be brief."}]),
        (
            RequestForm(hidden=frozenset({"reasoning_content", "extra_content"})),
            [
                {
                    "role": "assistant",
                    "reasoning_content": "Hm.",
                    "tool_calls": [{"extra_content": 1}],
                }
            ],
            [{"role": "assistant", "tool_calls": [{}]}],
        ),
        (
            RequestForm(reasoning_field="reasoning"),
            [{"role": "assistant", "content": "4", "reasoning_content": "Hm."}],
            [{"role": "assistant", "content": "4", "reasoning": "Hm."}],
        ),
        (
            RequestForm(dropped=frozenset({"tools"})),
            [
                {
                    "role": "assistant",
                    "content": "I look.",
                    "tool_calls": [
                        {"id": "a", "function": {"name": "python", "arguments": '{"code": "1"}'}}
                    ],
                },
                {"role": "tool", "tool_call_id": "a", "content": "1"},
            ],
            [
                {"role": "assistant", "content": 'I look.\nI call python with {"code": "1"}.'},
                {"role": "user", "content": "Result of the tool: 1"},
            ],
        ),
        (RequestForm(system_role="developer"), ["odd", None], ["odd", None]),
    ],
)
def test_messages_are_sent_in_the_form_that_their_model_takes(
    form: RequestForm, messages: list[Any], sent: list[Any]
) -> None:
    assert form.apply(body(messages=messages)) == body(messages=sent)


# What is known.


def test_the_values_say_how_models_take_requests() -> None:
    parameters = {
        "*": ModelParameters(drop=("top_p",)),
        "o3*": ModelParameters(
            drop=("temperature",), outputLimit="max_completion_tokens", systemRole="developer"
        ),
    }
    forms = KnownForms(parameters)
    assert forms.form("gpt-4.1") == RequestForm(dropped=frozenset({"top_p"}))
    assert forms.form("o3-mini") == RequestForm(
        dropped=frozenset({"temperature", "top_p"}),
        output_limit="max_completion_tokens",
        system_role="developer",
    )


def test_what_is_remembered_is_bounded() -> None:
    forms = KnownForms({})
    other = RequestForm(system_role="user")
    for number in range(MAX_MODELS + 1):
        forms.remember(f"m{number}", other)
        forms.form("m0")
    assert (forms.form("m0"), forms.form("m1")) == (other, RequestForm())


def test_a_change_is_told_in_words() -> None:
    form = RequestForm(
        dropped=frozenset({"top_p"}),
        output_limit="max_tokens",
        max_output=7,
        system_role="user",
        hidden=frozenset({"name"}),
    )
    assert form.changes(RequestForm()) == (
        "without top_p, without name in messages, with max_tokens for the limit of tokens, "
        "for 7 tokens at most, with system messages as user"
    )
