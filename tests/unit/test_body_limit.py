"""Bodies that come slowly: refused in a sentence, and bounded while they are held."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from caesarion_hub.api import body_limit
from caesarion_hub.api.application import make_application
from caesarion_hub.api.config import Config
from caesarion_hub.api.hub import Caller, Hub, Server
from caesarion_hub.api.servers import Servers
from starlette.applications import Starlette

CONFIG = Config("127.0.0.1", 1, "/services/api/", "http://hub", "http://proxy")
HEADERS = {"X-API-Key": "token", "E2b-Sandbox-Id": "sandbox-abcdef"}


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Starlette]:
    """Return a function that makes the application with limits."""
    home = Server("ada", "sandbox-abcdef", "/user/ada/sandbox-abcdef/", ready=True)
    ada = Caller("ada", "token", frozenset(), {home.name: home})

    async def caller(*_: Any, **__: Any) -> Caller:
        return ada

    async def drained(*parts: Any) -> httpx.Response:
        async for _ in parts[3].content:
            pass
        return httpx.Response(200, json={"name": "x", "type": "file", "path": "/x"})

    monkeypatch.setattr(Hub, "caller", caller)
    monkeypatch.setattr(Servers, "read", drained)

    def make(**limits: Any) -> Starlette:
        made = make_application(CONFIG)
        (middleware,) = made.user_middleware
        middleware.kwargs.update(limits)
        return made

    return make


def client(application: Starlette) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(application)
    return httpx.AsyncClient(
        transport=transport, base_url="http://api/services/api", headers=HEADERS
    )


async def pieces(*given: bytes, gate: asyncio.Event | None = None) -> AsyncIterator[bytes]:
    """Yield pieces of a body, and no end before the gate opens."""
    for piece in given:
        yield piece
    await (gate or asyncio.Event()).wait()


@pytest.mark.parametrize(
    ("path", "content", "sentence"),
    [
        ("chat", b"{", "The body has not arrived within 0.01 seconds. Send it again."),
        ("e2b/execute", b"{", "The body has not arrived within 0.01 seconds. Send it again."),
        (
            "e2b/files?path=/x",
            b"abc",
            "Nothing of the file has arrived for 0.01 seconds. Send it again.",
        ),
    ],
)
async def test_a_body_that_does_not_arrive_is_refused_and_its_connection_closed(
    application: Callable[..., Starlette], path: str, content: bytes, sentence: str
) -> None:
    async with client(application(timeout=0.01)) as api:
        answer = await api.post(f"/{path}", content=pieces(content))
        said = answer.json()
        message = said["error"]["message"] if "error" in said else said["message"]
        assert (answer.status_code, message) == (408, sentence)
        assert answer.headers["Connection"] == "close"


async def test_an_upload_may_take_longer_than_a_body_while_it_moves(
    application: Callable[..., Starlette], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pieces the time of a whole body passes, on a clock that the test moves."""
    loop = asyncio.get_running_loop()
    now = [loop.time()]
    monkeypatch.setattr(loop, "time", lambda: now[0])

    async def moving() -> AsyncIterator[bytes]:
        for _ in range(5):
            now[0] += 0.75 * body_limit.TIMEOUT
            yield b"abc"

    async with client(application()) as api:
        answer = await api.post("/e2b/files?path=/x", content=moving())
        assert (answer.status_code, answer.json()[0]["name"]) == (200, "x")


async def test_bodies_that_still_arrive_hold_no_more_than_the_memory_for_them(
    application: Callable[..., Starlette],
) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b" " * 600
        begun.set()
        await gate.wait()

    async with client(application(memory=1_000, memory_of_token=900)) as api:
        first = asyncio.create_task(api.post("/chat", content=slow()))
        await begun.wait()
        second = await api.post("/chat", content=in_two(b" " * 500))
        assert second.status_code == 429
        assert second.json()["error"]["message"] == (
            "The bodies that the service is receiving hold as much as it takes at once. "
            "Send this one again in a moment."
        )
        other = {"X-API-Key": "another"}
        assert (
            await api.post("/chat", content=in_two(b" " * 500), headers=other)
        ).status_code == 429
        assert (await api.get("/health")).json() == {"status": "ok"}
        gate.set()
        await first
        third = await api.post("/chat", content=in_two(b" " * 500))
        assert third.status_code == 400


async def in_two(content: bytes) -> AsyncIterator[bytes]:
    """Yield a body whose end comes apart from it."""
    yield content
    yield b""
