"""
One process of a kernel: whether it still runs, and how it ended if it does not.

Used by :mod:`caesarion.kernels.kernel`, :mod:`caesarion.kernels.run` and
:mod:`caesarion.notebooks.run`; knows jupyter_client's kernel manager and its provisioner. A
kernel keeps its id when it is restarted, and has another process then.
"""

import contextlib
import shutil
import signal
from pathlib import Path
from typing import Any, Protocol

from caesarion.kernels.cgroup import MemoryGroup

NEW_KERNEL = "A new one takes its place; the variables are gone."
SHUT_DOWN = "The kernel was shut down."
RESTARTED_BY_USER = "The user restarted the kernel; its variables are gone."

_CRASHES = frozenset(("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"))

# Bytes: on a disk with less, next to nothing can be written.
_LITTLE = 1_000_000


class MultiKernelManager(Protocol):
    """The part of Jupyter Server's kernel manager that is used here."""

    def __contains__(self, kernel_id: str) -> bool: ...
    def get_kernel(self, kernel_id: str) -> Any:
        """Return the manager of one kernel."""

    async def restart_kernel(self, kernel_id: str, now: bool) -> None:
        """Restart one kernel; ``now`` does not wait for it to agree."""


class KernelProcess:
    """The process that a kernel has now."""

    def __init__(self, kernel_manager: MultiKernelManager, kernel_id: str) -> None:
        self._kernel_manager = kernel_manager
        self._kernel_id = kernel_id
        self.manager = kernel_manager.get_kernel(kernel_id)
        self.pid = process_id(self.manager)
        # Kept, as the provisioner lets go of it when the process has ended.
        self._process = getattr(self.manager.provisioner, "process", None)
        self._memory = MemoryGroup.find(self.pid) if self.pid else None
        self._kills = 0
        self._autorestarted = False
        self.manager.add_restart_callback(self._note_autorestart)

    def close(self) -> None:
        """Let go of the manager and of the memory's group."""
        if self._memory:
            self._memory.close()
        with contextlib.suppress(ValueError):
            self.manager.remove_restart_callback(self._note_autorestart)

    def begin_run(self) -> None:
        """Remember how things are before code runs, so that it is known what it changed."""
        self._kills = self._memory.kills() if self._memory else 0

    def is_current(self) -> bool:
        """Return whether the kernel has still this process, dead or alive."""
        return self._kernel_id in self._kernel_manager and process_id(self.manager) == self.pid

    async def end(self, *, shutdown_reply_seen: bool) -> str:
        """
        Return a sentence on how the process ended, and what follows, or "" if it runs.

        ``shutdown_reply_seen`` is whether the kernel has said that it was asked to end.
        """
        if self._kernel_id not in self._kernel_manager:
            return SHUT_DOWN
        if self.is_current() and await self.manager.is_alive():
            return ""
        # jupyter_client ends a kernel in order to restart it, and restarts one that has died.
        ordered = shutdown_reply_seen or self.manager.shutting_down or not self.is_current()
        if ordered and not self._autorestarted:
            return RESTARTED_BY_USER
        return f"{self.cause()} {NEW_KERNEL}"

    def cause(self) -> str:
        """Return a sentence on how the process ended, by its exit status."""
        status = self._process.poll() if self._process else None
        if status is None:
            return "The kernel died."
        if status >= 0:
            return f"The kernel ended itself with exit code {status}{_like(status)}."
        with contextlib.suppress(ValueError):
            name = signal.Signals(-status).name
            if name == "SIGKILL" and self._memory and self._memory.kills() > self._kills:
                return f"The kernel ran out of memory and was killed{_bounds(self._memory)}."
            if name in _CRASHES:
                why = _full_disk() if name == "SIGBUS" else ""
                return f"The kernel crashed ({name}: {signal.strsignal(-status)}).{why}"
            return f"The kernel was killed by the signal {name}."
        return f"The kernel was killed by signal {-status}."

    def _note_autorestart(self) -> None:
        self._autorestarted = True


def process_id(manager: Any) -> int | None:
    """Return the id of the process that a kernel's manager has now, if it knows one."""
    pid: int | None = getattr(manager.provisioner, "pid", None)
    return pid


def asks_to_exit(reply: dict[str, Any]) -> bool:
    """Return whether the content of a reply says that the code called exit() or quit()."""
    return any(
        part.get("source") == "ask_exit" and not part.get("keepkernel")
        for part in reply.get("payload", ())
    )


def _like(status: int) -> str:
    return f", as by os._exit({status})" if status else ""


def _full_disk() -> str:
    """Return a sentence if the home is full: memory of a file without its blocks is a SIGBUS."""
    if shutil.disk_usage(Path.home()).free >= _LITTLE:
        return ""
    return " The disk of the home is full: delete files that are not needed."


def _bounds(memory: MemoryGroup) -> str:
    if not (bounds := memory.limit()):
        return ""
    limit, peak = bounds
    used = f", and {_size(peak)} were used" if peak else ""
    return f": its limit is {_size(limit)}{used}"


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
