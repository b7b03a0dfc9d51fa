"""
The provider: forwards requests, with the key, and bytes as they come back.

Called by ``handlers``, as a :class:`~caesarion_hub.gateway.backend.Backend`;
calls the endpoint of OPENAI_BASE_URL. Its law: of what the caller sent nothing
but the body goes up; nothing that tells of the key or the account comes down.
"""

import contextlib
import io
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self

import aiohttp

from caesarion_hub.gateway.backend import Answer, json_answer
from caesarion_hub.gateway.config import Upstream
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.translate import broken, connection_error, status_error

CONNECT = 10.0
"""Seconds that a connection may take; a made-up number."""

_ERROR_LIMIT = 65_536
# What a client may see of the provider's headers; the others tell of the account
# and the provider's machines, or belong to one hop only.
_PASSED = re.compile(
    r"content-(type|encoding|length)|retry-after(-ms)?|x-should-retry|x-request-id"
    r"|x-ratelimit-[a-z-]+",
    re.IGNORECASE,
)


class Provider:
    """One endpoint and a pool of connections to it, as an async context."""

    def __init__(self, upstream: Upstream, default_model: str) -> None:
        self._upstream = upstream
        self._default_model = default_model
        self._connect = min(CONNECT, upstream.silence)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            # Unbounded: no stream waits for another to end.
            connector=aiohttp.TCPConnector(limit=0),
            # The provider's cookies would otherwise be shared by all users.
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=None, connect=self._connect, sock_read=self._upstream.silence
            ),
            headers={"Accept-Encoding": "identity", "User-Agent": "caesarion-gateway"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def trouble(self) -> str:
        """Return nothing: it can be asked."""
        return ""

    def health(self) -> Mapping[str, bool]:
        """Return that the one upstream may be asked."""
        return {self._upstream.host: True}

    @contextlib.asynccontextmanager
    async def complete(self, raw: bytes, body: dict[str, Any]) -> AsyncIterator[Answer]:
        """Forward the request's bytes as they are."""
        async with self._ask("POST", "/chat/completions", raw) as answer:
            yield answer

    @contextlib.asynccontextmanager
    async def models(self) -> AsyncIterator[Answer]:
        """Forward the provider's list; for a provider without one, list the default model."""
        try:
            async with self._ask("GET", "/models") as answer:
                if answer.status < 400:
                    yield answer
                    return
        except GatewayError as error:
            if error.status not in (404, 405):
                raise
        model = {"id": self._default_model, "object": "model", "created": 0, "owned_by": "provider"}
        yield json_answer({"object": "list", "data": [model]})

    @contextlib.asynccontextmanager
    async def _ask(self, method: str, path: str, raw: bytes | None = None) -> AsyncIterator[Answer]:
        headers = {} if raw is None else {"Content-Type": "application/json"}
        if self._upstream.key:
            headers["Authorization"] = f"Bearer {self._upstream.key}"
        try:
            response = await self._session.request(
                method,
                self._upstream.base_url + path,
                # As a file: aiohttp sends those piece by piece, others may wait less.
                data=None if raw is None else io.BytesIO(raw),
                headers=headers,
                proxy=self._upstream.proxy,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise connection_error(error, self._upstream, self._connect) from error
        try:
            yield await self._answer(response)
        finally:
            # Closes the connection unless the answer was read to its end.
            response.release()

    async def _answer(self, response: aiohttp.ClientResponse) -> Answer:
        headers = {
            name: value for name, value in response.headers.items() if _PASSED.fullmatch(name)
        }
        if response.status < 300:
            content = self._content(response)
            return Answer(response.status, headers, content, self._upstream.host)
        body = await self._error_body(response)
        told = status_error(response.status, body, response.headers, self._upstream)
        if isinstance(told, GatewayError):
            raise told
        headers.pop("Content-Length", None)
        return Answer(response.status, headers, _one(told))

    async def _content(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for data in response.content.iter_any():
                yield data
        except (aiohttp.ClientError, OSError) as error:
            raise broken(error, self._upstream) from error

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        """Return the body, or nothing of one that is compressed, broken or long."""
        body = b""
        if "Content-Encoding" not in response.headers:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async for data in response.content.iter_any():
                    body += data
                    if len(body) > _ERROR_LIMIT:
                        return b""
        return body


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body
