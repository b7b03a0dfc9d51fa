"""
What a container sees as its root file system: the orders that ``sandbox`` carries out.

The image of this checkout is made of the host's ``/usr``, the interpreter, the
virtual environment and our Python files, all read-only, with an ``/etc`` of its
own and what our Dockerfiles add to ``/usr/local``. An image with a ``rootfs`` is
that folder, which stays as it is: changes go to memory. The rest of the host is
not there.
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from caesarion_hub.up import nodejs

from tests.fakes.kubernetes.client import Json
from tests.fakes.kubernetes.node.images import Image
from tests.fakes.kubernetes.node.sandbox import MS_NOSUID, MS_RDONLY
from tests.hub import REPOSITORY

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXY = "share/caesarion/proxy/node_modules/.bin/configurable-http-proxy"
PATCH, BROKEN_ANSWERS = "hub_config/proxy", "broken_answers.cjs"
SETTINGS = "jupyter_server_config.json"
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
ETC = ("alternatives", "fonts", "ld.so.cache", "localtime", "mime.types", "nsswitch.conf", "ssl")
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
jovyan:x:1000:100::/home/jovyan:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nusers:x:100:\nnogroup:x:65534:\n"

Orders = Iterator[Json]


def prepare(folder: Path) -> None:
    """Write what our Dockerfiles put into ``/usr/local``, for :func:`make_root`."""
    programs, configuration = folder / "bin", folder / "etc/caesarion"
    jupyter = folder / "etc/jupyter"
    for made in (programs, configuration, jupyter):
        made.mkdir(parents=True)
    proxy, node = Path(sys.prefix, PROXY), nodejs.find()
    (programs / BROKEN_ANSWERS).write_bytes((REPOSITORY / PATCH / BROKEN_ANSWERS).read_bytes())
    require = f"--require /usr/local/bin/{BROKEN_ANSWERS}"
    command = f'#!/bin/sh\nexec {node} {require} {proxy} "$@"\n'
    _program(programs / "configurable-http-proxy", command)
    tini = Path(__file__).with_name("tini.py").read_text()
    _program(programs / "tini", f"#!{sys.executable} -IS\n{tini}")
    source = REPOSITORY / "hub_config/jupyterhub_config.py"
    (configuration / "jupyterhub_config.py").write_bytes(source.read_bytes())
    settings = REPOSITORY / "singleuser_image" / SETTINGS
    (jupyter / SETTINGS).write_bytes(settings.read_bytes())


def _program(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def make_root(image: Image, root: Path, local: Path) -> Orders:
    """Yield what makes up an image's file system; ``local`` is what was prepared."""
    if image.rootfs is None:
        yield {"kind": "tmpfs", "target": "/", "options": "mode=755"}
        yield from _checkout(local)
    else:
        upper, work = root / "upper", root / "work"
        yield {"kind": "tmpfs", "target": "/", "options": "mode=755"}
        yield {
            "kind": "overlay",
            "target": "/",
            "options": f"lowerdir={image.rootfs},upperdir={upper},workdir={work}",
            "needs": [str(upper), str(work)],
        }
    yield from _kernel()


