"""
HTTP to one upstream: sends a request, and reads the answer.

Called by ``endpoint`` and ``answer``; calls :mod:`caesarion_dialects`, which knows what the bytes
mean. Of the provider's headers only those are forwarded that do not identify the account.
"""

import asyncio
import contextlib
import functools
import io
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from caesarion_dialects import AnswerReader, Assembler, Failure, Piece, completion, errors
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
        self._limits = aiohttp.ClientTimeout(total=None, connect=self.connect)

    async def send(self, method: str, url: str, raw: bytes | None = None) -> aiohttp.ClientResponse:
        """Send a request; the caller releases the response, which ends one that is not read out."""
        headers = {} if raw is None else {"Content-Type": "application/json"}
        return await self._session.request(
            method,
            # Sent as it is: yarl would undo escapes and resolve dots.
            URL(url, encoded=True),
            # A long body as a file, which aiohttp sends in pieces: other requests wait less.
            data=io.BytesIO(raw) if raw and len(raw) > _LONG else raw,
            headers=headers | self._upstream.credentials(),
            proxy=self._upstream.proxy,
            allow_redirects=False,
            timeout=self._limits,
        )

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

    def failed(self, failure: Failure) -> UpstreamError:
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
        while data := await read(response, self._timeouts.silence):
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


async def read(response: aiohttp.ClientResponse, limit: float) -> bytes:
    """Return the next bytes, b"" at the end; raise TimeoutError after ``limit`` seconds."""
    if data := response.content.read_nowait():
        return data
    async with asyncio.timeout(limit):
        return await response.content.readany()


@functools.lru_cache
def _usual_name(name: str) -> str:
    """Return the usual spelling of a header that is forwarded; "" of any other."""
    return name.title() if _PASSED.fullmatch(name) else ""
