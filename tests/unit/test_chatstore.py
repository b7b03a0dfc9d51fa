"""Chats are saved whole or not at all, and what is overridden upstream is still what it was."""
# ruff: noqa: ASYNC240 - a test may wait for its own few files

import asyncio
import errno
import hashlib
import inspect
import itertools
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from caesarion.chat import chat_file, store
from caesarion.chat.chat_file import good_copy
from caesarion.chat.store import DurableChat, flush_all, install, stop
from jupyter_events import EventLogger
from jupyterlab_chat import chat_manager
from jupyterlab_chat.chat_manager import ChatManager
from jupyterlab_chat.models import NewMessage
from jupyterlab_chat.websocket_handler import WSChatHandler
from jupyterlab_chat.websocket_model import CONTENTS_EVENT_SCHEMA_ID, WsChatModel

USER = "ada"


@pytest.fixture(autouse=True)
async def _nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    monkeypatch.setattr(DurableChat, "at_once", False)
    yield
    for chat in list(DurableChat.waiting):
        chat._forget()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats" / "a.chat"


def opened(path: Path) -> DurableChat:
    """Open the chat at ``path`` as the chat manager does; its folder's folder is the root."""
    chat = DurableChat(path=f"chats/{path.name}", root_dir=path.parents[1])
    chat.load_from_file()
    return chat


def say(chat: DurableChat, *bodies: str) -> None:
    for body in bodies:
        chat.add_message(NewMessage(body=body, sender=USER))


def said(chat: DurableChat) -> list[str]:
    return [message.body for message in chat.get_messages()]


def stored(path: Path) -> list[str]:
    return [message["body"] for message in json.loads(path.read_text("utf-8"))["messages"]]


async def saved(path: Path, *bodies: str) -> DurableChat:
    """Return a chat with these messages, that is on disk and let go of."""
    chat = opened(path)
    say(chat, *bodies)
    await chat.flush()
    chat.dispose()
    return chat


async def nothing_waits() -> None:
    """Let the time pass that a chat takes to be written."""
    async with asyncio.timeout(60):
        while DurableChat.waiting:  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.01)


