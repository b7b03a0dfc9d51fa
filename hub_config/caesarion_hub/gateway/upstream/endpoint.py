"""
One upstream: a request in the form that its model takes, and the answer as it arrives.

Called by ``router`` and ``model_list``; calls ``client``, ``known_forms`` and
``circuit_breaker``. An answer is returned when it has begun, so that the router can handle
every failure before that.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
from caesarion_dialects import (
    AnswerReader,
    Piece,
    RequestForm,
    errors,
    learned,
)
from caesarion_dialects.adaptation import MAX_ADAPTATIONS

from caesarion_hub.gateway.upstream import connection_errors
from caesarion_hub.gateway.upstream.backend import Response
from caesarion_hub.gateway.upstream.circuit_breaker import CircuitBreaker
from caesarion_hub.gateway.upstream.client import Client
from caesarion_hub.gateway.upstream.errors import UpstreamError
from caesarion_hub.gateway.upstream.known_forms import KnownForms
from caesarion_hub.gateway.upstream.redaction import AnswerRedactor
from caesarion_hub.gateway.upstream.settings import Upstream

Json = dict[str, Any]

MAX_DEFERRAL = 60.0
"""Seconds for which an upstream is asked last at most, whatever its ``Retry-After`` says."""

# Seconds for a list of models: no user waits longer for it.
_LIST_LIMIT = 4.0
_STREAM = "text/event-stream; charset=utf-8"
_JSON = "application/json"

log = logging.getLogger("gateway")


@dataclass
class _Attempt:
    """One request under the circuit breaker: its permit, and its outcome."""

    permit: object
    outcome: str = "given_up"


@dataclass(frozen=True)
class _Request:
    """A request: this upstream's name for the model, the body, and the body as bytes."""

    model: str
    body: Json
    raw: bytes

    @property
    def is_stream(self) -> bool:
        """Whether the client wants the answer as a stream."""
        return self.body.get("stream") is True

    def reader(self, form: RequestForm) -> AnswerReader:
        """Return a reader for the answer."""
        number, options = self.body.get("n"), self.body.get("stream_options")
        wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        return AnswerReader(
            choices=number if isinstance(number, int) and number > 0 else 1,
            model=self.model,
            is_thinking=form.is_thinking,
            legacy="functions" in self.body,
            with_usage=wants_usage or not self.is_stream,
        )


