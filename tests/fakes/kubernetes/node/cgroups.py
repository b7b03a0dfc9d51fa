"""
The limits of containers: cgroups of version 2 or of version 1, of memory and of CPU.

A node has a tree of them, named after its process, which goes when it goes; in
version 1 one for each controller. Version 1 has its controllers where version
2 is mounted beside them. The files are those of the kernel's documentation,
https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1. For want of
memory the kernel kills one process, the greediest, not all of a container:
version 2 could do that too, by memory.oom.group, which stays 0.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from tests.fakes.kubernetes.quantities import quantity

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "memory")
PREFIX = "caesarion-"
"""Begins the name of a tree; the number of the node's process ends it."""

BESIDE = "beside-caesarion"
"""Where the processes go that were in a group that is to have groups below it."""

PERIOD = 100_000
"""Microseconds, Kubernetes' own: a limit of 0.5 is 50 ms of CPU time in each 100 ms."""

Resources = Mapping[str, Mapping[str, str]]


def hierarchies(root: Path = ROOT) -> dict[str, Path]:
    """
    Return where groups are made: by controller in version 1, under "" in version 2.

    Raises OSError where there are neither.
    """
    if all((root / name / "tasks").exists() for name in CONTROLLERS):
        return {name: root / name for name in CONTROLLERS}
    there = root / "cgroup.controllers"
    if there.exists() and set(CONTROLLERS) <= set(there.read_text().split()):
        return {"": root}
    raise OSError(
        f"there are no cgroups of {' and '.join(CONTROLLERS)} under {root}, of version 2 or 1"
    )


def trees(pid: int, root: Path = ROOT) -> list[Path]:
    """Return the folders of a node's process that are there."""
    folders = [folder / f"{PREFIX}{pid}" for folder in hierarchies(root).values()]
    return [folder for folder in folders if folder.exists()]


class Tree:
    """The cgroups of one node."""

    def __init__(self, pid: int, root: Path = ROOT) -> None:
        self._name = f"{PREFIX}{pid}"
        self._hierarchies = hierarchies(root)
        for folder in self._hierarchies.values():
            for other in folder.glob(f"{PREFIX}*"):
                if not Path("/proc", other.name.removeprefix(PREFIX)).exists():
                    remove(other)  # of a node that was killed
        self._make()

    def add(self, pod: str, container: str) -> "Group":
        """Make the cgroups of a container, or return those that it has."""
        folders = self._make(pod, container)
        return NewGroup(folders[""]) if "" in folders else OldGroup(folders)

    def remove(self, pod: str = "") -> None:
        """Remove the cgroups of a pod, or all; those with processes in them stay."""
        for folder in self._hierarchies.values():
            remove(folder / self._name / pod)

    def _make(self, *inner: str) -> dict[str, Path]:
        made = {}
        for controller, folder in self._hierarchies.items():
            for name in (self._name, *inner):
                if not controller:
                    hand_down(folder)
                folder = folder / name
                folder.mkdir(exist_ok=True)
            made[controller] = folder
        return made


def hand_down(folder: Path) -> None:
    """
    Have the groups below a group of version 2 share what it has.

    Only the root of the whole machine may have processes of its own then; the
    root that a container sees is another, and gets a group for its processes.
    """
    control = folder / "cgroup.subtree_control"
    if set(CONTROLLERS) <= set(control.read_text().split()):
        return
    if (folder / "cgroup.type").exists():  # the machine's root has no such file
        moved: set[str] = set()
        # They may start others meanwhile.
        while found := set((folder / "cgroup.procs").read_text().split()) - moved:
            (folder / BESIDE).mkdir(exist_ok=True)
            for pid in found:
                with contextlib.suppress(ProcessLookupError):  # it has ended
                    (folder / BESIDE / "cgroup.procs").write_text(pid)
            moved |= found
    control.write_text(" ".join(f"+{name}" for name in CONTROLLERS))


def remove(folder: Path) -> None:
    """Remove a cgroup and all below it."""
    for inner in sorted(folder.glob("**/"), key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):
            inner.rmdir()


class Group(ABC):
    """The cgroups of one container."""

    def limit(self, resources: Resources) -> None:
        """Set the limits, which may be others than before."""
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        memory = int(quantity(limits["memory"])) if "memory" in limits else None
        quota = int(quantity(limits["cpu"]) * PERIOD) if "cpu" in limits else None
        shares = int(quantity(requests.get("cpu", limits.get("cpu", 0))) * 1024)
        self._set(memory, quota, min(max(shares, 2), 262_144))

    @abstractmethod
    def _set(self, memory: int | None, quota: int | None, shares: int) -> None:
        """Set bytes, microseconds in each period, and the part of 1024 for each CPU."""

    @property
    @abstractmethod
    def doors(self) -> list[str]:
        """The files that let in whoever writes 0 to them."""

    @property
    @abstractmethod
    def kills(self) -> int:
        """How many processes the kernel has killed for want of memory."""


class OldGroup(Group):
    """Version 1: a group for each controller."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = folders

    def _set(self, memory: int | None, quota: int | None, shares: int) -> None:
        self._write("memory", "memory.limit_in_bytes", -1 if memory is None else memory)
        self._write("cpu", "cpu.cfs_period_us", PERIOD)
        self._write("cpu", "cpu.cfs_quota_us", -1 if quota is None else quota)
        self._write("cpu", "cpu.shares", shares)

    def _write(self, controller: str, file: str, value: int) -> None:
        (self._folders[controller] / file).write_text(str(value))

    @property
    def doors(self) -> list[str]:
        return [str(folder / "cgroup.procs") for folder in self._folders.values()]

    @property
    def kills(self) -> int:
        return _count(self._folders["memory"] / "memory.oom_control")


class NewGroup(Group):
    """Version 2: one group for all controllers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _set(self, memory: int | None, quota: int | None, shares: int) -> None:
        self._write("memory.max", "max" if memory is None else str(memory))
        if (self._folder / "memory.swap.max").exists():  # not where the kernel counts no swap
            self._write("memory.swap.max", "0")
        self._write("cpu.max", f"{'max' if quota is None else quota} {PERIOD}")
        # Kubernetes' own way from shares, 2 to 262144, to a weight, 1 to 10000.
        self._write("cpu.weight", str(1 + (shares - 2) * 9999 // 262_142))

    def _write(self, file: str, value: str) -> None:
        (self._folder / file).write_text(value)

    @property
    def doors(self) -> list[str]:
        return [str(self._folder / "cgroup.procs")]

    @property
    def kills(self) -> int:
        return _count(self._folder / "memory.events")


def _count(file: Path) -> int:
    counts = dict(line.split() for line in file.read_text().splitlines())
    return int(counts.get("oom_kill", 0))
