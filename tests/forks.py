"""
Python programs that start quickly: forked from a process that has imported what they run.

Importing takes two thirds of the processor time of a hub, a server or a kernel, and the tests
start some hundreds. Within :func:`forked`, ``subprocess`` has one of :data:`PROGRAMS` forked
where it would execute it, whoever calls it; and so it goes on in what is forked. The program is
a child of whoever has started it, with its command, environment, files and session, also in
/proc, so that signals, exit statuses and those who look for it see no difference. What pods
start is forked where a test says so (``tests/cluster/conftest.py``). The hubs of
``test_hub_life.py``, and all that benchmarks start, are executed.
"""

import atexit
import ctypes
import importlib
import os
import pickle
import runpy
import signal
import site
import socket
import struct
import subprocess
import sys
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Never

import psutil

_KERNELS = ("ipykernel_launcher", "waiting_process.py")
_CONTAINER = "tests.fakes.kubernetes.node.forked"
PROGRAMS = (
    *("caesarion_hub.up", "caesarion_hub", "jupyterhub", "jupyterhub_idle_culler"),
    *("caesarion_hub.gateway", "caesarion_hub.gateway.audit", "caesarion_hub.api"),
    *("caesarion.singleuser", "jupyter_server", *_KERNELS),
    *("tests.fakes.kubernetes.node", _CONTAINER),
)
"""Modules that are run with ``-m``, and the name of a script."""

SOURCE = "(source of forks)"
"""What /proc shows of a process that forks programs, in place of a command."""

_others: dict[str, ModuleType] = {}  # To take them apart would take longer than to keep them.
of_kernels: set[str] = set()
"""The modules that a kernel has, of those that are imported."""

is_on = False
"""Whether :func:`forked` forks; ``conftest.py`` says so."""

_FLAGS = {"-s": "no_user_site", "-P": "safe_path"}

_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 4, 36  # of linux/prctl.h
_LIBC = ctypes.CDLL(None)
_MOST_FILES = 4096
_ROOM = 32 * 1024
"""Bytes in a source for the command and the environment that /proc is to show."""
_SIZE = struct.Struct("=Q")
_PID = struct.Struct("=i")

_execute = subprocess._fork_exec  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Program:
    """What Popen was told."""

    command: list[str]
    name: str
    """One of :data:`PROGRAMS`."""
    at: int
    """Where it stands in the command."""
    environment: dict[str, str]
    folder: str
    new_session: bool
    group: int
    files: list[int]
    """The numbers that its files have in it."""
    prepare: Callable[[], None] | None
    """A function of a module, called before it begins."""


@contextmanager
def forked() -> Iterator[None]:
    """Fork the programs that tests start within the block; elsewhere than on Linux, do nothing."""
    if not is_on or sys.platform != "linux":
        yield
        return
    before = subprocess._fork_exec  # type: ignore[attr-defined]
    subprocess._fork_exec = _first_source().fork_or_execute  # type: ignore[attr-defined]
    try:
        yield
    finally:
        subprocess._fork_exec = before  # type: ignore[attr-defined]


def without_sources(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that run programs; not what has ended, of which nobody knows."""
    return [one for one in processes if _first_word(one) not in (None, SOURCE)]


def _first_word(process: psutil.Process) -> str | None:
    try:
        return next(iter(process.cmdline()), "")
    except psutil.NoSuchProcess:
        return None


@cache
def _first_source() -> "_Source":
    """Start the process that imports everything; it ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.imports", str(theirs.fileno()), "-" * _ROOM],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "ROOM": "-" * _ROOM},
            pass_fds=[theirs.fileno()],
            process_group=0,
        )
    atexit.register(process.wait)
    atexit.register(ours.close)  # Which is done first, and ends it.
    return _Source(ours)


def _copy() -> "_Source":
    """Make a copy of this process, which as yet has imported and done nothing else."""
    ours, theirs = socket.socketpair()
    if not os.fork():
        serve(theirs)
    theirs.close()
    return _Source(ours)


