"""
What goes wrong on purpose: refusals, delays, cut watches, an API server that is away.

``handlers`` asks :meth:`Faults.meet` before it answers a call; tests add and
remove faults::

    with api.faults.during(Fault(500, verbs={"create"}, resources={"pods"}, rate=0.2)):
        ...
    api.faults.drop_watches()
    async with api.away():
        ...

In a process of its own the server takes them over ``/-/faults``; see
``control``.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from tests.fakes.kubernetes.apiserver.calls import Call
from tests.fakes.kubernetes.apiserver.errors import ApiError


@dataclass
class Fault:
    """
    One thing that goes wrong with calls that match all that is said.

    ``verbs``, ``resources`` (``pods``, ``pods/log``) and ``users`` that are
    empty match everything, ``spared`` are users who are spared. Of those calls a share of
    ``rate``, the first ``times`` (0 is all), are delayed by ``delay`` seconds
    and then answered ``status`` (0 answers as if nothing had happened, after
    the delay), with ``retry_after`` seconds if that is not 0. ``met`` counts.
    """

    status: int = 0
    delay: float = 0.0
    verbs: Set[str] = frozenset()
    resources: Set[str] = frozenset()
    users: Set[str] = frozenset()
    spared: Set[str] = frozenset()
    rate: float = 1.0
    times: int = 0
    retry_after: int = 0
    message: str = "this fault was asked for by a test"
    met: int = 0

    def matches(self, call: Call) -> bool:
        """Tell whether a call is one of those; the rate is not asked."""
        if self.times and self.met >= self.times:
            return False
        return (
            (not self.verbs or call.verb in self.verbs)
            and (not self.resources or call.asked in self.resources)
            and (not self.users or call.user.name in self.users)
            and call.user.name not in self.spared
        )


@dataclass
class Faults:
    """
    The faults that are active, and the watches to cut.

    ``seed`` makes rates repeatable; of 0 the first 25 calls would meet no fault
    of a rate of 0.2, of 1 six do.
    """

    active: list[Fault] = field(default_factory=list)
    seed: int = 1

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._watches: set[asyncio.Task[object]] = set()

    @contextlib.contextmanager
    def during(self, *faults: Fault) -> Iterator[None]:
        """Have faults for as long as the block runs."""
        self.active.extend(faults)
        try:
            yield
        finally:
            for fault in faults:
                self.active.remove(fault)

    async def meet(self, call: Call) -> None:
        """Let a call meet its faults: wait, and raise what it is to be told."""
        for fault in list(self.active):
            if not fault.matches(call) or self._random.random() >= fault.rate:
                continue
            fault.met += 1
            if fault.delay:
                await asyncio.sleep(fault.delay)
            if fault.status:
                raise ApiError(fault.status, fault.message, retry_after=fault.retry_after)

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Hold the current task, which serves a watch, to be cut by :meth:`drop_watches`."""
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        try:
            yield
        finally:
            self._watches.discard(task)

    def drop_watches(self) -> int:
        """Cut all watches in the middle, as a load balancer does; return how many."""
        watches = list(self._watches)
        for task in watches:
            task.cancel()
        return len(watches)