def _checkout(local: Path) -> Orders:
    for entry in ("bin", "sbin", "lib", "lib32", "lib64"):
        path = Path("/", entry)
        if path.is_symlink():
            yield {"kind": "link", "source": str(path.readlink()), "target": str(path)}
        elif path.exists():
            yield _read_only(path)
    yield _read_only(Path("/usr"))
    if Path("/usr/local").exists():
        options = f"lowerdir={local}:/usr/local"
        yield {"kind": "overlay", "target": "/usr/local", "options": options, "flags": MS_RDONLY}
    for path in _installed():
        yield _read_only(path)
    # Our images have no npm. Where there is one, JupyterHub's own servers start it.
    npm = Path(shutil.which("npm") or "/").resolve()
    if npm.name == "npm-cli.js" and npm.is_relative_to("/usr"):
        package = str(npm.parents[1])
        yield {"kind": "tmpfs", "target": package, "options": "mode=755", "flags": MS_RDONLY}
    for name in ETC:
        if Path("/etc", name).exists():
            yield _read_only(Path("/etc", name))
    yield {"kind": "file", "target": "/etc/passwd", "content": PASSWD}
    yield {"kind": "file", "target": "/etc/group", "content": GROUP}
    yield {"kind": "folder", "target": "/root", "mode": 0o755, "uid": 0, "gid": 0}
    for folder in ("/tmp", "/var/tmp"):
        yield {"kind": "folder", "target": folder, "mode": 0o1777, "uid": 0, "gid": 0}
    for folder in ("/home/jovyan", "/srv/jupyterhub"):
        yield {"kind": "folder", "target": folder, "mode": 0o755, "uid": 1000, "gid": 100}
    yield {"kind": "folder", "target": "/run", "mode": 0o755, "uid": 0, "gid": 0}
    yield {"kind": "link", "source": "/run", "target": "/var/run"}


def _installed() -> Iterator[Path]:
    """Yield what runs our programs: interpreter, environment, Node and our files."""
    packages = [REPOSITORY / name for name in ("extension", "hub_config", "dialects")]
    yield from (Path(sys.prefix), *packages)
    node = nodejs.find()
    others = [Path(sys.base_prefix), *([node.resolve().parents[1]] if node else [])]
    for path in others:
        if not any(path.is_relative_to(seen) for seen in ("/usr", sys.prefix)):
            yield path


def make_visible(image: Image, volumes: Sequence[str]) -> Orders:
    """
    Yield again what of this checkout the pod's ``volumes`` hide.

    An image has its programs where no volume comes to lie; a checkout may lie anywhere, below
    ``/tmp`` for example, and its interpreter must be found there all the same.
    """
    if image.rootfs is None:
        for path in _installed():
            if any(path.is_relative_to(volume) for volume in volumes):
                yield _read_only(path)


def _kernel() -> Orders:
    """Yield ``/proc``, ``/sys`` and ``/dev``."""
    yield {"kind": "proc", "target": "/proc"}
    yield {"kind": "sysfs", "target": "/sys", "flags": MS_RDONLY}
    yield {"kind": "tmpfs", "target": "/dev", "options": "mode=755", "flags": MS_NOSUID}
    for name in DEVICES:
        yield {"kind": "bind", "source": f"/dev/{name}", "target": f"/dev/{name}"}
    yield {"kind": "tmpfs", "target": "/dev/shm", "options": "mode=1777,size=64m"}
    options = "newinstance,ptmxmode=0666,mode=0620,gid=5"
    yield {"kind": "devpts", "target": "/dev/pts", "options": options, "flags": MS_NOSUID}
    yield {"kind": "link", "source": "pts/ptmx", "target": "/dev/ptmx"}
    yield {"kind": "link", "source": "/proc/self/fd", "target": "/dev/fd"}
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        yield {"kind": "link", "source": f"/proc/self/fd/{number}", "target": f"/dev/{name}"}


def _read_only(path: Path) -> Json:
    return {"kind": "bind", "source": str(path), "target": str(path), "read_only": True}


def bind(source: Path, target: str, read_only: bool = False) -> Json:
    """Return the order to show a file or folder of the host at ``target``."""
    return {"kind": "bind", "source": str(source), "target": target, "read_only": read_only}


def default_path(image: Image) -> str:
    """Return the ``PATH`` of an image that sets none."""
    return PATH if image.rootfs else os.pathsep.join((f"{sys.prefix}/bin", PATH))


def home_of(image: Image, uid: int) -> str:
    """Return the home that the image's users' table gives a user."""
    passwd = PASSWD if image.rootfs is None else Path(image.rootfs, "etc/passwd").read_text()
    for line in passwd.splitlines():
        fields = line.split(":")
        if fields[2:3] == [str(uid)]:
            return fields[5]
    return "/"
