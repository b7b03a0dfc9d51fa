"""What requests of each kind took and how they failed."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp


class FailedError(Exception):
    """A request had an answer, but not the one that it was for."""


class Samples:
    """Seconds and failures by kind of request."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.failures: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Time the block; a request that fails in it is counted and goes no further."""
        began = time.perf_counter()
        try:
            yield
        except (aiohttp.ClientError, TimeoutError, OSError, FailedError) as error:
            self.failures[kind][describe(error)] += 1
        else:
            self.seconds[kind].append(time.perf_counter() - began)

    def failed_share(self) -> float:
        """Return which part of all requests has failed."""
        failed = sum(reasons.total() for reasons in self.failures.values())
        return failed / max(1, failed + sum(map(len, self.seconds.values())))

    def kinds(self) -> list[str]:
        """Return every kind of request that there was, in the order of their first."""
        return list(dict.fromkeys((*self.seconds, *self.failures)))


def describe(error: Exception) -> str:
    """Return why a request failed in a few words that are the same for each of its kind."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    if isinstance(error, FailedError):
        return str(error)
    return type(error).__name__