class _Source:
    """A process that forks, as whoever starts programs from it sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def fork_or_execute(self, *told: Any) -> int:
        """Take the place of CPython's ``_posixsubprocess.fork_exec``; return the child's id."""
        (command, executables, close_files, kept, folder, environment, *rest) = told
        (stdin, _, _, stdout, _, stderr, _, failure, _, session, group, *owner, prepare, _) = rest
        command = [os.fsdecode(word) for word in command]
        at = _find_program(command, executables)
        is_usual = close_files and owner == [None, None, None, -1] and _can_be_told(prepare)
        if at is None or not is_usual:
            return int(_execute(*told))
        given = [
            number if number >= 0 else own for own, number in enumerate((stdin, stdout, stderr))
        ]
        others = [number for number in kept if number != failure]
        variables = (
            dict(os.environ)
            if environment is None
            else dict(os.fsdecode(one).split("=", 1) for one in environment)
        )
        program = _Program(
            command=command,
            name=Path(command[at]).name,
            at=at,
            environment=variables,
            folder=os.fspath(folder or Path.cwd()),
            new_session=session,
            group=group,
            files=[0, 1, 2, *others],
            prepare=prepare,
        )
        return self._fork(pickle.dumps(program), [*given, *others])

    def _fork(self, program: bytes, files: list[int]) -> int:
        with self._lock:
            # What the source forks becomes our child when the process between them has ended.
            _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._connection, [_SIZE.pack(len(program))], files)
                self._connection.sendall(program)
                (child,) = _PID.unpack(_receive(self._connection, _PID.size))
            finally:
                _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if not child:
            raise OSError("what was forked did not begin; its own output may say why")
        return int(child)


def _find_program(command: list[str], executables: tuple[bytes, ...]) -> int | None:
    """Return where in the command the name of a program is that can be forked."""
    if executables != (os.fsencode(sys.executable),):
        return None
    at = 1
    while at < len(command) and command[at] in _FLAGS:
        at += 1
    if command[at : at + 1] == ["-m"]:
        at += 1
    return at if at < len(command) and Path(command[at]).name in PROGRAMS else None


def _can_be_told(function: Callable[[], None] | None) -> bool:
    """Tell whether another process knows the function by its name."""
    return function is None or function.__qualname__ == function.__name__


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        if not (piece := connection.recv(size - len(received))):
            raise EOFError
        received += piece
    return received


def serve(connection: socket.socket) -> Never:
    """Fork what is asked for, until whoever asks has ended; this is the source."""
    _keep_only(connection.fileno())
    _show([SOURCE], {})
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        head, files, _, _ = socket.recv_fds(connection, _SIZE.size, 64)
        if not head:
            os._exit(0)
        (size,) = _SIZE.unpack(head + _receive(connection, _SIZE.size - len(head)))
        program = pickle.loads(_receive(connection, size))
        reading, writing = os.pipe()
        waiting, waited = os.pipe()
        between = os.fork()
        if not between:
            try:
                if not os.fork():
                    os.close(waited)
                    os.read(waiting, 1)  # Until it has the parent that it is to have.
                    _become(program, files, writing)
            except BaseException:  # Before it has begun; afterwards _become does the same.
                traceback.print_exc()
            finally:
                os._exit(1)
        os.waitpid(between, 0)
        for file in (waiting, waited, writing, *files):
            os.close(file)
        connection.sendall(os.read(reading, _PID.size) or _PID.pack(0))
        os.close(reading)


def _keep_only(file: int) -> None:
    """Close all other files; what is read and printed is nothing."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.closerange(3, file)
    os.closerange(file + 1, _MOST_FILES)


def _become(program: _Program, files: list[int], told: int) -> Never:
    """Be the program to its end; ``told`` is where to write that it begins."""
    told_then = max(program.files) + 1
    _take_files([*files, told], [*program.files, told_then])
    if program.new_session:
        os.setsid()
    elif program.group >= 0:
        os.setpgid(0, program.group)
    if program.prepare:
        program.prepare()
    os.chdir(program.folder)
    os.environ.clear()
    os.environ.update(program.environment)
    _begin(program)
    os.write(told_then, _PID.pack(os.getpid()))
    os.close(told_then)
    _be(program)


