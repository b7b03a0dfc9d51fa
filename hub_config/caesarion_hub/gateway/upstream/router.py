"""
The router: selects the upstreams for a model, retries, and fails over.

Called by ``api.metering`` as a :class:`~caesarion_hub.gateway.upstream.backend.Backend`; calls
``endpoint`` and ``model_list``. Only a request whose answer has not begun is repeated: at the
next upstream for the model at once, at the same one after a pause.
"""

import asyncio
import contextlib
import difflib
import json
import logging
import math
import random
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Self

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import fields
from caesarion_hub.gateway.upstream.backend import Condition, Response, json_response
from caesarion_hub.gateway.upstream.client import open_session
from caesarion_hub.gateway.upstream.connection_errors import CIRCUIT_OPEN
from caesarion_hub.gateway.upstream.endpoint import Endpoint, Exchange
from caesarion_hub.gateway.upstream.errors import NO_RETRY, UpstreamError
from caesarion_hub.gateway.upstream.model_list import ModelList
from caesarion_hub.gateway.upstream.settings import Upstream

PAUSE = 0.5
"""Longest pause before the first retry, in seconds; it doubles for each further one."""

MAX_PAUSE = 8.0
"""Longest pause before any retry, in seconds."""

MAX_MODELS = 1000
"""Models whose routes are remembered; a made-up number."""

MAX_RETRY_AFTER = 10.0
"""Seconds up to which a provider's ``Retry-After`` is waited for; a made-up number."""

_NAMED = 20  # models that a message names

log = logging.getLogger("gateway")


@dataclass(frozen=True, eq=False)
class Route:
    """An upstream, and its name for the model."""

    upstream: Upstream
    model: str


