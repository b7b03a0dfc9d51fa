"""
Merging: one stream of events from several, as each comes.

Called by :mod:`caesarion.agent.loop` for calls that are made at once.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import TypeVar

Item = TypeVar("Item")


async def merged(streams: Sequence[AsyncGenerator[Item, None]]) -> AsyncGenerator[Item, None]:
    """
    Yield what ``streams`` yield, as it comes.

    One stream alone is read in the caller's own task. An exception of one ends the others. When
    this generator is closed or cancelled, each stream has been closed before it ends.
    """
    if len(streams) == 1:
        async with contextlib.aclosing(streams[0]) as items:
            async for item in items:
                yield item
        return
    queue: asyncio.Queue[tuple[Item] | asyncio.Task[None]] = asyncio.Queue()

    async def drain(stream: AsyncGenerator[Item, None]) -> None:
        async with contextlib.aclosing(stream) as items:
            async for item in items:
                queue.put_nowait((item,))

    tasks = [asyncio.create_task(drain(stream)) for stream in streams]
    for task in tasks:
        task.add_done_callback(queue.put_nowait)
    try:
        under_way = len(tasks)
        while under_way:
            taken = await queue.get()
            if isinstance(taken, tuple):
                yield taken[0]
            else:
                taken.result()
                under_way -= 1
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
