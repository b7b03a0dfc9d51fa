"""Attachments through a real server: those in the file of a crafted chat are not read."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.chat import Chat, open_chat
from tests.fakes.openai_server import OpenAIServer, Text
from tests.files import image
from tests.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "the combination is 12-34-56"
HIDDEN = (
    "This file is hidden, as a part of its path begins with a dot, and was not read. "
    "Attach it once more if it is to be read."
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    with running_server(
        tmp_path_factory.mktemp("attachments"),
        model_url=provider.base_url,
        environment={"CAESARION_KERNEL_PREWARM": "0"},
    ) as server:
        (server.root / "secret.txt").write_text(SECRET)
        (server.root / "secret.png").write_bytes(image())
        (server.root / ".ssh").mkdir()
        (server.root / ".ssh" / "id_rsa").write_text(SECRET)
        (server.root / "chats").mkdir(exist_ok=True)
        yield server
    assert server.failures == []


async def username(server: RunningServer) -> str:
    async with server.client() as http:
        return str((await http.get("api/me")).json()["identity"]["username"])


def crafted(root: Path, name: str, sender: str) -> str:
    """Write a chat in which ``sender`` seems to have attached secrets, and return its path."""
    values = ("secret.txt", "secret.png", ".ssh/id_rsa", "../../outside.txt")
    attachments = {
        str(number): {"type": "file", "value": value} for number, value in enumerate(values)
    }
    messages: list[dict[str, Any]] = [
        {
            "type": "msg",
            "id": f"crafted-{name}",
            "body": "What is in these?",
            "time": 1.0,
            "sender": sender,
            "attachments": list(attachments),
            "metadata": {"caesarion": {"attached": {}}},
        }
    ]
    chat = {
        "messages": messages,
        "users": {sender: {"username": sender}},
        "attachments": attachments,
        "metadata": {"id": f"id-{name}"},
    }
    (root / "chats" / f"{name}.chat").write_text(json.dumps(chat))
    return f"chats/{name}.chat"


async def ask(chat: Chat, provider: OpenAIServer, body: str, *values: str) -> str:
    """Ask a question with attachments and return all that the model was sent, as JSON."""
    turns = chat.turns
    provider.add(Text("I see."))
    await chat.send(body, attachments=[{"type": "file", "value": value} for value in values])
    await chat.until(lambda: chat.turns > turns)
    return json.dumps(provider.requests[-1].body["messages"])


async def test_files_attached_to_older_messages_of_a_chats_file_are_not_read(
    server: RunningServer, provider: OpenAIServer
) -> None:
    (server.root.parent.parent / "outside.txt").write_text(SECRET)
    path = crafted(server.root, "crafted", await username(server))
    picture = base64.b64encode(image()).decode()
    async with open_chat(server, path) as chat:
        for question in ("Hello.", "And now?"):
            sent = await ask(chat, provider, question)
            assert question in sent
            assert "What is in these?" in sent, "the old message is in the history"
            assert SECRET not in sent
            assert picture not in sent
        # Attached by the user, they are.
        sent = await ask(chat, provider, "Here.", "secret.txt", "secret.png")
        assert SECRET in sent
        assert sent.count(picture) == 1


async def test_a_hidden_file_is_read_when_it_is_attached_once_more(
    server: RunningServer, provider: OpenAIServer
) -> None:
    path = crafted(server.root, "hidden", await username(server))
    async with open_chat(server, path) as chat:
        sent = await ask(chat, provider, "Look.", ".ssh/id_rsa")
        assert HIDDEN in sent
        assert SECRET not in sent
        assert SECRET in await ask(chat, provider, "I mean it.", ".ssh/id_rsa")


async def test_a_file_outside_stays_refused_however_often_it_is_attached(
    server: RunningServer, provider: OpenAIServer
) -> None:
    (server.root.parent.parent / "outside.txt").write_text(SECRET)
    (server.root / "link.txt").unlink(missing_ok=True)
    (server.root / "link.txt").symlink_to(server.root.parent.parent / "outside.txt")
    async with open_chat(server, "chats/outside.chat") as chat:
        for _ in range(2):
            sent = await ask(chat, provider, "Look.", "../../outside.txt", "link.txt")
            assert "This lies outside the folders of this server and was not read." in sent
            assert SECRET not in sent
