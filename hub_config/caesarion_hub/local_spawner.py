"""
Spawns users' servers on one machine: a process and a home folder for each user.

Called by ``spawner``; JupyterHub runs :class:`HomeSpawner`, which takes servers that wait
for a user from ``warm_processes``. All processes run as the same operating-system user, so
users are not isolated from each other: this is for one person's machine. Isolation needs
the cluster and its pods.
"""

import asyncio
import hashlib
import os
import re
import shutil
import sys
from pathlib import Path
from subprocess import DEVNULL, STDOUT
from typing import Any, ClassVar

from jupyterhub.spawner import SimpleLocalProcessSpawner
from traitlets import Integer, Unicode, default
from traitlets.config import Config

from caesarion_hub import claims, sandboxes
from caesarion_hub.logs import server_log
from caesarion_hub.readiness import wait_until_ready
from caesarion_hub.values import Local, Values
from caesarion_hub.warm_processes import WarmProcesses

NETWORK_VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
"""This machine's proxy and certificate settings, which every process of ours inherits."""


DEATH_INTERVAL = 0.5
"""Seconds between two looks at whether a server that starts has ended."""


def configure(c: Config, values: Values, local: Local) -> None:
    """Set the spawner class, the server's command, and how many servers wait for users."""
    c.JupyterHub.spawner_class = HomeSpawner
    c.HomeSpawner.folder = str(local.folder)
    c.HomeSpawner.warm_replicas = values.singleuser.warm.replicas
    # What lies in the user's home is not run before the server has read its settings.
    c.Spawner.cmd = [sys.executable, "-s", "-P", "-m", "caesarion.singleuser"]
    c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []


class HomeSpawner(SimpleLocalProcessSpawner):  # type: ignore[misc]
    """
    Starts a server in ``homes/<slug>``; its log goes to ``logs/<slug>.log``.

    A sandbox has a home of its own, ``sandboxes/<slug>/<name>``, which is removed with it.
    """

    folder = Unicode(help="The folder that holds homes/ and logs/.").tag(config=True)

    warm_replicas = Integer(
        0,
        help="How many servers wait for a user, with everything imported; 0 for none. Each takes "
        "some 175 MB, with its kernel.",
    ).tag(config=True)

    warm: ClassVar[WarmProcesses | None] = None
    """The servers that wait, which all spawners share; None if there are none."""

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

    @classmethod
    async def keep_warm(cls, hub: Any) -> None:
        """Keep servers that wait from now on, if the configuration says so; ``hub`` is the app."""
        anybodys = cls(parent=hub)
        if anybodys.warm_replicas:
            cls.warm = WarmProcesses(
                anybodys.warm_replicas,
                anybodys.command(),
                anybodys.environment_of_all(),
                Path(anybodys.folder, "warm"),
                hub.log,
            )
            cls.warm.start()

    def command(self) -> list[str]:
        """Return the server's command with its arguments."""
        return [*self.cmd, *self.get_args()]

    def environment_of_all(self) -> dict[str, str]:
        """Return the part of the server's environment that is the same for all users."""
        kept = {name: os.environ[name] for name in self.env_keep if name in os.environ}
        set_by_values = {
            name: text for name, text in self.environment.items() if isinstance(text, str)
        }
        return kept | set_by_values

    async def start(self) -> Any:
        """Claim a server that waits, or start one; its output goes to its user's log file."""
        if not await self._claim():
            configured = self.popen_kwargs
            self._make_home()
            with self._log_file().open("w") as log:
                output = {"stdin": DEVNULL, "stdout": log, "stderr": STDOUT}
                # JupyterHub 6.1 enters the home in a preexec_fn, for which Python forks the hub.
                place = {"cwd": self.home_dir, "preexec_fn": None}
                self.popen_kwargs = place | output | configured
                try:
                    await super().start()
                finally:
                    self.popen_kwargs = configured
        host = self.ip or "127.0.0.1"
        await self._wait_until_ready(f"http://{host}:{self.port}{self.server.base_url}api")
        return host, self.port

    async def _claim(self) -> bool:
        """Make a server that waits this user's, and return whether there was one."""
        started_as_usual = not (self.popen_kwargs or self.shell_cmd)
        if not (self.warm and started_as_usual and self.warm.command == tuple(self.command())):
            return False
        if not (warm := self.warm.take()):
            return False
        self.port = warm.port
        try:
            self._make_home()
            warm.log.rename(self._log_file())
            await claims.claim(warm.url, warm.nonce, self.get_env(), self.home_dir)
            self.proc, self.pid = warm.process, warm.process.pid
        except claims.ClaimError as problem:
            self.log.warning("%s", problem)
            self.port = 0
        finally:
            if self.proc is not warm.process:
                warm.end()
        return self.proc is warm.process

    async def _wait_until_ready(self, url: str) -> None:
        """Return when the server answers, or has ended, which JupyterHub finds out then."""
        process, ready = self.proc, asyncio.ensure_future(wait_until_ready(url))
        try:
            while process.poll() is None:
                if (await asyncio.wait({ready}, timeout=DEATH_INTERVAL))[0]:
                    return await ready
        finally:
            ready.cancel()

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

    def _make_home(self) -> None:
        Path(self.home_dir).mkdir(mode=0o755, parents=True, exist_ok=True)

    def _log_file(self) -> Path:
        name = f"{slug(self.user.name)}---{self.name}" if self.name else slug(self.user.name)
        log = Path(self.folder, "logs", f"{name}.log")
        log.parent.mkdir(exist_ok=True)
        return log

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
