"""
The models of all upstreams as one list, kept for a minute.

Called by ``providers``; asks each ``endpoint``. However many users' servers
look, each upstream is asked once.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from caesarion_hub.gateway.upstream.endpoint import Endpoint
from caesarion_hub.gateway.upstream.errors import UpstreamError

FRESH = 60.0
"""Seconds that the list is kept."""

FRESH_FAILURE = 5.0
"""Seconds after which upstreams that gave no list are asked again; a made-up number."""

_WILDCARDS = "*?["

log = logging.getLogger("gateway")

Model = dict[str, Any]


class Catalogue:
    """
    The merged list. ``default_model`` stands for an upstream that names none.

    The lock is held while the upstreams are asked, so that they are asked once.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], default_model: str, clock: Callable[[], float]
    ) -> None:
        self._endpoints = sorted(endpoints, key=lambda endpoint: endpoint.upstream.options.priority)
        self._default_model = default_model
        self._clock = clock
        self._asking = asyncio.Lock()
        self._kept: list[Model] | UpstreamError = []
        self._until: float | None = None

    async def models(self) -> list[Model]:
        """Return the models; raise UpstreamError if no upstream can say which it has."""
        async with self._asking:
            if self._until is None or self._clock() >= self._until:
                self._kept, fresh = await self._ask()
                self._until = self._clock() + fresh
        if isinstance(self._kept, UpstreamError):
            raise dataclasses.replace(self._kept)  # each with a traceback of its own
        return self._kept

    async def names(self) -> list[str]:
        """Return the models' names, or what the operator wrote if no upstream says more."""
        try:
            return [model["id"] for model in await self.models()]
        except UpstreamError:
            written = [endpoint.upstream for endpoint in self._endpoints]
            return list(
                dict.fromkeys(
                    name for u in written for name in (*u.options.aliases, *u.options.models)
                )
            )

    async def _ask(self) -> tuple[list[Model] | UpstreamError, float]:
        asked = (endpoint.models() for endpoint in self._endpoints)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        merged: dict[str, Model] = {}
        failures: list[UpstreamError] = []
        for endpoint, answer in zip(self._endpoints, answers, strict=True):
            if isinstance(answer, UpstreamError):
                failures.append(answer)
                log.warning("No list of models: %s", answer.message)
            elif isinstance(answer, BaseException):
                raise answer
            else:
                for name, created in self._names(endpoint, answer):
                    merged.setdefault(name, _model(name, created, endpoint.upstream.name))
        if failures and len(failures) == len(answers):
            return failures[0], FRESH_FAILURE
        return list(merged.values()), FRESH_FAILURE if failures else FRESH

    def _names(self, endpoint: Endpoint, listed: list[Model] | None) -> Iterator[tuple[str, int]]:
        """Yield each name with the second of its making, 0 if that is not known."""
        upstream = endpoint.upstream
        for name in upstream.options.aliases:
            yield name, 0
        for model in listed or ():
            listed_name, created = model.get("id"), model.get("created")
            if isinstance(listed_name, str) and upstream.takes(listed_name):
                yield listed_name, created if isinstance(created, int) else 0
        for name in upstream.options.models:
            if not any(sign in name for sign in _WILDCARDS):
                yield name, 0
        if listed is None and not upstream.options.models and not upstream.options.aliases:
            yield self._default_model, 0


def _model(name: str, created: int, owner: str) -> Model:
    # The provider's own owner may be the account.
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
