"""
Work of the agent counts as activity of its server, so that no culler stops it meanwhile.

Called by the streamed routes of :mod:`caesarion.api` and by :mod:`caesarion.chat.persona`. Jupyter
Server takes each of its settings whose name ends in ``_last_activity`` as a time at which the
server was in use; a server under JupyterHub reports the latest to the hub, whose culler reads it.
"""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any

from tornado.ioloop import PeriodicCallback

from caesarion.events import ApprovalRequest, Event

SETTING = "caesarion_last_activity"

# Seconds between two entries while something is under way: short beside the shortest
# timeout of a culler that makes sense, a minute.
_EVERY = 2.0


class Activity:
    """When the agent was last at work, in the ``settings`` of a server."""

    def __init__(self, settings: MutableMapping[str, Any]) -> None:
        self._settings = settings
        # What is under way, each by what says whether it counts now.
        self._under_way: list[Callable[[], bool]] = []
        self._timer = PeriodicCallback(self._note, 1000 * _EVERY)

    @contextlib.contextmanager
    def under_way(self, counts: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Count the whole block as activity, as long as it ``counts``."""
        self._under_way.append(counts)
        self._note()
        if not self._timer.is_running():
            self._timer.start()
        try:
            yield
        finally:
            self._note()
            self._under_way.remove(counts)
            if not self._under_way:
                self._timer.stop()

    async def turn(
        self, events: AsyncGenerator[Event, None], counts: Callable[[], bool] = lambda: True
    ) -> AsyncGenerator[Event, None]:
        """
        Yield the ``events`` of a turn, which counts as activity, as long as it ``counts``.

        It does not count while a call waits for a person's decision: a person who
        never comes back must not keep the server running.
        """
        async with contextlib.aclosing(events):
            with contextlib.ExitStack() as counting:
                counting.enter_context(self.under_way(counts))
                waiting = False
                async for event in events:
                    if isinstance(event, ApprovalRequest):
                        counting.close()
                        waiting = True
                    elif waiting:
                        counting.enter_context(self.under_way(counts))
                        waiting = False
                    yield event

    def _note(self) -> None:
        if any(counts() for counts in self._under_way):
            self._settings[SETTING] = datetime.now(UTC)
