"""
What the scripted provider can answer: words, tool calls, faults, raw chunks.

Used by ``openai_server``, which serves these values, and by tests, which write
them. Purely computational: a reply becomes a list of ``chat.completion.chunk``
choices here, and bytes on a wire elsewhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Json = dict[str, Any]

WireFault = Literal[
    "reset_before_headers",
    "stall_before_headers",
    "reset_before_body",
    "stall_before_body",
    "reset_mid_stream",
    "cut_mid_stream",
    "stall_mid_stream",
    "error_mid_stream",
    "garbage_sse",
]
"""Faults of the connection. The ``_mid_stream`` ones first stream ``Fault.after``."""

ContentFault = Literal[
    "split_utf8",
    "empty_choices",
    "null_delta",
    "missing_call_id",
    "truncated_arguments",
    "unknown_tool",
    "no_usage",
    "huge_delta",
    "many_chunks",
]
"""Streams that are whole but odd."""

STATUSES: Mapping[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request is not valid."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided: {key}."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "Not supported here."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("server_error", None, "The request took too long."),
    409: ("conflict_error", None, "The resource was changed by another request."),
    413: ("invalid_request_error", None, "The request is too large."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    502: ("server_error", None, "Bad gateway."),
    503: ("server_error", None, "The engine is currently overloaded."),
    504: ("server_error", None, "Gateway timeout."),
}
"""What each status carries in its body: type, code, message."""


@dataclass(frozen=True)
class Usage:
    """Tokens counted for one reply."""

    prompt_tokens: int = 10
    completion_tokens: int = 5

    def as_json(self) -> Json:
        """Return OpenAI's usage object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


@dataclass(frozen=True, init=False)
class Text:
    """Words, one delta for each chunk; ``delay`` seconds lie between two deltas."""

    chunks: tuple[str, ...]
    usage: Usage | None
    delay: float
    finish_reason: str

    def __init__(
        self,
        *chunks: str,
        usage: Usage | None = Usage(),
        delay: float = 0.0,
        finish_reason: str = "stop",
    ) -> None:
        object.__setattr__(self, "chunks", chunks)
        object.__setattr__(self, "usage", usage)
        object.__setattr__(self, "delay", delay)
        object.__setattr__(self, "finish_reason", finish_reason)


@dataclass(frozen=True)
class Call:
    """A tool call; without an ``id`` the server makes one (``call_<reply>_<index>``)."""

    name: str
    arguments: str
    id: str | None = None


def call(name: str, arguments: str | Mapping[str, Any], id: str | None = None) -> Call:
    """Make a tool call. ``arguments`` as a string are sent as they are, valid JSON or not."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return Call(name, text, id)


@dataclass(frozen=True, init=False)
class ToolCalls:
    """Tool calls, after ``text`` if there is any; ``split`` characters of arguments a delta."""

    calls: tuple[Call, ...]
    text: str
    split: int | None
    usage: Usage | None
    delay: float
    finish_reason: str

    def __init__(
        self,
        *calls: Call,
        text: str = "",
        split: int | None = None,
        usage: Usage | None = Usage(),
        delay: float = 0.0,
        finish_reason: str = "tool_calls",
    ) -> None:
        object.__setattr__(self, "calls", calls)
        object.__setattr__(self, "text", text)
        object.__setattr__(self, "split", split)
        object.__setattr__(self, "usage", usage)
        object.__setattr__(self, "delay", delay)
        object.__setattr__(self, "finish_reason", finish_reason)


@dataclass(frozen=True)
class Fault:
    """
    A failure: an HTTP status, or one of the kinds named above.

    ``retry_after`` goes with a status (seconds), ``after`` is what the
    ``_mid_stream`` kinds and ``garbage_sse`` stream first (without its finish reason),
    ``seconds`` is how long a stall lasts, and ``size`` the characters of
    ``huge_delta`` or the chunks of ``many_chunks``. ``message`` replaces the
    status's own; ``{key}`` in it becomes the key that the client sent.
    """

    kind: int | WireFault | ContentFault
    retry_after: float | None = None
    after: Text | ToolCalls = field(default_factory=lambda: Text("The answer", " is"))
    seconds: float = 3600.0
    size: int | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        known = (*STATUSES, *get_args(WireFault), *get_args(ContentFault))
        if self.kind not in known:
            raise ValueError(f"There is no fault {self.kind!r}. The faults are: {known}.")


@dataclass(frozen=True)
class Raw:
    """Chunks sent exactly as they are, then ``[DONE]``; of the first only, if not streamed."""

    chunks: Sequence[Json]
    delay: float = 0.0


Reply = Text | ToolCalls | Fault | Raw


@dataclass(frozen=True)
class Stream:
    """A reply as choices: lists of a chunk's ``choices``, and what is said at the end."""

    choices: tuple[list[Json], ...]
    usage: Usage | None
    delay: float = 0.0


