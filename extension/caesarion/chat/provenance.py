"""
Provenance: which messages of a chat's file this user's server has written itself.

Called by :mod:`caesarion.chat.store` whenever a file is read and whenever a message changes.
A ``.chat`` file may come from anybody, who can put words into anybody's mouth: a question of
the reader's, an answer of the agent's, a call with its approval. So each message is signed
with a key that lies outside the user's folder. Invariant: a message without a valid signature
becomes *foreign*: its sender is marked, and it keeps what can be read of it and nothing that
counts: no record, no call, no approval.

The key protects from files of others. Code that runs as the user can read it, see
``docs/security.md``.
"""

import contextlib
import hmac
import json
import logging
import math
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

from jupyterlab_chat.models import FileAttachment, NotebookAttachment

from caesarion.message_metadata import FOREIGN, KEY, is_foreign, is_persons
from caesarion.regular_files import open_regular
from caesarion.text import shown_name, without_commands

SIGNATURES = "signatures"
"""Where a chat's file has the signature of each message, by the message's id."""

SEAL = "seal"
"""Where a chat's file has the signature of the whole, and the path at which it was written."""

_log = logging.getLogger(__name__)

_KEY_SIZE = 32
_OURS = "application/vnd.caesarion."
_NOT_HERE = "not written here"
_MAX_NAME = 100  # characters of a foreign sender's name, so that the mark stays in view; made up
_COLOR = re.compile(r"#[0-9a-fA-F]{3,8}|[a-zA-Z]{1,30}|var\(--jp-[a-z0-9-]{1,60}\)")

Json = dict[str, Any]


def read_key(folder: Path) -> bytes:
    """
    Return the key of this user's server, which lies in ``folder``; make it where there is none.

    Where it cannot be kept, the key is for this start alone: at the next start, what was
    written until then is foreign.
    """
    file = folder / "chat_signatures.key"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            with open_regular(file) as opened:
                key = opened.read(_KEY_SIZE + 1)
            if len(key) == _KEY_SIZE:
                return key
            raise OSError(f"it has {len(key)} bytes, not {_KEY_SIZE}") from None
        with os.fdopen(descriptor, "wb") as opened:
            opened.write(key := secrets.token_bytes(_KEY_SIZE))
        return key
    except OSError as error:
        _log.warning("The key %s cannot be used (%s); chats of this start will be foreign.",
                     file, error)  # fmt: skip
        return secrets.token_bytes(_KEY_SIZE)


def sign(key: bytes, chat_id: str, message: Json, attachments: Mapping[str, Any]) -> str:
    """Return the signature of a message, with the attachments that it names."""
    named = message.get("attachments")
    named = [attachments.get(str(one)) for one in named] if isinstance(named, list) else None
    signed = json.dumps([chat_id, message, named])
    return hmac.new(key, signed.encode(), sha256).hexdigest()


def seal(key: bytes, chat_id: str, path: str, signatures: Mapping[str, str]) -> Json:
    """
    Return the seal of a chat's file, which says that a server with ``key`` wrote the whole file.

    ``path`` is the file's, from the server's root; ``signatures`` are those of all messages.
    """
    signed = json.dumps(["chat", chat_id, path, list(signatures.items())])
    return {"path": path, "signature": hmac.new(key, signed.encode(), sha256).hexdigest()}


def path_when_written(content: Mapping[str, Any]) -> str:
    """Return the path, from the server's root, at which a file says that it was written."""
    return str(_table(content.get(SEAL)).get("path", ""))


def admit(key: bytes, content: Mapping[str, Any]) -> Json:
    """
    Return the ``content`` of a chat's file with the messages that are not signed as foreign.

    Of what is no chat's the parts are left out that cannot be read. The id is left out unless
    the file is sealed, with these messages and no others.
    """
    metadata = dict(_table(content.get("metadata")))
    chat_id = metadata.get("id")
    if not isinstance(chat_id, str):
        metadata.pop("id", None)
        chat_id = ""
    attachments = _attachments(content.get("attachments"))
    users = _users(content.get("users"))
    signatures = _table(content.get(SIGNATURES))
    messages: dict[str, Json] = {}
    signed = 0
    for message in _tables(content.get("messages")):
        id = message.get("id")
        if isinstance(id, str) and id not in messages and _holds(
            key, chat_id, message, _table(content.get("attachments")), signatures.get(id)
        ):  # fmt: skip
            signed += 1
        else:
            message = _foreign(message, messages, attachments)
            users[message["sender"]] = _foreign_user(message["sender"], users)
        messages[message["id"]] = message
    is_whole = signed == len(messages) and list(signatures) == list(messages)
    if not (is_whole and _is_sealed(key, chat_id, content)):
        metadata.pop("id", None)
    return {
        "messages": list(messages.values()),
        "users": users,
        "attachments": attachments,
        "metadata": metadata,
    }


