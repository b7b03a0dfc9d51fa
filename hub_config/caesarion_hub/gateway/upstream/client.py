"""
HTTP to one upstream: a request goes out, an answer comes in and is read.

Called by ``endpoint``; calls ``caesarion_dialects`` for what the bytes mean. Of
the provider's headers only those come down that tell nothing of the account.
"""

import asyncio
import contextlib
import functools
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator

import aiohttp
from caesarion_dialects import AnswerReader, Failure, Piece, errors
from caesarion_dialects.reader import END_LIMIT
from yarl import URL

from caesarion_hub.gateway.upstream import connection_errors, refusals
from caesarion_hub.gateway.upstream.errors import UpstreamError, is_plain
from caesarion_hub.gateway.upstream.redaction import scrub
from caesarion_hub.gateway.upstream.settings import Upstream

MAX_LIST = 2**20 * 16
"""Bytes of a list of models; a made-up number."""

_ERROR_LIMIT = 65_536
# Seconds that the end of a body may follow the end of its stream.
_LINGER = 1.0
# Bytes of a request that are sent in one go.
_LONG = 65_536
# What a client may see of the provider's headers; the others tell of the account
# and the provider's machines, or belong to one hop only.
_PASSED = re.compile(r"x-request-id|x-ratelimit-[a-z-]+", re.IGNORECASE)


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
    """One upstream's HTTP, over a pool of connections that all upstreams share."""

    def __init__(self, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._session = session
        self._timeouts = upstream.options.timeouts
        self.connect = min(self._timeouts.connect, self._timeouts.first_byte)

    @contextlib.asynccontextmanager
    async def response(
        self, method: str, url: str, raw: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; on leaving the context, close the connection if it is not read out."""
        headers = {} if raw is None else {"Content-Type": "application/json"}
        response = await self._session.request(
            method,
            URL(url, encoded=True),  # sent as it is: no escape is undone, no dots are resolved
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

    async def pieces(
        self, response: aiohttp.ClientResponse, reader: AnswerReader, first: bytes
    ) -> AsyncGenerator[Piece]:
        """
        Yield the answer in canonical pieces, from its ``first`` bytes on.

        Raises UpstreamError when it is an error, no answer, or ends too early.
        """
        data, limit = first, self._timeouts.first_byte
        while data:
            piece = reader.feed(data)
            if piece.data:
                yield piece
                limit = self._timeouts.silence
            if reader.failure:
                raise self._failed(reader.failure)
            if reader.is_done:
                await _drain(response)
                return
            data = await _next(response, reader, limit)
        piece = reader.end()
        if piece.data:
            yield piece
        if reader.failure:
            raise self._failed(reader.failure)

    def _failed(self, failure: Failure) -> UpstreamError:
        """Return what to say of an answer that is none, or not whole."""
        if failure.kind == "error":
            return refusals.answer_error(failure.said, self._upstream)
        if failure.kind == "cut":
            return connection_errors.cut(self._upstream)
        words = scrub(errors.words(failure.said), self._upstream.key)
        return connection_errors.garbled(self._upstream, words)

    async def body(self, response: aiohttp.ClientResponse) -> bytes:
        """Return a whole body that is no answer: a list of models."""
        body = bytearray()
        while data := await _read(response, self._timeouts.silence):
            body += data
            if len(body) > MAX_LIST:
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

    def passed_headers(self, response: aiohttp.ClientResponse) -> dict[str, str]:
        """Return what a client may see, under the names that are usual in HTTP/1.1."""
        return {
            usual: scrub(value, self._upstream.key)
            for name, value in response.headers.items()
            if (usual := _usual_name(name)) and is_plain(value)
        }


async def _read(response: aiohttp.ClientResponse, limit: float) -> bytes:
    """Return what comes next, b"" at the end; raise TimeoutError after ``limit`` seconds."""
    if data := response.content.read_nowait():
        return data
    async with asyncio.timeout(limit):
        return await response.content.readany()


async def _next(response: aiohttp.ClientResponse, reader: AnswerReader, limit: float) -> bytes:
    """Return the next bytes, or none at the end; a finished answer needs no orderly one."""
    if not reader.is_finished:
        return await _read(response, limit)
    with contextlib.suppress(aiohttp.ClientError, OSError):
        return await _read(response, min(limit, END_LIMIT))
    return b""


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read to the end, which follows at once if the connection is to be used again."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while await _read(response, _LINGER):
            pass


@functools.lru_cache
def _usual_name(name: str) -> str:
    """Return the usual spelling of a header that is passed on, or nothing of another."""
    return name.title() if _PASSED.fullmatch(name) else ""
