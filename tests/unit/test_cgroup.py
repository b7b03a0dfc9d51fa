"""The limit of a process's memory, and kills for want of it, are read from its control group."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from caesarion.kernels.cgroup import MemoryGroup

TWO = ("memory.events", "memory.max", "memory.peak")
ONE = ("memory.oom_control", "memory.limit_in_bytes", "memory.max_usage_in_bytes")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine that says of process 7 what is written to proc/7/cgroup."""
    (tmp_path / "proc/7").mkdir(parents=True)
    return tmp_path


@dataclass(frozen=True)
class Found:
    """What a group says."""

    kills: int
    limit: tuple[int, int] | None


def group(machine: Path, said: str) -> Found | None:
    (machine / "proc/7/cgroup").write_text(said)
    if not (found := MemoryGroup.find(7, machine / "proc", machine / "cgroup")):
        return None
    try:
        return Found(found.kills(), found.limit())
    finally:
        found.close()


def write(folder: Path, names: tuple[str, str, str], *texts: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names, texts, strict=False):
        (folder / name).write_text(f"{text}\n")


def test_version_2_has_the_smallest_limit_above_the_process(machine: Path) -> None:
    root = machine / "cgroup"
    write(root, ("cgroup.controllers", "", ""), "memory")
    write(root / "pod", TWO, "oom_kill 9", "1000", "900")
    write(root / "pod/kernel", TWO, "low 1\noom 2\noom_kill 3\noom_group_kill 4", "max", "800")
    assert group(machine, "0::/pod/kernel\n") == Found(3, (1000, 900))


def test_version_1_has_a_hierarchy_of_its_own_for_memory(machine: Path) -> None:
    root = machine / "cgroup/memory"
    write(root, ONE, "oom_kill 0", "9223372036854771712", "5000")
    write(root / "pod", ONE, "oom_kill_disable 0\nunder_oom 0\noom_kill 1", "2000", "1999")
    assert group(machine, "9:pids:/\n4:cpu,memory:/pod\n0::/\n") == Found(1, (2000, 1999))


def test_a_container_of_version_1_sees_its_own_group_as_the_root(machine: Path) -> None:
    write(machine / "cgroup/memory", ONE, "oom_kill 2", "3000", "2999")
    assert group(machine, "4:memory:/kubepods/pod1/abc\n") == Found(2, (3000, 2999))


def test_an_old_linux_knows_no_peak(machine: Path) -> None:
    write(machine / "cgroup", ("cgroup.controllers", *TWO[:2]), "memory", "oom_kill 1", "1000")
    assert group(machine, "0::/\n") == Found(1, (1000, 0))


def test_without_a_limit_there_is_none(machine: Path) -> None:
    write(machine / "cgroup", ("cgroup.controllers", "", ""), "memory")
    assert group(machine, "0::/user\n") == Found(0, None)


def test_where_there_are_no_groups_nothing_is_known(machine: Path) -> None:
    assert group(machine, "0::/\n") is None
    assert MemoryGroup.find(8, machine / "proc", machine / "cgroup") is None