class Endpoint:
    """
    One upstream and its health.

    ``outcomes`` counts requests by result: ``ok``, ``given_up`` (the client disconnected), or
    the code of the failure. ``problem`` is the message of the last failure that was the
    upstream's fault.
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
        self._client = Client(upstream, session)
        self._forms = KnownForms(upstream.options.parameters)

    @contextlib.asynccontextmanager
    async def complete(self, model: str, body: Json, raw: bytes) -> AsyncIterator[Response]:
        """Send a request; raise UpstreamError until the answer has begun."""
        async with contextlib.AsyncExitStack() as stack:
            attempt = stack.enter_context(self._attempt())
            with self._recorded(attempt):
                answer = await self._adapted(stack, attempt, _Request(model, body, raw))
            self.circuit.responded(attempt.permit)
            yield answer

    async def models(self) -> list[dict[str, Any]] | None:
        """Return the upstream's own list of models, or None if it has no such list."""
        if self.upstream.options.kind == "azure":
            return None  # Azure lists the models that could be deployed, not the deployments.
        limit = min(_LIST_LIMIT, self.upstream.options.timeouts.first_byte)
        try:
            async with (
                asyncio.timeout(limit),
                self._client.response("GET", self.upstream.url("/models")) as response,
            ):
                if response.status in (404, 405):
                    return None
                if response.status >= 300:
                    raise await self._client.refusal(response)
                said = errors.parse(await self._client.body(response))
        except TimeoutError as error:
            raise connection_errors.silent(self.upstream, limit) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error
        data = said.get("data") if isinstance(said, dict) else None
        if not isinstance(data, list):
            raise connection_errors.garbled(self.upstream)
        return [model for model in data if isinstance(model, dict)]

    def _unreachable(self, error: Exception) -> UpstreamError:
        return connection_errors.connection_error(error, self.upstream, self._client.connect)

    @contextlib.contextmanager
    def _attempt(self) -> Iterator[_Attempt]:
        """Hold a permit of the circuit breaker; raise UpstreamError if there is none."""
        permit = self.circuit.acquire()
        if permit is None:
            left, failures = self.circuit.seconds_left, self.circuit.failures
            raise connection_errors.circuit_open(self.upstream, failures, left, self.problem)
        attempt = _Attempt(permit)
        try:
            yield attempt
        finally:
            self.circuit.release(permit)
            self.outcomes[attempt.outcome] += 1

    @contextlib.contextmanager
    def _recorded(self, attempt: _Attempt) -> Iterator[None]:
        """Record an UpstreamError, and raise it."""
        try:
            yield
        except UpstreamError as error:
            attempt.outcome = error.code
            if error.is_fault:
                self._fail(attempt, error.message)
            else:
                self.circuit.responded(attempt.permit)
                self.circuit.succeeded()
            self.circuit.defer(min(error.retry_after, MAX_DEFERRAL))
            raise

    def _fail(self, attempt: _Attempt, problem: str) -> None:
        self.problem = problem
        before = self.circuit.state
        self.circuit.failed(attempt.permit)
        if self.circuit.state == "open" != before:
            log.warning(
                "Upstream %s failed %d times in a row and is not asked for %g seconds: %s",
                *(self.upstream.name, self.circuit.failures, self.upstream.options.breaker.seconds),
                problem,
            )

    async def _adapted(
        self, stack: contextlib.AsyncExitStack, attempt: _Attempt, request: _Request
    ) -> Response:
        """Send a request in the form that the model takes; learn another from its refusals."""
        form = known = self._forms.form(request.model)
        for left in range(MAX_ADAPTATIONS, -1, -1):
            sent = form.apply(request.body)
            raw = request.raw if sent is request.body else json.dumps(sent).encode()
            try:
                answer = await self._begin(stack, attempt, request, form, raw)
            except UpstreamError as error:
                other = learned(form, sent, error.status, error.raw) if left else None
                if other is None:
                    raise
                form = other
            else:
                if form is not known:
                    self._forms.remember(request.model, form)
                    log.warning(
                        "Upstream %s: requests for the model %s are adapted from now on, since it "
                        "refused one: %s",
                        *(self.upstream.name, request.model, form.changes(known)),
                    )
                return answer
        raise AssertionError("The last attempt returns or raises.")

    async def _begin(
        self,
        stack: contextlib.AsyncExitStack,
        attempt: _Attempt,
        request: _Request,
        form: RequestForm,
        raw: bytes,
    ) -> Response:
        """Send a request, and return the answer once it has begun, or is complete if no stream."""
        url = self.upstream.url("/chat/completions", request.model)
        reader = request.reader(form)
        try:
            async with asyncio.timeout(self.upstream.options.timeouts.first_byte):
                response = await stack.enter_async_context(self._client.response("POST", url, raw))
                if response.status >= 300:
                    raise await self._client.refusal(response)
                first = await response.content.readany()
            pieces = self._pieces(response, reader, first)
            await stack.enter_async_context(contextlib.aclosing(pieces))
            if request.is_stream:
                begun = await anext(pieces)
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error
        headers = self._client.passed_headers(response)
        if request.is_stream:
            content = self._rest(begun, pieces, attempt, request.model, reader)
            await stack.enter_async_context(contextlib.aclosing(content))
            return self._answer(headers, content, _STREAM)
        whole = await self._client.whole(pieces, reader)
        self._succeed(attempt, request.model, reader)
        return self._answer(headers, _one(whole), _JSON)

    async def _pieces(
        self, response: aiohttp.ClientResponse, reader: AnswerReader, first: bytes
    ) -> AsyncGenerator[Piece]:
        redactor = AnswerRedactor(self.upstream.key)
        async with contextlib.aclosing(self._client.pieces(response, reader, first)) as pieces:
            async for piece in pieces:
                yield redactor.redact(piece)

    def _answer(
        self, headers: dict[str, str], content: AsyncIterator[Piece], kind: str
    ) -> Response:
        return Response(200, {"Content-Type": kind, **headers}, content, self.upstream.name)

    async def _rest(
        self,
        first: Piece,
        pieces: AsyncIterator[Piece],
        attempt: _Attempt,
        model: str,
        reader: AnswerReader,
    ) -> AsyncGenerator[Piece]:
        with self._recorded(attempt):
            yield first
            try:
                async for piece in pieces:
                    yield piece
            except (aiohttp.ClientError, OSError) as error:
                raise connection_errors.broken(error, self.upstream) from error
        self._succeed(attempt, model, reader)

    def _succeed(self, attempt: _Attempt, model: str, reader: AnswerReader) -> None:
        """Record a complete answer, and what it shows of its model."""
        attempt.outcome = "ok"
        self.circuit.succeeded()
        form = self._forms.form(model)
        found = reader.canonicaliser
        field = found.reasoning_field or form.reasoning_field
        if found.thinks != form.is_thinking or field != form.reasoning_field:
            form = replace(form, is_thinking=found.thinks, reasoning_field=field)
            self._forms.remember(model, form)


async def _one(piece: Piece) -> AsyncIterator[Piece]:
    """Yield ``piece`` alone."""
    yield piece
