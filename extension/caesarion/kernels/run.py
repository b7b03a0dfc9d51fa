"""
One run of code in a kernel: its outputs, its limits, how it ended, and how it is stopped.

Made by :mod:`caesarion.kernels.kernel`; talks to the kernel by its
:class:`~caesarion.kernels.connection.Connection`. Invariant: a cell of the user's is never
interrupted. A run of ours is, as soon as the kernel has come to it.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from caesarion.config import CaesarionKernel
from caesarion.errors import KernelError
from caesarion.events import RunStart, StatusChange
from caesarion.kernels.connection import Connection
from caesarion.kernels.outputs import OutputBuffer
from caesarion.kernels.process import NEW_KERNEL, asks_to_exit
from caesarion.kernels.request import wait

# Seconds between looks at whether the kernel still lives, and at what it executes. Made up: short
# against a person's patience, long against the cost of a look.
WATCH = 0.5

# Seconds after a reply in which the outputs that belong to it may still be on their way: the
# kernel sends them first, but another way, and a loaded machine has been seen to take 2.
_LAST_OUTPUTS = 10.0

WAITING = StatusChange("is waiting for your running cell to finish")

_NEVER_RAN = (
    "The code was not run: for {} seconds the kernel was busy with a cell of the user's. "
    "It can be run again when that cell has finished."
)
_TOO_LONG = "The run was stopped after the limit of {} seconds."
_RESTARTED = "The kernel did not stop when interrupted and was restarted; its variables are gone."
_ABORTED = "The code was not run: a cell before it in the kernel's queue failed."
_NOT_RUN = "The code was not run."
_EXITED = "The code ended the kernel with exit()."

RunStatus = Literal["ok", "error", "timeout", "aborted", "dead"]


@dataclass(frozen=True)
class RunEnd:
    """
    How a run ended, after its last output.

    ``digest`` is its outputs as text for the model. ``note`` is a sentence on what else
    happened, where something did; it has also been an output.
    """

    status: RunStatus
    execution_count: int | None
    digest: str
    note: str = ""


RunStep = dict[str, Any] | StatusChange | RunStart | RunEnd
Late = Callable[[RunStart, dict[str, Any]], object]
"""Takes an output that comes after the end of the run that began so: of a task of its code."""


def show_note(note: str) -> dict[str, Any]:
    """Return a sentence of ours as an output."""
    return {"output_type": "stream", "name": "stderr", "text": f"{note}\n"}


def never_ran(seconds: float, execution_count: int | None = None) -> list[dict[str, Any] | RunEnd]:
    """Return the steps of a run that a cell of the user's kept from its start."""
    note = _NEVER_RAN.format(f"{seconds:g}")
    return [show_note(note), RunEnd("timeout", execution_count, "", note)]


