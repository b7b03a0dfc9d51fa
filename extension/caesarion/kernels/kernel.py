"""
One live kernel: run code in it, watch the run, interrupt it.

Built by :mod:`caesarion.kernels.registry`, used by the Python tool and the HTTP door.
Talks to the kernel with jupyter_client directly: nbclient's own client shuts a
kernel down that is not ready and aborts the user's queued cells, and this
kernel is the user's.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from caesarion.config import CaesarionKernel
from caesarion.errors import BusyKernel, KernelError, Stopped
from caesarion.events import Notice, RunStart
from caesarion.kernels.connection import Connection, Request, wait
from caesarion.kernels.outputs import Recorder

# Seconds between looks at whether the kernel still lives. Made up: short
# against a person's patience, long against the cost of a look.
_WATCH = 0.5

# Seconds a free kernel takes at most to say who it is, on a loaded machine.
_BUSY_AFTER = 1.0

# Seconds between a cell's reply and its idle, at most, on a loaded machine.
_GRACE = 0.2

# Seconds after a reply in which the outputs that belong to it may still be on their way: the
# kernel sends them first, but another way, and a loaded machine has been seen to take 2.
_LAST_WORDS = 10.0

# Seconds until an evaluation that does not answer is interrupted. It limits itself to
# less, but cannot cut off a call into C.
_EVALUATION = 4.0

# Seconds a connection outlives its last run, so that the next one is quick and
# an idle chat does not read every message of the user's own cells.
_LINGER = 60.0

KernelState = Literal["starting", "ready", "busy", "failed"]
RunStatus = Literal["ok", "error", "timeout", "aborted", "dead"]


@dataclass(frozen=True)
class RunEnd:
    """
    How a run ended, after its last output.

    ``digest`` is its outputs as text for the model. ``note`` is a sentence on
    what else happened, where something did; it has also been an output.
    """

    status: RunStatus
    execution_count: int | None
    digest: str
    note: str = ""


RunStep = dict[str, Any] | Notice | RunStart | RunEnd


class KernelPool(Protocol):
    """The part of Jupyter Server's kernel manager that is used here."""

    def __contains__(self, kernel_id: str) -> bool: ...
    def get_kernel(self, kernel_id: str) -> Any:
        """Return the manager of one kernel."""

    async def restart_kernel(self, kernel_id: str, now: bool) -> None:
        """Restart one kernel; ``now`` does not wait for it to agree."""


