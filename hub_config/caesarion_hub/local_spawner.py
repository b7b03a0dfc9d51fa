"""
How a user's server starts on one machine: a process with a home of its own.

Called by ``spawner``; JupyterHub runs :class:`HomeSpawner`. All processes
belong to one operating-system user: this is for one person's machine, the
separation of users is the pods'.
"""

import hashlib
import os
import re
import sys
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import IO, Any

from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets import Unicode, default
from traitlets.config import Config

from caesarion_hub.names import NETWORK_VARIABLES
from caesarion_hub.values import Local


def configure(c: Config, local: Local) -> None:
    """Set the spawner and the command of a server."""
    c.JupyterHub.spawner_class = HomeSpawner
    c.HomeSpawner.folder = str(local.folder)
    c.Spawner.cmd = [sys.executable, "-m", "caesarion.singleuser"]
    c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []


class HomeSpawner(SimpleLocalProcessSpawner):  # type: ignore[misc]
    """Starts a server in ``homes/<slug>`` and writes its log beside, in ``logs/``."""

    folder = Unicode(help="The folder that holds homes/ and logs/.").tag(config=True)

    @default("home_dir")
    def _home_dir(self) -> str:
        return str(Path(self.folder, "homes", slug(self.user.name)))

    @default("env_keep")
    def _env_keep(self) -> list[str]:
        return [*self._env_keep_default(), *NETWORK_VARIABLES]

    async def start(self) -> Any:
        """Start the server; its output goes to a log of its own."""
        with self._open_log() as log:
            self.popen_kwargs = {"stdin": DEVNULL, "stdout": log, "stderr": STDOUT}
            return await super().start()

    def _open_log(self) -> IO[str]:
        log = Path(self.folder, "logs", f"{slug(self.user.name)}.log")
        log.parent.mkdir(exist_ok=True)
        return log.open("w")

    async def stop(self, now: bool = False) -> None:
        """
        Stop the server with SIGTERM, as Kubernetes does.

        JupyterHub would send SIGINT first, at which a Jupyter server without a
        terminal ends on the spot: extensions are not told, kernels not ended.
        """
        await super().stop(now=True)

    def load_state(self, state: dict[str, Any]) -> None:
        """
        Forget the process of an earlier hub.

        The launcher has ended it, and its number may be another program's by
        now, which JupyterHub would signal.
        """
        super().load_state({})


def slug(name: str) -> str:
    """Return a folder's name for a user's name: the name if it is simple, else with a digest."""
    if re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", name) and len(name) <= 40:
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24].strip("-")
    # Three dashes in a row never occur in a simple name, so the two kinds cannot meet.
    return f"{readable or 'user'}---{hashlib.sha256(name.encode()).hexdigest()[:16]}"
