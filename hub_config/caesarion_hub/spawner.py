"""
How a user's server starts on one machine: a process with a home of its own.

Called by ``jupyterhub_config.py``; JupyterHub runs :class:`HomeSpawner`. All
processes belong to one operating-system user: this is for one person's machine,
the separation of users is the pods'.
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

from caesarion_hub.names import GATEWAY_SCOPE, NETWORK_VARIABLES, RUN_VARIABLE
from caesarion_hub.values import Values


def configure(c: Config, values: Values) -> None:
    """Set the spawner, what a server's token may do and what its environment says."""
    gateway = f"http://127.0.0.1:{values.local.gateway_port}/services/gateway/v1"
    c.JupyterHub.spawner_class = HomeSpawner
    c.HomeSpawner.folder = str(values.local.folder)
    c.Spawner.cmd = [sys.executable, "-m", "jupyterhub.singleuser"]
    c.Spawner.args = ["--allow-root"] if os.geteuid() == 0 else []
    c.Spawner.notebook_dir = "~"
    c.Spawner.default_url = values.singleuser.default_url
    c.Spawner.start_timeout = values.singleuser.start_timeout
    c.Spawner.environment = {
        RUN_VARIABLE: values.local.run,
        "CAESARION_MODEL_BASE_URL": gateway,
        "CAESARION_MODEL_NAME": values.gateway.model,
        "CAESARION_AGENT_APPROVAL": values.agent.approval,
        "CAESARION_AGENT_MAX_APPROVAL": values.agent.max_approval,
        **values.singleuser.extra_env,
    }
    # Without the user's role (auth.py) the last scope is dropped from the token in silence.
    c.Spawner.server_token_scopes = [
        "users:activity!user",
        "access:servers!server",
        GATEWAY_SCOPE,
    ]


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
