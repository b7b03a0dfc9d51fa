"""
One answer of an upstream while it is read: its bytes as canonical pieces.

Called by ``endpoint``; calls ``client`` for the bytes, :mod:`caesarion_dialects` for what they
mean, and ``redaction``. It is one iterator rather than generators around each other: the event
loop keeps account of each asynchronous generator.
"""

import contextlib

import aiohttp
from caesarion_dialects import AnswerReader, Piece
from caesarion_dialects.reader import END_LIMIT

from caesarion_hub.gateway.upstream.client import Client, read
from caesarion_hub.gateway.upstream.redaction import AnswerRedactor
from caesarion_hub.gateway.upstream.settings import Upstream

# Seconds to wait for the end of a body after [DONE]. A connection is reused only behind it.
_LINGER = 1.0


class Answer:
    """
    The canonical pieces of ``response``, which begins with the bytes ``first``.

    Raises UpstreamError behind the last piece of an answer that is an error, of another
    protocol, or incomplete.
    """

    def __init__(
        self,
        upstream: Upstream,
        client: Client,
        response: aiohttp.ClientResponse,
        reader: AnswerReader,
        first: bytes,
    ) -> None:
        self.reader = reader
        self._client = client
        self._response = response
        self._first = first
        self._redactor = AnswerRedactor(upstream.key)
        self._silence = upstream.options.timeouts.silence
        self._limit = upstream.options.timeouts.first_byte

    def __aiter__(self) -> "Answer":
        return self

    async def __anext__(self) -> Piece:
        reader = self.reader
        while not reader.failure and not reader.is_done:
            data = self._first or await self._next()
            self._first = b""
            piece = reader.feed(data) if data else reader.end()
            if piece.data:
                self._limit = self._silence
                return self._redactor.redact(piece)
        if reader.failure:
            raise self._client.failed(reader.failure)
        await self._drain()
        raise StopAsyncIteration

    async def _next(self) -> bytes:
        """Return the next bytes, b"" at the end; a finished answer may end with its connection."""
        if not self.reader.is_finished:
            return await read(self._response, self._limit)
        with contextlib.suppress(aiohttp.ClientError, OSError):
            return await read(self._response, min(self._limit, END_LIMIT))
        return b""

    async def _drain(self) -> None:
        """Read to the end of the body, so that the connection can be reused."""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            while not self._response.content.at_eof() and await read(self._response, _LINGER):
                pass
