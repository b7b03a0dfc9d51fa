"""
A circuit breaker: stop asking an upstream that keeps failing, and test it after a while.

Called by ``endpoint``; imports no other module of the upstreams but the interface. Reads
the time from the clock that it is given.
"""

from collections.abc import Callable

from caesarion_hub.gateway.upstream.backend import State
from caesarion_hub.values.gateway import Breaker


class CircuitBreaker:
    """
    Closed, all requests pass; open, none does; half-open, one does, as a probe.

    A request acquires a permit, reports ``responded`` when its answer begins,
    ``succeeded`` when the answer is complete or ``failed`` when the upstream is at fault,
    and releases the permit as the last.
    """

    def __init__(self, limits: Breaker, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._open_until: float | None = None
        self._probe: object | None = None
        self._deferred_until = 0.0
        self.failures = 0
        """Failures since the last complete answer."""

    @property
    def state(self) -> State:
        """The state now."""
        if self._open_until is None:
            return "closed"
        return "open" if self.seconds_left else "half-open"

    @property
    def seconds_left(self) -> float:
        """Seconds until it is half-open; 0 if it is not open."""
        return max(0.0, (self._open_until or 0.0) - self._clock())

    @property
    def is_deferred(self) -> bool:
        """Whether other upstreams should be asked first."""
        return self.state == "open" or self._clock() < self._deferred_until

    def defer(self, seconds: float) -> None:
        """Ask the upstream last for so many seconds, as its ``Retry-After`` wants."""
        self._deferred_until = max(self._deferred_until, self._clock() + seconds)

    def acquire(self) -> object | None:
        """Return a permit for one request, or None if the request may not pass."""
        state = self.state
        if state == "open" or (state == "half-open" and self._probe):
            return None
        permit = object()
        if state == "half-open":
            self._probe = permit
        return permit

    def responded(self, permit: object) -> None:
        """Close if this request was the probe."""
        if permit is self._probe:
            self._open_until = None
            self.failures = 0

    def succeeded(self) -> None:
        """Reset the count of failures."""
        if self._open_until is None:
            self.failures = 0

    def failed(self, permit: object) -> None:
        """Count a failure; open at the limit, and again if this request was the probe."""
        self.failures += 1
        is_limit = self._open_until is None and self.failures >= self._limits.failures
        if is_limit or permit is self._probe:
            self._open_until = self._clock() + self._limits.seconds

    def release(self, permit: object) -> None:
        """Let another request be the probe if this one was, and found nothing out."""
        if permit is self._probe:
            self._probe = None
