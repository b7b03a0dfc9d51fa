"""An id belongs to one chat: a file that names that of another one gets an id of its own."""
# ruff: noqa: ASYNC240 - a test may wait for its own few files

import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from caesarion.chat import store
from caesarion.chat.chat_id import ChatFiles
from caesarion.chat.store import DurableChat
from jupyterlab_chat.models import NewMessage

Json = dict[str, Any]


@pytest.fixture
async def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    monkeypatch.setattr(DurableChat, "files", ChatFiles())
    (tmp_path / "chats").mkdir()
    yield tmp_path
    for chat in list(DurableChat.waiting):
        chat._forget()


def restart() -> None:
    """Let nothing be known that a server does not keep on its disk."""
    DurableChat.files = ChatFiles()


async def id_at(root: Path, name: str, *bodies: str) -> str:
    """Open the chat at ``name``, say something in it, and close it; return its id."""
    chat = DurableChat(path=f"chats/{name}", root_dir=root)
    chat.load_from_file()
    for body in bodies:
        chat.add_message(NewMessage(body=body, sender="ada"))
    await chat.flush()
    chat.dispose()
    return chat.get_id()


def tells(root: Path, **data: str) -> list[str]:
    """Say what the contents manager did; return the ids of the chats that are gone."""
    return DurableChat.files.follow(root, data)


@pytest.fixture
async def chat_id(root: Path) -> str:
    """Return the id of the chat at a.chat."""
    return await id_at(root, "a.chat", "one", "two")


@pytest.fixture
def file(root: Path, chat_id: str) -> Path:
    return root / "chats" / "a.chat"


def nothing(content: Json) -> Json:
    return {"messages": [], "metadata": content["metadata"]}


def one_message(content: Json) -> Json:
    return {**content, "messages": content["messages"][:1]}


def another_message(content: Json) -> Json:
    messages = [{"id": "m", "time": 1.0, "sender": "ada", "body": "Obey."}, *content["messages"]]
    return {**content, "messages": messages}


@pytest.mark.parametrize("craft", [nothing, one_message, another_message])
@pytest.mark.parametrize("name", ["a.chat", "b.chat"])
@pytest.mark.parametrize("original", ["there", "gone"])
async def test_a_crafted_file_has_the_id_of_no_chat(
    root: Path, file: Path, chat_id: str, craft: Callable[[Json], Json], name: str, original: str
) -> None:
    content = json.loads(file.read_text())
    if original == "gone":
        file.unlink()
    file.with_name(name).write_text(json.dumps(craft(content)))
    crafted = await id_at(root, name)
    assert crafted != chat_id
    assert await id_at(root, name) == crafted


@pytest.mark.parametrize("first", ["a.chat", "b.chat"])
@pytest.mark.parametrize("began", ["before", "between"])
async def test_a_copy_gets_an_id_of_its_own_and_the_chat_keeps_its(
    root: Path, file: Path, chat_id: str, first: str, began: str
) -> None:
    shutil.copy(file, file.with_name("b.chat"))
    if began == "between":
        restart()
    await id_at(root, first)
    copied = await id_at(root, "b.chat")
    assert copied != chat_id
    assert await id_at(root, "a.chat") == chat_id
    restart()
    assert await id_at(root, "b.chat") == copied


async def test_of_a_chat_that_is_not_open_neither_does_a_copy_have_the_id(
    root: Path, file: Path, chat_id: str
) -> None:
    copy = file.with_name("b.chat")
    shutil.copy(file, copy)
    read = store.content(root, copy, [])
    assert read is not None
    assert "id" not in read["metadata"]
    own = store.content(root, file, [])
    assert own is not None
    assert own["metadata"]["id"] == chat_id


@pytest.mark.parametrize("began", ["before", "between"])
async def test_a_chat_that_was_moved_keeps_its_id(
    root: Path, file: Path, chat_id: str, began: str
) -> None:
    if began == "between":
        restart()
    file.rename(file.with_name("b.chat"))
    assert await id_at(root, "b.chat") == chat_id
    another = await id_at(root, "a.chat", "new")
    restart()
    assert await id_at(root, "b.chat") == chat_id
    assert await id_at(root, "a.chat") == another


async def test_chats_that_exchange_their_names_keep_their_ids(
    root: Path, file: Path, chat_id: str
) -> None:
    other = await id_at(root, "b.chat", "other")
    between = file.with_name("c.chat")
    file.rename(between)
    file.with_name("b.chat").rename(file)
    between.rename(file.with_name("b.chat"))
    assert await id_at(root, "a.chat") == other
    assert await id_at(root, "b.chat") == chat_id


@pytest.mark.parametrize("source", ["chats/a.chat", "chats"])
async def test_of_a_chat_that_was_moved_in_the_file_browser_a_copy_has_an_id_of_its_own(
    root: Path, file: Path, chat_id: str, source: str
) -> None:
    older = file.read_text()
    path = source.replace("a.chat", "b.chat").replace("chats", "talks")
    (root / path).parent.mkdir(exist_ok=True)
    (root / source).rename(root / path)
    assert tells(root, action="rename", source_path=source, path=path) == []
    file.parent.mkdir(exist_ok=True)
    file.with_name("c.chat").write_text(older)
    assert await id_at(root, "c.chat") != chat_id


async def test_an_open_chat_that_was_moved_says_so_in_its_file(
    root: Path, file: Path, chat_id: str
) -> None:
    chat = DurableChat(path="chats/a.chat", root_dir=root)
    chat.load_from_file()
    older = file.read_text()
    file.rename(file.with_name("b.chat"))
    chat._on_path_change("chats/b.chat")
    await chat.flush()
    restart()
    file.with_name("c.chat").write_text(older)
    assert await id_at(root, "b.chat") == chat_id
    assert await id_at(root, "c.chat") != chat_id


@pytest.mark.parametrize("deleted", ["chats/a.chat", "chats"])
async def test_the_id_of_a_deleted_chat_is_told(
    root: Path, file: Path, chat_id: str, deleted: str
) -> None:
    assert tells(root, action="delete", path="chats/b.chat") == []
    shutil.rmtree(root / "chats")
    assert tells(root, action="delete", path=deleted) == [chat_id]
    assert tells(root, action="delete", path=deleted) == []


async def test_a_link_to_a_folder_leads_to_the_same_chat(
    root: Path, file: Path, chat_id: str
) -> None:
    (root / "link").symlink_to("chats")
    chat = DurableChat(path="link/a.chat", root_dir=root)
    chat.load_from_file()
    assert chat.get_id() == chat_id


async def test_a_hard_link_is_a_copy(root: Path, file: Path, chat_id: str) -> None:
    os.link(file, file.with_name("b.chat"))
    assert await id_at(root, "b.chat") != chat_id
    assert await id_at(root, "a.chat") == chat_id


async def test_a_chat_in_a_folder_that_cannot_be_written_is_opened(
    root: Path, file: Path, chat_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(file, file.with_name("b.chat"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert await id_at(root, "b.chat") != chat_id
    assert json.loads(file.with_name("b.chat").read_text()) == json.loads(file.read_text())
    assert DurableChat.waiting == set()
