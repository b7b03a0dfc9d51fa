"""
The limits of the fake node's containers, written as the kernel's documentation says.

A folder stands in for the file system of cgroups, so nothing is limited here;
tests/cluster tries the version that the machine has.
"""

import os
from pathlib import Path

import pytest

from tests.fakes.kubernetes.node.cgroups import BESIDE, PREFIX, Group, Tree, hierarchies, trees

NOBODY = 2**22 + 1
"""A number that no process has."""

LIMITS = {"limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"cpu": "100m"}}


def make_old(root: Path) -> Path:
    for name in ("cpu", "memory", "unified"):
        (root / name).mkdir()
    for name in ("cpu", "memory"):
        (root / name / "tasks").touch()
    return root


def make_new(root: Path, controllers: str = "cpuset cpu io memory pids", enabled: str = "") -> Path:
    (root / "cgroup.controllers").write_text(controllers)
    (root / "cgroup.subtree_control").write_text(enabled)
    return root


def add(root: Path) -> tuple[Group, Path]:
    """Return a container's group of version 2, and its folder with the files that it would have."""
    name = f"{PREFIX}{os.getpid()}"
    (root / name / "pod").mkdir(parents=True)
    for folder in (root / name, root / name / "pod"):
        (folder / "cgroup.subtree_control").touch()
    group = Tree(os.getpid(), root).add("pod", "main")
    return group, root / name / "pod" / "main"


def test_a_machine_with_both_versions_limits_by_the_one_with_the_controllers(
    tmp_path: Path,
) -> None:
    (make_old(tmp_path) / "unified" / "cgroup.controllers").write_text("hugetlb")
    assert hierarchies(tmp_path) == {"cpu": tmp_path / "cpu", "memory": tmp_path / "memory"}


@pytest.mark.parametrize("controllers", ["", "memory pids", "cpuset memory"])
def test_a_machine_without_the_controllers_is_refused(tmp_path: Path, controllers: str) -> None:
    make_new(tmp_path, controllers)
    with pytest.raises(OSError, match=f"no cgroups of cpu and memory under {tmp_path}"):
        Tree(os.getpid(), tmp_path)


def test_version_1_has_a_group_for_each_controller(tmp_path: Path) -> None:
    group = Tree(os.getpid(), make_old(tmp_path)).add("pod", "main")
    cpu, memory = (
        tmp_path / name / f"{PREFIX}{os.getpid()}/pod/main" for name in ("cpu", "memory")
    )
    assert group.doors == [str(cpu / "cgroup.procs"), str(memory / "cgroup.procs")]
    group.limit(LIMITS)
    assert (memory / "memory.limit_in_bytes").read_text() == str(64 * 1024**2)
    assert (cpu / "cpu.cfs_period_us").read_text() == "100000"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "50000"
    assert (cpu / "cpu.shares").read_text() == "102"
    group.limit({})
    assert (memory / "memory.limit_in_bytes").read_text() == "-1"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "-1"
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert group.kills == 2


def test_version_2_has_one_group_for_all(tmp_path: Path) -> None:
    group, folder = add(make_new(tmp_path))
    (folder / "memory.swap.max").touch()
    assert group.doors == [str(folder / "cgroup.procs")]
    group.limit(LIMITS)
    assert (folder / "memory.max").read_text() == str(64 * 1024**2)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "cpu.max").read_text() == "50000 100000"
    assert (folder / "cpu.weight").read_text() == "4"
    group.limit({})
    assert (folder / "memory.max").read_text() == "max"
    assert (folder / "cpu.max").read_text() == "max 100000"
    assert (folder / "cpu.weight").read_text() == "1"
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 31\noom 3\noom_kill 2\n")
    assert group.kills == 2


def test_a_kernel_that_counts_no_swap_is_not_told_of_it(tmp_path: Path) -> None:
    group, folder = add(make_new(tmp_path))
    group.limit(LIMITS)
    assert sorted(file.name for file in folder.iterdir()) == ["cpu.max", "cpu.weight", "memory.max"]


@pytest.mark.parametrize(("cpu", "weight"), [("1", "39"), ("256", "10000"), ("1000", "10000")])
def test_a_weight_is_what_kubernetes_makes_of_shares(tmp_path: Path, cpu: str, weight: str) -> None:
    group, folder = add(make_new(tmp_path))
    group.limit({"requests": {"cpu": cpu}})
    assert (folder / "cpu.weight").read_text() == weight


def test_every_level_of_version_2_hands_the_controllers_down(tmp_path: Path) -> None:
    _, folder = add(make_new(tmp_path))
    for level in list(folder.parents)[:3]:
        assert (level / "cgroup.subtree_control").read_text() == "+cpu +memory"
    assert not (folder / "cgroup.subtree_control").exists()


def test_the_machines_root_keeps_its_processes(tmp_path: Path) -> None:
    (make_new(tmp_path) / "cgroup.procs").write_text("1\n2\n")
    add(tmp_path)
    assert not (tmp_path / BESIDE).exists()


def test_the_processes_of_another_root_get_a_group_of_their_own(tmp_path: Path) -> None:
    make_new(tmp_path)
    (tmp_path / "cgroup.type").write_text("domain")
    (tmp_path / "cgroup.procs").write_text("71\n")
    add(tmp_path)
    assert (tmp_path / BESIDE / "cgroup.procs").read_text() == "71"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory"


def test_what_has_been_handed_down_is_left_as_it_is(tmp_path: Path) -> None:
    make_new(tmp_path, enabled="cpuset cpu memory")
    (tmp_path / "cgroup.type").write_text("domain")
    add(tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "cpuset cpu memory"


def test_a_tree_goes_with_its_node_and_those_of_dead_nodes_with_the_next(tmp_path: Path) -> None:
    make_old(tmp_path)
    left = tmp_path / "cpu" / f"{PREFIX}{NOBODY}/pod/main"
    left.mkdir(parents=True)
    tree = Tree(os.getpid(), tmp_path)
    assert trees(NOBODY, tmp_path) == []
    tree.add("pod", "main")
    tree.remove("pod")
    assert [list(folder.iterdir()) for folder in trees(os.getpid(), tmp_path)] == [[], []]
    tree.remove()
    assert trees(os.getpid(), tmp_path) == []
