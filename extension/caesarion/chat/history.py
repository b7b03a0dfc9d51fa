"""
A chat read back: as the model's history, and what its questions remember.

Used by :mod:`caesarion.chat.persona`; the answers are written by
:mod:`caesarion.chat.transcript`. What a chat remembers stands in the messages'
metadata, so one that was closed, or cut off by a restart, is still a valid
history.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from jupyterlab_chat.models import (
    BaseChatModel,
    FileAttachment,
    Message,
    MimeModel,
    NotebookAttachment,
)

from caesarion.agent import prompt
from caesarion.chat.bundles import reasoning_of
from caesarion.events import ToolCall
from caesarion.files.attachments import Attached
from caesarion.message_metadata import KEY, call_of, in_order, is_persons, record


def read(
    chat: BaseChatModel,
    persona_id: str,
    question: Message,
    root: Path,
    images: Mapping[Attached, str] | None = None,
) -> list[prompt.Message]:
    """
    Return the chat up to ``question`` as the model's history, the newest last.

    An answer stands right behind its question, also where the next question
    came while it was still being written. Attached files are told by their
    whole paths: below ``root``, which need not be where the kernel works; with
    what :func:`remember` keeps of them, and those ``images`` that are given.
    """
    history: list[prompt.Message] = []
    answer = _Answer()
    for message in in_order(chat.get_messages(), question.id):
        if message.sender == persona_id:
            if not answer.goes_on(message):
                history += answer.messages()
                answer = _Answer()
            answer.add(message)
        elif is_persons(message.sender):
            history += [*answer.messages(), _asked(chat, message, root, images or {})]
            answer = _Answer()
    return history + answer.messages()


class _Answer:
    """One answer of the model, collected from the chat's messages: its words and its calls."""

    def __init__(self) -> None:
        self._key: tuple[Any, Any] | None = None
        self._text = ""
        self._reasoning = ""
        self._reasoning_field = ""
        self._fields: dict[str, Any] = {}
        self._calls: list[ToolCall] = []
        self._results: list[prompt.Message] = []

    def goes_on(self, message: Message) -> bool:
        """Whether ``message`` is of this answer, too."""
        ours = record(message)
        if ours.get("kind") not in _OF_AN_ANSWER or self._key is None:
            return True
        if "round" not in ours:
            # Written before rounds were counted: a call follows the words of its answer.
            return ours["kind"] == "call" and not self._calls
        return self._key == (ours.get("question"), ours["round"])

    def add(self, message: Message) -> None:
        """Take what ``message`` has of the answer; notices and outputs have nothing."""
        ours = record(message)
        kind = ours.get("kind")
        if kind not in _OF_AN_ANSWER:
            return
        self._key = (ours.get("question"), ours.get("round"))
        self._fields |= _table(ours.get("fields"))
        if kind == "text":
            self._text += message.body
        elif kind == "refusal":
            self._text += str(ours.get("refusal", ""))
        elif kind == "reasoning":
            self._reasoning += reasoning_of(message)
            self._reasoning_field = str(ours.get("field", "")) or self._reasoning_field
        else:
            # The model's own arguments; the result says what ran instead of them.
            arguments = str(ours.get("written", ours.get("arguments", "")))
            call = replace(
                call_of(ours), arguments=arguments, fields=_table(ours.get("call_fields"))
            )
            self._calls.append(call)
            self._results.append(prompt.result_message(call.id, ours.get("result")))

    def messages(self) -> list[prompt.Message]:
        """Return the answer as the model reads it: its own message, and the results."""
        if not self._text and not self._calls:
            return []
        fields = dict(self._fields)
        # Providers want reasoning back with the calls that it led to.
        if self._calls and self._reasoning and self._reasoning_field:
            fields[self._reasoning_field] = self._reasoning
        return [prompt.answer_message(self._text, self._calls, fields), *self._results]


_OF_AN_ANSWER = ("text", "refusal", "reasoning", "call")


