"""
Waits until a server answers HTTP, polling at short intervals.

Called by ``local_spawner`` and ``pods``. JupyterHub 6.1 polls as well, but with exponential
backoff; after this its first request succeeds.
"""

import asyncio
import time
from contextlib import suppress
from urllib.parse import urlsplit

from caesarion_hub.claims import is_waiting

INTERVAL = 0.05
"""Initial seconds between two tries to connect."""

GROWTH = 0.02
"""The interval grows to this fraction of the time waited, so that slow starts are polled less."""

CONNECT_TIMEOUT = 2.0
"""Seconds to connect before another try: the first packets to a new pod may be dropped."""

RESPONSE_TIMEOUT = 30.0
"""Seconds to respond: a server that is still starting queues the request."""


class UnclaimedError(Exception):
    """The server is a warm one that waits for its claim."""


async def wait_until_ready(url: str) -> None:
    """Wait until ``url`` answers with a status below 500; raise UnclaimedError if it is warm."""
    began = time.monotonic()
    while True:
        with suppress(OSError, TimeoutError, ValueError):
            status = await _status(url)
            if status < 500:
                return
            if status == 503 and await is_waiting(url):
                raise UnclaimedError
        await asyncio.sleep(max(INTERVAL, GROWTH * (time.monotonic() - began)))


async def _status(url: str) -> int:
    parts = urlsplit(url)
    async with asyncio.timeout(CONNECT_TIMEOUT):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        async with asyncio.timeout(RESPONSE_TIMEOUT):
            line = await reader.readline()
        return int(line.split()[1]) if line.count(b" ") else 599
    finally:
        writer.close()
