"""How the cluster's programs live: all their parts work until SIGTERM, or until one has failed."""

import asyncio
import signal
from collections.abc import Coroutine


def told_to_stop() -> asyncio.Event:
    """Return what SIGTERM sets from now on."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    return stopped


async def work(stopped: asyncio.Event, *parts: Coroutine[None, None, None]) -> None:
    """Run parts that go on for ever until ``stopped`` is set; raises what one of them raises."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    stopping = asyncio.ensure_future(stopped.wait())
    await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            await task  # it failed: none of them ends by itself
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
