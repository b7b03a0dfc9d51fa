"""
The browser's end of a chat, for tests: jupyterlab-chat's WebSocket without a browser.

    async with open_chat(server, "chats/a.chat") as chat:
        answer = await chat.ask("plot a sine wave", notebook_path="b.ipynb")
        assert answer[-1]["body"] == "Here it is."

Speaks to a :class:`~tests.server.RunningServer`, or to a server in a cluster; knows the frames of
``jupyterlab_chat.ws_messages`` and what the persona puts into its messages.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import quote
from uuid import uuid4

import aiohttp
import httpx
from caesarion.message_metadata import CALL_MIME, OUTPUT_MIME

from tests.fakes.openai_server import ToolCalls, call

PERSONA = "jupyter-ai-personas::caesarion::CaesarionPersona"

Json = dict[str, Any]


@dataclass(frozen=True)
class Frame:
    """A frame that came, when (``time.monotonic``), and of how many bytes."""

    content: Json
    at: float
    size: int


class ChatServer(Protocol):
    """A Jupyter server, wherever it is."""

    @property
    def url(self) -> str: ...

    @property
    def headers(self) -> dict[str, str]: ...

    def client(self) -> httpx.AsyncClient: ...

    async def touch(self, path: str) -> None: ...


@dataclass
class Chat:
    """One open chat, as far as its frames have told."""

    server: ChatServer
    socket: aiohttp.ClientWebSocketResponse
    id: str = ""
    frames: list[Frame] = field(default_factory=list)
    users: Json = field(default_factory=dict)
    messages: dict[str, Json] = field(default_factory=dict)
    """Every message as it is now, by its id."""
    turns: int = 0
    """How many turns have ended since the chat was opened."""
    status: str = ""
    """The persona's status line; empty when no turn is under way."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def send(
        self,
        body: str,
        to: str | None = PERSONA,
        attachments: list[Json] | None = None,
        **metadata: Any,
    ) -> str:
        """Send a message with ``metadata``, addressed as the chat's box does; return its id."""
        number = uuid4().hex
        addressed = {"to_persona": to} if to else {}
        await self.socket.send_json(
            {
                "type": "client",
                "action": "send",
                "id": number,
                "body": body,
                "metadata": {**addressed, **metadata},
                "attachments": attachments or [],
            }
        )
        return number

    async def ask(self, body: str, seconds: float = 120.0, **metadata: Any) -> list[Json]:
        """Send a message, wait for the end of the turn, and return the answer's messages."""
        turns = self.turns
        question = await self.send(body, **metadata)
        await self.until(lambda: self.turns > turns, seconds)
        return self.answer(question)

    async def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        """Wait until ``condition`` holds; it is looked at whenever a frame comes."""
        try:
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError as error:
            last = "\n".join(str(frame.content)[:300] for frame in self.frames[-8:])
            raise AssertionError(
                f"not within {seconds} seconds; the last frames:\n{last}"
            ) from error

    async def stop(self) -> None:
        """Press Stop, and wait until the turn has ended."""
        turns = self.turns
        async with self.server.client() as http:
            stopped = await http.post("api/ai/personas/cancel", params={"chat_id": self.id})
        assert stopped.json() == {"status": "cancelled", "cancelled": [PERSONA]}
        await self.until(lambda: self.turns > turns)

    def answer(self, question: str) -> list[Json]:
        """Return the messages that answer the message of this id, oldest first."""
        return [
            message
            for message in sorted(self.messages.values(), key=lambda message: message["time"])
            if message.get("metadata", {}).get("caesarion", {}).get("question") == question
        ]

    def updates(self, message: Json) -> list[Frame]:
        """Return the frames that brought a message, the first and every later one."""
        return [
            frame
            for frame in self.frames
            if frame.content["action"] == "message"
            and frame.content["message"]["id"] == message["id"]
        ]

    async def read(self) -> None:
        """Take in frames until the socket closes."""
        async for told in self.socket:
            frame = Frame(json.loads(told.data), time.monotonic(), len(told.data.encode()))
            async with self._changed:
                self._take(frame)
                self._changed.notify_all()

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        content = frame.content
        match content["action"]:
            case "connection":
                self.id, self.users = content["id"], content["users"]
                self.messages = {message["id"]: message for message in content["messages"]}
            case "users":
                self.users |= content["users"]
            case "message":
                self.messages[content["message"]["id"]] = content["message"]
            case "writing":
                self.status = content["typingIndicator"] if content["state"] else ""
                self.turns += not content["state"]


@contextlib.asynccontextmanager
async def open_chat(server: ChatServer, path: str) -> AsyncIterator[Chat]:
    """Open the chat at ``path``, new or not; yield when its persona is there."""
    # The list of chats makes an empty file before it opens a new one.
    await server.touch(path)
    url = f"{server.url}api/chat/ws/{quote(path, safe='')}"
    async with (
        aiohttp.ClientSession(headers=server.headers) as http,
        http.ws_connect(url, max_msg_size=0) as socket,
    ):
        chat = Chat(server, socket)
        reading = asyncio.ensure_future(chat.read())
        try:
            await chat.until(lambda: PERSONA in chat.users)
            yield chat
        finally:
            await socket.close()
            await reading


def bundle(message: Json) -> Json:
    """Return the MIME bundle that a message is, without the mark that tells it is an output."""
    data: Json = dict(message["mime_model"]["data"])
    data.pop(OUTPUT_MIME, None)
    return data


def seen(message: Json) -> Any:
    """Return what is read without the labextension: words and calls as Markdown, else a bundle."""
    if not message.get("mime_model"):
        return message["body"]
    data = bundle(message)
    return data["text/markdown"] if CALL_MIME in data else data


def call_shown(message: Json) -> Json:
    """Return what the labextension is told of a call."""
    shown: Json = message["mime_model"]["data"][CALL_MIME]
    return shown


def shown_code(source: str) -> str:
    """Return what a decision says that it was shown, of a call with this code."""
    return sha256(source.encode()).hexdigest()


def shown_change(path: str, operation: str, change: Json, before: str | None) -> str:
    """Return what a decision says that it was shown, of a change of a notebook."""
    parts = (change.get(name) or "" for name in ("cell_id", "cell_type", "after"))
    was = "" if before is None else shown_code(before)
    return shown_code("\0".join((operation, path, *parts, was, change.get("source") or "")))


def shown(call: Json) -> str:
    """Return what a decision says that it was shown, of a call's record or bundle."""
    if change := call.get("change"):
        return shown_change(change["path"], change["operation"], change, change["before"])
    return shown_code(call["code"] if "code" in call else json.loads(call["arguments"])["code"])


def code(source: str, id: str = "c1", text: str = "") -> ToolCalls:
    """Return what the model says that wants ``source`` to run."""
    return ToolCalls(call("python_interpreter", {"code": source}, id=id), text=text)
