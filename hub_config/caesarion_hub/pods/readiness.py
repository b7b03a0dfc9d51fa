"""
Whether a server answers yet: asked at short intervals, so that it is noticed at once.

Called by ``spawner``. JupyterHub asks, too, but waits longer and longer between
two questions; asked after this, it has its answer at the first.
"""

import asyncio
import time
from contextlib import suppress
from urllib.parse import urlsplit

INTERVAL = 0.05
"""Seconds between two tries to connect, at first."""

GROWTH = 0.02
"""The interval as a part of the time waited: a crowd that starts slowly is asked less often."""

PATIENCE = 2.0
"""Seconds for a connection to come about, before another try: packets may be dropped."""

ANSWER = 30.0
"""Seconds for an answer: a server that is still starting has the question queued."""


async def until_answered(url: str) -> None:
    """Wait until ``url`` answers with anything but a status of 500 and above."""
    began = time.monotonic()
    while True:
        with suppress(OSError, TimeoutError, ValueError):
            if await _status(url) < 500:
                return
        await asyncio.sleep(max(INTERVAL, GROWTH * (time.monotonic() - began)))


async def _status(url: str) -> int:
    parts = urlsplit(url)
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        async with asyncio.timeout(ANSWER):
            line = await reader.readline()
        return int(line.split()[1]) if line.count(b" ") else 599
    finally:
        writer.close()
