"""Where the fake cluster cannot run, a sentence says why and what to do."""

import os
from pathlib import Path

import pytest

from tests.fakes.kubernetes.node.ability import UnableError, check
from tests.unit.test_fake_cgroups import make_new


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for cgroups; the tests run as root, and namespaces can be had."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    say(tmp_path, "exit 0")
    return make_new(tmp_path)


def say(root: Path, script: str) -> None:
    """Put a program in the place of ``unshare``."""
    program = root / "bin" / "unshare"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UnableError, match=r"needs root.*run as user 1000.*KUBECONFIG"):
        check()


def test_what_the_kernel_says_to_namespaces_is_passed_on(root: Path) -> None:
    say(root, "echo unshare failed: Operation not permitted >&2; exit 1")
    with pytest.raises(UnableError, match=r"\(unshare failed: Operation not permitted\).*KUBECON"):
        check(root)


def test_a_machine_without_the_controllers_is_told(root: Path) -> None:
    (root / "cgroup.controllers").write_text("pids")
    with pytest.raises(UnableError, match=f"no cgroups of cpu and memory under {root}, .*KUBECON"):
        check(root)


def test_cgroups_that_cannot_be_written_are_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UnableError, match=f"no cgroup can be made in {root}.*KUBECONFIG"):
        check(root)


def test_a_machine_that_has_it_all_is_able(root: Path) -> None:
    check(root)
