"""
The models of all upstreams as one list, cached for a minute.

Called by ``router``; asks each ``endpoint``. However many users' servers ask for the
list, each upstream is asked once.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from caesarion_hub.gateway.upstream.endpoint import Endpoint
from caesarion_hub.gateway.upstream.errors import UpstreamError

MAX_AGE = 60.0
"""Seconds for which the list is cached."""

MAX_AGE_INCOMPLETE = 5.0
"""Seconds for which a list is cached that lacks an upstream's models; a made-up number."""

_WILDCARDS = "*?["

log = logging.getLogger("gateway")

Model = dict[str, Any]


class ModelList:
    """
    The merged list. ``default_model`` stands for an upstream that names no model.

    The lock is held while the upstreams are asked, so that concurrent callers share
    one request to each.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], default_model: str, clock: Callable[[], float]
    ) -> None:
        self._endpoints = sorted(endpoints, key=lambda endpoint: endpoint.upstream.options.priority)
        self._default_model = default_model
        self._clock = clock
        self._lock = asyncio.Lock()
        self._cached: list[Model] | UpstreamError = []
        self._expires: float | None = None

    async def models(self) -> list[Model]:
        """Return the models; raise UpstreamError if no upstream has answered with a list."""
        async with self._lock:
            if self._expires is None or self._clock() >= self._expires:
                self._cached, max_age = await self._fetch()
                self._expires = self._clock() + max_age
        if isinstance(self._cached, UpstreamError):
            raise dataclasses.replace(self._cached)  # a traceback of its own for each caller
        return self._cached

    async def names(self) -> list[str]:
        """Return the models' names; without a list, those in the settings."""
        try:
            return [model["id"] for model in await self.models()]
        except UpstreamError:
            settings = [endpoint.upstream.options for endpoint in self._endpoints]
            names = (name for options in settings for name in (*options.aliases, *options.models))
            return list(dict.fromkeys(names))

    async def _fetch(self) -> tuple[list[Model] | UpstreamError, float]:
        """Ask every upstream; return the merged list and the seconds to cache it for."""
        requests = (endpoint.models() for endpoint in self._endpoints)
        answers = await asyncio.gather(*requests, return_exceptions=True)
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
            return failures[0], MAX_AGE_INCOMPLETE
        return list(merged.values()), MAX_AGE_INCOMPLETE if failures else MAX_AGE

    def _names(self, endpoint: Endpoint, listed: list[Model] | None) -> Iterator[tuple[str, int]]:
        """Yield the name of each model, and the second of its creation (0 if unknown)."""
        upstream, options = endpoint.upstream, endpoint.upstream.options
        for name in options.aliases:
            yield name, 0
        for model in listed or ():
            listed_name, created = model.get("id"), model.get("created")
            if isinstance(listed_name, str) and upstream.takes(listed_name):
                yield listed_name, created if isinstance(created, int) else 0
        for name in options.models:
            if not any(sign in name for sign in _WILDCARDS):
                yield name, 0
        if listed is None and not options.models and not options.aliases:
            yield self._default_model, 0


def _model(name: str, created: int, owner: str) -> Model:
    # Not the provider's own owner, which may be the account.
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