class Kernel:
    """
    A kernel that several parties may use: its notebook, this chat, another chat.

    Runs of ours queue up behind each other; a cell of the user's is waited for.
    """

    def __init__(self, settings: CaesarionKernel, pool: KernelPool, kernel_id: str) -> None:
        self.id = kernel_id
        self.place = ""
        """The path of the notebook that it is known to belong to."""
        self._settings = settings
        self._pool = pool
        # Held during a run of ours: the outputs of two would mix.
        self._turn = asyncio.Lock()
        # Held while the channels open: a run that began before would not be heard.
        self._opening = asyncio.Lock()
        self._connection: Connection | None = None
        # The last one we talked to; after a restart it is another.
        self._process: Any = None
        self._linger: asyncio.TimerHandle | None = None
        self._closing: set[asyncio.Task[Any]] = set()

    @property
    def exists(self) -> bool:
        """Whether the server still has this kernel."""
        return self.id in self._pool

    async def state(self) -> KernelState:
        """Return what the kernel does, as far as is known without asking it."""
        if not self.exists or not await self._manager.is_alive():
            return "failed"
        if self._connection and self._same_process():
            # Better than the server's own idea, which can lag behind.
            return "busy" if self._connection.busy.is_set() or self._turn.locked() else "ready"
        told = self._manager.execution_state
        if told in ("starting", "restarting", "autorestarting"):
            return "starting"
        return {"busy": "busy", "dead": "failed"}.get(told, "ready")  # type: ignore[return-value]

    @property
    def _manager(self) -> Any:
        if not self.exists:
            raise KernelError("The kernel was shut down. Ask again to start a new one.")
        return self._pool.get_kernel(self.id)

    async def connect(self, *, patient: bool = True) -> None:
        """
        Open the channels now, so that the first run does not wait for them.

        A kernel that is starting is given all the time it may take to answer, if one is
        ``patient``; else it counts as busy.
        """
        async with self._opening:
            process = _process(self._manager)
            reborn = process != (self._process or process)
            if reborn:
                # The old channels would connect again, but not before outputs are lost.
                await self._disconnect()
            self._process = process
            if self._connection is None:
                starting = reborn or self._manager.execution_state == "starting"
                limit = self._settings.start_limit if patient and starting else _BUSY_AFTER
                connection = Connection(self._manager)
                try:
                    await connection.open(limit)
                except BaseException:
                    await connection.close()
                    raise
                self._connection = connection
        self._linger_again()

    async def close(self) -> None:
        """Close the channels; the kernel itself lives on."""
        if self._linger:
            self._linger.cancel()
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()

    def _close_if_unused(self) -> None:
        if self._turn.locked() or (self._connection and self._connection.abandoned):
            self._linger_again()
            return
        task = asyncio.ensure_future(self._disconnect())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def run(self, code: str) -> AsyncGenerator[RunStep, None]:
        """
        Run ``code``, yielding its start, outputs as they appear, and last a :class:`RunEnd`.

        A failing cell is an output and a status, not an exception. When the
        caller is cancelled or closes the generator, the run is interrupted
        first, and its kernel restarted if it does not yield to that; then
        :class:`~caesarion.errors.Stopped` says which. Raises
        :class:`~caesarion.errors.KernelError` if the kernel is gone.
        """
        if self._turn.locked():
            yield Notice("is waiting for another run in the same kernel")
        async with self._turn:
            await self._revived()
            await self.connect()
            connection = self._connection
            assert connection is not None
            async with contextlib.aclosing(self._free(connection)) as waiting:
                async for notice in waiting:
                    yield notice
            if connection.busy.is_set():
                note = _BUSY.format(f"{self._settings.time_limit:g}")
                yield _shown(note)
                yield RunEnd("timeout", None, "", note)
                return
            await connection.listen(self._settings.start_limit)
            recorder = Recorder(
                shown_text=self._settings.shown_text,
                max_media=self._settings.max_media,
                max_outputs=self._settings.max_outputs,
            )
            request = connection.execute(code, recorder)
            try:
                async with contextlib.aclosing(self._watch(connection, request)) as happenings:
                    async for happening in happenings:
                        yield happening
            except (asyncio.CancelledError, GeneratorExit) as error:
                try:
                    note = await self._halt_shielded(connection, request)
                except KernelError as failed:
                    note = str(failed)  # The stop is a stop, whatever became of the kernel.
                if isinstance(error, GeneratorExit):
                    raise
                raise Stopped(note) from error
            finally:
                self._linger_again()

    async def evaluate(self, expression: str) -> str:
        """
        Return how the kernel shows ``expression``, leaving no trace in it.

        It is not counted and not in the history. Raises
        :class:`~caesarion.errors.BusyKernel` instead of waiting for what runs.
        """
        if self._turn.locked():
            raise BusyKernel(_BUSY_NOW)
        async with self._turn:
            if not await self._manager.is_alive():
                raise KernelError(_DIED)
            await self.connect(patient=False)
            connection = self._connection
            assert connection is not None
            if connection.busy.is_set():
                # A cell that has ended may not have said so yet.
                await wait(connection.freed, _GRACE)
            if connection.busy.is_set():
                raise BusyKernel(_BUSY_NOW)
            request = connection.evaluate(expression)
            try:
                await self._evaluated(request)
            finally:
                connection.forget(request)
                self._linger_again()
        content = request.reply["content"] if request.reply else {}
        if content.get("status") != "ok":
            raise BusyKernel(_BUSY_NOW)  # Aborted, or waiting behind a cell that was quicker.
        told = content["user_expressions"]["it"]
        if told["status"] != "ok":
            raise KernelError(f"The kernel could not be looked into: {told['ename']}.")
        return str(told["data"]["text/plain"])

    async def _evaluated(self, request: Request) -> None:
        """Wait for the reply; interrupt the request if it takes too long."""
        loop = asyncio.get_running_loop()
        deadline, halted = loop.time() + _EVALUATION, False
        while request.reply is None:
            left = deadline - loop.time()
            if left <= 0 and (halted or not request.begun):
                return
            if left <= 0:
                await self._manager.interrupt_kernel()
                deadline, halted = loop.time() + self._settings.stop_limit, True
                continue
            await wait(request.changed, min(_WATCH, left))
            request.changed.clear()
            if not self.exists or not await self._manager.is_alive():
                raise KernelError(_DIED)

    async def _revived(self) -> None:
        """Wait for a kernel that died a moment ago; the server looks for such every 3 seconds."""
        if await self._manager.is_alive():
            return
        await self._disconnect()
        try:
            async with asyncio.timeout(self._settings.start_limit):
                # Nobody tells of it; the server itself looks at intervals too.
                while self.exists and not await self._manager.is_alive():  # noqa: ASYNC110
                    await asyncio.sleep(_WATCH)
        except TimeoutError as error:
            raise KernelError(
                "The kernel is dead and was not restarted. Restart it from the Kernel menu."
            ) from error

    def _linger_again(self) -> None:
        if self._linger:
            self._linger.cancel()
        loop = asyncio.get_running_loop()
        self._linger = loop.call_later(_LINGER, self._close_if_unused)

    async def _free(self, connection: Connection) -> AsyncGenerator[Notice, None]:
        """Wait until no cell of the user's runs, but no longer than a run may take."""
        if not connection.busy.is_set():
            return
        yield Notice("is waiting for your running cell to finish")
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.time_limit
        while connection.busy.is_set() and (left := deadline - loop.time()) > 0:
            await wait(connection.freed, min(_WATCH, left))
            if not self.exists or not await self._manager.is_alive():
                return  # The run will find out, and say so.

    async def _watch(
        self, connection: Connection, request: Request
    ) -> AsyncGenerator[RunStep, None]:
        settings, loop = self._settings, asyncio.get_running_loop()
        deadline = loop.time() + settings.time_limit
        next_look = loop.time() + _WATCH
        idle_deadline: float | None = None
        queued_told = started = False
        while not request.ended:
            await wait(request.changed, _WATCH)
            if request.changed.is_set():
                idle_deadline = None
            request.changed.clear()
            now = loop.time()
            if request.started and not started:
                started, deadline = True, now + settings.time_limit
                yield RunStart(request.execution_count, self.id, self.place)
            for output in request.recorder.take():
                yield output
            if request.reply:
                # Aborted requests have no outputs; the last of others may be on their way.
                idle_deadline = idle_deadline or now + _LAST_WORDS
                if now > idle_deadline or request.reply["content"]["status"] == "aborted":
                    break
            elif now > deadline:
                note = (_TOO_LONG if started else _BUSY).format(f"{settings.time_limit:g}")
                note = f"{note} {await self._halt(connection, request)}".strip()
                for step in _ending(request, settings.told_text, "timeout", note):
                    yield step
                return
            if now >= next_look:
                next_look = now + _WATCH
                connection.check()
                if note := await self._death(connection):
                    for step in _ending(request, settings.told_text, "dead", note):
                        yield step
                    return
                if connection.busy.is_set() and not started and not queued_told:
                    queued_told = True
                    yield Notice("is waiting for your running cell to finish")
        connection.forget(request)
        assert request.reply is not None
        replied = request.reply["content"]["status"]
        status: RunStatus = replied if replied in ("ok", "error") else "aborted"
        note = _ABORTED if status == "aborted" else ""
        for step in _ending(request, settings.told_text, status, note):
            yield step

    async def _death(self, connection: Connection) -> str:
        """Return what became of the kernel, if it is no longer the one of ``connection``."""
        if self.exists and await self._manager.is_alive() and self._same_process():
            return ""
        await self._disconnect()
        if not self.exists:
            return _SHUT_DOWN
        return _RESTARTED_BY_USER if connection.told_to_stop else _DEAD

    def _same_process(self) -> bool:
        return bool(_process(self._manager) == self._process)

    async def _halt_shielded(self, connection: Connection, request: Request) -> str:
        """Stop the request even if the stopping is itself cancelled."""
        task = asyncio.ensure_future(self._halt(connection, request))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return await asyncio.shield(task)

    async def _halt(self, connection: Connection, request: Request) -> str:
        """Interrupt the request, or restart its kernel; return what that cost, if anything."""
        if request.ended or self._connection is not connection:
            return ""
        if note := await self._death(connection):
            return note
        if not request.started:
            # Not ours to interrupt: a cell of the user's runs. It is stopped
            # the moment the kernel comes to it.
            connection.abandon(request)
            return ""
        await self._manager.interrupt_kernel()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.stop_limit
        while not request.ended and (left := deadline - loop.time()) > 0:
            request.changed.clear()
            await wait(request.changed, min(_WATCH, left))
            if not request.ended and (note := await self._death(connection)):
                return note
        if request.ended:
            connection.forget(request)
            return ""
        await self._disconnect()
        try:
            async with asyncio.timeout(self._settings.start_limit):
                await self._pool.restart_kernel(self.id, now=True)
        except Exception as error:
            raise KernelError(
                "The kernel did not stop and could not be restarted. Shut it down in the "
                "Running panel and ask again."
            ) from error
        return _RESTARTED


