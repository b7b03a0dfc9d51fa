"""
The Kubernetes API as the spawner calls it: what can be tried again is tried again.

Called by ``spawner``, ``mirror`` and ``sweep``; the foreign client's errors are
sorted here. Its law: a call that may succeed later ends in TimeoutError, which
KubeSpawner answers with another try, backing off with jitter; it would let a
500 fail the spawn.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from logging import Logger
from random import uniform
from typing import Any, ClassVar

from aiohttp import ClientError
from kubernetes_asyncio.client import ApiException

PASSING = frozenset({408, 429, *range(500, 600)} - {501})
"""Statuses of an API that is busy, away or upgraded: the same call may succeed later."""

ANSWER = 10
"""Seconds for the answer to a call, after which it is given up and made again."""

LONGEST_PAUSE = 5.0
"""Seconds between two tries at most; also what a Retry-After is cut to."""


def is_passing(problem: BaseException) -> bool:
    """Return whether the call that met ``problem`` may succeed when tried again."""
    if isinstance(problem, ApiException):
        return problem.status in PASSING
    return isinstance(problem, ClientError | OSError | asyncio.TimeoutError)


def shown(problem: BaseException) -> str:
    """Return what happened in a few words for the log."""
    if isinstance(problem, ApiException):
        return f"{problem.status} {message_of(problem) or problem.reason}"
    return f"{type(problem).__name__}: {problem}".rstrip(": ")


def message_of(problem: ApiException) -> str:
    """Return the API's own words, if it had any."""
    return str(_status_of(problem).get("message", ""))


def reason_of(problem: ApiException) -> str:
    """Return the API's word for what happened, such as AlreadyExists."""
    return str(_status_of(problem).get("reason", ""))


def _status_of(problem: ApiException) -> dict[str, Any]:
    try:
        status = json.loads(problem.body or "")
    except (TypeError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def pauses(first: float = 0.1, longest: float = LONGEST_PAUSE) -> Iterator[float]:
    """Yield the seconds to wait before each next try: longer and longer, never the same."""
    pause = first
    while True:
        yield uniform(pause / 2, pause)  # noqa: S311
        pause = min(2 * pause, longest)


class Health:
    """Whether something answers; says so in the log once when that changes."""

    def __init__(self, what: str, log: Logger) -> None:
        self.what = what
        self.log = log
        self.problem: BaseException | None = None
        """What the last try met, if it failed."""
        self._since = 0.0

    @property
    def is_good(self) -> bool:
        """Whether the last try succeeded."""
        return self.problem is None

    def failed(self, problem: BaseException) -> None:
        """Note a failure; the first in a row is a warning."""
        if self.problem is None:
            self._since = time.monotonic()
            self.log.warning("%s: %s. Trying again.", self.what, shown(problem))
        self.problem = problem

    def answered(self) -> None:
        """Note a success."""
        if self.problem is not None:
            away = time.monotonic() - self._since
            self.problem = None
            self.log.info("%s: good again after %.1f s.", self.what, away)


class PatientApi:
    """A client of the API whose calls end in TimeoutError where trying again may help."""

    health: ClassVar[Health | None] = None
    """Of the API as all spawners see it."""

    def __init__(self, client: Any, log: Logger) -> None:
        self._client = client
        if PatientApi.health is None:
            PatientApi.health = Health("Calls to the Kubernetes API", log)
        self._health = PatientApi.health

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._client, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            kwargs.setdefault("_request_timeout", ANSWER)
            try:
                answer = await method(*args, **kwargs)
            except Exception as problem:
                if not is_passing(problem):
                    self._health.answered()
                    raise
                self._health.failed(problem)
                await asyncio.sleep(retry_after(problem))
                raise TimeoutError(shown(problem)) from problem
            self._health.answered()
            return answer

        return call


def retry_after(problem: BaseException) -> float:
    """Return the seconds that the API asks to wait for, as far as we will."""
    headers = getattr(problem, "headers", None) or {}
    try:
        return max(0.0, min(float(headers.get("Retry-After", 0)), LONGEST_PAUSE))
    except ValueError:
        return 0.0  # a date; KubeSpawner's own pause has to do
