"""
The channels to one kernel: requests go out, and what comes back is sorted to them.

Used by :mod:`caesarion.kernels.kernel` alone. Knows the messages of Jupyter's protocol,
not what a run means to anybody.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import zmq

from caesarion.kernels.outputs import Recorder

# Seconds after which a kernel is asked a second time; each pause is twice the last.
_ASK_AGAIN = 0.02


@dataclass
class Request:
    """
    An execute request under way; ``changed`` is set whenever something of it arrives.

    The kernel has ``begun`` with it when it says so, and ``started`` its code when
    it has been given a number; an evaluation gets none.
    """

    id: str
    recorder: Recorder
    started: bool = False
    begun: bool = False
    idle: bool = False
    reply: dict[str, Any] | None = None
    execution_count: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ended(self) -> bool:
        """Whether the kernel has both replied and gone idle."""
        return self.idle and self.reply is not None


async def wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for ``event``, or as long as ``seconds``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class Connection:
    """The channels to a kernel, and the two tasks that read them as long as it is open."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._client = manager.client()
        # All clients of one manager share their session id and count from 0,
        # so they would take each other's replies for their own.
        self._client.session.session = uuid4().hex
        self._requests: dict[str, Request] = {}
        self._probes: set[str] = set()
        self._heard = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []
        # Requests given up before the kernel came to them.
        self.abandoned: set[str] = set()
        # Whether the kernel was asked to shut down or restart, and took note.
        self.told_to_stop = False
        self.busy = asyncio.Event()
        self.freed = asyncio.Event()

    async def open(self, limit: float) -> None:
        """
        Subscribe to the kernel's outputs, and ask it who it is until it is heard.

        After ``limit`` seconds without an answer it is busy with something
        else. (The server's own idea of its state can lag behind, or get stuck,
        and the welcome of the protocol is sent to the first subscriber alone.)
        """
        self._client.start_channels(stdin=False, hb=False, control=False)
        self._readers = [
            asyncio.ensure_future(self._read_iopub()),
            asyncio.ensure_future(self._read_shell()),
        ]
        self.busy.set()
        await self._ask(limit, self.freed, self._heard)

    async def listen(self, limit: float) -> None:
        """
        Wait until the kernel is heard, but no longer than ``limit`` seconds.

        Of one that has answered and is not heard yet, outputs would be lost.
        """
        await self._ask(limit, self._heard)

    async def _ask(self, limit: float, *answers: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + limit, _ASK_AGAIN
        while lacking := [answer for answer in answers if not answer.is_set()]:
            if (left := deadline - loop.time()) <= 0:
                return
            self._probes.add(self._sent(self._client.kernel_info()))
            await wait(lacking[0], min(pause, left))
            pause = min(2 * pause, 1.0)

    async def close(self) -> None:
        """Stop reading and close the channels."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._client.stop_channels()

    def execute(self, code: str, recorder: Recorder) -> Request:
        """Send ``code``; what it shows goes to ``recorder``."""
        sent = self._client.execute(code, allow_stdin=False, stop_on_error=False)
        request = Request(self._sent(sent), recorder)
        self._requests[request.id] = request
        return request

    def evaluate(self, expression: str) -> Request:
        """Ask what ``expression`` is, as user expression "it" of a request that leaves no trace."""
        sent = self._client.execute(
            "",
            silent=True,
            store_history=False,
            user_expressions={"it": expression},
            allow_stdin=False,
            stop_on_error=False,
        )
        # What the looking itself may print is nobody's output.
        request = Request(
            self._sent(sent), Recorder(shown_text=1_024, max_media=1_024, max_outputs=1)
        )
        self._requests[request.id] = request
        return request

    def _sent(self, request_id: str) -> str:
        """
        Let the reader look again after a request was sent; return the request's id.

        jupyter_client sends behind the back of asyncio's socket. A reply that
        came in that moment would go unnoticed, and all replies after it: the
        socket's descriptor is edge-triggered (zmq_getsockopt(3), ZMQ_FD).
        """
        self._client.shell_channel.socket.get(zmq.EVENTS)
        return request_id

    def forget(self, request: Request) -> None:
        """Let go of a request; what still comes of it is not ours."""
        self._requests.pop(request.id, None)

    def abandon(self, request: Request) -> None:
        """Forget a request that waits in the kernel's queue; it is interrupted when it begins."""
        self.forget(request)
        self.abandoned.add(request.id)

    def check(self) -> None:
        """Raise what ended a reader, if anything did."""
        for reader in self._readers:
            if reader.done():
                reader.result()

    async def _read_iopub(self) -> None:
        while True:
            message = await _message(self._client.iopub_channel)
            # Any word of the kernel's shows that the subscription stands.
            self._heard.set()
            kind, content = message["msg_type"], message["content"]
            parent = message["parent_header"].get("msg_id")
            request = self._requests.get(parent)
            if kind == "shutdown_reply":
                self.told_to_stop = True
            elif request is None:
                self._note_others(message)
                if kind == "execute_input" and parent in self.abandoned:
                    self.abandoned.discard(parent)
                    await self._manager.interrupt_kernel()
            else:
                if kind == "execute_input":
                    request.started = True
                    request.execution_count = content["execution_count"]
                elif kind == "status":
                    request.idle = content["execution_state"] == "idle"
                    request.begun = True
                else:
                    request.recorder.feed(message)
                request.changed.set()

    def _note_others(self, message: dict[str, Any]) -> None:
        if message["parent_header"].get("msg_type") != "execute_request":
            return
        state = message["content"].get("execution_state")
        if state == "busy":
            self.freed.clear()
            self.busy.set()
        elif state == "idle":
            self.abandoned.discard(message["parent_header"]["msg_id"])
            self._note_free()

    def _note_free(self) -> None:
        self.busy.clear()
        self.freed.set()

    async def _read_shell(self) -> None:
        while True:
            reply = await _message(self._client.shell_channel)
            parent = reply["parent_header"].get("msg_id")
            request = self._requests.get(parent)
            if parent in self._probes:
                self._probes.discard(parent)
                self._note_free()
            elif request:
                request.reply = reply
                request.changed.set()


async def _message(channel: Any) -> dict[str, Any]:
    """Return the next message, but none that is unsigned, or signed twice: that is not for us."""
    while True:
        with contextlib.suppress(ValueError):
            return dict(await channel.get_msg())
