"""
Work of the agent counts as activity of its server, so that no culler stops it meanwhile.

Called by the streamed routes of :mod:`caesarion.api` and by :mod:`caesarion.chat.persona`. Jupyter
Server takes each of its settings whose name ends in ``_last_activity`` as a time at which the
server was in use; a server under JupyterHub reports the latest to the hub, whose culler reads it.
"""

import contextlib
from collections.abc import AsyncGenerator, Iterator, MutableMapping
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
        self._under_way = 0
        self._timer = PeriodicCallback(self._note, 1000 * _EVERY)

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Count the whole block as activity."""
        self._note()
        self._under_way += 1
        if not self._timer.is_running():
            self._timer.start()
        try:
            yield
        finally:
            self._note()
            self._under_way -= 1
            if not self._under_way:
                self._timer.stop()

    async def turn(self, events: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """
        Yield the ``events`` of a turn, which counts as activity.

        It does not count while a call waits for a person's decision: a person who
        never comes back must not keep the server running.
        """
        async with contextlib.aclosing(events):
            with contextlib.ExitStack() as counting:
                counting.enter_context(self.under_way())
                waiting = False
                async for event in events:
                    if isinstance(event, ApprovalRequest):
                        counting.close()
                        waiting = True
                    elif waiting:
                        counting.enter_context(self.under_way())
                        waiting = False
                    yield event

    def _note(self) -> None:
        self._settings[SETTING] = datetime.now(UTC)
