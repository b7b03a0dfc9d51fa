"""
The limits of containers: cgroups of version 1, of memory and of CPU.

A node has one tree of them, named after its process, which goes when it goes.
"""

import contextlib
from pathlib import Path

from tests.fakes.kubernetes.node.quantities import parse

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "cpu")
PREFIX = "caesarion-"
"""Begins the name of a tree; the number of the node's process ends it."""

PERIOD = 100_000
"""Microseconds, Kubernetes' own: a limit of 0.5 is 50 ms of CPU time in each 100 ms."""


class Tree:
    """The cgroups of one node."""

    def __init__(self, pid: int, root: Path = ROOT) -> None:
        name = f"{PREFIX}{pid}"
        self._folders = {controller: root / controller / name for controller in CONTROLLERS}
        if lacking := [name for name in CONTROLLERS if not (root / name / "tasks").exists()]:
            raise OSError(
                f"This machine has no cgroups of version 1 for {' and '.join(lacking)} under "
                f"{root}, so the fake cluster cannot limit containers. Use a real cluster: set "
                "KUBECONFIG and CAESARION_TEST_CLUSTER=1."
            )
        for folder in self._folders.values():
            for other in folder.parent.glob(f"{PREFIX}*"):
                if not Path("/proc", other.name.removeprefix(PREFIX)).exists():
                    remove(other)  # of a node that was killed
            folder.mkdir(exist_ok=True)

    def add(self, pod: str, container: str) -> "Group":
        """Make the cgroups of a container, or return those that it has."""
        folders = {name: folder / pod / container for name, folder in self._folders.items()}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        return Group(folders)

    def remove(self, pod: str = "") -> None:
        """Remove the cgroups of a pod, or all; those with processes in them stay."""
        for folder in self._folders.values():
            remove(folder / pod)


def remove(folder: Path) -> None:
    """Remove a cgroup and all below it."""
    for inner in sorted(folder.glob("**/"), key=lambda path: len(path.parts), reverse=True):
        with contextlib.suppress(OSError):
            inner.rmdir()


class Group:
    """The cgroups of one container."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders

    @property
    def doors(self) -> list[str]:
        """The files that let in whoever writes 0 to them."""
        return [str(folder / "cgroup.procs") for folder in self._folders.values()]

    def limit(self, resources: dict[str, dict[str, str]]) -> None:
        """Set the limits, which may be others than before."""
        limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
        memory = str(int(parse(limits["memory"]))) if "memory" in limits else "-1"
        self._write("memory", "memory.limit_in_bytes", memory)
        quota = str(int(parse(limits["cpu"]) * PERIOD)) if "cpu" in limits else "-1"
        self._write("cpu", "cpu.cfs_period_us", str(PERIOD))
        self._write("cpu", "cpu.cfs_quota_us", quota)
        share = parse(requests.get("cpu", limits.get("cpu", 0)))
        self._write("cpu", "cpu.shares", str(max(2, int(share * 1024))))

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        text = (self._folders["memory"] / "memory.oom_control").read_text()
        counts = dict(line.split() for line in text.splitlines())
        return int(counts.get("oom_kill", 0))

    def _write(self, controller: str, file: str, value: str) -> None:
        (self._folders[controller] / file).write_text(value)
