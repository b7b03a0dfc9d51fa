"""
Leave an upstream alone that keeps failing, and look after a while whether it is back.

Called by ``endpoint``; calls nobody, and knows the time from the clock it is given.
"""

from collections.abc import Callable

from caesarion_hub.gateway.upstream.backend import State
from caesarion_hub.values.gateway import Breaker


class CircuitBreaker:
    """
    Closed, requests pass; open, none does; half-open, one does, to look.

    A request asks for leave and gives it back with what came of it: ``answered``
    when the answer begins, ``ended`` when it is whole, ``failed`` at a failure
    that is the upstream's fault, ``returned`` always, as the last.
    """

    def __init__(self, limits: Breaker, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._open_until: float | None = None
        self._probe: object | None = None
        self._rest_until = 0.0
        self.failures = 0
        """Failures since the last whole answer."""

    @property
    def state(self) -> State:
        """What it is now."""
        if self._open_until is None:
            return "closed"
        return "open" if self.seconds_left else "half-open"

    @property
    def seconds_left(self) -> float:
        """Seconds until it is half-open, or 0."""
        return max(0.0, (self._open_until or 0.0) - self._clock())

    @property
    def is_resting(self) -> bool:
        """Whether the upstream asked for a rest: others are better asked first."""
        return self.state == "open" or self._clock() < self._rest_until

    def rest(self, seconds: float) -> None:
        """Take note that the upstream wants to be asked later."""
        self._rest_until = max(self._rest_until, self._clock() + seconds)

    def enter(self) -> object | None:
        """Return leave for one request, or None if it may not pass."""
        state = self.state
        if state == "open" or (state == "half-open" and self._probe):
            return None
        leave = object()
        if state == "half-open":
            self._probe = leave
        return leave

    def answered(self, leave: object) -> None:
        """Close again if this request was the one to look."""
        if leave is self._probe:
            self._open_until = None
            self.failures = 0

    def ended(self) -> None:
        """Forget earlier failures."""
        if self._open_until is None:
            self.failures = 0

    def failed(self, leave: object) -> None:
        """Count, and open when it was one too many or the one to look."""
        self.failures += 1
        is_last = self._open_until is None and self.failures >= self._limits.failures
        if is_last or leave is self._probe:
            self._open_until = self._clock() + self._limits.seconds

    def returned(self, leave: object) -> None:
        """Let another look if this request learned nothing."""
        if leave is self._probe:
            self._probe = None
