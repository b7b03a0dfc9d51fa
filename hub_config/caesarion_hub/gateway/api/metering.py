"""
Each request metered: let in by the ledger, watched, settled exactly once.

Called by ``handlers`` in the place of the backend, which it calls. Whatever
ends an answer (its own end, a failure, a client that goes away, a signal), what
was used is settled. A tool call is in the audit before the end of the answer
that asks for it leaves the gateway.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from tornado.iostream import StreamClosedError

from caesarion_hub.gateway.api.metrics import Metrics
from caesarion_hub.gateway.api.response import Answering, plain
from caesarion_hub.gateway.authentication import Caller
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import limits
from caesarion_hub.gateway.policy.prices import Usage, cost, prompt_tokens
from caesarion_hub.gateway.store.audit_chain import Entry
from caesarion_hub.gateway.store.commands import Closing, Opening, Refusal, milliseconds
from caesarion_hub.gateway.store.write_queue import Journal
from caesarion_hub.gateway.upstream.backend import Answer, Backend, json_answer
from caesarion_hub.values.gateway import Gateway

RESERVED_OUTPUT = 4096
"""Tokens reserved for an answer that nothing limits; a made-up number, more than most have."""

log = logging.getLogger("gateway")


@dataclass(frozen=True)
class Asked:
    """A request: its id, who asks, its bytes, what they say, and in which conversation."""

    id: str
    caller: Caller
    raw: bytes
    body: dict[str, Any]
    conversation: str = ""
    message: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a tool call, and who let it run, as a user's server tells it."""

    call: str
    outcome: str
    approval: str


class Meter:
    """The backend, metered. ``stopping`` says that the gateway ends what is under way."""

    def __init__(
        self, values: Gateway, backend: Backend, journal: Journal, metrics: Metrics
    ) -> None:
        self.stopping = False
        self._values = values
        self._backend = backend
        self._journal = journal
        self._metrics = metrics

    @contextlib.asynccontextmanager
    async def models(self, caller: Caller) -> AsyncIterator[Answer]:
        """Answer with the models that are for ``caller``, and their other names."""
        terms = limits.terms(self._values, caller.groups)
        async with self._backend.models() as answer:
            if terms.models is None and not self._values.aliases:
                yield answer
                return
            body = b"".join([data async for data in answer.content])
        with contextlib.suppress(ValueError, KeyError, TypeError):
            listed = {model["id"]: model for model in json.loads(body)["data"]}
            yield json_answer({"object": "list", "data": list(self._offered(listed, terms))})
            return
        yield replace(answer, content=_one(body))

    def _offered(self, listed: dict[str, Any], terms: limits.Terms) -> Any:
        aliases = self._values.aliases
        names = [*listed, *(alias for alias in aliases if aliases[alias] in listed)]
        allowed = terms.models and {aliases.get(name, name) for name in terms.models}
        for name in names:
            real = aliases.get(name, name)
            if allowed is None or real in allowed:
                yield {**listed[real], "id": name}

    @contextlib.asynccontextmanager
    async def complete(self, asked: Asked) -> AsyncIterator[Answer]:
        """Answer ``asked`` if there is room for it; raises GatewayError."""
        body = dict(asked.body)
        try:
            terms = limits.terms(self._values, asked.caller.groups)
            allowed = limits.model_for(body["model"], terms, self._values)
            body["model"] = self._backend.named(allowed)
            opening = self._opening(asked, body, terms, limits.output_limit(body, terms))
            await self._journal.open(opening)
        except GatewayError as refusal:
            self._refused(asked, body["model"], refusal)
            raise
        strip = _ask_for_usage(body)
        raw = asked.raw if body == asked.body else json.dumps(body).encode()
        answering = Answering(opening, _choices(body), strip, self._journal, self._values)
        self._metrics.under_way.inc()
        try:
            async with self._backend.complete(raw, body) as answer:
                yield answering.watched(answer)
        except GatewayError as error:
            answering.fail(error)
            raise
        except (asyncio.CancelledError, StreamClosedError):
            answering.leave("gateway_stopped" if self.stopping else "client_gone")
            raise
        finally:
            self._metrics.under_way.dec()
            closing = answering.settle()
            self._metrics.settled(closing)
            _tell(closing)

    async def report(self, caller: Caller, outcomes: list[Outcome]) -> int:
        """Record what became of calls; return how many were asked for and not reported yet."""
        wait = await self._journal.unreported(caller.name, [one.call for one in outcomes])
        told = {one.call: one for one in outcomes if one.call in wait}
        await self._journal.append(
            [
                Entry(
                    *("outcome", caller.name, "", one.call),
                    {
                        "server": caller.server,
                        "reported_by": "the user's server",
                        "outcome": one.outcome,
                        "approval": one.approval,
                    },
                )
                for one in told.values()
            ]
        )
        return len(told)

    def trouble(self) -> str:
        """Return why nothing can be asked of the model now, or nothing."""
        return self._backend.trouble()

    def _refused(self, asked: Asked, model: str, refusal: GatewayError) -> None:
        self._metrics.refused(refusal.code)
        who, what = asked.caller.name, plain(model)
        told = Refusal(milliseconds(), who, what, refusal.code, plain(refusal.message, 1000))
        self._journal.refuse(told)

    @property
    def open_metrics(self) -> bool:
        """Whether anybody may read the metrics."""
        return self._values.open_metrics

    def _opening(
        self, asked: Asked, body: dict[str, Any], terms: limits.Terms, output: int | None
    ) -> Opening:
        prompt = prompt_tokens(asked.raw, asked.body)
        answer = (output or RESERVED_OUTPUT) * _choices(body)
        price = self._values.prices.get(body["model"])
        return Opening(
            id=asked.id,
            started=milliseconds(),
            user=asked.caller.name,
            server=asked.caller.server,
            groups=asked.caller.groups,
            model=plain(body["model"]),
            conversation=plain(asked.conversation),
            message=plain(asked.message),
            prompt_tokens=prompt,
            reserved_tokens=prompt + answer,
            reserved_nanos=cost(Usage(prompt, answer), price),
            per_minute=terms.requests_per_minute,
            at_once=terms.concurrent_streams,
        )


def _ask_for_usage(body: dict[str, Any]) -> bool:
    """Have the usage told in a stream; return whether the client did not ask for it."""
    if body.get("stream") is not True:
        return False
    options = body.get("stream_options")
    options = options if isinstance(options, dict) else {}
    if options.get("include_usage") is True:
        return False
    body["stream_options"] = {**options, "include_usage": True}
    return True


def _choices(body: dict[str, Any]) -> int:
    asked = body.get("n")
    return asked if isinstance(asked, int) and 1 <= asked <= 128 else 1


def _tell(closing: Closing) -> None:
    opening = closing.opening
    told = {
        "request": opening.id,
        "user": opening.user,
        "server": opening.server,
        "model": opening.model,
        "upstream": closing.upstream,
        "status": closing.status,
        "error": closing.error,
        "prompt_tokens": closing.prompt_tokens,
        "completion_tokens": closing.completion_tokens,
        "first_ms": closing.first_ms,
        "total_ms": closing.finished - opening.started,
    }
    log.info("settled", extra={"told": told})


async def _one(body: bytes) -> AsyncIterator[bytes]:
    yield body
