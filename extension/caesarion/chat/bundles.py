"""
MIME bundles: what the chat shows that is more than text.

Made by :mod:`caesarion.chat.transcript` from the records of a turn. The labextension draws
the JSON (call.ts, reasoning.ts); the Markdown beside it can be read without it. Pure.
"""

from typing import Any

from jupyterlab_chat.models import Message

from caesarion.message_metadata import (
    CALL_MIME,
    REASONING_MIME,
    call_of,
    code_of,
    describe_call,
    is_scratch,
    label_of,
    question_of,
)
from caesarion.text import clip

# The fields of a call's record that the labextension gets as they are.
_SHOWN = (
    *("id", "name", "status", "approval_id", "classes", "decided"),
    *("execution_count", "kernel_id", "place", "started", "seconds", "change"),
)

# Characters of a failed call's result that its cell shows.
_RESULT = 600


def call_bundle(record: dict[str, Any]) -> dict[str, Any]:
    """
    Return the bundle of a call's record.

    The JSON has ``id``, ``name`` and ``status``, which is queued, waiting, running or a
    result's; ``code``, or of another tool than Python its ``label``; ``scratch``, true if its code
    leaves no names behind; once it ran
    ``execution_count``, ``kernel_id``, ``place`` (a notebook's path, or empty), ``started``
    (seconds since the epoch) and ``seconds``; ``told``, the result that the model reads, where
    there is nothing else to see; ``question``, what a call asks: its ``text``, ``choices``, the
    ``id`` that answers name while it waits, and the ``answer``; ``change``, what it changes in a
    notebook, as in :class:`caesarion.events.CellChange`; ``approval_id`` while it waits for a
    person, its ``classes`` of risk, and the decision as ``decided``.
    """
    call = call_of(record)
    code = code_of(call)
    shown: dict[str, Any] = {"label": label_of(call)} if code is None else {"code": code}
    if question := question_of(call):
        shown["question"] = {
            "text": question[0],
            "choices": question[1],
            "id": record.get("asked"),
            "answer": record.get("answer"),
        }
    if is_scratch(call):
        shown["scratch"] = True
    shown |= {key: record[key] for key in _SHOWN if key in record}
    if record.get("told"):
        shown["told"] = clip(record["result"], _RESULT)
    return {CALL_MIME: shown, "text/markdown": describe_call(call)}


def reasoning_bundle(record: dict[str, Any], text: str) -> dict[str, Any]:
    """
    Return the bundle of the model's reasoning.

    The JSON has ``id``, ``text`` and ``started`` (seconds since the epoch), and ``seconds``
    when the model has ended it: null if nobody knows how long it took.
    """
    shown = {"text": text} | {
        key: record[key] for key in ("id", "started", "seconds") if key in record
    }
    quoted = "\n".join(f"> {line}" for line in text.splitlines())
    return {REASONING_MIME: shown, "text/markdown": f"*Thoughts of the model:*\n\n{quoted}"}


def text_of(message: Message) -> str:
    """Return what can be read of a message: its body, else the text of its bundle."""
    if message.body.strip():
        return message.body
    data = _data_of(message)
    text = data.get("text/markdown") or data.get("text/plain")
    return text if isinstance(text, str) else ""


def reasoning_of(message: Message) -> str:
    """Return the text of a message of reasoning; empty if a program has written another."""
    shown = _data_of(message).get(REASONING_MIME)
    text = shown.get("text") if isinstance(shown, dict) else None
    return text if isinstance(text, str) else ""


def _data_of(message: Message) -> dict[str, Any]:
    # jupyterlab-chat 0.25 gives a dictionary, whatever its types say.
    mime: Any = message.mime_model
    data = mime.get("data") if isinstance(mime, dict) else getattr(mime, "data", None)
    return data if isinstance(data, dict) else {}
