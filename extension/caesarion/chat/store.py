"""
The store of chats: they are saved whole or not at all, and only what is ours counts in them.

jupyterlab-chat's own model rewrites a chat's file in place, on the event loop,
at every change: a server that is killed while it streams leaves a torn file,
which then opens empty and is overwritten. :func:`install`, called by
:mod:`caesarion.extension`, puts a model in its place that writes a moment
later, in a thread, by :mod:`caesarion.chat.chat_file`; each message is signed by
:mod:`caesarion.chat.provenance`.

jupyterlab-chat 0.25 has no setting for its model's class; ``tests/unit/test_chatstore.py``
fails when what is overridden or relied upon here changes upstream.
"""

import asyncio
import contextlib
import copy
import errno
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jupyter_events import EventLogger
from jupyterlab_chat import chat_manager
from jupyterlab_chat.models import ChatMessageAction, Message
from jupyterlab_chat.websocket_model import CONTENTS_EVENT_SCHEMA_ID, WsChatModel
from jupyterlab_chat.ws_messages import ServerMessageMessage, to_wire

from caesarion.chat import chat_file, provenance
from caesarion.chat.chat_id import ChatFiles

_log = logging.getLogger(__name__)

# Seconds from a change to its write, and how many times longer than the
# encoding took the pause is at least: a long chat may cost a twentieth of the
# event loop, not more.
_PAUSE = 0.25
_SHARE = 20

# The fields of a message that pages draw.
_SHOWN = ("sender", "body", "mime_model")

# Seconds until a write that failed (a full disk, say) is tried again.
_RETRY = 5.0

_REMEDY = {
    errno.ENOSPC: " Delete files that you do not need.",
    errno.EDQUOT: " Delete files that you do not need.",
}


FOLDER = "chats"
"""Where chats are made, below the root; the lab's settings say the same (overrides.json)."""


def install(events: EventLogger, root: Path, key: bytes, forget: Callable[[str], None]) -> None:
    """
    Let every chat that is opened from now on be a :class:`DurableChat`.

    ``events`` tell what becomes of the files below ``root``; with ``key`` the messages in
    them are signed. ``forget`` takes the id of a chat that was deleted.
    """

    async def follow(logger: EventLogger, schema_id: str, data: dict[str, Any]) -> None:
        chat_file.follow(root, data)
        for chat_id in DurableChat.files.follow(root, data):
            forget(chat_id)

    # Otherwise the browser makes the folder, under another name first, and JupyterLab shows an
    # error if it lists the root in that moment.
    with contextlib.suppress(OSError):
        (root / FOLDER).mkdir(exist_ok=True)
    DurableChat.key = key
    chat_manager.WsChatModel = DurableChat  # type: ignore[attr-defined]
    events.add_listener(schema_id=CONTENTS_EVENT_SCHEMA_ID, listener=follow)


def content(root: Path, file: Path, open_chats: Iterable[object]) -> dict[str, Any] | None:
    """
    Return what is in the chat at ``file`` below ``root`` as it is now; None if there is no chat.

    ``open_chats`` are the server's; a chat that is not among them, and has
    nothing left to be written, is read from its file.
    """
    for chat in (*open_chats, *DurableChat.waiting):
        if isinstance(chat, DurableChat) and chat._file.resolve() == file:
            return chat.to_dict()
    read = chat_file.read(file)
    return None if read is None else DurableChat.files.admit(DurableChat.key, read, root, file)


def problem_of(chat_id: str) -> str:
    """Return a sentence on why the chat is not saved, or ""."""
    waiting = (chat for chat in DurableChat.waiting if chat.get_id() == chat_id)
    return next((chat.problem for chat in waiting), "")


async def flush_all() -> None:
    """Write every chat that still waits."""
    await asyncio.gather(*(chat.flush() for chat in list(DurableChat.waiting)))


async def stop() -> None:
    """Write every chat that still waits, and from now on each change at once: the server stops."""
    DurableChat.at_once = True
    await flush_all()


