"""Several streams of events become one."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import pytest
from caesarion.agent.merging import merged


class Stream:
    """Yields its items, each when it is let; notes that it was closed."""

    def __init__(self, *items: str, fails: bool = False) -> None:
        self.items = items
        self.fails = fails
        self.lets = asyncio.Semaphore(0)
        self.is_closed = False

    async def run(self) -> AsyncGenerator[str, None]:
        try:
            for item in self.items:
                await self.lets.acquire()
                yield item
            if self.fails:
                raise ValueError("failed")
        finally:
            await asyncio.sleep(0)  # What is cleaned up may take its time.
            self.is_closed = True


async def take_all(streams: list[Stream], taken: list[str]) -> None:
    async with contextlib.aclosing(merged([stream.run() for stream in streams])) as items:
        async for item in items:
            taken.append(item)  # noqa: PERF401 - what came before an error counts


async def test_items_come_in_the_order_in_which_they_happen() -> None:
    first, second = Stream("a", "b"), Stream("c", "d")
    taken = []
    second.lets.release()
    async with contextlib.aclosing(merged([first.run(), second.run()])) as items:
        async for item in items:
            taken.append(item)
            {"c": first, "a": second, "d": first, "b": second}[item].lets.release()
    assert taken == ["c", "a", "d", "b"]
    assert (first.is_closed, second.is_closed) == (True, True)


@pytest.mark.parametrize("count", [1, 2])
async def test_an_error_of_one_stream_is_raised_and_closes_the_others(count: int) -> None:
    streams = [Stream("a", fails=True), Stream("never")][:count]
    streams[0].lets.release()
    taken: list[str] = []
    with pytest.raises(ValueError, match="failed"):
        await take_all(streams, taken)
    assert taken == ["a"]
    assert all(stream.is_closed for stream in streams)


@pytest.mark.parametrize("count", [1, 2])
async def test_a_cancelled_merge_has_closed_its_streams_when_it_ends(count: int) -> None:
    streams = [Stream("never") for _ in range(count)]

    taken: list[str] = []
    task = asyncio.create_task(take_all(streams, taken))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert taken == []
    assert all(stream.is_closed for stream in streams)


async def test_of_no_streams_nothing_comes() -> None:
    taken: list[str] = []
    await take_all([], taken)
    assert taken == []
