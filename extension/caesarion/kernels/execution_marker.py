"""
Which request a kernel executes, as the kernel itself writes it down.

Used by :mod:`caesarion.kernels.connection`. A kernel says what it executes by a thread of its
own, so code that holds the GIL from its first instruction (``sum(range(10**12))``) leaves it no
chance to: from the messages alone, such a run of ours looks like a cell of the user's that came
first, and one must be interrupted and the other must not. So a callback for IPython's event
``pre_execute`` notes the request in a file that kernel and server both have open; writing to its
map takes no thread and no system call, and less than 10 microseconds a cell.

Invariant: this callback is all that stays in a user's kernel. Of a kernel that does not take it
(not IPython, or on another machine) is known what it says.
"""

import contextlib
import inspect
import os
from pathlib import Path
from uuid import uuid4

_SIZE = 128


class ExecutionMarker:
    """The file in which a kernel notes what it executes, beside its connection file."""

    def __init__(self, connection_file: Path) -> None:
        self._path = connection_file.with_name(
            f"{connection_file.stem}-{uuid4().hex[:8]}.executing"
        )
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._file.truncate(_SIZE)

    @property
    def call(self) -> tuple[str, str, str]:
        """Source, name and argument of the function that makes the kernel write to the file."""
        return _SOURCE, note_executions.__name__, str(self._path)

    def read(self) -> str:
        """Return the id of the last request whose code has begun; "" if the kernel notes none."""
        if self._file.closed:
            return ""
        self._file.seek(0)
        return self._file.read(_SIZE).rstrip(b"\0").decode()

    def close(self) -> None:
        """Remove the file; a running kernel goes on writing to a file without a name."""
        self._file.close()
        with contextlib.suppress(OSError):
            self._path.unlink()


def note_executions(_namespace: dict[str, object], path: str) -> None:
    """
    Note each execution of this kernel in the file at ``path``, from now on.

    Sent to the kernel as text, so it imports nothing of ours.
    """
    import mmap
    import threading

    from IPython import get_ipython

    shell = get_ipython()
    with open(path, "r+b") as file:  # noqa: PTH123 - the less imports, the better
        note = mmap.mmap(file.fileno(), 0)

    def note_execution() -> None:
        # Of subshells, which run in other threads, nothing is noted: they are not interrupted.
        if threading.current_thread() is threading.main_thread():
            request_id = shell.get_parent()["header"]["msg_id"]
            note[:] = request_id.encode()[: len(note)].ljust(len(note), b"\0")

    for callback in list(shell.events.callbacks["pre_execute"]):
        if getattr(callback, "__name__", "") == note_execution.__name__:
            shell.events.unregister("pre_execute", callback)
    shell.events.register("pre_execute", note_execution)


# Here, since it takes 2 ms, which a server that waits for its user has time for.
_SOURCE = inspect.getsource(note_executions)
