"""
One live kernel, which is its user's: run code in it, look into it, see what it does.

Built by :mod:`caesarion.kernels.registry`, used by the Python tool and the HTTP API. Talks to the
kernel with jupyter_client directly, for two reasons in nbclient 0.11. Its
``start_new_kernel_client`` shuts a kernel down that is not ready. Its ``execute_cell`` sends
``stop_on_error``, so a cell that fails aborts the user's cells in the kernel's queue.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, Literal
from uuid import uuid4

from caesarion.config import CaesarionKernel
from caesarion.errors import BusyKernel, KernelError, NoScratchRun, Stopped
from caesarion.events import RunStart, StatusChange
from caesarion.kernels.connection import Connection
from caesarion.kernels.process import SHUT_DOWN, KernelProcess, MultiKernelManager, process_id
from caesarion.kernels.request import Request, wait
from caesarion.kernels.run import WAITING, WATCH, Late, Run, RunStep, never_ran
from caesarion.kernels.scratch import KEY, prepare_call

# Seconds a free kernel takes at most to answer, on a loaded machine.
_BUSY_AFTER = 1.0

# Seconds between a cell's reply and its idle, at most, on a loaded machine.
_GRACE = 0.2

# Seconds until an evaluation that does not answer is interrupted. It limits itself to less, but
# cannot cut off a call into C.
_EVALUATE_TIMEOUT = 4.0

# Seconds a connection outlives its last run, and the last output of a task that a run began: so
# that the next run is quick, what such tasks show is not lost, and an idle chat does not read
# every message of the user's own cells for ever. Made up.
_LINGER = 600.0

_BUSY = "The kernel is busy: something runs in it. Its variables can be seen when that has ended."
_DIED = "The kernel died. The next question starts a new one; its variables are gone."

_NO_SCRATCH = (
    "This kernel cannot run code in a copy of its namespace, so the code was not run. Run it "
    "without scratch."
)

KernelState = Literal["starting", "ready", "busy", "failed"]


class Kernel:
    """
    A kernel that several parties may use: its notebook, this chat, another chat.

    Runs of ours queue up behind each other; a cell of the user's is waited for.
    """

    def __init__(
        self, settings: CaesarionKernel, kernel_manager: MultiKernelManager, kernel_id: str
    ) -> None:
        self.id = kernel_id
        self.notebook_path = ""
        """The path of the notebook that it is known to belong to."""
        self._settings = settings
        self._kernel_manager = kernel_manager
        # Held during a run of ours: the outputs of two would mix.
        self._turn = asyncio.Lock()
        # Held while the channels open: a run that began before would not be heard.
        self._opening = asyncio.Lock()
        self._connection: Connection | None = None
        # The process that was connected to last; after a restart it is another.
        self._pid: int | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        # Stops and closings that go on in the background.
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def exists(self) -> bool:
        """Whether the server still has this kernel."""
        return self.id in self._kernel_manager

    @property
    def process_id(self) -> int | None:
        """The kernel's process; None where there is none, or none on this machine."""
        return process_id(self._manager)

    @property
    def runs(self) -> bool:
        """Whether a run of ours is under way."""
        return self._turn.locked()

    @property
    def _manager(self) -> Any:
        if not self.exists:
            raise KernelError(f"{SHUT_DOWN} Ask again to start a new one.")
        return self._kernel_manager.get_kernel(self.id)

    async def state(self) -> KernelState:
        """Return what the kernel does, as far as is known without asking it."""
        if not self.exists or not await self._manager.is_alive():
            return "failed"
        connection = self._connection
        if connection and connection.process.is_current():
            # Better than the server's own idea, which can lag behind.
            return "busy" if connection.occupied or self.runs else "ready"
        state = self._manager.execution_state
        if state in ("starting", "restarting", "autorestarting"):
            return "starting"
        return {"busy": "busy", "dead": "failed"}.get(state, "ready")  # type: ignore[return-value]

    async def connect(self, *, patient: bool = True) -> Connection:
        """
        Open the channels, so that a run does not wait for them.

        A kernel that is starting is given all the time it may take to answer, if one is
        ``patient``; else it counts as busy.
        """
        async with self._opening:
            pid = process_id(self._manager)
            restarted = self._pid not in (None, pid)
            self._pid = pid
            if restarted:
                # The old channels would connect again, but not before outputs are lost.
                await self._disconnect()
            starting = restarted or self._manager.execution_state == "starting"
            connection = self._connection or await self._open(patient=patient and starting)
        self._restart_idle_timer()
        return connection

    async def _open(self, *, patient: bool) -> Connection:
        connection = Connection(KernelProcess(self._kernel_manager, self.id))
        try:
            await connection.open(self._settings.start_limit if patient else _BUSY_AFTER)
        except BaseException:
            await connection.close()
            raise
        self._connection = connection
        return connection

    async def close(self) -> None:
        """Close the channels; the kernel itself lives on."""
        if self._idle_timer:
            self._idle_timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._disconnect()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection:
            await connection.close()

    def _restart_idle_timer(self) -> None:
        if self._idle_timer:
            self._idle_timer.cancel()
        self._idle_timer = asyncio.get_running_loop().call_later(_LINGER, self._close_if_unused)

    def _close_if_unused(self) -> None:
        if self._turn.locked() or (self._connection and self._connection.has_abandoned):
            self._restart_idle_timer()
        else:
            self._spawn_task(self._disconnect())

    def _spawn_task(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run(
        self,
        code: str,
        late: Late | None = None,
        *,
        scratch: bool = False,
        cell_id: str = "",
    ) -> AsyncGenerator[RunStep, None]:
        """
        Run ``code``, yielding its start, outputs as they appear, and last a :class:`RunEnd`.

        A failing cell is an output and a status, not an exception. When the caller is cancelled
        or closes the generator, the run is interrupted first, and its kernel restarted if it
        does not yield to that; then :class:`~caesarion.errors.Stopped` says which. Raises
        :class:`~caesarion.errors.KernelError` if the kernel is gone.

        ``late`` takes outputs that come after the end, of tasks that the code began, as long as
        the kernel attributes them to it and the connection is open.

        A ``scratch`` run has a shallow copy of the user's namespace, and no execution count;
        NoScratchRun is raised if the kernel cannot do that. ``cell_id`` is the notebook cell that
        the code is of.
        """
        if self._turn.locked():
            yield StatusChange("is waiting for another run in the same kernel")
        async with self._turn:
            connection = await self._connect_alive()
            if connection.occupied:
                yield WAITING
                connection = await self._wait_until_free(connection)
            if connection.occupied:
                for end in never_ran(self._settings.time_limit):
                    yield end
                return
            await connection.listen(self._settings.start_limit)
            # The key is JupyterLab's, read by ipykernel.
            metadata: dict[str, Any] = {"cellId": cell_id} if cell_id else {}
            if scratch:
                try:
                    metadata[KEY] = await self._prepare_scratch(connection)
                except BusyKernel:  # A cell of the user's was quicker.
                    for end in never_ran(self._settings.time_limit):
                        yield end
                    return
            run = Run(
                connection,
                self._settings,
                code,
                kernel_id=self.id,
                notebook_path=self.notebook_path,
                restart=self._restart,
                spawn_task=self._spawn_task,
                late=self._lingering(late),
                counted=not scratch,
                metadata=metadata,
            )
            try:
                async with contextlib.aclosing(run.steps()) as steps:
                    async for step in steps:
                        yield step
            except (asyncio.CancelledError, GeneratorExit) as error:
                try:
                    # It goes on if the stopping is itself cancelled.
                    note = await asyncio.shield(self._spawn_task(run.stop()))
                except KernelError as failed:
                    note = str(failed)  # The stop is a stop, whatever became of the kernel.
                if isinstance(error, GeneratorExit):
                    raise
                raise Stopped(note) from error
            finally:
                self._restart_idle_timer()

    async def _prepare_scratch(self, connection: Connection) -> str:
        """Prepare the kernel for one run in a copy of the namespace; return what names that run."""
        token = uuid4().hex
        request = connection.evaluate(*prepare_call(token))
        try:
            await self._wait_for_reply(request, self._settings.time_limit)
        finally:
            connection.forget(request)
        try:
            _value(request)
        except BusyKernel:
            raise
        except KernelError as error:
            raise NoScratchRun(_NO_SCRATCH) from error
        return token

    def _lingering(self, late: Late | None) -> Late | None:
        if late is None:
            return None

        def take(start: RunStart, output: dict[str, Any]) -> None:
            self._restart_idle_timer()
            late(start, output)

        return take

    async def evaluate(self, source: str, function: str, *arguments: Any) -> str:
        """
        Return how the kernel shows what ``function`` of ``source`` returns, leaving no trace in it.

        Its first argument is the user's namespace. The evaluation is not counted and not in the
        history. Raises :class:`~caesarion.errors.BusyKernel` instead of waiting for what runs.
        """
        if self._turn.locked():
            raise BusyKernel(_BUSY)
        async with self._turn:
            if not await self._manager.is_alive():
                raise KernelError(_DIED)
            connection = await self.connect(patient=False)
            if connection.occupied:
                # A cell that has ended may not have said so yet.
                connection.ask()
                connection.freed.clear()
                await wait(connection.freed, _GRACE)
            if connection.occupied:
                raise BusyKernel(_BUSY)
            request = connection.evaluate(source, function, *arguments)
            try:
                await self._wait_for_reply(request)
            finally:
                connection.forget(request)
                self._restart_idle_timer()
        return _value(request)

    async def _wait_for_reply(
        self, request: Request, turn_limit: float = _EVALUATE_TIMEOUT
    ) -> None:
        """
        Wait for the reply to an evaluation; interrupt it if it takes too long.

        Its turn in the kernel's queue may take ``turn_limit`` seconds to come.
        """
        loop = asyncio.get_running_loop()
        deadline, interrupted = loop.time() + turn_limit, False
        while request.reply is None:
            if request.status_seen and not interrupted:
                deadline = min(deadline, loop.time() + _EVALUATE_TIMEOUT)
            left = deadline - loop.time()
            if left <= 0 and (interrupted or not request.status_seen):
                return
            if left <= 0:
                await self._manager.interrupt_kernel()
                deadline, interrupted = loop.time() + self._settings.stop_limit, True
                continue
            await wait(request.changed, min(WATCH, left))
            request.changed.clear()
            if not self.exists or not await self._manager.is_alive():
                raise KernelError(_DIED)

    async def _connect_alive(self) -> Connection:
        """
        Connect to a kernel that may have died a moment ago.

        jupyter_client 8.10 looks every 3 s (``KernelRestarter.time_to_dead``), and restarts it.
        """
        try:
            async with asyncio.timeout(self._settings.start_limit):
                # Nothing tells of it; jupyter_client's restarter looks at intervals, too.
                while not await self._manager.is_alive():  # noqa: ASYNC110
                    await asyncio.sleep(WATCH)
        except TimeoutError as error:
            raise KernelError(
                "The kernel is dead and was not restarted. Restart it from the Kernel menu."
            ) from error
        return await self.connect()

    async def _wait_until_free(self, connection: Connection) -> Connection:
        """Wait for the user's cells, but no longer than a run may take; return the connection."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.time_limit
        while connection.occupied and (left := deadline - loop.time()) > 0:
            # The answer says that the cell has ended, should the kernel's own message be lost.
            connection.ask()
            connection.freed.clear()
            await wait(connection.freed, min(WATCH, left))
            connection = await self._connect_alive()
        return connection

    async def _restart(self, now: bool) -> None:
        """Restart the kernel, ``now`` or when it has ended by itself."""
        await self._disconnect()
        try:
            async with asyncio.timeout(self._settings.start_limit):
                # Jupyter Server 2.21 returns a future that ends when the new process answers. If
                # it is restarted once more before that, the channel of the first stays open.
                restart: Any = self._kernel_manager.restart_kernel
                await (await restart(self.id, now=now))
        except Exception as error:
            raise KernelError(
                "The kernel did not stop and could not be restarted. Shut it down in the "
                "Running panel and ask again."
            ) from error


def _value(request: Request) -> str:
    """Return what an evaluation has found, once it was waited for; raise KernelError."""
    content = request.reply["content"] if request.reply else {}
    if content.get("status") != "ok":
        raise BusyKernel(_BUSY)  # Aborted, or waiting behind a cell that was quicker.
    result = content["user_expressions"]["it"]
    if result["status"] != "ok":
        raise KernelError(f"The kernel could not be looked into: {result['ename']}.")
    return str(result["data"]["text/plain"])