class DurableChat(WsChatModel):
    """A chat whose file is replaced as a whole, and never lost to a bad read."""

    # Chats with changes that are not on disk yet; a chat may be let go by its
    # manager before its last write.
    waiting: "set[DurableChat]" = set()  # noqa: RUF012 - shared by all on purpose

    # Whether nobody will be there to write a moment later.
    at_once = False

    # Signs the messages; a random one until the server's own is known.
    key = secrets.token_bytes(32)

    # Where the chats are.
    files = ChatFiles()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._pause: float = _PAUSE
        self._changed = False
        # Whether there was a file: if there is none any more, it was deleted or moved.
        self._stored = False
        self._deleted = False
        self.problem = ""
        """A sentence on why the last write failed, for whoever looks at the chat."""
        # Held while the file is written: two writers would mix up the copies.
        self._writing = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        # By the messages' ids: the signature, and the record that was signed last.
        self._signed: dict[str, tuple[str, dict[str, Any]]] = {}

    @property
    def _file(self) -> Path:
        return Path(self.root_dir) / self.path

    def load_from_file(self) -> None:
        """
        Load the chat.

        A file that does not parse is set aside, and its last good copy taken.
        What a model before this one has not written yet is taken from it.
        """
        path = self._file
        before = next((chat for chat in self.waiting if chat._file == path), None)
        if before:
            self._take_over(before)
            return
        read = chat_file.read(path)
        if read is None and path.exists():
            if path.stat().st_size:  # An empty file is a new chat, or all that a crash left.
                aside = chat_file.set_aside(path)
                _log.warning("The chat %s could not be read; it is kept as %s.", path, aside.name)
            read = chat_file.read(chat_file.good_copy(path))
            if read is not None:
                chat_file.good_copy(path).replace(path)
        self._stored = path.exists()
        admitted = self.files.admit(self.key, read or {}, Path(self.root_dir), path.resolve())
        has_id = "id" in admitted["metadata"]
        self._take(admitted)
        is_new_place = provenance.path_when_written(read or {}) != self._path_from_root()
        if self._stored and (is_new_place or not has_id) and os.access(path.parent, os.W_OK):
            # The next to open it must find the same id, and with it the same kernel.
            self._save_now()
        elif not self._stored:
            self._pause = 0  # The list of chats is asked for as soon as the chat is open.
            self._save_now()

    def _path_from_root(self) -> str:
        return os.path.relpath(self._file.resolve(), Path(self.root_dir).resolve())

    def _take(self, content: dict[str, Any]) -> None:
        """Let ``content`` be what is in the chat."""
        self._messages, self._users = content["messages"], content["users"]
        self._attachments, self._metadata = content["attachments"], content["metadata"]
        # Makes one where there is none.
        self.files.note(self.get_id(), self._file.resolve())
        self._indexes_by_id = {message["id"]: i for i, message in enumerate(self._messages)}
        for message in self._messages:
            self._sign(message)

    def _sign(self, message: dict[str, Any]) -> None:
        signature = provenance.sign(self.key, self.get_id(), message, self._attachments)
        self._signed[message["id"]] = signature, copy.deepcopy(provenance.record_of(message))

    def _emit_message_event(self, action: ChatMessageAction, message: Message) -> None:
        """Sign a message that has changed, before anybody is told of it."""
        stored = self._messages[self._indexes_by_id[message.id]]
        if action in (ChatMessageAction.CLIENT_MSG_RECEIVED, ChatMessageAction.CLIENT_MSG_EDITED):
            senders = {handler.current_user.username for handler in self.handlers.values()}
            _, record = self._signed.get(message.id, ("", {}))
            admitted = provenance.admit_from_client(stored, senders, record)
            is_corrected = any(admitted.get(name) != stored.get(name) for name in _SHOWN)
            stored.clear()
            stored.update(admitted)
            if is_corrected:
                # jupyterlab-chat 0.25 has sent it to the pages as it came from the client.
                self.broadcast(to_wire(ServerMessageMessage(message=self.resolve_message(stored))))
        self._sign(stored)
        if self.at_once:
            self._write_now()
        super()._emit_message_event(action, Message(**stored))

    def save(self) -> None:
        """
        Write the chat soon.

        A change is saved before it is told and signed, so a server that stops writes
        it when it is told.
        """
        if self._deleted:
            return
        self._changed = True
        self.waiting.add(self)
        if self._timer is None and not self.at_once:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._pause, self._start_flush)

    async def flush(self) -> None:
        """Write the chat, if it changed since it was last written."""
        self._stop_timer()
        async with self._writing:
            again = self._changed
            while again:
                self._changed = False
                content = self._encode()
                try:
                    await asyncio.to_thread(
                        chat_file.write, self._file, content, new=not self._stored
                    )
                except OSError as error:
                    _log.warning("The chat %s could not be saved yet: %s", self.path, error)
                    self.problem = (
                        f"This chat is not saved as {self.path}: {error.strerror or error}."
                        f"{_REMEDY.get(error.errno or 0, '')} The server keeps it in memory and"
                        " tries again every few seconds."
                    )
                    self._pause = _RETRY
                    self.save()
                    return
                self._stored, self.problem = True, ""
                again = self._changed and self.at_once
            if not self._changed:
                self.waiting.discard(self)

    def _save_now(self) -> None:
        self.save()
        if self.at_once:
            self._write_now()

    def _write_now(self) -> None:
        if self._writing.locked():
            return  # The write under way goes on until nothing has changed.
        try:
            chat_file.write(self._file, self._encode(), new=not self._stored)
        except OSError as error:
            _log.warning("The chat %s could not be saved: %s", self.path, error)
            return
        self._changed = False
        self.waiting.discard(self)

    def _on_path_change(self, new_path: str) -> None:
        """Write the chat where it is now, as the file says where that is."""
        super()._on_path_change(new_path)
        self.files.note(self.get_id(), self._file.resolve())
        self._save_now()

    def dispose(self) -> None:
        """Let go of the chat; what waits is still written, unless its file was deleted."""
        super().dispose()
        if self._stored and not self._file.exists():
            self._deleted = True
            self._forget()
            chat_file.good_copy(self._file).unlink(missing_ok=True)

    def _take_over(self, before: "DurableChat") -> None:
        self._messages, self._indexes_by_id = before._messages, before._indexes_by_id
        self._users, self._attachments = before._users, before._attachments
        self._metadata, self._stored = before._metadata, before._stored
        self.problem = before.problem
        self._signed = before._signed
        # A write of its may be under way; ours comes after it.
        self._writing = before._writing
        before._forget()
        self._save_now()

    def _forget(self) -> None:
        self._stop_timer()
        self._changed = False
        self.waiting.discard(self)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _encode(self) -> str:
        began = time.monotonic()
        signatures = {
            message["id"]: self._signed[message["id"]][0]
            for message in self._messages
            if message["id"] in self._signed
        }
        seal = provenance.seal(self.key, self.get_id(), self._path_from_root(), signatures)
        signed = {provenance.SIGNATURES: signatures, provenance.SEAL: seal}
        content = json.dumps({**self.to_dict(), **signed}, indent=2)
        self._pause = max(_PAUSE, _SHARE * (time.monotonic() - began))
        return content

    def _start_flush(self) -> None:
        self._timer = None
        task = asyncio.ensure_future(self.flush())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
