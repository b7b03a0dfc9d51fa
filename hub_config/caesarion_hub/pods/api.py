"""
Wraps the Kubernetes client so that transient errors are retried.

Called by ``objects``, ``reflector`` and ``orphan_reaper``. Invariant: a call that
may succeed later raises TimeoutError. KubeSpawner 7.1 retries on TimeoutError
and on a 409 only, with backoff and jitter; a 500 would fail the spawn.
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
from kubespawner.clients import shared_client

TRANSIENT_STATUSES = frozenset({408, 429, *range(500, 600)} - {501})
"""Statuses of an API server that is busy, unavailable or being upgraded."""

REQUEST_TIMEOUT = 10
"""Seconds after which a call without an answer is abandoned and made again."""

MAX_PAUSE = 5.0
"""The most seconds between two tries; a longer Retry-After is shortened to this."""

WRITES = ("create_", "patch_", "delete_")
"""How the names of the client's methods that write begin."""


def is_transient(problem: BaseException) -> bool:
    """Return whether a call that failed with ``problem`` may succeed when it is retried."""
    if isinstance(problem, ApiException):
        return problem.status in TRANSIENT_STATUSES
    return isinstance(problem, ClientError | OSError | asyncio.TimeoutError)


def describe_error(problem: BaseException) -> str:
    """Return a short description of an error for the log."""
    if isinstance(problem, ApiException):
        return f"{problem.status} {message_of(problem) or problem.reason}"
    return f"{type(problem).__name__}: {problem}".rstrip(": ")


def message_of(problem: ApiException) -> str:
    """Return the API's error message, or an empty string."""
    return str(_status_of(problem).get("message", ""))


def reason_of(problem: ApiException) -> str:
    """Return the API's reason, such as AlreadyExists, or an empty string."""
    return str(_status_of(problem).get("reason", ""))


def _status_of(problem: ApiException) -> dict[str, Any]:
    try:
        status = json.loads(problem.body or "")
    except (TypeError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}


def backoff(first: float = 0.1, longest: float = MAX_PAUSE) -> Iterator[float]:
    """Yield the seconds to wait before each retry: exponential backoff with jitter."""
    pause = first
    while True:
        yield uniform(pause / 2, pause)  # noqa: S311
        pause = min(2 * pause, longest)


class Health:
    """Tracks whether something answers, and logs once when that changes."""

    def __init__(self, what: str, log: Logger) -> None:
        self.what = what
        self.log = log
        self.problem: BaseException | None = None
        """The error of the last try, if it failed."""
        self._since = 0.0

    @property
    def is_healthy(self) -> bool:
        """Whether the last try succeeded."""
        return self.problem is None

    def failed(self, problem: BaseException) -> None:
        """Record a failure; log a warning for the first in a row."""
        if self.problem is None:
            self._since = time.monotonic()
            self.log.warning("%s: %s. Trying again.", self.what, describe_error(problem))
        self.problem = problem

    def succeeded(self) -> None:
        """Record a success; log how long the outage lasted."""
        if self.problem is not None:
            away = time.monotonic() - self._since
            self.problem = None
            self.log.info("%s: working again after %.1f s.", self.what, away)


class RetriableApi:
    """
    A Kubernetes client whose calls raise TimeoutError where a retry may help.

    Calls that write return the body of the answer as bytes. Nearly nobody reads it, and the
    client's models of a pod are hundreds of objects, the most costly part of a write.
    """

    health: ClassVar[Health | None] = None
    """The state of the API, shared by all spawners."""

    def __init__(self, client: Any, log: Logger) -> None:
        self._client = client
        if RetriableApi.health is None:
            RetriableApi.health = Health("Calls to the Kubernetes API", log)
        self._health = RetriableApi.health

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._client, name)
        if name.startswith(WRITES):
            method = _unparsed(method)

        async def call(*args: Any, **kwargs: Any) -> Any:
            kwargs.setdefault("_request_timeout", REQUEST_TIMEOUT)
            try:
                answer = await method(*args, **kwargs)
            except Exception as problem:
                if not is_transient(problem):
                    self._health.succeeded()
                    raise
                self._health.failed(problem)
                await asyncio.sleep(retry_after(problem))
                raise TimeoutError(describe_error(problem)) from problem
            self._health.succeeded()
            return answer

        return call


def _unparsed(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[bytes]]:
    """
    Return ``method`` with bytes for its answer; it raises ApiException as before.

    kubernetes_asyncio 36 neither reads the answer nor looks at its status if it is not to make
    a model of it.
    """

    async def call(*args: Any, **kwargs: Any) -> bytes:
        response = await method(*args, _preload_content=False, **kwargs)
        body: bytes = await response.read()
        if not 200 <= response.status <= 299:
            problem: Any = ApiException(response.status, response.reason)
            problem.body, problem.headers = body.decode(), response.headers
            raise problem
        return body

    return call


def retry_after(problem: BaseException) -> float:
    """Return the seconds of the Retry-After header, capped at :data:`MAX_PAUSE`."""
    headers = getattr(problem, "headers", None) or {}
    try:
        return max(0.0, min(float(headers.get("Retry-After", 0)), MAX_PAUSE))
    except ValueError:
        return 0.0  # an HTTP date: KubeSpawner's own backoff is enough


def serialized(model: Any) -> dict[str, Any]:
    """Return a model of the client's as it is sent to the API."""
    made: dict[str, Any] = shared_client("CoreV1Api").api_client.sanitize_for_serialization(model)
    return made
