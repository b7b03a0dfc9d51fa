"""
One upstream: one attempt, judged, and the answer as it comes.

Called by ``providers`` and ``catalogue``; calls ``wire``. An answer is handed
out when it has begun, so that all that fails before may be tried elsewhere.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from caesarion_hub.gateway.upstream import connection_errors, refusals
from caesarion_hub.gateway.upstream.backend import Answer
from caesarion_hub.gateway.upstream.circuit_breaker import CircuitBreaker
from caesarion_hub.gateway.upstream.client import Client, passed_headers
from caesarion_hub.gateway.upstream.errors import UpstreamError
from caesarion_hub.gateway.upstream.settings import Upstream
from caesarion_hub.gateway.upstream.sse import json_object

MAX_REST = 60.0
"""Seconds that an upstream is asked last at most, however long it wants to be left alone."""

# Seconds for a list of models, which nobody waits for longer.
_LIST_LIMIT = 4.0

log = logging.getLogger("gateway")


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
        self.circuit = CircuitBreaker(upstream.options.breaker, clock)
        self.outcomes: Counter[str] = Counter()
        self.problem = ""
        self._wire = Client(upstream, session)

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
        if self.upstream.options.kind == "azure":
            return None  # it would list what could be deployed
        limit = min(_LIST_LIMIT, self.upstream.options.timeouts.first_byte)
        try:
            async with (
                asyncio.timeout(limit),
                self._wire.response("GET", self.upstream.url("/models")) as response,
            ):
                if response.status in (404, 405):
                    return None
                if response.status >= 300:
                    raise await self._wire.refusal(response)
                said = json_object(await self._wire.whole(response, b""))
        except TimeoutError as error:
            raise connection_errors.silent(self.upstream, limit) from error
        except (aiohttp.ClientError, OSError) as error:
            raise connection_errors.connection_error(
                error, self.upstream, self._wire.connect
            ) from error
        data = (said or {}).get("data")
        if not isinstance(data, list):
            raise connection_errors.garbled(self.upstream)
        return [model for model in data if isinstance(model, dict)]

    def _unreachable(self, error: Exception) -> UpstreamError:
        return connection_errors.connection_error(error, self.upstream, self._wire.connect)

    @contextlib.contextmanager
    def _attempt(self) -> Iterator[_Attempt]:
        """Take leave of the circuit and give it back; without one, raise UpstreamError."""
        leave = self.circuit.enter()
        if leave is None:
            left, failures = self.circuit.seconds_left, self.circuit.failures
            raise connection_errors.left_alone(self.upstream, failures, left, self.problem)
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
                *(self.upstream.name, self.circuit.failures, self.upstream.options.breaker.seconds),
                problem,
            )

    async def _begin(
        self, stack: contextlib.AsyncExitStack, attempt: _Attempt, model: str, raw: bytes
    ) -> Answer:
        """Send the request, and return what is answered once its first byte is here."""
        url = self.upstream.url("/chat/completions", model)
        try:
            async with asyncio.timeout(self.upstream.options.timeouts.first_byte):
                response = await stack.enter_async_context(self._wire.response("POST", url, raw))
                if response.status >= 300:
                    raise await self._wire.refusal(response)
                headers = passed_headers(response)
                if response.content_type == "text/event-stream":
                    events = self._wire.events(response)
                    await stack.enter_async_context(contextlib.aclosing(events))
                    first = await anext(events)
                    content = self._rest(first, events, attempt)
                    await stack.enter_async_context(contextlib.aclosing(content))
                    return self._answer(response.status, headers, content, model)
                first = await response.content.readany()
        except (aiohttp.ClientError, OSError) as error:
            raise connection_errors.connection_error(
                error, self.upstream, self._wire.connect
            ) from error
        body = await self._body(response, first)
        attempt.outcome = "ok"
        self.circuit.ended()
        headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        return self._answer(response.status, headers, _one(body), model)

    def _answer(
        self, status: int, headers: dict[str, str], content: AsyncIterator[bytes], model: str
    ) -> Answer:
        return Answer(status, headers, content, self.upstream.name, model)

    async def _rest(
        self, first: bytes, events: AsyncIterator[bytes], attempt: _Attempt
    ) -> AsyncGenerator[bytes]:
        with self._noted(attempt):
            yield first
            try:
                async for data in events:
                    yield data
            except (aiohttp.ClientError, OSError) as error:
                raise connection_errors.broken(error, self.upstream) from error
        attempt.outcome = "ok"
        self.circuit.ended()

    async def _body(self, response: aiohttp.ClientResponse, first: bytes) -> bytes:
        """Return an answer that is no stream; nothing that breaks now is asked again."""
        try:
            body = await self._wire.whole(response, first)
        except (aiohttp.ClientError, OSError) as error:
            told = connection_errors.broken(error, self.upstream)
            told.again = told.elsewhere = False
            raise told from error
        said = json_object(body)
        if said is None:
            raise connection_errors.garbled(self.upstream)
        if said.get("error"):
            raise refusals.told(said, self.upstream)
        return body


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body
