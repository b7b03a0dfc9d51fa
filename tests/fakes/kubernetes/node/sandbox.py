"""
Runs one container: a program of its own, started by ``containers`` with a file of orders.

The file holds a :class:`Sandbox` as JSON. The process gets namespaces of its own
for mounts, processes, IPC and the host's name, a root made of nothing but the
orders' mounts, the user, groups and capabilities it is told, and its cgroups.
The network is the host's: a pod differs by its address on the loopback
interface, so network policies are not enforced, and seccomp is not applied.

This outer process waits for the container, passes SIGTERM on and ends as the
container ends: with its status, or 128 and the signal's number. When it dies,
or the kubelet does, the kernel kills all of the container and forgets its mounts.

Imports the standard library alone: it is started without site-packages, once
for each container, and has to be quick.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

STARTED = "started"
"""A file beside the orders: the host's number of the container's first process."""

PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWPID = 0x20000, 0x4000000, 0x8000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND = 1, 2, 4, 32, 4096
MS_REC, MS_PRIVATE = 16384, 1 << 18
MNT_DETACH = 2
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}

NOT_FOUND = 128
"""The status that container runtimes give a command that cannot be started."""

Execute = Callable[[str, list[str], dict[str, str]], NoReturn]

_libc = ctypes.CDLL(None, use_errno=True)


def main(orders: Path, report: int, execute: Execute = os.execvpe) -> int:
    """
    Return the container's exit status.

    ``report`` is a pipe: it is told why the container's command could not be
    started, and closed without a word when it has been.
    """
    os.set_inheritable(report, False)
    sandbox: dict[str, Any] = json.loads(orders.read_text())
    die_with_parent()
    check(_libc.unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS), "unshare")
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        os.read(ready, 1)
        run(sandbox, report, execute)
    os.close(report)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    os.close(ready)
    # Whole at once, for whoever looks for it.
    (orders.parent / "pid").write_text(str(child))
    (orders.parent / "pid").rename(orders.parent / STARTED)
    os.close(tell)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def run(sandbox: dict[str, Any], report: int, execute: Execute) -> NoReturn:
    """Become the container's first process, or report what is in the way."""
    os.umask(0o022)
    try:
        die_with_parent()
        for door in sandbox["cgroups"]:
            Path(door).write_text(str(0))
        socket.sethostname(sandbox["hostname"])
        enter_root(sandbox)
        drop_rights(sandbox)
        os.chdir(sandbox["cwd"])
        os.environ.clear()
        os.environ.update(sandbox["env"])
        # Python ignores some, and whoever has started the cluster may ignore others.
        for number in signal.valid_signals():
            if signal.getsignal(number) is signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        execute(sandbox["argv"][0], sandbox["argv"], sandbox["env"])
    except FileNotFoundError as error:
        missing = error.filename if error.filename == sandbox["cwd"] else sandbox["argv"][0]
        os.write(report, f'exec: "{missing}": no such file or directory'.encode())
    except OSError as error:
        os.write(report, f"{sandbox['argv'][0]}: {error}".encode())
    os._exit(NOT_FOUND)


def enter_root(sandbox: dict[str, Any]) -> None:
    """Make the container's root of its mounts, and leave the host's behind."""
    root = Path(sandbox["root"])
    mount("none", Path("/"), None, MS_REC | MS_PRIVATE)
    for order in sandbox["mounts"]:
        place(root, order)
    os.chdir(root)
    # The old root comes to lie under the new one, where it is let go of: see pivot_root(2).
    check(_libc.syscall(PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    check(_libc.umount2(b".", MNT_DETACH), "umount the host's root")
    os.chdir("/")
    if sandbox["read_only"]:
        mount("none", Path("/"), None, MS_REMOUNT | MS_BIND | MS_RDONLY)


def place(root: Path, order: dict[str, Any]) -> None:
    """Carry out one order: a mount, or a file, folder or link in what is mounted already."""
    target = inside(root, order["target"])
    match order["kind"]:
        case "bind":
            source = Path(order["source"])
            make_mount_point(target, is_folder=source.is_dir())
            mount(str(source), target, None, MS_BIND | MS_REC)
            if order.get("read_only"):
                mount("none", target, None, MS_REMOUNT | MS_BIND | MS_RDONLY)
        case "link":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(order["source"])
        case "file":
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(order["content"])
        case "folder":
            target.mkdir(parents=True, exist_ok=True)
            os.chown(target, order["uid"], order["gid"])
            target.chmod(order["mode"])
        case kind:  # the kernel's own file systems
            make_mount_point(target, is_folder=True)
            options = order.get("options", "")
            for folder in order.get("needs", ()):
                Path(folder).mkdir(exist_ok=True)
            mount(kind, target, kind, order.get("flags", 0), options)


def inside(root: Path, path: str) -> Path:
    """Return where ``path`` lies under ``root``, with links followed as the container would."""
    at, left, links = root, [part for part in path.split("/") if part], 0
    while left:
        part = left.pop(0)
        if part == "..":
            at = at.parent if at != root else root
            continue
        at = at / part
        if at.is_symlink() and links < 40:
            links += 1
            link = str(at.readlink())
            at = root if link.startswith("/") else at.parent
            left = [part for part in link.split("/") if part not in ("", ".")] + left
    return at


def make_mount_point(target: Path, is_folder: bool) -> None:
    if is_folder:
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def drop_rights(sandbox: dict[str, Any]) -> None:
    """Become the container's user, with no capability that it is not to have."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    for capability in range(last + 1):
        if capability not in sandbox["capabilities"]:
            check(_libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "drop a capability")
    os.setgroups(sandbox["groups"])
    os.setresgid(*[sandbox["gid"]] * 3)
    os.setresuid(*[sandbox["uid"]] * 3)
    if sandbox["no_new_privileges"]:
        check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "forbid new privileges")
    # Changing the user has cleared it.
    check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def die_with_parent() -> None:
    """Be killed when the parent ends, however that happens."""
    check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def mount(source: str, target: Path, kind: str | None, flags: int, options: str = "") -> None:
    name = kind.encode() if kind else None
    result = _libc.mount(source.encode(), bytes(target), name, flags, options.encode() or None)
    check(result, f"mount {source} on {target}")


def check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
