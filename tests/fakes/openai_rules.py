"""
What the scripted provider refuses, as OpenAI does: unknown fields, broken histories.

Used by ``openai_server``. Purely computational. The wording is OpenAI's where
we know it. In one point it is stricter: arguments of an earlier call must be a
JSON object, since other servers of this protocol (vLLM) refuse them.
"""

import json
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class RefusedError(Exception):
    """A request that is answered 400; ``param`` and ``code`` go into the body."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _TextPart(_Strict):
    type: Literal["text"]
    text: str


class _ImageUrl(_Strict):
    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class _ImagePart(_Strict):
    type: Literal["image_url"]
    image_url: _ImageUrl


_TextParts = Annotated[list[_TextPart], Field(min_length=1)]
_Parts = Annotated[
    list[Annotated[_TextPart | _ImagePart, Field(discriminator="type")]], Field(min_length=1)
]


class _Instruction(_Strict):
    role: Literal["system", "developer"]
    content: str | _TextParts
    name: str | None = None


class _User(_Strict):
    role: Literal["user"]
    content: str | _Parts
    name: str | None = None


class _CalledFunction(_Strict):
    name: str = Field(min_length=1)
    arguments: str


class _ToolCall(_Strict):
    id: str = Field(min_length=1)
    type: Literal["function"]
    function: _CalledFunction


class _Assistant(_Strict):
    role: Literal["assistant"]
    content: str | _TextParts | None = None
    refusal: str | None = None
    name: str | None = None
    tool_calls: list[_ToolCall] | None = Field(None, min_length=1)


class _Tool(_Strict):
    role: Literal["tool"]
    content: str | _TextParts
    tool_call_id: str


_Message = Annotated[_Instruction | _User | _Assistant | _Tool, Field(discriminator="role")]


class _Function(_Strict):
    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _FunctionTool(_Strict):
    type: Literal["function"]
    function: _Function


class _StreamOptions(_Strict):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Body(_Strict):
    """A request to ``/chat/completions``: the fields that this server knows."""

    model: str
    messages: list[_Message] = Field(min_length=1)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    tools: list[_FunctionTool] | None = Field(None, min_length=1, max_length=128)
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: Literal[1] | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    stop: str | list[str] | None = None
    seed: int | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    store: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    response_format: dict[str, Any] | None = None


_BODY = TypeAdapter(Body)


def check_body(text: bytes) -> Body:
    """Parse a request's body; raise :class:`RefusedError` for whatever OpenAI would refuse."""
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise RefusedError("We could not parse the JSON body of your request.") from error
    try:
        body = _BODY.validate_python(parsed)
    except ValidationError as error:
        raise _refused(error) from error
    if body.stream_options and not body.stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise RefusedError(message, "stream_options")
    for name in ("tool_choice", "parallel_tool_calls"):
        if getattr(body, name) is not None and not body.tools:
            raise RefusedError(f"'{name}' is only allowed when 'tools' are specified.", name)
    _check_history(body)
    return body


def check_needed(text: bytes, name: str) -> None:
    """Raise :class:`RefusedError` where a message with calls lacks the field ``name``."""
    for message in json.loads(text)["messages"]:
        if message.get("tool_calls") and not message.get(name):
            raise RefusedError(f"Missing `{name}` field in the assistant message.")


def without_fields(text: bytes, names: AbstractSet[str]) -> bytes:
    """Return a request's body without a provider's own fields in messages and calls."""
    if not names:
        return text
    body = json.loads(text)
    for message in body["messages"]:
        for table in (message, *(message.get("tool_calls") or ())):
            for name in names & table.keys():
                del table[name]
    return json.dumps(body).encode()


def _refused(error: ValidationError) -> RefusedError:
    first = error.errors(include_url=False, include_context=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "extra_forbidden":
            return RefusedError(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
        case "missing":
            return RefusedError(
                f"Missing required parameter: '{param}'.", param, "missing_required_parameter"
            )
        case _:
            return RefusedError(
                f"Invalid value for '{param}': {first['msg']}.", param, "invalid_value"
            )


def _check_history(body: Body) -> None:
    """Every call is answered at once and once, and every answer answers a call."""
    waiting: list[str] = []
    for number, message in enumerate(body.messages):
        where = f"messages.[{number}].role"
        if isinstance(message, _Tool):
            if not waiting:
                raise RefusedError(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceeding message with 'tool_calls'.",
                    where,
                )
            if message.tool_call_id not in waiting:
                raise RefusedError(
                    f"Invalid parameter: 'tool_call_id' of '{message.tool_call_id}' not found in "
                    "'tool_calls' of previous message.",
                    where,
                )
            waiting.remove(message.tool_call_id)
        else:
            _check_answered(waiting, where)
            if isinstance(message, _Assistant):
                waiting = _check_assistant(message, number)
    _check_answered(waiting, f"messages.[{len(body.messages)}].role")


def _check_answered(waiting: list[str], where: str) -> None:
    if waiting:
        raise RefusedError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding "
            "to each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            + ", ".join(waiting),
            where,
        )


def _check_assistant(message: _Assistant, number: int) -> list[str]:
    calls = message.tool_calls or []
    if not calls and message.content is None:
        where = f"messages.[{number}].content"
        raise RefusedError("Invalid value for 'content': expected a string, got null.", where)
    ids = [made.id for made in calls]
    if len(set(ids)) < len(ids):
        raise RefusedError(
            "Duplicate value for 'tool_calls.id'.", f"messages.[{number}].tool_calls"
        )
    for index, made in enumerate(calls):
        where = f"messages[{number}].tool_calls[{index}].function.arguments"
        try:
            arguments = json.loads(made.function.arguments)
        except ValueError as error:
            raise RefusedError(f"Invalid value for '{where}': not JSON.", where) from error
        if not isinstance(arguments, dict):
            raise RefusedError(f"Invalid value for '{where}': not a JSON object.", where)
    return ids
