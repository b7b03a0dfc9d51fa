"""
One upstream: a request in the form that its model takes, and the answer as it arrives.

Called by ``router`` and ``model_list``; calls ``client``, ``answer``, ``known_forms`` and
``circuit_breaker``. An answer is returned when it has begun, so that the router can handle
every failure before that.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable
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
from caesarion_hub.gateway.upstream.answer import Answer
from caesarion_hub.gateway.upstream.backend import Response
from caesarion_hub.gateway.upstream.circuit_breaker import CircuitBreaker
from caesarion_hub.gateway.upstream.client import Client
from caesarion_hub.gateway.upstream.errors import UpstreamError
from caesarion_hub.gateway.upstream.known_forms import KnownForms
from caesarion_hub.gateway.upstream.settings import Upstream

Json = dict[str, Any]

MAX_DEFERRAL = 60.0
"""Seconds for which an upstream is asked last at most, whatever its ``Retry-After`` says."""

# Seconds for a list of models: no user waits longer for it.
_LIST_LIMIT = 4.0
_STREAM = "text/event-stream; charset=utf-8"
_JSON = "application/json"

log = logging.getLogger("gateway")


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

    async def complete(self, model: str, body: Json, raw: bytes) -> "Exchange":
        """Send a request; raise UpstreamError until the answer has begun. The caller ends it."""
        exchange = Exchange(self, self._permit(), _Request(model, body, raw))
        try:
            await self._adapt(exchange)
        except BaseException as error:
            if isinstance(error, UpstreamError):
                self.fail(exchange, error)
            exchange.end()
            raise
        self.circuit.responded(exchange.permit)
        return exchange

    async def models(self) -> list[dict[str, Any]] | None:
        """Return the upstream's own list of models, or None if it has no such list."""
        if self.upstream.options.kind == "azure":
            return None  # Azure lists the models that could be deployed, not the deployments.
        limit = min(_LIST_LIMIT, self.upstream.options.timeouts.first_byte)
        try:
            async with asyncio.timeout(limit):
                response = await self._client.send("GET", self.upstream.url("/models"))
                try:
                    if response.status in (404, 405):
                        return None
                    if response.status >= 300:
                        raise await self._client.refusal(response)
                    said = errors.parse(await self._client.body(response))
                finally:
                    response.release()
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

    def _permit(self) -> object:
        """Return a permit of the circuit breaker; raise UpstreamError if there is none."""
        permit = self.circuit.acquire()
        if permit is None:
            left, failures = self.circuit.seconds_left, self.circuit.failures
            raise connection_errors.circuit_open(self.upstream, failures, left, self.problem)
        return permit

    def fail(self, exchange: "Exchange", error: UpstreamError) -> None:
        """Record a failure before or within the answer."""
        exchange.outcome = error.code
        if error.is_fault:
            self._count_failure(exchange.permit, error.message)
        else:
            self.circuit.responded(exchange.permit)
            self.circuit.succeeded()
        self.circuit.defer(min(error.retry_after, MAX_DEFERRAL))

    def _count_failure(self, permit: object, problem: str) -> None:
        self.problem = problem
        before = self.circuit.state
        self.circuit.failed(permit)
        if self.circuit.state == "open" != before:
            log.warning(
                "Upstream %s failed %d times in a row and is not asked for %g seconds: %s",
                *(self.upstream.name, self.circuit.failures, self.upstream.options.breaker.seconds),
                problem,
            )

    async def _adapt(self, exchange: "Exchange") -> None:
        """Send a request in the form that the model takes; learn another from its refusals."""
        request = exchange.request
        form = known = self._forms.form(request.model)
        for left in range(MAX_ADAPTATIONS, -1, -1):
            sent = form.apply(request.body)
            raw = request.raw if sent is request.body else json.dumps(sent).encode()
            try:
                await self._begin(exchange, form, raw)
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
                return
        raise AssertionError("The last attempt returns or raises.")

    async def _begin(self, exchange: "Exchange", form: RequestForm, raw: bytes) -> None:
        """Send a request until its answer has begun, or is complete if it is no stream."""
        request = exchange.request
        url = self.upstream.url("/chat/completions", request.model)
        reader = request.reader(form)
        try:
            async with asyncio.timeout(self.upstream.options.timeouts.first_byte):
                response = await self._client.send("POST", url, raw)
                exchange.hold(response)
                if response.status >= 300:
                    raise await self._client.refusal(response)
                first = await response.content.readany()
            answer = Answer(self.upstream, self._client, response, reader, first)
            if request.is_stream:
                exchange.begin(answer, await anext(answer))
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error
        kind = _STREAM
        if not request.is_stream:
            kind = _JSON
            exchange.begin(None, await self._client.whole(answer, reader))
            self.succeed(exchange, reader)
        headers = {"Content-Type": kind, **self._client.passed_headers(response)}
        exchange.response = Response(200, headers, exchange, self.upstream.name)

    def succeed(self, exchange: "Exchange", reader: AnswerReader) -> None:
        """Record a complete answer, and what it shows of its model."""
        exchange.outcome = "ok"
        self.circuit.succeeded()
        model = exchange.request.model
        form = self._forms.form(model)
        found = reader.canonicaliser
        field = found.reasoning_field or form.reasoning_field
        if found.thinks != form.is_thinking or field != form.reasoning_field:
            form = replace(form, is_thinking=found.thinks, reasoning_field=field)
            self._forms.remember(model, form)

    def end(self, exchange: "Exchange") -> None:
        """Take the permit back, and count the outcome."""
        self.circuit.release(exchange.permit)
        self.outcomes[exchange.outcome] += 1


class Exchange:
    """
    One request to an upstream, and its answer: an iterator over the pieces. Call ``end`` once.

    ``outcome`` is "given_up" until the answer is complete or has failed; ``response`` is there
    once the answer has begun.
    """

    response: Response

    def __init__(self, endpoint: Endpoint, permit: object, request: _Request) -> None:
        self.permit = permit
        self.request = request
        self.outcome = "given_up"
        self._endpoint = endpoint
        self._held: aiohttp.ClientResponse | None = None
        self._answer: Answer | None = None
        self._begun: Piece | None = None

    def hold(self, response: aiohttp.ClientResponse) -> None:
        """Keep the connection of ``response`` until the end, instead of an earlier one."""
        if self._held:
            self._held.release()
        self._held = response

    def begin(self, answer: Answer | None, piece: Piece) -> None:
        """Yield ``piece``, and then what is left of ``answer``."""
        self._answer, self._begun = answer, piece
        if answer and answer.reader.is_done:
            self._endpoint.succeed(self, answer.reader)

    def end(self) -> None:
        """Release the connection, which is closed unless the answer was read to its end."""
        if self._held:
            self._held.release()
        self._endpoint.end(self)

    def __aiter__(self) -> "Exchange":
        return self

    async def __anext__(self) -> Piece:
        if self._begun:
            piece, self._begun = self._begun, None
            return piece
        if self._answer is None:
            raise StopAsyncIteration
        try:
            piece = await anext(self._answer)
        except UpstreamError as error:
            self._endpoint.fail(self, error)
            raise
        except (aiohttp.ClientError, OSError) as error:
            broken = connection_errors.broken(error, self._endpoint.upstream)
            self._endpoint.fail(self, broken)
            raise broken from error
        if self._answer.reader.is_done:
            self._endpoint.succeed(self, self._answer.reader)
        return piece
