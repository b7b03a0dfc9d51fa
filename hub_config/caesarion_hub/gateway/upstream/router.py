"""
The backend over all upstreams: whom to ask, in which order, and how often.

Called by ``handlers``, as a :class:`~caesarion_hub.gateway.upstream.backend.Backend`,
and for its health by whoever shows that. Only what has not begun is asked
again: the next upstream for the same model at once, the same one after a pause.
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
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from typing import Any, Self

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import fields
from caesarion_hub.gateway.upstream.backend import Answer, Condition, json_answer
from caesarion_hub.gateway.upstream.catalogue import Catalogue
from caesarion_hub.gateway.upstream.client import open_session
from caesarion_hub.gateway.upstream.connection_errors import LEFT_ALONE
from caesarion_hub.gateway.upstream.endpoint import Endpoint
from caesarion_hub.gateway.upstream.errors import NO_RETRY, UpstreamError
from caesarion_hub.gateway.upstream.settings import Upstream

PAUSE = 0.5
"""Seconds before an upstream is asked again; each further pause may be twice as long."""

MAX_PAUSE = 8.0

PATIENCE = 10.0
"""Seconds that a request waits for a provider that says when to come back; made up."""

_NAMED = 20  # models that a sentence names

log = logging.getLogger("gateway")


@dataclass(frozen=True, eq=False)
class Route:
    """An upstream, and what it calls the model."""

    upstream: Upstream
    model: str


class Router:
    """
    The upstreams and a pool of connections to them, as an async context.

    ``clock``, ``pause`` and ``chance`` are time and luck; tests bring their own.
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

    async def __aenter__(self) -> Self:
        self._session = open_session()
        self._endpoints = {
            upstream.name: Endpoint(upstream, self._session, self._clock)
            for upstream in self._upstreams
        }
        endpoints = list(self._endpoints.values())
        self._catalogue = Catalogue(endpoints, self._default_model, self._clock)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def conditions(self) -> Iterator[Condition]:
        """Yield how each upstream is doing."""
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
        """Return ``model``: an upstream that has it by another name is still asked for it."""
        return model

    def extra_fields(self, model: str) -> set[str]:
        """Return the fields beside OpenAI's that any upstream for ``model`` takes."""
        ways = routes(self._upstreams, model)
        return {name for way in ways for name in way.upstream.extra_fields}

    def problem(self) -> str:
        """Return why no upstream can be asked now, as a sentence, or nothing."""
        conditions = list(self.conditions())
        if any(condition.state != "open" for condition in conditions):
            return ""
        return conditions[0].problem

    @contextlib.asynccontextmanager
    async def complete(self, raw: bytes, body: dict[str, Any]) -> AsyncIterator[Answer]:
        """Answer with the first upstream that begins to."""
        model: str = body["model"]
        ways = routes(self._upstreams, model)
        if not ways:
            raise unknown_model(model, await self._catalogue.names())
        failures: dict[Route, UpstreamError] = {}
        async with contextlib.AsyncExitStack() as stack:
            try:
                answer = await self._first(stack, ways, raw, body, failures)
            except UpstreamError as error:
                _log(failures, but=error)
                if error.code == "model_not_found":
                    raise unknown_model(model, await self._catalogue.names()) from error
                raise
            _log(failures)
            yield answer

    @contextlib.asynccontextmanager
    async def models(self) -> AsyncIterator[Answer]:
        """List the models of all upstreams."""
        yield json_answer({"object": "list", "data": await self._catalogue.models()})

    async def _first(
        self,
        stack: contextlib.AsyncExitStack,
        ways: list[Route],
        raw: bytes,
        body: dict[str, Any],
        failures: dict[Route, UpstreamError],
    ) -> Answer:
        """
        Ask each way in turn, then those again that may answer yet, until one does.

        The last failure of each way goes into ``failures``.
        """
        turn = 0
        while True:
            for way in ordered(ways, self._is_resting, self._chance):
                try:
                    return await stack.enter_async_context(self._ask(way, raw, body))
                except UpstreamError as error:
                    failures[way] = error
                    if not error.elsewhere:
                        raise
            ways = [
                way for way in ways if failures[way].again and turn < way.upstream.options.retries
            ]
            wait = min((failures[way].wait for way in ways), default=0.0)
            if not ways or wait > PATIENCE:
                raise _told(failures.values(), is_exhausted=not ways)
            await self._pause(wait + self._chance() * min(MAX_PAUSE, PAUSE * 2**turn))
            turn += 1

    def _ask(
        self, way: Route, raw: bytes, body: dict[str, Any]
    ) -> contextlib.AbstractAsyncContextManager[Answer]:
        taken = fields.only_allowed(body, way.upstream.extra_fields, drop=True)
        if way.model != body["model"] or taken is not body:
            body = taken | {"model": way.model}
            raw = json.dumps(body).encode()
        return self._endpoints[way.upstream.name].complete(way.model, body, raw)

    def _is_resting(self, upstream: Upstream) -> bool:
        return self._endpoints[upstream.name].circuit.is_resting


def _told(failures: Iterable[UpstreamError], *, is_exhausted: bool) -> UpstreamError:
    """
    Return the failure that tells most: the first that is news.

    One who was left alone or does not have the model says little about one who
    does. When all was tried, a client need not try it all again.
    """
    rank = {LEFT_ALONE: 1, "model_not_found": 2}
    told = min(failures, key=lambda error: rank.get(error.code, 0))
    if is_exhausted:
        told.headers = {**told.headers, **NO_RETRY}
    return told


def _log(failures: Mapping[Route, UpstreamError], but: UpstreamError | None = None) -> None:
    """Note the failures that nobody hears of; that one is left alone was noted when it began."""
    for way, error in failures.items():
        if error is not but and error.code != LEFT_ALONE:
            # Words about what was asked are not for a log.
            said = error.message if error.ill else error.code
            log.warning("Upstream %s: %s", way.upstream.name, said)


def routes(upstreams: Iterable[Upstream], model: str) -> list[Route]:
    """
    Return all ways to ``model``.

    Upstreams without ``models`` are asked only where no other was named for it,
    since they would say that they do not know it.
    """
    ways = [
        Route(upstream, upstream.options.aliases.get(model, model))
        for upstream in upstreams
        if model in upstream.options.aliases or upstream.takes(model)
    ]
    named = [
        way for way in ways if way.upstream.options.models or model in way.upstream.options.aliases
    ]
    return named or ways


def ordered(
    ways: Iterable[Route], is_resting: Callable[[Upstream], bool], chance: Callable[[], float]
) -> list[Route]:
    """
    Return the ways in the order in which they are tried.

    Those that asked for rest come last, then ``priority`` counts, then chance:
    with these lots an upstream of twice the weight comes first twice as often
    (Efraimidis and Spirakis, 2006).
    """

    def place(way: Route) -> tuple[bool, int, float]:
        upstream = way.upstream
        return (
            is_resting(upstream),
            upstream.options.priority,
            -math.log(1 - chance()) / upstream.options.weight,
        )

    return sorted(ways, key=place)


def unknown_model(model: str, known: Sequence[str]) -> GatewayError:
    """Return what to say of a model that nobody has, though it may be listed."""
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
