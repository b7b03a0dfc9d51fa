"""
A throw-away copy of this machine, for tests that install packages and create users.

The copy is this machine's root file system with a layer in memory above it, in namespaces of its
own: whatever a command changes is gone with it, and so is every process that it leaves behind.
Needs root and overlayfs. No systemd runs in the copy, so services are enabled, not started.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.helm import ROOT

NAMESPACES = (
    "--mount",
    "--pid",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
    "--propagation=private",
)
ENTER = """
set -eu
layers=$1 root=$1/root shared=$2; shift 2
mount -t tmpfs none "$layers"
mkdir "$layers/upper" "$layers/work" "$root"
mount -t overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" none "$root"
mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
mkdir -p "$root/run/sshd" # as the service does
mount -t tmpfs none "$root/tmp"
mkdir -p "$root$shared" "$root$PWD"
mount --bind "$shared" "$root$shared"
mount --rbind "$PWD" "$root$PWD"
mount -o bind,remount,ro "$root$PWD"
exec chroot "$root" "$@"
"""


def run(folder: Path, script: str, *arguments: str) -> str:
    """
    Run a shell script in a copy, and return what it prints.

    ``folder`` is the one that both machines have; it must exist. The repository can be read.
    """
    layers = folder / "layers"
    layers.mkdir(exist_ok=True)
    command = ["unshare", *NAMESPACES, "bash", "-c", ENTER, "copy", str(layers), str(folder)]
    done = _run([*command, "bash", "-euc", script, "script", *arguments])
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout


def skip_unless_possible(folder: Path) -> None:
    """Skip the test where there can be no copy; fail in CI."""
    try:
        run(folder, "true")
    except (OSError, RuntimeError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"This machine cannot be copied, which needs root and overlayfs: {error}")


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
