"""
One upstream: a request in the form that its model takes, and the answer as it comes.

Called by ``router`` and ``catalogue``; calls ``client`` and ``known_forms``. An
answer is handed out when it has begun: every failure before may be tried elsewhere.
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
    Assembler,
    Piece,
    RequestForm,
    completion,
    errors,
    learned,
)
from caesarion_dialects.adaptation import MAX_ADAPTATIONS

from caesarion_hub.gateway.upstream import connection_errors
from caesarion_hub.gateway.upstream.backend import Answer
from caesarion_hub.gateway.upstream.circuit_breaker import CircuitBreaker
from caesarion_hub.gateway.upstream.client import Client
from caesarion_hub.gateway.upstream.errors import UpstreamError
from caesarion_hub.gateway.upstream.known_forms import KnownForms
from caesarion_hub.gateway.upstream.redaction import REMOVED, AnswerRedactor
from caesarion_hub.gateway.upstream.settings import Upstream

Json = dict[str, Any]

MAX_REST = 60.0
"""Seconds that an upstream is asked last at most, however long it wants to be left alone."""

MAX_ANSWER = 64 * 2**20
"""Bytes of an answer that is not streamed; a made-up number."""

# Seconds for a list of models, which nobody waits for longer.
_LIST_LIMIT = 4.0
_STREAM = "text/event-stream; charset=utf-8"
_JSON = "application/json"

log = logging.getLogger("gateway")


@dataclass
class _Attempt:
    """The circuit breaker's permit for one request, and what came of it."""

    permit: object
    outcome: str = "given_up"


@dataclass(frozen=True)
class _Request:
    """A request: what this upstream calls the model, the body, and that as bytes."""

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
        self._client = Client(upstream, session)
        self._forms = KnownForms(upstream.options.parameters)

    @contextlib.asynccontextmanager
    async def complete(self, model: str, body: Json, raw: bytes) -> AsyncIterator[Answer]:
        """Ask for ``body``, which is ``raw``; raise UpstreamError until the answer has begun."""
        async with contextlib.AsyncExitStack() as stack:
            attempt = stack.enter_context(self._attempt())
            with self._noted(attempt):
                answer = await self._adapted(stack, attempt, _Request(model, body, raw))
            self.circuit.answered(attempt.permit)
            yield answer

    async def models(self) -> list[dict[str, Any]] | None:
        """Return the upstream's own list of models, or None if it keeps none."""
        if self.upstream.options.kind == "azure":
            return None  # it would list what could be deployed
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
        """Take leave of the circuit and give it back; without one, raise UpstreamError."""
        permit = self.circuit.enter()
        if permit is None:
            left, failures = self.circuit.seconds_left, self.circuit.failures
            raise connection_errors.left_alone(self.upstream, failures, left, self.problem)
        attempt = _Attempt(permit)
        try:
            yield attempt
        finally:
            self.circuit.returned(permit)
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
                self.circuit.answered(attempt.permit)
                self.circuit.ended()
            self.circuit.rest(min(error.wait, MAX_REST))
            raise

    def _fail(self, attempt: _Attempt, problem: str) -> None:
        self.problem = problem
        before = self.circuit.state
        self.circuit.failed(attempt.permit)
        if self.circuit.state == "open" != before:
            log.warning(
                "Upstream %s failed %d times in a row and is left alone for %g seconds: %s",
                *(self.upstream.name, self.circuit.failures, self.upstream.options.breaker.seconds),
                problem,
            )

    async def _adapted(
        self, stack: contextlib.AsyncExitStack, attempt: _Attempt, request: _Request
    ) -> Answer:
        """Ask in the form that the model takes, and learn another one from its refusals."""
        form = known = self._forms.form(request.model)
        for left in range(MAX_ADAPTATIONS, -1, -1):
            sent = form.apply(request.body)
            raw = request.raw if sent is request.body else json.dumps(sent).encode()
            try:
                answer = await self._begin(stack, attempt, request, form, raw)
            except UpstreamError as error:
                other = learned(form, sent, error.status, error.said) if left else None
                if other is None:
                    raise
                form = other
            else:
                if form is not known:
                    self._forms.remember(request.model, form)
                    log.warning(
                        "Upstream %s: the model %s is asked in another form from now on, since it "
                        "refused OpenAI's: %s",
                        *(self.upstream.name, request.model, form.changes(known)),
                    )
                return answer
        raise AssertionError("the last attempt either answers or raises")

    async def _begin(
        self,
        stack: contextlib.AsyncExitStack,
        attempt: _Attempt,
        request: _Request,
        form: RequestForm,
        raw: bytes,
    ) -> Answer:
        """Send the request, and return the answer once it has begun, or is whole."""
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
            return self._answer(headers, content, request.model, _STREAM)
        whole = await self._whole(pieces, reader)
        self._succeed(attempt, request.model, reader)
        return self._answer(headers, _one(whole), request.model, _JSON)

    async def _pieces(
        self, response: aiohttp.ClientResponse, reader: AnswerReader, first: bytes
    ) -> AsyncGenerator[Piece]:
        redactor = AnswerRedactor(self.upstream.key)
        async with contextlib.aclosing(self._client.pieces(response, reader, first)) as pieces:
            async for piece in pieces:
                yield redactor.redact(piece)

    def _answer(
        self, headers: dict[str, str], content: AsyncIterator[Piece], model: str, kind: str
    ) -> Answer:
        return Answer(200, {"Content-Type": kind, **headers}, content, self.upstream.name, model)

    async def _rest(
        self,
        first: Piece,
        pieces: AsyncIterator[Piece],
        attempt: _Attempt,
        model: str,
        reader: AnswerReader,
    ) -> AsyncGenerator[Piece]:
        with self._noted(attempt):
            yield first
            try:
                async for piece in pieces:
                    yield piece
            except (aiohttp.ClientError, OSError) as error:
                raise connection_errors.broken(error, self.upstream) from error
        self._succeed(attempt, model, reader)

    async def _whole(self, pieces: AsyncIterator[Piece], reader: AnswerReader) -> Piece:
        """Return an answer that was not asked for as a stream; if it breaks, it is not retried."""
        assembler, chunks, size = Assembler(), list[Json](), 0
        try:
            async for piece in pieces:
                size += len(piece.data)
                chunks += piece.chunks
                for chunk in piece.chunks:
                    assembler.add(chunk)
                if size > MAX_ANSWER:
                    raise connection_errors.garbled(self.upstream)
        except (aiohttp.ClientError, OSError) as error:
            broken = connection_errors.broken(error, self.upstream)
            broken.again = broken.elsewhere = False
            raise broken from error
        made = completion(reader.head, assembler)
        data = reader.body if made is reader.head else json.dumps(made).encode()
        if self.upstream.key:
            data = data.replace(self.upstream.key.encode(), REMOVED.encode())
        return Piece(data, chunks, assembler.usage)

    def _succeed(self, attempt: _Attempt, model: str, reader: AnswerReader) -> None:
        attempt.outcome = "ok"
        self.circuit.ended()
        form = self._forms.form(model)
        found = reader.canonicaliser
        field = found.reasoning_field or form.reasoning_field
        if found.thinks != form.is_thinking or field != form.reasoning_field:
            form = replace(form, is_thinking=found.thinks, reasoning_field=field)
            self._forms.remember(model, form)


async def _one(piece: Piece) -> AsyncIterator[Piece]:
    yield piece