_BUSY = (
    "The code was not run: for {} seconds the kernel was busy with a cell of the user's. "
    "It can be run again when that cell has finished."
)
_BUSY_NOW = (
    "The kernel is busy: something runs in it. Its variables can be seen when that has ended."
)
_DIED = "The kernel died. The next question starts a new one; its variables are gone."
_TOO_LONG = "The run was stopped after the limit of {} seconds."
_RESTARTED = "The kernel did not stop when interrupted and was restarted; its variables are gone."
_DEAD = (
    "The kernel died while running the code, most likely out of memory. A new one was started; "
    "its variables are gone."
)
_RESTARTED_BY_USER = "The user restarted the kernel; its variables are gone."
_SHUT_DOWN = "The kernel was shut down while running the code."
_ABORTED = "The code was not run: a cell before it in the kernel's queue failed."


def _ending(
    request: Request, told_text: int, status: RunStatus, note: str
) -> list[dict[str, Any] | RunEnd]:
    """Return the last outputs of a run, its note among them, and its end."""
    shown = [*request.recorder.finish(), *([_shown(note)] if note else [])]
    digest = request.recorder.digest(told_text)
    return [*shown, RunEnd(status, request.execution_count, digest, note)]


def _shown(note: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stderr", "text": f"{note}\n"}


def _process(manager: Any) -> Any:
    """Return what tells one process of a kernel from the one after a restart."""
    return getattr(manager.provisioner, "pid", None)
