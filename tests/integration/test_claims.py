"""Claims of warm servers, as the hub makes them: one request, and a sentence when it fails."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from caesarion_hub import claims
from caesarion_hub.claims import ClaimError

TAKEN = 'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"claimed": true}'
UNCLAIMED = (
    "HTTP/1.1 503 Service Unavailable\r\nX-Caesarion-Warm: unclaimed\r\nContent-Length: 0\r\n\r\n"
)


@asynccontextmanager
async def server(reply: str, asked: list[str] | None = None) -> AsyncIterator[str]:
    """Provide the address of a server that replies ``reply``, or nothing, to one request each."""
    replies: list[asyncio.Task[None]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        replies.append(asyncio.ensure_future(reply_to(reader, writer)))
        await replies[-1]

    async def reply_to(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = [line for line in head.splitlines() if line.startswith("Content-Length:")]
        body = await reader.readexactly(int(length[0].split()[1])) if length else b""
        if asked is not None:
            asked.append(head + body.decode())
        if not reply:
            await reader.read()
        writer.write(reply.encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/user/ada/"
    await asyncio.gather(*replies)


async def test_a_claim_sends_the_nonce_and_the_environment_to_the_servers_root() -> None:
    asked: list[str] = []
    async with server(TAKEN, asked) as url:
        await claims.claim(url, "the nonce", {"JUPYTERHUB_USER": "ada"}, "/home/ada")
    [request] = asked
    head, _, body = request.partition("\r\n\r\n")
    assert head.startswith("POST /claim HTTP/1.1\r\n")
    assert "Authorization: Bearer the nonce\r\n" in head
    assert json.loads(body) == {"environment": {"JUPYTERHUB_USER": "ada"}, "cwd": "/home/ada"}


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            "has another nonce, or a user already",
        ),
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "refused the environment"),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404, not as a warm"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "status 200, not as a warm"),
        ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", "status 302"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "did not answer the claim"),
        ("", "did not answer the claim"),
    ],
    ids=["another-nonce", "invalid", "not-found", "another-body", "redirect", "no-http", "silence"],
)
async def test_a_claim_that_is_not_taken_is_a_sentence_without_the_nonce(
    reply: str, told: str
) -> None:
    async with server(reply) as url:
        with pytest.raises(ClaimError, match=told) as failed:
            await claims.claim(url, "the nonce", {}, seconds=0.5)
    assert "the nonce" not in str(failed.value)


async def test_a_server_that_is_not_there_is_a_sentence() -> None:
    async with server(TAKEN) as url:
        pass
    with pytest.raises(ClaimError, match=r"^The warm server at http://127\.0\.0\.1:\d+ did not"):
        await claims.claim(url, "the nonce", {})
    assert not await claims.is_waiting(url)


@pytest.mark.parametrize(
    ("reply", "waits"),
    [(UNCLAIMED, True), (UNCLAIMED.replace("unclaimed", ""), False), (TAKEN, False)],
    ids=["unclaimed", "overloaded", "another"],
)
async def test_only_an_unclaimed_server_is_waiting(reply: str, waits: bool) -> None:
    async with server(reply) as url:
        assert await claims.is_waiting(url) is waits


def test_every_nonce_is_new() -> None:
    assert len({claims.new_nonce() for _ in range(9)}) == 9