def record_of(message: Json) -> Json:
    """Return the record of a message; empty if it has none."""
    return _table(_table(message.get("metadata")).get(KEY))


def admit_from_client(message: Json, senders: Iterable[str], record: Json) -> Json:
    """
    Return a message as a client may send it.

    A client speaks for one of ``senders``, who are connected, and for nobody else. It does
    not write the record: that of a message that it edits stays ``record``.
    """
    if not is_persons(message.get("sender", "")) or message["sender"] not in senders:
        if message.get("deleted"):
            return {**message, "body": "", "mime_model": None}
        return _foreign(message, {}, {})
    metadata = {name: value for name, value in _table(message.get("metadata")).items()
                if name != KEY}  # fmt: skip
    if record:
        metadata[KEY] = record
    admitted = {**message, "metadata": metadata}
    if data := _shown(message):
        admitted["mime_model"] = {"data": data}
    else:
        admitted.pop("mime_model", None)
    return admitted


def _holds(
    key: bytes, chat_id: str, message: Json, attachments: Mapping[str, Any], signature: Any
) -> bool:
    return _equal(signature, sign(key, chat_id, message, attachments))


def _is_sealed(key: bytes, chat_id: str, content: Mapping[str, Any]) -> bool:
    sealed = seal(key, chat_id, path_when_written(content), _table(content.get(SIGNATURES)))
    signature = _table(content.get(SEAL)).get("signature")
    return _equal(signature, sealed["signature"])


def _equal(claimed: Any, signature: str) -> bool:
    # With "replace", as half of a surrogate pair, which JSON can hold, cannot be encoded.
    return isinstance(claimed, str) and hmac.compare_digest(
        claimed.encode(errors="replace"), signature.encode()
    )


def _foreign(message: Json, others: Mapping[str, Json], attachments: Mapping[str, Any]) -> Json:
    """Return what can be read of a message that was not written here."""
    id, time, sender = (message.get(name) for name in ("id", "time", "sender"))
    sender = str(sender) if sender else "somebody"
    foreign: Json = {
        "id": id if isinstance(id, str) and id not in others else uuid4().hex,
        "time": time if isinstance(time, int | float) and math.isfinite(time) else 0.0,
        "sender": sender if is_foreign(sender) else FOREIGN + sender,
        "type": "msg",
        "raw_time": False,
        "body": without_commands(str(message.get("body") or "")),
    }
    if message.get("deleted") is True:
        return {**foreign, "body": "", "deleted": True}
    if data := _shown(message):
        foreign["mime_model"] = {"data": data}
    named = message.get("attachments")
    if isinstance(named, list) and (known := [id for id in attachments if id in named]):
        foreign["attachments"] = known
    return foreign


def _shown(message: Json) -> Json:
    """Return the MIME bundle of a message without what only this server writes."""
    data = _table(_table(message.get("mime_model")).get("data"))
    try:
        # As a whole, since a renderer makes text of lists and tables, too.
        data = json.loads(without_commands(json.dumps(data, allow_nan=False)))
    except (ValueError, RecursionError):
        return {}  # No browser could read it.
    return {mime: value for mime, value in data.items() if not mime.lower().startswith(_OURS)}


def _foreign_user(sender: str, users: Mapping[str, Json]) -> Json:
    username = sender.removeprefix(FOREIGN)
    user = users.get(username, {})
    # A name that turns the text around, or fills a line, would hide the mark behind it.
    names = (shown_name(str(user.get(key) or ""), _MAX_NAME) for key in ("display_name", "name"))
    name = next(filter(None, names), "") or shown_name(username, _MAX_NAME) or "somebody"
    return {
        "username": sender,
        "name": name,
        "display_name": f"{name} ({_NOT_HERE})",
        "initials": "?",
        "color": None,
        "avatar_url": None,
        "bot": False,
    }


def _users(users: Any) -> dict[str, Json]:
    """Return the users of a file; without pictures, which may lie anywhere on the web."""
    return {
        username: {
            "username": username,
            **{
                name: str(user.get(name) or username)
                for name in ("name", "display_name", "initials")
            },
            "color": _color(user.get("color")),
            "avatar_url": None,
            "bot": user.get("bot") is True,
        }
        for username, user in _table(users).items()
        if username and isinstance(user, dict) and not is_foreign(username)
    }


def _color(color: Any) -> str | None:
    """Return a colour that is one: it is put into a style sheet."""
    return color if isinstance(color, str) and _COLOR.fullmatch(color) else None


def _attachments(attachments: Any) -> dict[str, Json]:
    known = {}
    for id, one in _table(attachments).items():
        with contextlib.suppress(TypeError, KeyError, AttributeError):
            kind = NotebookAttachment if one.get("type") == "notebook" else FileAttachment
            if isinstance(kind(**one).value, str):
                known[id] = one
    return known


def _table(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _tables(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
