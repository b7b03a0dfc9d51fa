"""
The control group that bounds a process's memory, of version 2 or 1.

Used by :mod:`caesarion.kernels.process`. The files are those of
https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html; where there are
none (another system than Linux) nothing is known.
"""

import contextlib
import os
import re
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

# Version 1 writes "no limit" as the largest number of pages.
_NO_LIMIT = 2**60

# Bytes of a file of counts, at most.
_EVENTS = 1_024


@dataclass(frozen=True)
class _Version:
    events: str
    limit: str
    peak: str


_TWO = _Version("memory.events", "memory.max", "memory.peak")
_ONE = _Version("memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes")


class MemoryGroup:
    """The group of one process; ``root`` is the uppermost whose limits hold for it."""

    def __init__(self, folder: Path, root: Path, version: _Version) -> None:
        self._folder = folder
        self._root = root
        self._version = version
        self._events: FileIO | None = None
        # Kept open: opening it before each run would take 0.1 ms, reading it takes 6 microseconds.
        with contextlib.suppress(OSError):
            self._events = (folder / version.events).open("rb", buffering=0)

    @classmethod
    def find(
        cls, pid: int, proc: Path = Path("/proc"), mounted: Path = Path("/sys/fs/cgroup")
    ) -> "MemoryGroup | None":
        """Return the group that the process ``pid`` is in, if it can be seen from here."""
        try:
            lines = (proc / str(pid) / "cgroup").read_text().splitlines()
        except OSError:
            return None
        for line in lines:
            _, controllers, path = line.split(":", 2)
            if "memory" in controllers.split(",") and (mounted / "memory").is_dir():
                return cls._below(mounted / "memory", path, _ONE)
        for line in lines:
            if line.startswith("0::") and (mounted / "cgroup.controllers").exists():
                return cls._below(mounted, line.removeprefix("0::"), _TWO)
        return None

    @classmethod
    def _below(cls, root: Path, path: str, version: _Version) -> "MemoryGroup":
        folder = root / path.strip("/")
        while not folder.is_dir() and folder != root:
            # A container of version 1 sees the host's path, and its own group as the root.
            folder = folder.parent
        return cls(folder, root, version)

    def close(self) -> None:
        """Close the group's file."""
        if self._events:
            self._events.close()

    def kills(self) -> int:
        """Return how many of the group's processes were killed for want of memory."""
        try:
            counts = os.pread(self._events.fileno(), _EVENTS, 0) if self._events else b""
        except OSError:
            return 0  # The group is gone.
        found = re.search(rb"^oom_kill (\d+)", counts, re.MULTILINE)
        return int(found[1]) if found else 0

    def limit(self) -> tuple[int, int] | None:
        """Return the smallest limit that holds, and the most that was used of it (0: unknown)."""
        found = []
        for folder in (self._folder, *self._folder.parents):
            limit = _number(folder / self._version.limit)
            if 0 < limit < _NO_LIMIT:
                found.append((limit, _number(folder / self._version.peak)))
            if folder == self._root:
                break
        return min(found, default=None)


def _number(file: Path) -> int:
    try:
        text = file.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
