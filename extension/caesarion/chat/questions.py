"""
Questions: what a chat stores with a person's messages.

Called by :mod:`caesarion.chat.persona` before a turn; read back by :mod:`caesarion.chat.history`.
Context and the digests of attached files stand in the messages' metadata.
"""

import asyncio
from pathlib import Path
from typing import Any

from jupyterlab_chat.models import (
    BaseChatModel,
    FileAttachment,
    Message,
    MimeModel,
    NotebookAttachment,
)

from caesarion.chat.cell_errors import FailedCall
from caesarion.events import ToolCall
from caesarion.files.attachments import Attached, Attachments
from caesarion.message_metadata import (
    KEY,
    call_of,
    code_of,
    in_order,
    is_persons,
    label_of,
    record,
)


def store_context(chat: BaseChatModel, question: Message, context: str) -> None:
    """Store the text that follows ``question`` for the model, in this turn and later ones."""
    message = chat.get_message(question.id)
    if message and record(message).get("context", "") != context:
        _store(chat, message, "context", context)


def delete_turn(chat: BaseChatModel, question_id: str) -> None:
    """Delete a person's question and its answer, for the model and for the eye."""
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
    """Return all attachments up to ``question``, the oldest first."""
    return [
        (message.id, value)
        for message in in_order(chat.get_messages(), question.id)
        if is_persons(message.sender)
        for value in paths_of(chat, message)
    ]


def attachments_of(chat: BaseChatModel, question: Message) -> list[Attached]:
    """Return the attachments of ``question`` itself."""
    message = chat.get_message(question.id)
    return [(question.id, path) for path in paths_of(chat, message)] if message else []


def attached_cells(chat: BaseChatModel, one: Attached) -> list[str]:
    """Return the ids of the cells that an attached notebook is attached for."""
    message = chat.get_message(one[0])
    return [
        cell.id
        for attachment in (_attachments(chat, message) if message else ())
        if attachment.value == one[1] and isinstance(attachment, NotebookAttachment)
        for cell in attachment.cells or ()
    ]


async def store_digests(chat: BaseChatModel, question: Message, attachments: Attachments) -> None:
    """Store the digests of the files of ``question`` with it, since a file may change, or go."""
    new = attachments_of(chat, question)
    found = await asyncio.gather(*(attachments.read(one, attached_cells(chat, one)) for one in new))
    for one, digest in zip(new, found, strict=True):
        store_digest(chat, one, attachments.path(one[1]), digest)


def store_digest(chat: BaseChatModel, one: Attached, path: Path, digest: str) -> None:
    """Store the digest of one attached file, at ``path``, with its message."""
    message_id, value = one
    if message := chat.get_message(message_id):
        known = {**digests(message), value: {"path": str(path), "digest": digest}}
        _store(chat, message, "attached", known)


def _store(chat: BaseChatModel, message: Message, name: str, value: Any) -> None:
    message.metadata = {**(message.metadata or {}), KEY: {**record(message), name: value}}
    chat.update_message(message)


def _attachments(
    chat: BaseChatModel, message: Message
) -> list[FileAttachment | NotebookAttachment]:
    known = chat.get_attachments()
    return [known[id] for id in message.attachments or () if id in known]


def paths_of(chat: BaseChatModel, message: Message) -> list[str]:
    """Return the paths of the files that are attached to ``message``, each once."""
    return list(dict.fromkeys(attachment.value for attachment in _attachments(chat, message)))


def digests(message: Message) -> dict[str, dict[str, str]]:
    """Return the stored ``path`` and ``digest`` of each attachment of ``message``."""
    known = record(message).get("attached")
    # A program may have sent anything with its message.
    return {
        value: {"path": str(file["path"]), "digest": str(file["digest"])}
        for value, file in (known.items() if isinstance(known, dict) else ())
        if isinstance(file, dict) and file.keys() >= {"path", "digest"}
    }


def find_call(chat: BaseChatModel, persona_id: str, call_id: str, shown: str) -> ToolCall | None:
    """
    Return the call of the chat that has this id and is ``shown`` so, or None.

    What is shown is asked for, too, so that nothing else runs than what a person sees:
    providers repeat ids, and a page may show what it likes.
    """
    ours = _call_record(chat, persona_id, call_id, shown)
    return None if ours is None else call_of(ours)


def find_failed_call(
    chat: BaseChatModel, persona_id: str, call_id: str, shown: str
) -> FailedCall | None:
    """Return the code and the result of a call that is ``shown`` so, or None."""
    ours = _call_record(chat, persona_id, call_id, shown)
    return None if ours is None else FailedCall(shown, str(ours.get("result") or ""))


def _call_record(
    chat: BaseChatModel, persona_id: str, call_id: str, shown: str
) -> dict[str, Any] | None:
    for message in chat.get_messages():
        ours = record(message)
        known = message.sender == persona_id and not message.deleted
        if known and ours.get("kind") == "call" and ours["id"] == call_id:
            call = call_of(ours)
            if shown == (code_of(call) or label_of(call)):
                return ours
    return None
