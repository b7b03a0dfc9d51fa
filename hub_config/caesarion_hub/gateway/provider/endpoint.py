"""
One upstream over HTTP: one attempt, and the answer as it comes.

Called by ``providers`` and ``catalogue``. Only the body goes up, and of the
provider's headers only those come down that tell nothing of the account. An
answer is handed out when it has begun, so that all that fails before may be
tried elsewhere; a stream is whole events, any other answer is whole.
"""

import asyncio
import contextlib
import io
import logging
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from caesarion_hub.gateway.backend import Answer
from caesarion_hub.gateway.provider import translate
from caesarion_hub.gateway.provider.breaker import Circuit
from caesarion_hub.gateway.provider.sse import Events, json_object
from caesarion_hub.gateway.provider.translate import UpstreamError
from caesarion_hub.gateway.provider.upstream import Upstream

MAX_ANSWER = 64 * 2**20
"""Bytes of an answer that is not streamed, or of a list; a made-up number."""

MAX_REST = 60.0
"""Seconds that an upstream is asked last at most, however long it wants to be left alone."""

_ERROR_LIMIT = 65_536
# Seconds for a list of models, which nobody waits for longer.
_LIST_LIMIT = 4.0
# Seconds that the end of a body may follow the end of its stream.
_LINGER = 1.0
# What a client may see of the provider's headers; the others tell of the account
# and the provider's machines, or belong to one hop only.
_PASSED = re.compile(r"content-type|x-request-id|x-ratelimit-[a-z-]+", re.IGNORECASE)

log = logging.getLogger("gateway")


def open_session() -> aiohttp.ClientSession:
    """Return the pool of connections that all upstreams share."""
    return aiohttp.ClientSession(
        # Unbounded: no stream waits for another to end.
        connector=aiohttp.TCPConnector(limit=0),
        # The provider's cookies would otherwise be shared by all users.
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "caesarion-gateway"},
    )


@dataclass
class _Attempt:
    """The circuit's leave for one request, and what came of it."""

    leave: object
    outcome: str = "given_up"


