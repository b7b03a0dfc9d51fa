"""
Spawns users' servers on one machine: a process and a home folder for each user.

Called by ``spawner``; JupyterHub runs :class:`HomeSpawner`. All processes run as
the same operating-system user, so users are not isolated from each other: this
is for one person's machine. Isolation needs the cluster and its pods.
"""

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import IO, Any, ClassVar

from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets import Unicode, default
from traitlets.config import Config

from caesarion_hub import sandboxes
from caesarion_hub.logs import server_log
from caesarion_hub.values import Local

NETWORK_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
"""This machine's proxy and certificate settings, which every process of ours inherits."""


def configure(c: Config, local: Local) -> None:
    """Set the spawner class and the server's command."""
    c.JupyterHub.spawner_class = HomeSpawner
    c.HomeSpawner.folder = str(local.folder)
    # What lies in the user's home is not run before the server has read its settings.
    c.Spawner.cmd = [sys.executable, "-s", "-P", "-m", "caesarion.singleuser"]
    c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []


class HomeSpawner(SimpleLocalProcessSpawner):  # type: ignore[misc]
    """
    Starts a server in ``homes/<slug>``; its log goes to ``logs/<slug>.log``.

    A sandbox has a home of its own, ``sandboxes/<slug>/<name>``, which is removed with it.
    """

    folder = Unicode(help="The folder that holds homes/ and logs/.").tag(config=True)

    unsupported_traits: ClassVar[dict[str, str]] = {
        "home_dir_template": "Homes are in the state folder; set CAESARION_STATE.",
        "interrupt_timeout": "Servers are stopped with SIGTERM; set term_timeout.",
    }
    """JupyterHub's traits that have no effect here, with the remedy."""

    popen_kwargs: dict[str, Any]

    @default("log")
    def _log(self) -> Any:
        return server_log(self.user.name if self.user else "", self.name)

    @default("home_dir")
    def _default_home_dir(self) -> str:
        if sandboxes.is_sandbox(self.name):
            return str(Path(self.folder, "sandboxes", slug(self.user.name), self.name))
        return str(Path(self.folder, "homes", slug(self.user.name)))

    @default("env_keep")
    def _env_keep(self) -> list[str]:
        return [*self._env_keep_default(), *NETWORK_VARIABLES]

    async def start(self) -> Any:
        """Start the server with its output redirected to its own log file."""
        configured = self.popen_kwargs
        with self._open_log() as log:
            self.popen_kwargs = {"stdin": DEVNULL, "stdout": log, "stderr": STDOUT, **configured}
            try:
                return await super().start()
            finally:
                self.popen_kwargs = configured

    def get_env(self) -> dict[str, Any]:
        """Return the server's environment, with that of a sandbox."""
        environment: dict[str, Any] = super().get_env()
        return environment | sandboxes.environment(self.name, self.user_options)

    async def _run_apply_user_options(self, user_options: dict[str, Any]) -> None:
        """Apply no options: JupyterHub 6.1 would warn of those of a sandbox, which we read."""
        if self.apply_user_options:
            await super()._run_apply_user_options(user_options)

    def delete_forever(self) -> None:
        """Remove the home of a sandbox."""
        if sandboxes.is_sandbox(self.name):
            shutil.rmtree(self.home_dir, ignore_errors=True)

    def _open_log(self) -> IO[str]:
        name = f"{slug(self.user.name)}---{self.name}" if self.name else slug(self.user.name)
        log = Path(self.folder, "logs", f"{name}.log")
        log.parent.mkdir(exist_ok=True)
        return log.open("w")

    async def stop(self, now: bool = False) -> None:
        """
        Stop the server with SIGTERM, as Kubernetes does.

        JupyterHub 6.1 sends SIGINT first. Without a terminal, jupyter-server 2
        exits at once on SIGINT: it neither stops extensions nor kernels.
        """
        await super().stop(now=True)

    def load_state(self, state: dict[str, Any]) -> None:
        """
        Ignore the process that an earlier hub started.

        The launcher has already ended it, and another program may have its
        process id by now, which JupyterHub would signal.
        """
        super().load_state({})


def slug(name: str) -> str:
    """Return a folder name for a user: the name itself if it is simple, else with a digest."""
    if re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", name) and len(name) <= 40:
        return name
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24].strip("-")
    # Simple names never contain three dashes in a row, so the two kinds cannot collide.
    return f"{readable or 'user'}---{hashlib.sha256(name.encode()).hexdigest()[:16]}"