def make_stream(reply: Text | ToolCalls | Fault, number: int) -> Stream:
    """Turn the ``number``-th reply of a server into choices. A wire fault's are those before it."""
    if isinstance(reply, Text):
        deltas: list[Json] = [{"content": chunk} for chunk in reply.chunks]
        return _stream(deltas, reply.finish_reason, reply.usage, reply.delay)
    if isinstance(reply, ToolCalls):
        text = [{"content": reply.text}] if reply.text else []
        deltas = text + _call_deltas(reply.calls, reply.split, number)
        return _stream(deltas, reply.finish_reason, reply.usage, reply.delay)
    if reply.kind in get_args(ContentFault):
        return _content_fault(reply, number)
    before = make_stream(reply.after, number)
    return Stream(before.choices[:-1], None, before.delay)


def _stream(deltas: list[Json], finish: str, usage: Usage | None, delay: float = 0.0) -> Stream:
    first = {"role": "assistant", "content": "", "refusal": None}
    choices = [_choice(delta) for delta in (first, *deltas)]
    return Stream((*choices, _choice({}, finish)), usage, delay)


def _choice(delta: Json | None, finish_reason: str | None = None) -> list[Json]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}]


def _call_deltas(calls: Sequence[Call], split: int | None, number: int) -> list[Json]:
    deltas: list[Json] = []
    for index, made in enumerate(calls):
        head = {
            "index": index,
            "id": made.id or f"call_{number}_{index}",
            "type": "function",
            "function": {"name": made.name, "arguments": "" if split else made.arguments},
        }
        deltas.append({"tool_calls": [head]})
        for start in range(0, len(made.arguments), split) if split else ():
            piece = {"arguments": made.arguments[start:][:split]}
            deltas.append({"tool_calls": [{"index": index, "function": piece}]})
    return deltas


def _content_fault(fault: Fault, number: int) -> Stream:
    code = call("python_interpreter", {"code": "print(1)"})
    match fault.kind:
        case "split_utf8":
            return _stream([{"content": "naïve 🙂 café"}], "stop", Usage())
        case "empty_choices":
            return Stream(([], [], []), Usage())
        case "null_delta":
            choices = (_choice(None), _choice({"content": None}), _choice(None, "stop"))
            return Stream(choices, Usage())
        case "missing_call_id":
            deltas = _call_deltas([code], 4, number)
            del deltas[0]["tool_calls"][0]["id"]
            return _stream(deltas, "tool_calls", Usage())
        case "truncated_arguments":
            half = call(code.name, code.arguments[:-8])
            return _stream(_call_deltas([half], 4, number), "length", Usage())
        case "unknown_tool":
            return _stream(_call_deltas([call("wether", {})], None, number), "tool_calls", Usage())
        case "no_usage":
            return _stream([{"content": "Nobody counted."}], "stop", None)
        case "huge_delta":
            return _stream([{"content": "x" * (fault.size or 2**20)}], "stop", Usage())
        case _:
            return _stream([{"content": "word "}] * (fault.size or 10_000), "stop", Usage())