class Router:
    """
    The upstreams with their pool of connections, as an async context manager.

    ``clock``, ``pause`` and ``chance`` are replaced in tests.
    """

    def __init__(
        self,
        upstreams: Sequence[Upstream],
        default_model: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._upstreams = tuple(upstreams)
        self._default_model = default_model
        self._clock = clock
        self._pause = pause
        self._chance = chance
        self._routes = lru_cache(MAX_MODELS)(partial(routes, self._upstreams))

    async def __aenter__(self) -> Self:
        self._session = open_session()
        self._endpoints = {
            upstream.name: Endpoint(upstream, self._session, self._clock)
            for upstream in self._upstreams
        }
        endpoints = list(self._endpoints.values())
        self._model_list = ModelList(endpoints, self._default_model, self._clock)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def conditions(self) -> Iterator[Condition]:
        """Yield the health of each upstream."""
        for name, endpoint in self._endpoints.items():
            circuit = endpoint.circuit
            problem = endpoint.problem if circuit.failures else ""
            yield Condition(name, circuit.state, circuit.failures, problem, dict(endpoint.outcomes))

    @property
    def silence(self) -> float:
        """Seconds of silence until every upstream was given up, one after the other."""
        timeouts = [upstream.options.timeouts for upstream in self._upstreams]
        first = sum(one.first_byte for one in timeouts)
        return max(first, *(one.silence for one in timeouts))

    def model_name(self, model: str) -> str:
        """Return ``model``: an upstream's own name for it does not matter to the client."""
        return model

    def extra_fields(self, model: str) -> set[str]:
        """Return the fields beside OpenAI's that any upstream for ``model`` takes."""
        candidates = self._routes(model)
        return {name for route in candidates for name in route.upstream.extra_fields}

    def problem(self) -> str:
        """Return why no upstream can be asked now, as a sentence, or ""."""
        conditions = list(self.conditions())
        if any(condition.state != "open" for condition in conditions):
            return ""
        return conditions[0].problem

    def complete(
        self, raw: bytes, body: dict[str, Any]
    ) -> contextlib.AbstractAsyncContextManager[Response]:
        """Answer with the first upstream whose answer begins."""
        return _Opening(self.begin(raw, body))

    async def begin(self, raw: bytes, body: dict[str, Any]) -> Exchange:
        """Return the first answer that begins; the caller ends it."""
        model: str = body["model"]
        candidates = self._routes(model)
        if not candidates:
            raise unknown_model(model, await self._model_list.names())
        failures: dict[Route, UpstreamError] = {}
        try:
            exchange = await self._first(candidates, raw, body, failures)
        except UpstreamError as error:
            _log(failures, but=error)
            if error.code == "model_not_found":
                raise unknown_model(model, await self._model_list.names()) from error
            raise
        _log(failures)
        return exchange

    @contextlib.asynccontextmanager
    async def models(self) -> AsyncIterator[Response]:
        """List the models of all upstreams."""
        yield json_response({"object": "list", "data": await self._model_list.models()})

    async def _first(
        self,
        candidates: list[Route],
        raw: bytes,
        body: dict[str, Any],
        failures: dict[Route, UpstreamError],
    ) -> Exchange:
        """
        Ask each route in turn, and retry those that failed retryably, until one answers.

        ``failures`` gets the last failure of each route.
        """
        turn = 0
        while True:
            for route in ordered(candidates, self._is_deferred, self._chance):
                try:
                    return await self._ask(route, raw, body)
                except UpstreamError as error:
                    failures[route] = error
                    if not error.may_fail_over:
                        raise
            candidates = [
                route
                for route in candidates
                if failures[route].retryable and turn < route.upstream.options.retries
            ]
            wait = min((failures[route].retry_after for route in candidates), default=0.0)
            if not candidates or wait > MAX_RETRY_AFTER:
                raise _most_telling(failures.values(), is_exhausted=not candidates)
            await self._pause(wait + self._chance() * min(MAX_PAUSE, PAUSE * 2**turn))
            turn += 1

    async def _ask(self, route: Route, raw: bytes, body: dict[str, Any]) -> Exchange:
        taken = fields.only_allowed(body, route.upstream.extra_fields, drop=True)
        if route.model != body["model"] or taken is not body:
            body = taken | {"model": route.model}
            raw = json.dumps(body).encode()
        return await self._endpoints[route.upstream.name].complete(route.model, body, raw)

    def _is_deferred(self, upstream: Upstream) -> bool:
        return self._endpoints[upstream.name].circuit.is_deferred


class _Opening(contextlib.AbstractAsyncContextManager[Response]):
    """An exchange as a context, which ends it."""

    def __init__(self, beginning: Coroutine[Any, Any, Exchange]) -> None:
        self._beginning = beginning

    async def __aenter__(self) -> Response:
        self._exchange = await self._beginning
        return self._exchange.response

    async def __aexit__(self, *_: object) -> None:
        self._exchange.end()


def _most_telling(failures: Iterable[UpstreamError], *, is_exhausted: bool) -> UpstreamError:
    """
    Return the failure for the client: the first of an upstream that was asked and has the model.

    If no retry is left, the client's SDK is told not to retry either.
    """
    rank = {CIRCUIT_OPEN: 1, "model_not_found": 2}
    found = min(failures, key=lambda error: rank.get(error.code, 0))
    if is_exhausted:
        found.headers = {**found.headers, **NO_RETRY}
    return found


def _log(failures: Mapping[Route, UpstreamError], but: UpstreamError | None = None) -> None:
    """Log the failures that the client does not get; an open circuit was logged when it opened."""
    for route, error in failures.items():
        if error is not but and error.code != CIRCUIT_OPEN:
            # A refusal's message may quote the request, which a log must not.
            message = error.message if error.is_fault else error.code
            log.warning("Upstream %s: %s", route.upstream.name, message)


def routes(upstreams: Iterable[Upstream], model: str) -> list[Route]:
    """
    Return all routes to ``model``.

    An upstream without ``models`` is asked only if no other one names the model: it may not
    have it.
    """
    candidates = [
        Route(upstream, upstream.options.aliases.get(model, model))
        for upstream in upstreams
        if model in upstream.options.aliases or upstream.takes(model)
    ]
    named = [
        route
        for route in candidates
        if route.upstream.options.models or model in route.upstream.options.aliases
    ]
    return named or candidates


def ordered(
    candidates: Iterable[Route],
    is_deferred: Callable[[Upstream], bool],
    chance: Callable[[], float],
) -> list[Route]:
    """
    Return the routes in the order in which they are tried.

    Deferred upstreams come last; among the others ``priority`` decides, then chance by
    ``weight``: with these keys an upstream of twice the weight comes first twice as often
    (Efraimidis and Spirakis, 2006).
    """

    def sort_key(route: Route) -> tuple[bool, int, float]:
        upstream = route.upstream
        return (
            is_deferred(upstream),
            upstream.options.priority,
            -math.log(1 - chance()) / upstream.options.weight,
        )

    return sorted(candidates, key=sort_key)


def unknown_model(model: str, known: Sequence[str]) -> GatewayError:
    """Return the error for a model that no upstream has, though it may be listed."""
    known = [name for name in known if name != model]
    message = f"There is no model '{model[:100]}' here."
    if near := difflib.get_close_matches(model, known, n=1):
        message += f" Did you mean '{near[0]}'?"
    if known:
        more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
        message += f" The models are: {', '.join(known[:_NAMED])}{more}."
    else:
        message += " The operator can say which there are."
    return GatewayError(404, "model_not_found", message)