def disk_full(path: Path, content: str, *, new: bool) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def say_during_a_write(chat: DurableChat, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a message come while the next write, in its thread, is under way."""
    loop = asyncio.get_running_loop()
    write = chat_file.write

    async def speak() -> None:
        if body not in said(chat):
            say(chat, body)

    def meanwhile(path: Path, content: str, *, new: bool) -> None:
        asyncio.run_coroutine_threadsafe(speak(), loop).result(10)
        write(path, content, new=new)

    monkeypatch.setattr(chat_file, "write", meanwhile)


def test_this_is_written_against_jupyterlab_chat_0_25() -> None:
    assert version("jupyterlab-chat").startswith("0.25.")


@pytest.mark.parametrize(
    ("part", "digest"),
    [
        # Overridden, or what an override calls.
        (WsChatModel.__init__, "6acad8747c60"),
        (WsChatModel.load_from_file, "2f0797a05dc0"),
        (WsChatModel.save, "f69ad7d8903b"),
        (WsChatModel.dispose, "775cb0dd1be5"),
        (WsChatModel.to_dict, "35ab43a268ce"),
        (WsChatModel._on_path_change, "a4720c5868eb"),
        # When a chat is made, saved and let go of.
        (WsChatModel._on_contents_event, "b07e8987a7b1"),
        (WsChatModel.add_message, "56585010c8a3"),
        (WsChatModel.update_message, "2c3fc9ae46a8"),
        (WSChatHandler._handle_new_message, "4e444b136122"),
        (WSChatHandler._handle_update_message, "30a3dc8cfc99"),
        (ChatManager._get_or_create_ws, "03508cad9a04"),
        (ChatManager._scan_freeable_chats, "7bf32bbfd3ed"),
        (ChatManager._free, "4e240b1f02f8"),
        (ChatManager.ws_client_gone, "5d796584e23e"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_what_the_store_relies_on_is_unchanged_upstream(
    part: Callable[..., Any], digest: str
) -> None:
    """Where this fails, read what changed, mend the store if it must be, then note the digest."""
    assert hashlib.sha256(inspect.getsource(part).encode()).hexdigest()[:12] == digest


def test_the_manager_opens_durable_chats_once_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_manager, "WsChatModel", WsChatModel)
    install(EventLogger(), tmp_path, b"key", lambda chat_id: None)
    assert vars(chat_manager)["WsChatModel"] is DurableChat


async def test_a_new_chat_is_on_disk_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PAUSE", 3600)
    opened(path)
    await nothing_waits()
    assert stored(path) == []


async def test_a_chat_whose_folder_cannot_be_made_is_empty_and_waits(path: Path) -> None:
    path.parent.write_text("in the way")
    chat = opened(path)
    say(chat, "hello")
    await chat.flush()
    assert said(chat) == ["hello"]
    assert chat in DurableChat.waiting


async def test_a_chat_is_on_disk_a_moment_after_a_change(path: Path) -> None:
    chat = opened(path)
    say(chat, "hello")
    assert not path.exists()
    await nothing_waits()
    assert stored(path) == ["hello"]


async def test_what_is_read_back_is_what_was_written(path: Path) -> None:
    chat = await saved(path, "ä", "🙂")
    again = opened(path)
    assert again.to_dict() == chat.to_dict()
    assert again.get_id() == chat.get_id()


async def test_many_changes_are_one_write(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(chat_file, "write", lambda path, content, *, new: written.append(content))
    chat = opened(path)
    say(chat, *(str(number) for number in range(100)))
    await nothing_waits()
    assert len(written) == 1
    assert len(json.loads(written[0])["messages"]) == 100


async def test_a_write_that_is_torn_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await saved(path, "old")
    chat = opened(path)
    say(chat, "new")

    def killed(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        chat_file.write(path, chat._encode(), new=False)
    assert stored(path) == ["old"]


async def test_the_copy_before_the_last_is_kept(path: Path) -> None:
    chat = await saved(path, "one")
    say(chat, "two")
    await chat.flush()
    assert stored(path) == ["one", "two"]
    assert stored(good_copy(path)) == ["one"]


async def test_nothing_but_the_chat_and_its_copy_is_left_behind(path: Path) -> None:
    await saved(path, "one")
    await saved(path, "two")
    assert {file.name for file in path.parent.iterdir()} == {"a.chat", ".a.chat.last"}


@pytest.mark.parametrize("torn", [b'{"messages": [{"bo', b"\xff\xfe", b"[]", b'{"messages": 1}'])
async def test_a_file_that_cannot_be_read_is_set_aside_and_the_good_copy_taken(
    path: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    chat = await saved(path, "one")
    say(chat, "two")
    await chat.flush()
    path.write_bytes(torn)
    assert said(opened(path)) == ["one"]
    assert (path.parent / "a (unreadable).txt").read_bytes() == torn
    assert stored(path) == ["one"]
    assert caplog.messages == [
        f"The chat {path} could not be read; it is kept as a (unreadable).txt."
    ]


async def test_an_unreadable_file_without_a_copy_is_kept_and_the_chat_is_empty(path: Path) -> None:
    path.parent.mkdir()
    for name in ("a (unreadable).txt", "a (unreadable 2).txt"):
        path.write_text(name)
        assert said(opened(path)) == []
        assert (path.parent / name).read_text() == name
        await nothing_waits()


async def test_of_an_empty_file_the_good_copy_is_taken(path: Path) -> None:
    await saved(path, "one")
    await saved(path, "two")
    path.write_text("")
    assert said(opened(path)) == ["one"]
    assert {file.name for file in path.parent.iterdir()} == {"a.chat"}


async def test_an_empty_file_is_a_new_chat_that_keeps_its_id(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    chat = opened(path)
    assert said(chat) == []
    await nothing_waits()
    chat.dispose()
    assert opened(path).get_id() == chat.get_id()


async def test_on_a_full_disk_the_chat_waits_and_is_written_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chat = await saved(path, "old")
    monkeypatch.setattr(store, "_RETRY", 0.1)
    with monkeypatch.context() as disk:
        disk.setattr(chat_file, "write", disk_full)
        say(chat, "new")
        await chat.flush()
        assert chat in DurableChat.waiting
        assert store.problem_of(chat.get_id()) == (
            "This chat is not saved as chats/a.chat: No space left on device."
            " Delete files that you do not need. The server keeps it in memory and tries again"
            " every few seconds."
        )
    assert stored(path) == ["old"]
    await nothing_waits()
    assert store.problem_of(chat.get_id()) == ""
    assert stored(path) == ["old", "new"]
    assert caplog.messages == [
        "The chat chats/a.chat could not be saved yet: [Errno 28] No space left on device"
    ]


async def test_a_full_disk_loses_nothing_of_a_chat_that_is_closed_and_opened_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = await saved(path, "old")
    with monkeypatch.context() as disk:
        disk.setattr(chat_file, "write", disk_full)
        say(chat, "new")
        await chat.flush()
        chat.dispose()
        again = opened(path)
        assert said(again) == ["old", "new"]
    await flush_all()
    assert stored(path) == ["old", "new"]
    assert DurableChat.waiting == set()


async def test_what_waits_is_seen_by_a_second_model_of_the_file_and_written_by_it(
    path: Path,
) -> None:
    chat = opened(path)
    say(chat, "one")
    chat.dispose()
    again = opened(path)
    assert said(again) == ["one"]
    assert again.get_id() == chat.get_id()
    assert DurableChat.waiting == {again}
    say(again, "two")
    await flush_all()
    assert stored(path) == ["one", "two"]


async def test_what_is_being_written_is_seen_by_a_second_model_and_not_written_over(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = await saved(path, "one")
    began, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    write = chat_file.write

    def slowly(path: Path, content: str, *, new: bool) -> None:
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        write(path, content, new=new)

    monkeypatch.setattr(chat_file, "write", slowly)
    say(chat, "two")
    under_way = asyncio.ensure_future(chat.flush())
    await began.wait()
    chat.dispose()
    again = opened(path)
    assert said(again) == ["one", "two"]
    say(again, "three")
    second = asyncio.ensure_future(again.flush())
    go_on.set()
    await asyncio.gather(under_way, second)
    assert stored(path) == ["one", "two", "three"]
    assert DurableChat.waiting == set()


async def test_a_change_during_a_write_is_written_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = await saved(path, "one")
    say_during_a_write(chat, "three", monkeypatch)
    say(chat, "two")
    await chat.flush()
    assert stored(path) == ["one", "two"]
    assert DurableChat.waiting == {chat}
    await flush_all()
    assert stored(path) == ["one", "two", "three"]


async def test_when_the_server_stops_a_change_is_written_at_once(path: Path) -> None:
    chat = opened(path)
    say(chat, "one")
    await stop()
    assert stored(path) == ["one"]
    say(chat, "two")
    assert stored(path) == ["one", "two"]
    assert DurableChat.waiting == set()


async def test_when_the_server_stops_a_change_during_a_write_is_written_by_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = await saved(path, "one")
    say_during_a_write(chat, "three", monkeypatch)
    say(chat, "two")
    await stop()
    assert stored(path) == ["one", "two", "three"]
    assert DurableChat.waiting == set()


async def test_when_the_server_stops_on_a_full_disk_that_is_one_warning(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chat = await saved(path, "old")
    await stop()
    monkeypatch.setattr(chat_file, "write", disk_full)
    say(chat, "new")
    assert stored(path) == ["old"]
    assert caplog.messages == [
        "The chat chats/a.chat could not be saved: [Errno 28] No space left on device"
    ]


async def test_a_chat_that_was_let_go_of_is_still_written(path: Path) -> None:
    chat = opened(path)
    say(chat, "one")
    chat.dispose()
    await nothing_waits()
    assert stored(path) == ["one"]


async def test_a_deleted_chat_does_not_come_back_when_it_is_let_go_of(path: Path) -> None:
    chat = await saved(path, "one")
    say(chat, "two")
    await chat.flush()
    say(chat, "three")
    path.unlink()
    chat.dispose()
    say(chat, "four")
    await flush_all()
    assert list(path.parent.iterdir()) == []
    assert DurableChat.waiting == set()


async def test_a_deleted_chat_does_not_come_back_when_it_is_saved(path: Path) -> None:
    chat = await saved(path, "one")
    path.unlink()
    say(chat, "two")
    await chat.flush()
    assert not path.exists()


async def test_a_chat_that_was_moved_is_written_where_it_is_now(path: Path) -> None:
    chat = await saved(path, "one")
    say(chat, "two")
    path.rename(path.with_name("b.chat"))
    await chat.flush()
    assert not path.exists()
    chat._on_path_change("chats/b.chat")
    await chat.flush()
    assert stored(path.with_name("b.chat")) == ["one", "two"]


class Contents:
    """What a server's contents manager says of files, to those who listen."""

    def __init__(self, root: Path) -> None:
        self._events = EventLogger()
        self._events.register_event_schema(
            {
                "$id": CONTENTS_EVENT_SCHEMA_ID,
                "version": "1",
                "type": "object",
                "properties": {
                    "action": {"type": "string"},
                    "path": {"type": "string"},
                    "source_path": {"type": "string"},
                },
            }
        )
        self.forgotten: list[str] = []
        install(self._events, root, b"key", self.forgotten.append)

    async def tells(self, **data: str) -> None:
        self._events.emit(schema_id=CONTENTS_EVENT_SCHEMA_ID, data=data)
        await self._events.gather_listeners()


@pytest.fixture
def contents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Contents:
    monkeypatch.setattr(chat_manager, "WsChatModel", WsChatModel)
    logging.getLogger("jupyter_events").setLevel(logging.ERROR)
    return Contents(tmp_path)


async def test_a_new_chat_of_a_deleted_ones_name_is_empty(path: Path, contents: Contents) -> None:
    await saved(path, "one")
    await saved(path, "two")
    path.unlink()
    await contents.tells(action="delete", path="chats/a.chat")
    assert list(path.parent.iterdir()) == []
    path.touch()
    assert said(opened(path)) == []


async def test_a_renamed_chat_takes_its_good_copy_along(path: Path, contents: Contents) -> None:
    await saved(path, "one")
    await saved(path, "two")
    path.rename(path.with_name("b.chat"))
    await contents.tells(action="rename", path="chats/b.chat", source_path="chats/a.chat")
    assert {file.name for file in path.parent.iterdir()} == {"b.chat", ".b.chat.last"}


async def test_a_new_chat_that_is_given_an_old_name_does_not_take_over_its_copy(
    path: Path, contents: Contents
) -> None:
    await saved(path, "one")
    await saved(path, "two")
    path.unlink()
    path.with_name("untitled.chat").touch()
    path.with_name("untitled.chat").rename(path)
    await contents.tells(action="rename", path="chats/a.chat", source_path="chats/untitled.chat")
    assert said(opened(path)) == []


async def test_files_that_are_no_chats_are_left_alone(path: Path, contents: Contents) -> None:
    path.parent.mkdir(exist_ok=True)
    other = path.with_name(".a.txt.last")
    other.touch()
    await contents.tells(action="delete", path="chats/a.txt")
    await contents.tells(action="rename", path="chats/b.txt", source_path="chats/a.txt")
    await contents.tells(action="save", path="chats/a.chat")
    assert list(path.parent.iterdir()) == [other]


async def test_a_chat_that_takes_long_to_write_is_written_less_often(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(0.0, 0.5)
    monkeypatch.setattr(store, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    chat = opened(path)
    say(chat, "hello")
    await chat.flush()
    assert chat._pause == 20 * 0.5