def execute(command: list[str]) -> Never:
    """Take the place of ``os.execvp`` in what was forked, and may have another user and root."""
    at = _find_program(command, (os.fsencode(command[0]),))
    if at is None:
        os.execvp(command[0], command)
    program = _Program(
        command=command,
        name=Path(command[at]).name,
        at=at,
        environment=dict(os.environ),
        folder=str(Path.cwd()),
        new_session=False,
        group=-1,
        files=[0, 1, 2],
        prepare=None,
    )
    os.closerange(3, _MOST_FILES)
    _LIBC.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # Linux forbids it to whoever changes its user.
    _begin(program)
    _be(program)


def _begin(program: _Program) -> None:
    """Forget what the source has of its own start."""
    _show(program.command, program.environment)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    site.USER_BASE = site.USER_SITE = None
    site.getusersitepackages()
    sysconfig.get_config_vars()["userbase"] = site.USER_BASE
    importlib.reload(sys.modules["send2trash.plat_other"])  # It remembers the home.


def _be(program: _Program) -> Never:
    if program.name in _KERNELS:
        global _others
        _others = {name: sys.modules.pop(name) for name in {*sys.modules} - of_kernels}
    elif program.name != _CONTAINER:  # It calls ``execute``.
        subprocess._fork_exec = _copy().fork_or_execute  # type: ignore[attr-defined]
    status: int = 1
    try:
        _run(program)
        status = 0
    except SystemExit as end:
        if isinstance(end.code, int | None):
            status = end.code or 0
        else:
            print(end.code, file=sys.stderr)
    except KeyboardInterrupt:
        traceback.print_exc()
        status = -signal.SIGINT.value
    except BaseException:
        traceback.print_exc()
    _end(status)


def _run(program: _Program) -> None:
    """Do what Python does with its command line."""
    command, at = program.command, program.at
    options = command[1:at]
    sys.flags = SimpleNamespace(  # type: ignore[assignment]
        **{name: getattr(sys.flags, name) for name in dir(sys.flags) if name[0] != "_"}
        | {name: int(option in options) for option, name in _FLAGS.items()}
    )
    sys.orig_argv[:] = command
    sys.argv[:] = command[at:]
    before = program.environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [folder for folder in before if folder and folder not in sys.path]
    is_script = options[-1:] != ["-m"]
    if "-P" not in options:
        sys.path.insert(0, str(Path(command[at]).parent) if is_script else program.folder)
    if is_script:
        runpy.run_path(command[at], run_name="__main__")
    else:
        runpy.run_module(command[at], run_name="__main__", alter_sys=True)


def _end(status: int) -> Never:
    """End as Python does: after its threads, and what was registered for the end."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        if status < 0:
            signal.signal(-status, signal.SIG_DFL)
            os.kill(os.getpid(), -status)
        os._exit(status)


def _take_files(files: list[int], numbers: list[int]) -> None:
    """Give the files their numbers, and close all others."""
    highest = max(*files, *numbers) + 1
    moved = list(range(highest, highest + len(files)))
    for file, place in zip(files, moved, strict=True):
        os.dup2(file, place)
    os.closerange(0, highest)
    for place, number in zip(moved, numbers, strict=True):
        os.dup2(place, number)
        os.close(place)
    os.closerange(highest, _MOST_FILES)


def _show(command: list[str], variables: Mapping[str, str]) -> None:
    """Let /proc show the command and the environment: it reads them from where they were."""
    fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
    arguments, its_end, environment, end = (int(field) for field in fields[45:49])
    for start, stop, words in (
        (arguments, its_end, command),
        (environment, end, [f"{name}={text}" for name, text in variables.items()]),
    ):
        shown = b"".join(os.fsencode(word) + b"\0" for word in words)
        if len(shown) > stop - start:
            raise ValueError(f"{len(shown)} bytes do not fit into {stop - start}: {words}")
        ctypes.memmove(start, shown.ljust(stop - start, b"\0"), stop - start)
