"""
The control group that bounds a process's memory, of version 2 or 1.

Used by :mod:`caesarion.kernels.process`. The files are those of
https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html; where there are
none (another system than Linux) nothing is known.
"""

from dataclasses import dataclass
from pathlib import Path

# Version 1 writes "no limit" as the largest number of pages.
_NO_LIMIT = 2**60


@dataclass(frozen=True)
class _Version:
    events: str
    limit: str
    peak: str


_TWO = _Version("memory.events", "memory.max", "memory.peak")
_ONE = _Version("memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes")


@dataclass(frozen=True)
class MemoryGroup:
    """The group of one process; ``root`` is the uppermost whose limits hold for it."""

    folder: Path
    root: Path
    version: _Version

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

    def kills(self) -> int:
        """Return how many of the group's processes were killed for want of memory."""
        for line in _read(self.folder / self.version.events).splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
        return 0

    def limit(self) -> tuple[int, int] | None:
        """Return the smallest limit that holds, and the most that was used of it (0: unknown)."""
        found = []
        for folder in (self.folder, *self.folder.parents):
            limit = _number(folder / self.version.limit)
            if 0 < limit < _NO_LIMIT:
                found.append((limit, _number(folder / self.version.peak)))
            if folder == self.root:
                break
        return min(found, default=None)


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


def _number(file: Path) -> int:
    text = _read(file).strip()
    return int(text) if text.isdigit() else 0
