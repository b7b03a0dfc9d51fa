"""Owners of tokens: cached for ten seconds, looked up once for all that wait."""

import asyncio
from typing import Any

import pytest
from caesarion_hub.gateway import authentication
from caesarion_hub.gateway.authentication import TOKEN_CACHE, TOKEN_REFRESH, TokenCache

Cache = TokenCache[dict[str, Any]]

ADA = {"name": "ada"}


class Hub:
    """Knows the token ``t`` of ada until it is revoked; answers when it is let."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked = 0
        self.owner: dict[str, Any] | None = ADA
        self.error: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    async def look_up(self, token: str) -> dict[str, Any] | None:
        self.asked += 1
        answer = self.owner if token == "t" else None
        await self.answering.wait()
        if self.error:
            raise self.error
        return answer


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def cache(hub: Hub) -> Cache:
    return TokenCache(hub.look_up, lambda: hub.now)


async def test_a_revoked_token_has_no_owner_after_ten_seconds(hub: Hub, cache: Cache) -> None:
    assert TOKEN_CACHE == 10
    assert await cache.owner("t") == ADA
    hub.owner = None
    hub.now += TOKEN_REFRESH - 0.1
    assert await cache.owner("t") == ADA
    hub.now += TOKEN_CACHE - TOKEN_REFRESH + 0.1
    assert await cache.owner("t") is None
    assert await cache.owner("unknown") is None
    assert hub.asked == 3


async def test_a_slow_hub_does_not_prolong_the_life_of_a_token(hub: Hub, cache: Cache) -> None:
    hub.answering.clear()
    waiting = asyncio.create_task(cache.owner("t"))
    await asyncio.sleep(0.01)
    hub.owner = None
    hub.now += TOKEN_CACHE
    hub.answering.set()
    assert await waiting == ADA
    assert await cache.owner("t") is None


async def test_an_owner_is_looked_up_again_while_requests_go_on(hub: Hub, cache: Cache) -> None:
    await cache.owner("t")
    hub.answering.clear()
    hub.now += TOKEN_REFRESH
    assert [await cache.owner("t") for _ in range(5)] == [ADA] * 5
    await asyncio.sleep(0.01)
    assert hub.asked == 2
    hub.answering.set()
    await asyncio.sleep(0.01)
    hub.now += TOKEN_REFRESH
    assert await cache.owner("t") == ADA


async def test_requests_that_come_together_ask_once(hub: Hub, cache: Cache) -> None:
    assert await asyncio.gather(*(cache.owner("t") for _ in range(20))) == [ADA] * 20
    assert hub.asked == 1


async def test_a_request_that_is_cancelled_leaves_the_look_up_to_the_others(
    hub: Hub, cache: Cache
) -> None:
    hub.answering.clear()
    first, second = (asyncio.create_task(cache.owner("t")) for _ in range(2))
    await asyncio.sleep(0.01)
    first.cancel()
    hub.answering.set()
    assert await second == ADA


async def test_a_failed_look_up_is_an_error_only_when_there_is_no_owner_any_longer(
    hub: Hub, cache: Cache
) -> None:
    await cache.owner("t")
    hub.error = ValueError("no answer")
    hub.now += TOKEN_REFRESH
    assert await cache.owner("t") == ADA
    await asyncio.sleep(0.01)
    hub.now += TOKEN_REFRESH
    with pytest.raises(ValueError, match="no answer"):
        await cache.owner("t")


async def test_made_up_tokens_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch, cache: Cache
) -> None:
    monkeypatch.setattr(authentication, "MAX_TOKENS", 10)
    for number in range(100):
        await cache.owner(str(number))
    assert len(cache._entries) <= 10
