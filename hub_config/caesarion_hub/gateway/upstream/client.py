"""
HTTP to one upstream: sends a request, and reads the answer.

Called by ``endpoint``; calls :mod:`caesarion_dialects`, which knows what the bytes mean. Of the
provider's headers only those are forwarded that do not identify the account.
"""

import asyncio
import contextlib
import functools
import io
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import aiohttp
from caesarion_dialects import AnswerReader, Assembler, Failure, Piece, completion, errors
from caesarion_dialects.reader import END_LIMIT
from yarl import URL

from caesarion_hub.gateway.upstream import connection_errors, refusals
from caesarion_hub.gateway.upstream.errors import UpstreamError, is_plain
from caesarion_hub.gateway.upstream.redaction import REMOVED, redact
from caesarion_hub.gateway.upstream.settings import Upstream

MAX_LIST = 16 * 2**20
"""Bytes of a list of models; a made-up number."""

MAX_ANSWER = 64 * 2**20
"""Bytes of an answer that is not streamed; a made-up number."""

_ERROR_LIMIT = 65_536
# Seconds to wait for the end of a body after [DONE]. A connection is reused only behind it.
_LINGER = 1.0
# Bytes of a request that are sent in one write.
_LONG = 65_536
# The provider's headers that a client gets. Others identify the account or the provider's
# machines, or are for one hop only.
_PASSED = re.compile(r"x-request-id|x-ratelimit-[a-z-]+", re.IGNORECASE)


def open_session() -> aiohttp.ClientSession:
    """Return the pool of connections for all upstreams."""
    return aiohttp.ClientSession(
        # Unbounded, so that no stream waits until another one ends.
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
            # Sent as it is: yarl would undo escapes and resolve dots.
            URL(url, encoded=True),
            # A long body as a file, which aiohttp sends in pieces: other requests wait less.
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
        Yield the answer, which begins with the bytes ``first``, in canonical pieces.

        Raises UpstreamError if it is an error, of another protocol, or incomplete.
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

    async def whole(self, pieces: AsyncIterator[Piece], reader: AnswerReader) -> Piece:
        """
        Return an answer that was not asked for as a stream, as one ``chat.completion``.

        Raises UpstreamError that is not retryable: the user has waited for the answer.
        """
        assembler, size = Assembler(), 0
        chunks: list[dict[str, Any]] = []
        try:
            async for piece in pieces:
                size += len(piece.data)
                chunks += piece.chunks
                for chunk in piece.chunks:
                    assembler.add(chunk)
                if size > MAX_ANSWER:
                    raise connection_errors.garbled(self._upstream)
        except (aiohttp.ClientError, OSError) as error:
            broken = connection_errors.broken(error, self._upstream)
            broken.retryable = broken.may_fail_over = False
            raise broken from error
        made = completion(reader.head, assembler)
        data = reader.body if made is reader.head else json.dumps(made).encode()
        if self._upstream.key:
            data = data.replace(self._upstream.key.encode(), REMOVED.encode())
        return Piece(data, chunks, assembler.usage)

    def _failed(self, failure: Failure) -> UpstreamError:
        """Return the error for an answer that is none, or not complete."""
        if failure.kind == "error":
            return refusals.answer_error(failure.said, self._upstream)
        if failure.kind == "cut":
            return connection_errors.cut(self._upstream)
        words = redact(errors.words(failure.said), self._upstream.key)
        return connection_errors.garbled(self._upstream, words)

    async def body(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the body of a list of models."""
        body = bytearray()
        while data := await _read(response, self._timeouts.silence):
            body += data
            if len(body) > MAX_LIST:
                raise connection_errors.garbled(self._upstream)
        return bytes(body)

    async def refusal(self, response: aiohttp.ClientResponse) -> UpstreamError:
        """Return the error for a response of 300 or more; a broken or long body is ignored."""
        body = b""
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            while data := await response.content.readany():
                body += data
                if len(body) > _ERROR_LIMIT:
                    body = b""
                    break
        return refusals.status_error(response.status, body, response.headers, self._upstream)

    def passed_headers(self, response: aiohttp.ClientResponse) -> dict[str, str]:
        """Return the headers for the client, in the usual spelling of HTTP/1.1."""
        return {
            usual: redact(value, self._upstream.key)
            for name, value in response.headers.items()
            if (usual := _usual_name(name)) and is_plain(value)
        }


async def _read(response: aiohttp.ClientResponse, limit: float) -> bytes:
    """Return the next bytes, b"" at the end; raise TimeoutError after ``limit`` seconds."""
    if data := response.content.read_nowait():
        return data
    async with asyncio.timeout(limit):
        return await response.content.readany()


async def _next(response: aiohttp.ClientResponse, reader: AnswerReader, limit: float) -> bytes:
    """Return the next bytes, b"" at the end; a finished answer may end with its connection."""
    if not reader.is_finished:
        return await _read(response, limit)
    with contextlib.suppress(aiohttp.ClientError, OSError):
        return await _read(response, min(limit, END_LIMIT))
    return b""


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read to the end of the body, so that the connection can be reused."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while await _read(response, _LINGER):
            pass


@functools.lru_cache
def _usual_name(name: str) -> str:
    """Return the usual spelling of a header that is forwarded; "" of any other."""
    return name.title() if _PASSED.fullmatch(name) else ""
