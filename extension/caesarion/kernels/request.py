"""
One execute request and what a kernel says of it.

Used by :mod:`caesarion.kernels.connection`, which sends requests and sorts messages to them, and
by :mod:`caesarion.kernels.run` and :mod:`caesarion.kernels.kernel`, which wait for them.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from caesarion.kernels.outputs import OutputBuffer


@dataclass
class Request:
    """
    An execute request under way; ``changed`` is set whenever something of it arrives.

    ``status_seen``: the kernel has sent a status, so it has come to the request. ``code_started``:
    the code has been given a number, or was seen to run; a silent evaluation gets no number.
    ``abandoned``: no run waits for it any more. ``counted``: it has a number, the
    ``execution_count``, which the kernel also gives to its results. Outputs that come after its end
    go to ``late``.
    """

    id: str
    buffer: OutputBuffer
    code_started: bool = False
    status_seen: bool = False
    idle: bool = False
    abandoned: bool = False
    counted: bool = True
    reply: dict[str, Any] | None = None
    execution_count: int | None = None
    late: Callable[[dict[str, Any]], None] | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def idle_and_replied(self) -> bool:
        """Whether the kernel has both replied and gone idle."""
        return self.idle and self.reply is not None

    @property
    def idle_or_replied(self) -> bool:
        """Whether the kernel has done with it; a part of what it says of it may be to come."""
        return self.idle or self.reply is not None

    def note(self, message: dict[str, Any]) -> None:
        """Take an iopub message that has this request as its parent."""
        kind, content = message["msg_type"], message["content"]
        if kind == "execute_input":
            self.code_started = True
            self.note_count(content)
        elif kind == "status":
            self.status_seen = True
            self.idle = content["execution_state"] == "idle"
        elif not self.abandoned:
            self._feed(message)
        self.changed.set()

    def note_count(self, content: dict[str, Any]) -> None:
        """Take the execution count of a message's ``content``, if it has one and it counts."""
        if self.counted:
            self.execution_count = content.get("execution_count", self.execution_count)

    def note_late(self, message: dict[str, Any]) -> None:
        """Take an iopub message that comes after the end."""
        self._feed(message)
        for output in self.buffer.take():
            if self.late:
                self.late(output)

    def _feed(self, message: dict[str, Any]) -> None:
        if message["msg_type"] == "execute_result" and not self.counted:
            # The kernel sends the number that the next cell will have.
            content = {**message["content"], "execution_count": None}
            message = {**message, "content": content}
        self.buffer.feed(message)


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for ``event``, or as long as ``seconds``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