def _table(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {}


def keep_context(chat: BaseChatModel, question: Message, told: str) -> None:
    """Let ``question`` remember what stands behind it for the model, in this turn and all later."""
    message = chat.get_message(question.id)
    if message and record(message).get("context", "") != told:
        _keep(chat, message, "context", told)


def take_back(chat: BaseChatModel, question_id: str) -> None:
    """Delete a person's question and all that answers it, for the model as for the eye."""
    question = chat.get_message(question_id)
    if question is None or not is_persons(question.sender):
        return
    for message in chat.get_messages():
        if question_id in (message.id, record(message).get("question")) and not message.deleted:
            message.deleted, message.body = True, ""
            if message.mime_model:
                message.mime_model = MimeModel(data={})
            chat.update_message(message)


def attached(chat: BaseChatModel, question: Message) -> list[Attached]:
    """Return the messages and values of all that was attached up to ``question``, oldest first."""
    return [
        (message.id, value)
        for message in in_order(chat.get_messages(), question.id)
        if is_persons(message.sender)
        for value in _values(chat, message)
    ]


def just_attached(chat: BaseChatModel, question: Message) -> list[Attached]:
    """Return what is attached to ``question`` itself."""
    message = chat.get_message(question.id)
    return [(question.id, value) for value in _values(chat, message)] if message else []


def cells(chat: BaseChatModel, one: Attached) -> list[str]:
    """Return the ids of the cells that are meant by an attachment that is a notebook."""
    message = chat.get_message(one[0])
    return [
        cell.id
        for attachment in (_attachments(chat, message) if message else ())
        if attachment.value == one[1] and isinstance(attachment, NotebookAttachment)
        for cell in attachment.cells or ()
    ]


def remember(chat: BaseChatModel, one: Attached, path: Path, digest: str) -> None:
    """Keep with a message what is in a file attached to it: the file may change, or go."""
    message_id, value = one
    if message := chat.get_message(message_id):
        known = {**_remembered(message), value: {"path": str(path), "digest": digest}}
        _keep(chat, message, "attached", known)


def _keep(chat: BaseChatModel, message: Message, name: str, value: Any) -> None:
    message.metadata = {**(message.metadata or {}), KEY: {**record(message), name: value}}
    chat.update_message(message)


def _attachments(
    chat: BaseChatModel, message: Message
) -> list[FileAttachment | NotebookAttachment]:
    known = chat.get_attachments()
    return [known[id] for id in message.attachments or () if id in known]


def _values(chat: BaseChatModel, message: Message) -> list[str]:
    return list(dict.fromkeys(attachment.value for attachment in _attachments(chat, message)))


def _remembered(message: Message) -> dict[str, dict[str, str]]:
    known = record(message).get("attached")
    # A program may have sent anything with its message.
    return {
        value: {"path": str(file["path"]), "digest": str(file["digest"])}
        for value, file in (known.items() if isinstance(known, dict) else ())
        if isinstance(file, dict) and file.keys() >= {"path", "digest"}
    }


def _asked(
    chat: BaseChatModel, message: Message, root: Path, images: Mapping[Attached, str]
) -> prompt.Message:
    files = _remembered(message)
    told, shown = [], []
    for value in _values(chat, message):
        known = files.get(value, {"path": str(root / value.lstrip("/")), "digest": ""})
        told.append((known["path"], known["digest"]))
        if image := images.get((message.id, value)):
            shown.append(image)
    return prompt.user_message(message.body, told, shown, record(message).get("context", ""))


def find_call(chat: BaseChatModel, persona_id: str, call_id: str) -> ToolCall | None:
    """Return a call of the chat by its id, or None if it is not there (any more)."""
    for message in chat.get_messages():
        ours = record(message)
        known = message.sender == persona_id and not message.deleted
        if known and ours.get("kind") == "call" and ours["id"] == call_id:
            return call_of(ours)
    return None
