"""
The chat's own cost: a message to its first token, and a long streamed answer.

The model is the scripted server as a process of its own, so that its work is
nobody's here. The bare baseline is the openai SDK alone against the same model.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import openai
import psutil

from tests.bench.figures import Row
from tests.server import RunningServer, running_server

_QUESTIONS = 60
_ANSWERS = 3
_TOKENS = 1000
_PACE = 1 / 200
_PERSONA = "jupyter-ai-personas::caesarion::CaesarionPersona"
_QUESTION: Any = [{"role": "user", "content": "go"}]


async def measure(folder: Path) -> list[Row]:
    """Measure both."""
    return [*await _first_token(folder / "first"), *await _long_answer(folder / "long")]


async def _first_token(folder: Path) -> list[Row]:
    ours: list[float] = []
    bare: list[float] = []
    async with _chat(folder, {"text": ["now"]}) as (socket, model, _):
        for question in range(_QUESTIONS + 5):
            began = time.perf_counter()
            await _ask(socket)
            async for frame in _answer(socket):
                if frame["message"]["body"] == "now":
                    break
            seconds = time.perf_counter() - began
            await _settled(socket)
            between = time.perf_counter()
            async with await _bare(model) as chunks:
                async for chunk in chunks:
                    if chunk.choices and chunk.choices[0].delta.content:
                        break
            if question >= 5:
                ours.append(seconds * 1000)
                bare.append((time.perf_counter() - between) * 1000)
    aim = "20 ms or less at the median"
    return [Row("message to first token", "ms", ours, "the SDK alone", bare, aim)]


async def _long_answer(folder: Path) -> list[Row]:
    ours: list[float] = []
    sent: list[float] = []
    bare: list[float] = []
    text = [f"word{number % 10} " for number in range(_TOKENS)]
    size = len("".join(text))
    async with _chat(folder, {"text": text, "delay": _PACE}) as (socket, model, server):
        process = psutil.Process(server.process.pid)
        for _ in range(_ANSWERS):
            before = sum(process.cpu_times()[:2])
            await _ask(socket)
            received = 0
            async for frame in _answer(socket):
                received += frame["size"]
                if len(frame["message"]["body"]) == size:
                    break
            await _settled(socket)
            ours.append(sum(process.cpu_times()[:2]) - before)
            sent.append(received / 1000)
            alone = time.process_time()
            async with await _bare(model) as chunks:
                async for _ in chunks:
                    pass
            bare.append(time.process_time() - alone)
    return [
        Row("CPU, 1,000 tokens at 200/s", "s", ours, "the SDK alone", bare, "0.9 s or less"),
        Row("to the browser, the same", "KB", sent, "the text", [size / 1000], "240 KB or less"),
    ]


@contextlib.asynccontextmanager
async def _chat(
    folder: Path, reply: dict[str, Any]
) -> AsyncIterator[tuple[aiohttp.ClientWebSocketResponse, str, RunningServer]]:
    """Provide a socket to a chat that is ready, the model's address and the server."""
    with (
        _model(folder, reply) as model,
        running_server(folder, model_url=model, python=sys.executable) as server,
    ):
        url = f"{server.url}api/chat/ws/bench.chat?token={server.token}"
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            await asyncio.sleep(5)  # The chat's kernel and the SDK are being made ready.
            await _ask(socket)
            await _settled(socket)
            yield socket, model, server


@contextlib.contextmanager
def _model(folder: Path, reply: dict[str, Any]) -> Iterator[str]:
    folder.mkdir(parents=True)
    script = folder / "script.json"
    script.write_text(json.dumps([reply]))
    command = [sys.executable, "-m", "tests.fakes.openai_server", "--port=0", "--loop"]
    with subprocess.Popen(
        [*command, f"--script={script}"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


async def _bare(model: str) -> Any:
    client = _clients.setdefault(model, openai.AsyncOpenAI(base_url=model, api_key="none"))
    return await client.chat.completions.create(model="gpt-4.1", messages=_QUESTION, stream=True)


_clients: dict[str, openai.AsyncOpenAI] = {}


async def _ask(socket: aiohttp.ClientWebSocketResponse) -> None:
    metadata = {"to_persona": _PERSONA}
    await socket.send_json(
        {
            "type": "client",
            "action": "send",
            "id": uuid4().hex,
            "body": "go",
            "metadata": metadata,
        }
    )


async def _answer(socket: aiohttp.ClientWebSocketResponse) -> AsyncIterator[dict[str, Any]]:
    """Yield the persona's messages as they come, each with the ``size`` of its frame in bytes."""
    while True:
        raw = await socket.receive_str(timeout=60)
        frame = json.loads(raw)
        if frame["action"] == "message" and frame["message"]["sender"] == _PERSONA:
            yield {**frame, "size": len(raw.encode())}


async def _settled(socket: aiohttp.ClientWebSocketResponse) -> None:
    """Wait for the end of a turn: the persona no longer writes."""
    while True:
        frame = await socket.receive_json(timeout=60)
        if frame["action"] == "writing" and not frame["state"]:
            return
