"""
One upstream's bytes: a request goes out, an answer comes in and is checked.

Called by ``endpoint``. Of the provider's headers only those come down that tell
nothing of the account. A stream is whole events, any other answer is whole.
"""

import asyncio
import contextlib
import functools
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp

from caesarion_hub.gateway.upstream import connection_errors, refusals
from caesarion_hub.gateway.upstream.errors import UpstreamError, is_plain
from caesarion_hub.gateway.upstream.settings import Upstream
from caesarion_hub.gateway.upstream.sse import Events

MAX_ANSWER = 64 * 2**20
"""Bytes of an answer that is not streamed, or of a list; a made-up number."""

_ERROR_LIMIT = 65_536
# Seconds that the end of a body may follow the end of its stream.
_LINGER = 1.0
# Bytes of a request that are sent in one go.
_LONG = 65_536
# What a client may see of the provider's headers; the others tell of the account
# and the provider's machines, or belong to one hop only.
_PASSED = re.compile(r"content-type|x-request-id|x-ratelimit-[a-z-]+", re.IGNORECASE)


def open_session() -> aiohttp.ClientSession:
    """Return the pool of connections that all upstreams share."""
    return aiohttp.ClientSession(
        # Unbounded: no stream waits for another to end.
        connector=aiohttp.TCPConnector(limit=0),
        # The provider's cookies would otherwise be shared by all users.
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "caesarion-gateway"},
    )


class Client:
    """The way to one upstream, over a pool that all share."""

    def __init__(self, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._session = session
        self.connect = min(upstream.options.timeouts.connect, upstream.options.timeouts.first_byte)

    @contextlib.asynccontextmanager
    async def response(
        self, method: str, url: str, raw: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; leaving the context gives up what is not read yet."""
        headers = {} if raw is None else {"Content-Type": "application/json"}
        response = await self._session.request(
            method,
            url,
            # As a file what is long: aiohttp sends those piece by piece, others may wait less.
            data=io.BytesIO(raw) if raw and len(raw) > _LONG else raw,
            headers=headers | self._upstream.credentials(),
            proxy=self._upstream.proxy,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self.connect),
        )
        try:
            yield response
        finally:
            # Closes the connection unless the answer was read to its end.
            response.release()

    async def events(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
        """Yield whole events; raise UpstreamError when they are none, or end too early."""
        events, limit = Events(), self._upstream.options.timeouts.first_byte
        while data := await _piece(response, limit):
            if whole := events.feed(data):
                yield whole
                limit = self._upstream.options.timeouts.silence
            if events.is_garbled:
                raise connection_errors.garbled(self._upstream)
            if events.error:
                raise refusals.told(events.error, self._upstream)
            if events.is_done:
                await _drained(response)
                return
        if last := events.end():
            yield last
        if events.error:
            raise refusals.told(events.error, self._upstream)
        if not events.is_complete:
            raise connection_errors.cut(self._upstream)

    async def whole(self, response: aiohttp.ClientResponse, first: bytes) -> bytes:
        """Return the rest of a body behind its ``first`` bytes."""
        body = bytearray(first)
        while data := await _piece(response, self._upstream.options.timeouts.silence):
            body += data
            if len(body) > MAX_ANSWER:
                raise connection_errors.garbled(self._upstream)
        return bytes(body)

    async def refusal(self, response: aiohttp.ClientResponse) -> UpstreamError:
        """Return the error that the response is; a body that is broken or long tells nothing."""
        body = b""
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            while data := await response.content.readany():
                body += data
                if len(body) > _ERROR_LIMIT:
                    body = b""
                    break
        return refusals.status_error(response.status, body, response.headers, self._upstream)


async def _piece(response: aiohttp.ClientResponse, limit: float) -> bytes:
    """Return what comes next, b"" at the end; raise TimeoutError after ``limit`` seconds."""
    if data := response.content.read_nowait():
        return data
    async with asyncio.timeout(limit):
        return await response.content.readany()


async def _drained(response: aiohttp.ClientResponse) -> None:
    """Read to the end, which follows at once if the connection is to be used again."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while await _piece(response, _LINGER):
            pass


def passed_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Return what a client may see, under the names that are usual in HTTP/1.1."""
    return {
        usual: value
        for name, value in response.headers.items()
        if (usual := _passed(name)) and is_plain(value)
    }


@functools.lru_cache
def _passed(name: str) -> str:
    return name.title() if _PASSED.fullmatch(name) else ""