class Endpoint:
    """
    One upstream, and how it is doing.

    ``outcomes`` counts the attempts: ``ok``, ``given_up`` (the client went
    away), or the code of the failure. ``problem`` is the sentence of the last
    failure that was the upstream's fault.
    """

    def __init__(
        self,
        upstream: Upstream,
        session: aiohttp.ClientSession,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.upstream = upstream
        self.circuit = Circuit(upstream.breaker, clock)
        self.outcomes: Counter[str] = Counter()
        self.problem = ""
        self._session = session
        self._connect = min(upstream.timeouts.connect, upstream.timeouts.first_byte)

    @contextlib.asynccontextmanager
    async def complete(self, model: str, raw: bytes) -> AsyncIterator[Answer]:
        """Ask once; raise UpstreamError as long as the answer has not begun."""
        async with contextlib.AsyncExitStack() as stack:
            attempt = stack.enter_context(self._attempt())
            with self._noted(attempt):
                answer = await self._begin(stack, attempt, model, raw)
            self.circuit.answered(attempt.leave)
            yield answer

    async def models(self) -> list[dict[str, Any]] | None:
        """Return the upstream's own list of models, or None if it keeps none."""
        if self.upstream.kind == "azure":
            return None  # it would list what could be deployed
        limit = min(_LIST_LIMIT, self.upstream.timeouts.first_byte)
        try:
            async with (
                asyncio.timeout(limit),
                self._response("GET", self.upstream.url("/models")) as response,
            ):
                if response.status in (404, 405):
                    return None
                if response.status >= 300:
                    raise await self._refusal(response)
                said = json_object(await self._whole(response, b""))
        except TimeoutError as error:
            raise translate.silent(self.upstream, limit) from error
        except (aiohttp.ClientError, OSError) as error:
            raise translate.connection_error(error, self.upstream, self._connect) from error
        data = (said or {}).get("data")
        if not isinstance(data, list):
            raise translate.garbled(self.upstream)
        return [model for model in data if isinstance(model, dict)]

    @contextlib.contextmanager
    def _attempt(self) -> Iterator[_Attempt]:
        """Take leave of the circuit and give it back; without one, raise UpstreamError."""
        leave = self.circuit.enter()
        if leave is None:
            left, failures = self.circuit.seconds_left, self.circuit.failures
            raise translate.left_alone(self.upstream, failures, left, self.problem)
        attempt = _Attempt(leave)
        try:
            yield attempt
        finally:
            self.circuit.returned(leave)
            self.outcomes[attempt.outcome] += 1

    @contextlib.contextmanager
    def _noted(self, attempt: _Attempt) -> Iterator[None]:
        """Learn from a failure that comes by."""
        try:
            yield
        except UpstreamError as error:
            attempt.outcome = error.code
            if error.ill:
                self._fail(attempt, error.message)
            else:
                self.circuit.answered(attempt.leave)
                self.circuit.ended()
            self.circuit.rest(min(error.wait, MAX_REST))
            raise

    def _fail(self, attempt: _Attempt, problem: str) -> None:
        self.problem = problem
        before = self.circuit.state
        self.circuit.failed(attempt.leave)
        if self.circuit.state == "open" != before:
            log.warning(
                "Upstream %s failed %d times in a row and is left alone for %g seconds: %s",
                *(self.upstream.name, self.circuit.failures, self.upstream.breaker.seconds),
                problem,
            )

    async def _begin(
        self, stack: contextlib.AsyncExitStack, attempt: _Attempt, model: str, raw: bytes
    ) -> Answer:
        """Send the request, and return what is answered once its first byte is here."""
        url = self.upstream.url("/chat/completions", model)
        try:
            async with asyncio.timeout(self.upstream.timeouts.first_byte):
                response = await stack.enter_async_context(self._response("POST", url, raw))
                if response.status >= 300:
                    raise await self._refusal(response)
                headers = _passed_headers(response)
                if response.content_type == "text/event-stream":
                    events = self._events(response)
                    await stack.enter_async_context(contextlib.aclosing(events))
                    first = await anext(events)
                    content = self._rest(first, events, attempt)
                    await stack.enter_async_context(contextlib.aclosing(content))
                    return self._answer(response.status, headers, content, model)
                first = await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise translate.connection_error(error, self.upstream, self._connect) from error
        body = await self._body(response, first)
        attempt.outcome = "ok"
        self.circuit.ended()
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        return self._answer(response.status, headers, _one(body), model)

    def _answer(
        self, status: int, headers: dict[str, str], content: AsyncIterator[bytes], model: str
    ) -> Answer:
        return Answer(status, headers, content, self.upstream.name, model)

    @contextlib.asynccontextmanager
    async def _response(
        self, method: str, url: str, raw: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {} if raw is None else {"Content-Type": "application/json"}
        response = await self._session.request(
            method,
            url,
            # As a file: aiohttp sends those piece by piece, others may wait less.
            data=None if raw is None else io.BytesIO(raw),
            headers=headers | self.upstream.credentials(),
            proxy=self.upstream.proxy,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect),
        )
        try:
            yield response
        finally:
            # Closes the connection unless the answer was read to its end.
            response.release()

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
        """Yield whole events; raise UpstreamError when they are none, or end too early."""
        events, limit = Events(), self.upstream.timeouts.first_byte
        while data := await _piece(response, limit):
            if whole := events.feed(data):
                yield whole
                limit = self.upstream.timeouts.silence
            if events.is_garbled:
                raise translate.garbled(self.upstream)
            if events.error:
                raise translate.told(events.error, self.upstream)
            if events.is_done:
                await _drained(response)
                return
        if last := events.end():
            yield last
        if events.error:
            raise translate.told(events.error, self.upstream)
        if not events.is_complete:
            raise translate.cut(self.upstream)

    async def _rest(
        self, first: bytes, events: AsyncIterator[bytes], attempt: _Attempt
    ) -> AsyncGenerator[bytes]:
        with self._noted(attempt):
            yield first
            try:
                async for data in events:
                    yield data
            except (aiohttp.ClientError, OSError) as error:
                raise translate.broken(error, self.upstream) from error
        attempt.outcome = "ok"
        self.circuit.ended()

    async def _body(self, response: aiohttp.ClientResponse, first: bytes) -> bytes:
        """Return an answer that is no stream; nothing that breaks now is asked again."""
        try:
            body = await self._whole(response, first)
        except (aiohttp.ClientError, OSError) as error:
            told = translate.broken(error, self.upstream)
            told.again = told.elsewhere = False
            raise told from error
        said = json_object(body)
        if said is None:
            raise translate.garbled(self.upstream)
        if said.get("error"):
            raise translate.told(said, self.upstream)
        return body

    async def _whole(self, response: aiohttp.ClientResponse, first: bytes) -> bytes:
        body = bytearray(first)
        while data := await _piece(response, self.upstream.timeouts.silence):
            body += data
            if len(body) > MAX_ANSWER:
                raise translate.garbled(self.upstream)
        return bytes(body)

    async def _refusal(self, response: aiohttp.ClientResponse) -> UpstreamError:
        """Return the error that the response is; a body that is broken or long tells nothing."""
        body = b""
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            while data := await response.content.readany():
                body += data
                if len(body) > _ERROR_LIMIT:
                    body = b""
                    break
        return translate.status_error(response.status, body, response.headers, self.upstream)


async def _piece(response: aiohttp.ClientResponse, limit: float) -> bytes:
    """Return what comes next, b"" at the end; raise TimeoutError after ``limit`` seconds."""
    async with asyncio.timeout(limit):
        return await response.content.readany()


async def _drained(response: aiohttp.ClientResponse) -> None:
    """Read to the end, which follows at once if the connection is to be used again."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while await _piece(response, _LINGER):
            pass


def _passed_headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {
        name: value
        for name, value in response.headers.items()
        if _PASSED.fullmatch(name) and value.isascii() and value.isprintable()
    }


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body
