"""
The channels to one process of a kernel: requests go out, and what comes back is sorted to them.

Used by :mod:`caesarion.kernels.kernel` and :mod:`caesarion.kernels.run`; speaks Jupyter's
messaging protocol (https://jupyter-client.readthedocs.io/en/stable/messaging.html) by
jupyter_client, and knows what the kernel executes by :mod:`caesarion.kernels.execution_marker`.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import zmq

from caesarion.kernels.execution_marker import ExecutionMarker
from caesarion.kernels.outputs import OutputBuffer
from caesarion.kernels.process import KernelProcess
from caesarion.kernels.request import Request, wait

# Seconds after which a kernel is asked a second time; each pause is twice the last.
_ASK_AGAIN = 0.02

# Requests that have ended and whose outputs are still taken: of tasks that they began.
_ENDED = 32

# Calls a function of ours; IPython 9 evaluates this in the user's namespace
# (``InteractiveShell.user_expressions``). The function's namespace is a lambda's, and the way to
# the builtins too: whatever names the user has given to things, none of them is looked up.
_EXPRESSION = (
    "(lambda here, ours: (here.__builtins__['exec']({source!r}, ours),"
    " ours[{function!r}](here.__globals__, *{arguments!r}))[1])"
    "(lambda: None, {{'__name__': 'caesarion'}})"
)


class Connection:
    """The channels to a kernel, and the two tasks that read them as long as it is open."""

    def __init__(self, process: KernelProcess) -> None:
        self.process = process
        self._client = process.manager.client()
        # In jupyter_client 8.10 all clients of one manager share their session id (Session.clone)
        # and count from 0, so they would take each other's replies for their own.
        self._client.session.session = uuid4().hex
        self._marker = ExecutionMarker(Path(process.manager.connection_file))
        # The request that the marker names and that is known to have ended.
        self._over = ""
        self._requests: dict[str, Request] = {}
        self._ended: OrderedDict[str, Request] = OrderedDict()
        self._probes: set[str] = set()
        # The request that makes the kernel write to the marker.
        self._marking = ""
        self._heard = asyncio.Event()
        self._readers: list[asyncio.Task[None]] = []
        # Whether the kernel was asked to shut down or restart, and took note.
        self.shutdown_reply_seen = False
        # Whether another client's cell runs, as far as the kernel has said.
        self._busy = False
        self.freed = asyncio.Event()

    @property
    def occupied(self) -> bool:
        """Whether the kernel executes, or will execute, a request that no run of ours waits for."""
        if self._busy or self.has_abandoned:
            return True
        return self._executed() not in ("", *self._requests)

    @property
    def has_abandoned(self) -> bool:
        """Whether an abandoned request is still in the kernel's queue, or runs."""
        return any(request.abandoned for request in self._requests.values())

    def executes(self, request: Request) -> bool:
        """
        Return whether the kernel executes ``request``, and nothing else.

        A cell of the user's that came first makes this false, also if the kernel has said
        nothing yet of either. Of a kernel without a marker it is what it says.
        """
        if request.idle:
            return False
        executed = self._executed()
        return executed == request.id if executed else request.status_seen

    def _executed(self) -> str:
        """Return the id of the request that the kernel executes, if it is known to execute one."""
        executed = self._marker.read()
        return "" if executed == self._over else executed

    async def open(self, limit: float) -> None:
        """
        Subscribe to the kernel's outputs, and send kernel_info requests until it answers.

        After ``limit`` seconds without an answer it is busy with something
        else. (The server's own idea of its state can lag behind, or get stuck.
        ``iopub_welcome`` (JEP 65) is no help: ipykernel 7.4 sends it to the first
        subscriber alone, as its XPUB socket is not verbose.)
        """
        self._client.start_channels(stdin=False, hb=False, control=False)
        self._readers = [
            asyncio.ensure_future(self._read_iopub()),
            asyncio.ensure_future(self._read_shell()),
        ]
        self._busy = True
        await self._ask(limit, self.freed, self._heard)
        self._marking = self._send_expression(*self._marker.call)

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
            self._probe()
            await wait(lacking[0], min(pause, left))
            pause = min(2 * pause, 1.0)

    def ask(self) -> None:
        """Ask for a sign of life; :attr:`freed` is set when the kernel has come to it."""
        if not self._probes:
            self._probe()

    def wake(self) -> None:
        """
        Let the kernel's event loop turn, so that it takes note of an interrupt.

        ipykernel 7.4 handles the signal of an interrupt during an ``await`` at the top level only
        when its loop wakes for another reason (``IPythonKernel._cancel_on_sigint``). A request
        wakes it. This can go when a cell ``await asyncio.sleep(60)`` is interrupted without it.
        """
        self._probe()

    def _probe(self) -> None:
        self._probes.add(self._sent(self._client.kernel_info()))

    async def close(self) -> None:
        """Stop reading and close the channels."""
        self.process.close()
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._client.stop_channels()
        self._marker.close()

    def execute(
        self,
        code: str,
        buffer: OutputBuffer,
        late: Callable[[dict[str, Any]], None] | None = None,
        *,
        counted: bool = True,
        metadata: dict[str, Any] | None = None,
    ) -> Request:
        """
        Send ``code``; what it shows goes to ``buffer``, and after its end to ``late``.

        What is not ``counted`` gets no execution count and is not in the history.
        """
        # jupyter_client's own ``execute`` takes no metadata.
        content = {
            "code": code,
            "silent": False,
            "store_history": counted,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        message = self._client.session.msg("execute_request", content, metadata=metadata)
        self._client.shell_channel.send(message)
        sent = str(message["header"]["msg_id"])
        request = Request(self._sent(sent), buffer, late=late, counted=counted)
        self._requests[request.id] = request
        return request

    def evaluate(self, source: str, function: str, *arguments: Any) -> Request:
        """
        Call ``function`` of ``source``, as user expression "it" of a request that leaves no trace.

        Its first argument is the user's namespace.
        """
        # What it may print belongs to no run.
        buffer = OutputBuffer(shown_text=1_024, max_media=1_024, max_outputs=1)
        request = Request(self._send_expression(source, function, *arguments), buffer)
        self._requests[request.id] = request
        return request

    def _send_expression(self, source: str, function: str, *arguments: Any) -> str:
        expression = _EXPRESSION.format(source=source, function=function, arguments=arguments)
        return self._sent(
            self._client.execute(
                "",
                silent=True,
                store_history=False,
                user_expressions={"it": expression},
                allow_stdin=False,
                stop_on_error=False,
            )
        )

    def _sent(self, request_id: str) -> str:
        """
        Let the reader look again after a request was sent; return the request's id.

        jupyter_client 8.10 sends behind the back of asyncio's socket, by a
        shadow of it (``Session.send``). A reply that
        came in that moment would go unnoticed, and all replies after it: the
        socket's descriptor is edge-triggered (zmq_getsockopt(3), ZMQ_FD).
        """
        self._client.shell_channel.socket.get(zmq.EVENTS)
        return request_id

    def forget(self, request: Request) -> None:
        """Let go of a request; of one that wants them, outputs are taken for a while."""
        self._requests.pop(request.id, None)
        if request.late:
            self._ended[request.id] = request
            while len(self._ended) > _ENDED:
                self._ended.popitem(last=False)

    def abandon(self, request: Request) -> None:
        """Treat a request as another client's from now on: its outputs are dropped."""
        request.abandoned = True

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
            if message["msg_type"] == "shutdown_reply":
                self.shutdown_reply_seen = True
            parent = message["parent_header"].get("msg_id", "")
            request = self._requests.get(parent)
            if request:
                request.note(message)
                self._note_over(request.id, idle=request.idle)
            elif parent in self._ended:
                self._ended[parent].note_late(message)
            if parent != self._marking and (request is None or request.abandoned):
                self._note_others(message)

    def _note_others(self, message: dict[str, Any]) -> None:
        if message["parent_header"].get("msg_type") != "execute_request":
            return
        state = message["content"].get("execution_state")
        self._note_over(message["parent_header"]["msg_id"], idle=state == "idle")
        if state == "busy":
            self.freed.clear()
            self._busy = True
        elif state == "idle":
            self._note_free()

    def _note_over(self, request_id: str, *, idle: bool) -> None:
        """Note that what the marker names is over; the kernel names it until it begins anew."""
        if idle and self._marker.read() == request_id:
            self._over = request_id

    def _note_free(self) -> None:
        self._busy = False
        self.freed.set()

    async def _read_shell(self) -> None:
        while True:
            reply = await _message(self._client.shell_channel)
            parent = reply["parent_header"].get("msg_id")
            request = self._requests.get(parent)
            if parent in self._probes:
                self._probes.discard(parent)
                if (executed := self._marker.read()) not in self._requests:
                    # The kernel does one thing at a time, and it had time to answer.
                    self._over = executed
                self._note_free()
            elif request:
                request.reply = reply
                request.changed.set()


async def _message(channel: Any) -> dict[str, Any]:
    """Return the next message, but none that is unsigned, or signed twice: that is not for us."""
    while True:
        with contextlib.suppress(ValueError):
            return dict(await channel.get_msg())
