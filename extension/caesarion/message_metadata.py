"""
Message metadata: the record of a turn that a chat keeps with each message.

Written by :mod:`caesarion.chat.transcript`, through :mod:`caesarion.chat.live_message`, and by
:mod:`caesarion.chat.questions`; read back by :mod:`caesarion.chat.history`, for the model, and by
:mod:`caesarion.notebooks.export`. Pure.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from caesarion.events import ToolCall

KEY = "caesarion"
"""Where the record stands in a message's metadata."""

FOREIGN = "foreign::"
"""Begins the sender of a message that this server has not written: caesarion.chat.provenance."""

CALL_MIME = "application/vnd.caesarion.call+json"
"""A call as the labextension draws it: :func:`caesarion.chat.bundles.call_bundle`."""
REASONING_MIME = "application/vnd.caesarion.reasoning+json"
"""The model's reasoning, drawn folded: :func:`caesarion.chat.bundles.reasoning_bundle`."""
OUTPUT_MIME = "application/vnd.caesarion.output+json"
"""Marks the bundle of an output: nbformat's ``output_type``, its ``call`` and ``number`` there."""


class Message(Protocol):
    """The part of jupyterlab-chat's message that is used here."""

    @property
    def id(self) -> str:
        """Return the id."""

    @property
    def metadata(self) -> dict[str, Any] | None:
        """Return the metadata."""

    @property
    def deleted(self) -> bool | None:
        """Return whether it was deleted, which leaves an empty message."""


M = TypeVar("M", bound=Message)


def record(message: Message) -> dict[str, Any]:
    """Return the record of ``message``; empty if it has none."""
    ours = (message.metadata or {}).get(KEY)
    return ours if isinstance(ours, dict) else {}


def in_order(messages: Sequence[M], until: str = "") -> list[M]:
    """
    Return the messages that are not deleted, up to the message ``until`` and its answer.

    An answer stands right behind its question, also where the next question
    came while it was still being written.
    """
    places = {message.id: place for place, message in enumerate(messages)}

    def turn(message: M) -> int:
        question = record(message).get("question")
        return places.get(question, places[message.id]) if question else places[message.id]

    last = places.get(until, len(messages))
    return [m for m in sorted(messages, key=turn) if not m.deleted and turn(m) <= last]


def is_persons(sender: str) -> bool:
    """Return whether ``sender`` is a person, and no agent, system user or foreign sender."""
    return not sender.startswith(("jupyter-ai-personas::", "hidden::", FOREIGN))


def is_foreign(sender: str) -> bool:
    """Return whether a message of ``sender`` was not written by this user's server."""
    return sender.startswith(FOREIGN)


def call_of(ours: dict[str, Any]) -> ToolCall:
    """Return the call of a record of the kind "call"."""
    id, name, arguments = (str(ours.get(key, "")) for key in ("id", "name", "arguments"))
    return ToolCall(id, name, arguments)


def code_of(call: ToolCall) -> str | None:
    """Return the Python of a call, or None if it has none."""
    code = (_arguments(call) or {}).get("code")
    return code if isinstance(code, str) else None


def is_scratch(call: ToolCall) -> bool:
    """Return whether a call ran in a copy of the namespace, and left no names behind."""
    return (_arguments(call) or {}).get("scratch") is True


def question_of(call: ToolCall) -> tuple[str, list[str]] | None:
    """Return the question that a call asks, and its choices; None if it asks nothing."""
    arguments = _arguments(call) or {}
    text, choices = arguments.get("question"), arguments.get("choices")
    if call.name != "ask_user" or not isinstance(text, str):
        return None
    return text, [str(choice) for choice in choices] if isinstance(choices, list) else []


def describe_call(call: ToolCall) -> str:
    """Return a call as Markdown: code as code, a question as text, others as their arguments."""
    if question := question_of(call):
        return question[0]
    code = code_of(call)
    if code is not None:
        return code_block(code, "python")
    source = (_arguments(call) or {}).get("source")
    if isinstance(source, str) and call.name in ("edit_cell", "insert_cell"):
        return f"{code_span(call.name)}\n\n{code_block(source)}"
    return code_span(label_of(call))


def code_block(text: str, language: str = "") -> str:
    """Return ``text`` as a block of code in Markdown, whatever is in it."""
    fence = "`" * max(3, _ticks(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def code_span(text: str) -> str:
    """Return one line as code in Markdown."""
    fence = "`" * (_ticks(text) + 1)
    return f"{fence}{text}{fence}"


def _ticks(text: str) -> int:
    return max((len(ticks) for ticks in re.findall("`+", text)), default=0)


def label_of(call: ToolCall) -> str:
    """Return a call as its name and arguments."""
    arguments = _arguments(call)
    if arguments is None:
        return f"{call.name} with arguments that are not whole"
    told = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{call.name}({told})"


def _arguments(call: ToolCall) -> dict[str, Any] | None:
    """Return the arguments of a call, or None if they are no JSON object."""
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None
