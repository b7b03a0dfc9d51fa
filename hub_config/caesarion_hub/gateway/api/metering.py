"""
Wraps the backend: admits a request, forwards it, and settles what it used.

Called by ``completions`` and ``status``; calls ``policy`` for the limits, ``store`` for the
reservation, the :class:`~caesarion_hub.gateway.upstream.backend.Backend` for the response, and
``response``, which meters that.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from caesarion_dialects import Piece

from caesarion_hub import logs
from caesarion_hub.gateway.api.metrics import Metrics
from caesarion_hub.gateway.api.request import THREAD_THRESHOLD, ChatRequest
from caesarion_hub.gateway.api.response import MeteredResponse, UnseenTokens
from caesarion_hub.gateway.api.tracing import Traces
from caesarion_hub.gateway.authentication import Caller
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import fields, limits
from caesarion_hub.gateway.policy.limits import CallerLimits
from caesarion_hub.gateway.policy.prices import cost, prompt_tokens
from caesarion_hub.gateway.store.commands import (
    RequestRefusal,
    Reservation,
    Settlement,
    milliseconds,
    plain,
    receipt_hash,
)
from caesarion_hub.gateway.store.write_queue import WriteQueue
from caesarion_hub.gateway.upstream.backend import Backend, Response, json_response
from caesarion_hub.values.gateway import Gateway

MAX_TERMS = 1000
"""Sets of groups whose limits are remembered; a made-up number."""

Send = Callable[[Response], Awaitable[None]]
"""Sends a response to the client."""

log = logging.getLogger("gateway")


class Metering:
    """
    Admits and settles the requests to ``backend``.

    ``stopping`` is set when the gateway cancels what is in progress.
    """

    def __init__(
        self,
        values: Gateway,
        backend: Backend,
        write_queue: WriteQueue,
        metrics: Metrics,
        traces: Traces,
    ) -> None:
        self.stopping = False
        self._values = values
        self._backend = backend
        self._write_queue = write_queue
        self._metrics = metrics
        self._traces = traces
        self._unseen = UnseenTokens()
        self._fair = limits.fair_reservation(values.reservations)
        self._fair_nanos = {name: cost(self._fair, one) or 0 for name, one in values.prices.items()}
        self._terms = lru_cache(MAX_TERMS)(partial(limits.caller_limits, values))

    async def models(self, caller: Caller, send: Send) -> None:
        """Send the models that ``caller`` may use, under all of their names."""
        terms = self._terms(caller.groups)
        async with self._backend.models() as response:
            if terms.models is not None or self._values.aliases:
                response = await self._filtered(response, terms)
            await send(response)

    async def complete(self, request: ChatRequest, send: Send) -> None:
        """
        Send the answer to ``request`` if its caller's limits and budgets allow it.

        Raises GatewayError if there is none.
        """
        try:
            body, reservation = self._prepare(request)
            reservation = await self._write_queue.reserve(reservation)
        except GatewayError as refusal:
            self._record_refusal(request.caller, request.body["model"], refusal)
            raise
        raw = request.raw if body == request.body else await _encoded(body, len(request.raw))
        metered = MeteredResponse(
            *(reservation, receipt_hash(request.receipt), self._write_queue),
            *(self._values, self._unseen),
        )
        self._metrics.in_progress.inc()
        try:
            async with self._backend.complete(raw, body) as response:
                await send(metered.watch(response))
        except GatewayError as error:
            metered.fail(error)
            raise
        except (asyncio.CancelledError, ConnectionError):
            metered.abandon("gateway_stopped" if self.stopping else "client_gone")
            raise
        finally:
            self._metrics.in_progress.dec()
            settlement = metered.settle()
            self._metrics.count_settlement(settlement)
            self._traces.record(settlement, request.traceparent)
            _log_settlement(settlement, logs.trace_id(request.traceparent))

    @property
    def silence(self) -> float:
        """Seconds for which an answer may be silent before it is given up."""
        return self._backend.silence

    def problem(self) -> str:
        """Return why no model can be asked now, as a sentence, or nothing."""
        return self._backend.problem()

    async def _filtered(self, response: Response, terms: CallerLimits) -> Response:
        """Return a list of models reduced to those of the caller; one of another shape stays."""
        body = b"".join([piece.data async for piece in response.content])
        try:
            listed = {model["id"]: model for model in json.loads(body)["data"]}
        except (ValueError, KeyError, TypeError):
            return replace(response, content=_one(Piece(body, [])))
        return json_response({"object": "list", "data": list(self._offered(listed, terms))})

    def _offered(self, listed: dict[str, Any], terms: CallerLimits) -> Iterator[dict[str, Any]]:
        aliases = self._values.aliases
        names = [*listed, *(alias for alias in aliases if aliases[alias] in listed)]
        allowed = terms.models and {aliases.get(name, name) for name in terms.models}
        for name in names:
            real = aliases.get(name, name)
            if allowed is None or real in allowed:
                yield {**listed[real], "id": name}

    async def check_limits(self, caller: Caller) -> None:
        """Raise the refusal that any request of ``caller`` would get now."""
        terms = self._terms(caller.groups)
        try:
            await self._write_queue.check(_reservation("", caller, terms))
        except GatewayError as refusal:
            self._record_refusal(caller, "", refusal)
            raise

    def _prepare(self, request: ChatRequest) -> tuple[dict[str, Any], Reservation]:
        """Return the body to send, and what it reserves; raise GatewayError beyond the limits."""
        values, caller = self._values, request.caller
        terms = self._terms(caller.groups)
        allowed = limits.model_for(request.body["model"], terms, values)
        model = self._backend.model_name(allowed)
        body = fields.only_allowed(
            {**request.body, "model": model},
            self._backend.extra_fields(model),
            drop=values.requests.unknown_fields == "drop",
        )
        output, choices = limits.limit_output(body, terms), limits.choices(body, terms)
        prompt = prompt_tokens(request.raw, request.body)
        reserved = limits.reservation(model, prompt, output, choices, values.reservations)
        return body, _reservation(
            request.id,
            caller,
            terms,
            model=plain(model),
            conversation=plain(request.conversation),
            message=plain(request.message),
            prompt_tokens=reserved.prompt,
            reserved_tokens=reserved.total,
            reserved_nanos=cost(reserved, values.prices.get(model)),
            fair_tokens=self._fair.total,
            fair_nanos=self._fair_nanos.get(model, 0),
        )

    def _record_refusal(self, caller: Caller, model: str, refusal: GatewayError) -> None:
        self._metrics.count_refusal(refusal.code)
        self._write_queue.count_refusal(
            RequestRefusal(
                *(milliseconds(), caller.name, plain(model)),
                *(refusal.code, plain(refusal.message, 1000)),
            )
        )


def _reservation(
    request_id: str,
    caller: Caller,
    terms: CallerLimits,
    *,
    model: str = "",
    conversation: str = "",
    message: str = "",
    prompt_tokens: int = 0,
    reserved_tokens: int = 0,
    reserved_nanos: int | None = None,
    fair_tokens: int = 0,
    fair_nanos: int = 0,
) -> Reservation:
    """Return a reservation of ``caller``; without amounts, of nothing."""
    return Reservation(
        id=request_id,
        started=milliseconds(),
        user=caller.name,
        server=caller.server,
        groups=caller.groups,
        model=model,
        conversation=conversation,
        message=message,
        prompt_tokens=prompt_tokens,
        reserved_tokens=reserved_tokens,
        reserved_nanos=reserved_nanos,
        fair_tokens=fair_tokens,
        fair_nanos=fair_nanos,
        requests_per_minute=terms.requests_per_minute,
        concurrent_streams=terms.concurrent_streams,
    )


async def _encoded(body: dict[str, Any], length: int) -> bytes:
    """Return ``body`` as JSON; a long one is written in a thread."""
    if length < THREAD_THRESHOLD:
        return json.dumps(body).encode()
    return await asyncio.to_thread(lambda: json.dumps(body).encode())


def _log_settlement(settlement: Settlement, trace: str) -> None:
    reservation = settlement.reservation
    fields = {
        "request": reservation.id,
        "trace": trace,
        "user": reservation.user,
        "server": reservation.server,
        "model": reservation.model,
        "upstream": settlement.upstream,
        "status": settlement.status,
        "error": settlement.error,
        "prompt_tokens": settlement.prompt_tokens,
        "completion_tokens": settlement.completion_tokens,
        "first_ms": settlement.first_ms,
        "total_ms": settlement.finished - reservation.started,
    }
    log.info("settled", extra=fields)


async def _one(piece: Piece) -> AsyncIterator[Piece]:
    yield piece
