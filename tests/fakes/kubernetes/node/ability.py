"""
Whether this machine can run the fake cluster, asked before anything of it is started.

``cluster`` asks; the tests' fixture tells who runs them.
"""

import os
import subprocess
from pathlib import Path

from tests.fakes.kubernetes.node.cgroups import ROOT, hierarchies

NAMESPACES = ("--mount", "--pid", "--ipc", "--uts", "--net")
REMEDY = "set KUBECONFIG and CAESARION_TEST_CLUSTER=1."


class UnableError(Exception):
    """This machine cannot run the fake cluster; the sentence says why and what to do."""


def check(root: Path = ROOT) -> None:
    """Raise :class:`UnableError` unless there is all that pods are made of."""
    if os.geteuid():
        raise UnableError(
            f"The fake cluster needs root for its pods, and the tests run as user {os.geteuid()}: "
            f"run them as root, or on a real cluster: {REMEDY}"
        )
    if lacking := _lacking(root):
        raise UnableError(
            f"The fake cluster cannot run here: {lacking}. Run the tests on another machine, in a "
            f"container with more rights (--privileged), or on a real cluster: {REMEDY}"
        )


def _lacking(root: Path) -> str:
    # As sandbox does, and a mount beside, which a container may be forbidden on its own.
    command = ["unshare", *NAMESPACES, "--fork", "mount", "-t", "tmpfs", "none", "/tmp"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    if tried.returncode:
        return f"namespaces and mounts of its own are refused ({tried.stderr.strip()})"
    try:
        folders = hierarchies(root).values()
    except OSError as error:
        return str(error)
    fixed = [str(folder) for folder in folders if not os.access(folder, os.W_OK)]
    return f"no cgroup can be made in {' or '.join(fixed)}" if fixed else ""
