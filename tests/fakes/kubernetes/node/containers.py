"""
A running container, as the kubelet holds it: its process, its log, how it ended.

Called by ``pods``. :func:`start` writes the orders that ``sandbox`` carries out.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.fakes.kubernetes.client import Json
from tests.fakes.kubernetes.node.cgroups import Group
from tests.fakes.kubernetes.node.network import enter_network_of_parent
from tests.fakes.kubernetes.node.sandbox import STARTED

PROGRAM = ("-I", "-S", str(Path(__file__).with_name("sandbox.py")))
FORKED = ("-m", "tests.fakes.kubernetes.node.forked")

ROOT = "root"
"""Where in a container's folder its root file system is mounted."""

DOCKERS = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
"""The numbers of the capabilities that container runtimes leave to root."""


@dataclass(frozen=True)
class User:
    """Who runs a container's processes, and what they may not become."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    capabilities: tuple[int, ...]
    no_new_privileges: bool


@dataclass(frozen=True)
class Order:
    """Everything that ``sandbox`` must know of a container."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    hostname: str
    user: User
    mounts: Sequence[Json]
    read_only: bool
    forked: bool
    """Whether ``forked`` carries it out, and not ``sandbox``."""


class Container:
    """One start of a container; a restart is another one."""

    def __init__(
        self, id: str, folder: Path, process: asyncio.subprocess.Process, group: Group
    ) -> None:
        self.id = id
        self.began = time.time()
        self.ended: float | None = None
        self._folder = folder
        self.failure = ""
        """Why the command could not be started, if it could not."""
        self._process = process
        self._group = group
        self._kills = group.kills
        self._waiting = asyncio.ensure_future(self._wait())

    async def _wait(self) -> int:
        code = await self._process.wait()
        self.ended = time.time()
        # asyncio tells a signal as a negative number: this is the sandbox's own end.
        return 128 - code if code < 0 else code

    @property
    def running(self) -> bool:
        return not self._waiting.done()

    @property
    def code(self) -> int:
        """The exit status; only of one that has ended."""
        return self._waiting.result()

    @property
    def reason(self) -> str:
        """Why it ended, in Kubernetes' word."""
        if self.code and self._group.kills > self._kills:
            return "OOMKilled"
        if self.failure:
            return "StartError"
        return "Error" if self.code else "Completed"

    async def wait(self) -> int:
        return await asyncio.shield(self._waiting)

    def signal(self, number: signal.Signals) -> None:
        """Send the container's first process a signal; one that has ended takes none."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(int((self._folder / STARTED).read_text()), number)

    async def stop(self, grace: float) -> None:
        """Ask it to end, and kill it when the grace is over."""
        self.signal(signal.SIGTERM)
        await asyncio.wait([self._waiting], timeout=grace)
        self.signal(signal.SIGKILL)
        await self.wait()

    async def execute(self, argv: Sequence[str], order: Order, seconds: float) -> tuple[int, str]:
        """Run another command in the container as its user; return its status and output."""
        pid = (self._folder / STARTED).read_text()
        user = order.user
        process = await asyncio.create_subprocess_exec(
            *("nsenter", "--target", pid, "--mount", "--pid", "--ipc", "--uts", "--root", "--wd"),
            *("setpriv", f"--reuid={user.uid}", f"--regid={user.gid}"),
            f"--groups={','.join(map(str, user.groups))}" if user.groups else "--clear-groups",
            *("--bounding-set=-all", "--no-new-privs", "--pdeathsig=KILL"),
            *argv,
            env=dict(order.env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(seconds):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        return process.returncode or 0, output.decode(errors="replace")


async def start(id: str, order: Order, folder: Path, log: Path, group: Group) -> Container:
    """
    Start a container whose files lie in ``folder``; its output is added to ``log``.

    Returns when its command runs, or with one that has ended and says why.
    """
    root = folder / ROOT
    root.mkdir(parents=True)
    orders = folder / "orders.json"
    orders.write_text(
        json.dumps(
            {
                "root": str(root),
                "cgroups": group.doors,
                **{key: value for key, value in asdict(order).items() if key != "user"},
                **asdict(order.user),
            }
        )
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    told, report = os.pipe()
    with log.open("ab") as output:
        os.chown(log, order.user.uid, order.user.gid)  # a program may open /dev/stdout
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *(FORKED if order.forked else PROGRAM), str(orders), str(report)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            pass_fds=[report],
            start_new_session=True,
            # Whoever forks it has been forked before there was a network.
            preexec_fn=enter_network_of_parent if order.forked else None,
        )
    os.close(report)
    container = Container(id, folder, process, group)
    try:
        container.failure = await _read(told)
    except asyncio.CancelledError:
        process.kill()
        raise
    if container.failure:
        await container.wait()
    return container


async def _read(pipe: int) -> str:
    """Return what comes through a pipe until its other end is closed."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb")
    )
    try:
        return (await reader.read()).decode()
    finally:
        transport.close()
