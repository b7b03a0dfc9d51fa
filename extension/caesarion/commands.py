"""
Commands that programs run in the server's container, each a process of its own.

Called by :mod:`caesarion.api.commands`. A command outlives the client that has started it, up
to its time limit, and ends with the server. What it writes goes to who listens at that moment;
a listener that is slow slows the command.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from caesarion.errors import CaesarionError

MAX_COMMANDS = 100
"""Commands that run at a time; a made-up number."""

_CHUNK = 32_768
_QUEUE = 16


class CommandError(CaesarionError):
    """A command that cannot be started or found; ``status`` is HTTP's."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Written:
    """A piece of what a command has written to ``stdout`` or ``stderr``."""

    stream: str
    data: bytes


@dataclass(frozen=True)
class Ended:
    """The end of a command: its exit code, or minus the number of the signal that ended it."""

    exit_code: int
    timed_out: bool = False


Step = Written | Ended


@dataclass
class Command:
    """A command that runs, or has just ended."""

    process: Process
    cmd: str
    args: list[str]
    envs: dict[str, str]
    cwd: str
    tag: str | None
    ended: Ended | None = None
    _listeners: list["asyncio.Queue[Step]"] = field(default_factory=list)
    _timed_out: bool = False

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    def listen(self) -> "asyncio.Queue[Step]":
        """Begin to listen, before anything more is written."""
        queue: asyncio.Queue[Step] = asyncio.Queue(_QUEUE)
        if self.ended:
            queue.put_nowait(self.ended)
        else:
            self._listeners.append(queue)
        return queue

    async def steps(self, queue: "asyncio.Queue[Step]") -> AsyncGenerator[Step, None]:
        """Yield what is written from when ``queue`` began to listen, and last the end."""
        try:
            while True:
                step = await queue.get()
                yield step
                if isinstance(step, Ended):
                    return
        finally:
            with contextlib.suppress(ValueError):
                self._listeners.remove(queue)
            while not queue.empty():  # let go of who waits to put
                queue.get_nowait()

    async def write(self, data: bytes) -> None:
        """Write to the command's input; raise CommandError if it has none."""
        stdin = self.process.stdin
        if stdin is None or stdin.is_closing():
            raise CommandError(409, f"The command {self.pid} has no input that is open.")
        try:
            stdin.write(data)
            await stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise CommandError(409, f"The command {self.pid} reads no more input.") from error

    def close_input(self) -> None:
        """End the command's input."""
        if self.process.stdin:
            self.process.stdin.close()

    def signal(self, number: int) -> None:
        """Send a signal to the command and all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def follow(self, limit: float | None) -> None:
        """Read what is written, until the command has ended or its time is up."""
        timer = asyncio.get_running_loop().call_later(limit, self._time_out) if limit else None
        try:
            assert self.process.stdout
            assert self.process.stderr
            await asyncio.gather(
                self._read("stdout", self.process.stdout),
                self._read("stderr", self.process.stderr),
            )
            code = await self.process.wait()
        finally:
            if timer:
                timer.cancel()
        self.ended = Ended(code, self._timed_out)
        await self._tell(self.ended)

    def _time_out(self) -> None:
        self._timed_out = True
        self.signal(signal.SIGKILL)

    async def _read(self, name: str, stream: asyncio.StreamReader) -> None:
        while data := await stream.read(_CHUNK):
            await self._tell(Written(name, data))

    async def _tell(self, step: Step) -> None:
        for queue in list(self._listeners):
            while queue in self._listeners:
                try:
                    async with asyncio.timeout(1):
                        await queue.put(step)
                    break
                except TimeoutError:
                    continue  # a listener that is gone takes itself off the list


class Commands:
    """The commands of one server."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._running: dict[int, Command] = {}
        self._following: set[asyncio.Task[None]] = set()

    def all(self) -> list[Command]:
        """Return the commands that run."""
        return list(self._running.values())

    def get(self, pid: int) -> Command:
        """Return a command that runs; raise CommandError 404 if there is none."""
        if pid not in self._running:
            raise CommandError(404, f"There is no command {pid}: it has ended, or never was.")
        return self._running[pid]

    async def start(
        self,
        cmd: str,
        args: Sequence[str],
        envs: Mapping[str, str],
        cwd: str,
        *,
        tag: str | None = None,
        stdin: bool = False,
        limit: float | None = None,
    ) -> tuple[Command, "asyncio.Queue[Step]"]:
        """Start a command, and listen to it; raise CommandError if it cannot be started."""
        if len(self._running) >= MAX_COMMANDS:
            raise CommandError(
                429, f"{MAX_COMMANDS} commands run already. Wait for one, or kill one."
            )
        folder = self._folder(cwd)
        try:
            process = await asyncio.create_subprocess_exec(
                cmd,
                *args,
                cwd=folder,
                env={**os.environ, **envs},
                stdin=PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=PIPE,
                start_new_session=True,
            )
        except NotADirectoryError as error:
            raise CommandError(400, f"'{folder}' is not a folder.") from error
        except FileNotFoundError as error:
            missing = cmd if error.filename == cmd else folder
            raise CommandError(400, f"There is no '{missing}'.") from error
        except (OSError, ValueError) as error:
            raise CommandError(400, f"'{cmd}' cannot be started.") from error
        command = Command(process, cmd, list(args), dict(envs), str(folder), tag)
        queue = command.listen()
        self._running[process.pid] = command
        task = asyncio.create_task(self._follow(command, limit))
        self._following.add(task)
        task.add_done_callback(self._following.discard)
        return command, queue

    def _folder(self, cwd: str) -> Path:
        return Path(os.path.normpath(self._root / Path(cwd or ".").expanduser()))

    async def _follow(self, command: Command, limit: float | None) -> None:
        try:
            await command.follow(limit)
        finally:
            self._running.pop(command.pid, None)

    async def close(self) -> None:
        """End all commands."""
        for command in self.all():
            command.signal(signal.SIGKILL)
        if self._following:
            await asyncio.wait(self._following, timeout=1)
