"""A server that waits for its claim: taken once, by its nonce alone, whatever else it is sent."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from caesarion import warm
from caesarion.warm import Claim
from caesarion_hub import claims
from caesarion_hub.claims import ClaimError

from tests.hub import free_port

NONCE = "the nonce"


@dataclass
class Waiting:
    """A listener that waits at ``url``, and what comes of it."""

    url: str
    outcome: "asyncio.Task[Claim | int]"


@pytest.fixture
async def waiting() -> AsyncIterator[Waiting]:
    async with listener() as waiting:
        yield waiting


@asynccontextmanager
async def listener() -> AsyncIterator[Waiting]:
    port = free_port()
    waiting = Waiting(
        f"http://127.0.0.1:{port}", asyncio.ensure_future(warm._wait(NONCE, "127.0.0.1", port))
    )
    while not await claims.is_waiting(waiting.url):
        assert not waiting.outcome.done(), waiting.outcome
    yield waiting
    waiting.outcome.cancel()
    await asyncio.gather(waiting.outcome, return_exceptions=True)


async def send(url: str, method: str = "POST", path: str = "/claim", **parts: Any) -> Any:
    headers = {"Authorization": f"Bearer {NONCE}"} | parts.pop("headers", {})
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.request(method, url + path, headers=headers, **parts)


async def test_a_claim_is_taken_and_the_port_is_free_again(waiting: Waiting, tmp_path: Any) -> None:
    environment = {"JUPYTERHUB_USER": "ada", "JUPYTERHUB_SERVICE_URL": f"{waiting.url}/user/ada/"}
    await claims.claim(waiting.url, NONCE, environment, str(tmp_path))
    assert await waiting.outcome == Claim(environment, str(tmp_path))
    port = int(waiting.url.rpartition(":")[2])
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", port):
        pass


async def test_of_two_claims_at_once_one_is_taken(waiting: Waiting) -> None:
    both = (claims.claim(waiting.url, NONCE, {"JUPYTERHUB_USER": one}) for one in ("ada", "eve"))
    told = await asyncio.gather(*both, return_exceptions=True)
    assert len([one for one in told if isinstance(one, ClaimError)]) == 1


@pytest.mark.parametrize("sent", ["Bearer another", "token the nonce", "the nonce", "", "Bearer é"])
async def test_another_nonce_ends_it_with_a_status_of_its_own(waiting: Waiting, sent: str) -> None:
    headers = {"Authorization": sent.encode()}
    answer = await send(waiting.url, json={"environment": {}}, headers=headers)
    assert answer.status_code == 403
    assert await waiting.outcome == claims.REFUSED_STATUS


@pytest.mark.parametrize("place", [0, 4, 8])
async def test_it_says_that_it_is_claimed_only_if_no_other_nonce_ends_it(
    waiting: Waiting, place: int
) -> None:
    port = int(waiting.url.rpartition(":")[2])
    clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]
    for at, (_, writer) in enumerate(clients):
        nonce = NONCE if at == place else "another"
        writer.write(
            b"POST /claim HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n"
            b'Authorization: Bearer %s\r\n\r\n{"environment": {}' % nonce.encode()
        )
    assert await claims.is_waiting(waiting.url)  # it has read all of that
    for _, writer in clients:
        writer.write(b"}")
    answers = await asyncio.gather(*(one.read() for one, _ in clients), return_exceptions=True)
    is_told = any(b'{"claimed": true}' in one for one in answers if isinstance(one, bytes))
    assert await waiting.outcome == (Claim({}, None) if is_told else claims.REFUSED_STATUS)
    for _, writer in clients:
        writer.close()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "not JSON"),
        (b"[]", "not JSON"),
        (b'{"environment": [1]}', "not JSON"),
        (b'{"environment": {"A": 1}}', "'A' in the environment"),
        (b'{"environment": {"A=B": ""}}', "'A=B' in the environment"),
        (b'{"environment": {"": ""}}', "'' in the environment"),
        (b'{"environment": {"A": "\\u0000"}}', "'A' in the environment"),
        (b'{"environment": {"A": "\\ud800"}}', "'A' in the environment"),
        (b'{"environment": {"\\ud800": ""}}', r"'\ud800' in the environment"),
        (b'{"environment": [[1, ""]]}', "1 in the environment"),
        (b"[" * 200_000, "not JSON"),
        (b'{"environment": {}, "cwd": "/nowhere"}', "no folder '/nowhere'"),
        (b'{"environment": {}, "cwd": 1}', "no folder 1"),
        (b'{"environment": {}, "cwd": "\\ud800"}', r"no folder '\ud800'"),
        (b'{"environment": {"JUPYTERHUB_SERVICE_URL": "http://x:1/"}}', "listens on port"),
        (b'{"environment": {"JUPYTERHUB_SERVICE_URL": "http://x:99999/"}}', "listens on port"),
        (b'{"environment": {"JUPYTERHUB_SERVICE_URL": "http://[/"}}', "listens on port"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_body_that_is_no_claim_is_told_and_it_goes_on_waiting(
    waiting: Waiting, body: bytes, told: str
) -> None:
    answer = await send(waiting.url, content=body)
    assert answer.status_code == 400
    assert told in answer.json()["message"]
    assert await claims.is_waiting(waiting.url)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/claim"), ("POST", "/user/ada/api"), ("PUT", "/x")]
)
async def test_any_other_request_is_told_that_it_is_nobodys(
    waiting: Waiting, method: str, path: str
) -> None:
    answer = await send(waiting.url, method, path)
    assert (answer.status_code, answer.headers["X-Caesarion-Warm"]) == (503, "unclaimed")
    assert not waiting.outcome.done()


async def test_silent_and_slow_clients_are_dropped_and_keep_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warm, "_CLIENT_SECONDS", 0.2)
    async with listener() as waiting:
        port = int(waiting.url.rpartition(":")[2])
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        slow[1][1].write(b"POST /claim HTTP/1.1\r\nHost: x\r\nAuthor")
        slow[2][1].write(b"POST /claim HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
        async with asyncio.timeout(60):
            for reader, writer in slow:
                assert b"200" not in await reader.read()
                writer.close()
        await claims.claim(waiting.url, NONCE, {})
        assert await waiting.outcome == Claim({}, None)


async def test_a_claim_does_not_wait_for_clients_that_are_slow(waiting: Waiting) -> None:
    port = int(waiting.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /claim HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
    await claims.claim(waiting.url, NONCE, {})
    assert await waiting.outcome == Claim({}, None)
    assert await reader.read() == b""
    writer.close()


async def test_a_body_of_more_than_a_mebibyte_is_refused(waiting: Waiting) -> None:
    with pytest.raises(ClaimError):
        await claims.claim(waiting.url, NONCE, {"A": "a" * 2**20})
    assert await claims.is_waiting(waiting.url)


async def test_it_ends_when_it_is_told_to(waiting: Waiting) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    assert await waiting.outcome == 0


def test_without_a_nonce_or_an_address_it_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_SERVICE_URL", raising=False)
    with pytest.raises(SystemExit, match="needs CAESARION_CLAIM_NONCE, and its address in"):
        warm.wait(NONCE)
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:1/")
    with pytest.raises(SystemExit, match="needs CAESARION_CLAIM_NONCE"):
        warm.wait("")