class Run:
    """
    A run, from its request on; ``kernel_id`` and ``notebook_path`` say where it is.

    ``restart`` restarts the kernel, at once if its argument is true; ``spawn_task`` runs a
    coroutine in the background. ``counted`` and ``metadata`` are the request's.
    """

    def __init__(
        self,
        connection: Connection,
        settings: CaesarionKernel,
        code: str,
        *,
        kernel_id: str,
        notebook_path: str,
        restart: Callable[[bool], Awaitable[None]],
        spawn_task: Callable[[Coroutine[Any, Any, object]], object],
        late: Late | None = None,
        counted: bool = True,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._kernel_id = kernel_id
        self._notebook_path = notebook_path
        self._restart = restart
        self._spawn_task = spawn_task
        buffer = OutputBuffer(
            shown_text=settings.shown_text,
            max_media=settings.max_media,
            max_outputs=settings.max_outputs,
        )
        connection.process.begin_run()
        self._late = late
        self._request = connection.execute(
            code,
            buffer,
            self._take_late if late else None,
            counted=counted,
            metadata=metadata,
        )
        self._start: RunStart | None = None
        self._stopped = False

    async def steps(self) -> AsyncGenerator[RunStep, None]:
        """Yield the start, outputs as they appear, and last a :class:`RunEnd`."""
        loop, request = asyncio.get_running_loop(), self._request
        limit = self._settings.time_limit
        deadline, next_look = loop.time() + limit, loop.time() + WATCH
        last_outputs: float | None = None
        waiting_told = False
        while not request.idle_and_replied:
            await wait(request.changed, WATCH)
            if request.changed.is_set():
                last_outputs = None
            request.changed.clear()
            now = loop.time()
            if now >= next_look:
                next_look = now + WATCH
                self._connection.check()
                # Code may keep its kernel from saying that it has begun.
                request.code_started = request.code_started or self._connection.executes(request)
                if end := await self._end_of_process():
                    for step in self._ending(
                        "dead", end if request.code_started else _not_run(end)
                    ):
                        yield step
                    return
            if request.code_started and not self._start:
                deadline = now + limit
                self._start = RunStart(
                    request.execution_count, self._kernel_id, self._notebook_path
                )
                yield self._start
            for output in request.buffer.take():
                yield output
            if request.reply:
                # Aborted requests have no outputs; the last of others may be on their way.
                last_outputs = last_outputs or now + _LAST_OUTPUTS
                if now > last_outputs or request.reply["content"]["status"] == "aborted":
                    break
            elif now > deadline:
                for step in await self._time_out():
                    yield step
                return
            elif not (self._start or waiting_told) and self._connection.occupied:
                waiting_told = True
                yield WAITING
        self._connection.forget(request)
        for step in await self._reply():
            yield step

    async def stop(self) -> str:
        """
        Interrupt the code, and restart its kernel if it does not yield to that.

        Returns a sentence on what that cost, if anything. Code that waits in the kernel's queue
        is stopped in the background, as soon as the kernel comes to it.
        """
        self._stopped = True
        request = self._request
        if request.abandoned or request.idle_or_replied:
            return ""
        if end := await self._end_of_process():
            return end
        if not self._connection.executes(request):
            self._connection.abandon(request)
            self._spawn_task(self._stop_when_begun())
            return ""
        return await self._interrupt()

    def _take_late(self, output: dict[str, Any]) -> None:
        if self._stopped and output["output_type"] == "error":
            return  # The KeyboardInterrupt of the stop, which is said already.
        if self._late and self._start:
            self._late(self._start, output)

    async def _end_of_process(self) -> str:
        connection = self._connection
        return await connection.process.end(shutdown_reply_seen=connection.shutdown_reply_seen)

    async def _stop_when_begun(self) -> None:
        request = self._request
        while not request.idle_or_replied and not self._connection.executes(request):
            await wait(request.changed, WATCH)
            request.changed.clear()
            if await self._end_of_process():
                return
        if request.idle_or_replied:
            self._connection.forget(request)
        else:
            await self._interrupt()

    async def _interrupt(self) -> str:
        connection, request, limit = self._connection, self._request, self._settings.stop_limit
        # Twice: a KeyboardInterrupt that comes while an object is being finalised, or into code
        # that catches everything, is lost.
        for patience in (limit / 2, limit / 2):
            await connection.process.manager.interrupt_kernel()
            if end := await self._end_within(patience):
                return end
            if request.idle_or_replied:
                break
        stuck = not request.idle_or_replied and connection.executes(request)
        connection.forget(request)
        if not stuck:
            return ""
        await self._restart(True)
        return _RESTARTED

    async def _end_within(self, seconds: float) -> str:
        """Wait until the code has ended; return what it cost if its kernel ended with it."""
        connection, request, loop = self._connection, self._request, asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not request.idle_or_replied and (left := deadline - loop.time()) > 0:
            connection.wake()
            request.changed.clear()
            await wait(request.changed, min(WATCH, left))
            if not request.idle_or_replied and (end := await self._end_of_process()):
                return end
        return ""

    async def _time_out(self) -> list[dict[str, Any] | RunEnd]:
        limit = self._settings.time_limit
        if not self._request.code_started:
            await self.stop()
            return never_ran(limit)
        note = f"{_TOO_LONG.format(f'{limit:g}')} {await self.stop()}".strip()
        return self._ending("timeout", note)

    async def _reply(self) -> list[dict[str, Any] | RunEnd]:
        """Return the last steps of a run that the kernel has replied to."""
        assert self._request.reply
        content = self._request.reply["content"]
        self._request.note_count(content)
        if content["status"] not in ("ok", "error"):
            return self._ending("aborted", _ABORTED)
        if asks_to_exit(content):
            return self._ending("dead", await self._replace_exited())
        if content["status"] == "error":
            self._add_error(content)
        return self._ending(content["status"], "")

    def _add_error(self, reply: dict[str, Any]) -> None:
        """Add an error whose own message did not come: its text cannot be encoded, for example."""
        buffer = self._request.buffer
        if reply["ename"] not in buffer.digest(self._settings.result_text):
            error = {"ename": reply["ename"], "evalue": reply["evalue"], "traceback": []}
            buffer.feed({"msg_type": "error", "content": error})

    async def _replace_exited(self) -> str:
        # ipykernel 7 ends 0.1 s after it has replied: the next run must not go to it.
        try:
            await self._restart(False)
        except KernelError as error:
            return f"{_EXITED} {error}"
        return f"{_EXITED} {NEW_KERNEL}"

    def _ending(self, status: RunStatus, note: str) -> list[dict[str, Any] | RunEnd]:
        """Return the last outputs of a run, its note among them, and its end."""
        buffer = self._request.buffer
        shown = [*buffer.finish(), *([show_note(note)] if note else [])]
        digest = buffer.digest(self._settings.result_text)
        return [*shown, RunEnd(status, self._request.execution_count, digest, note)]


def _not_run(end: str) -> str:
    return f"{_NOT_RUN} {end}"
