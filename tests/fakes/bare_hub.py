"""
A real JupyterHub for services that are tested alone: no proxy, no users' servers.

It runs as a process in a folder of its own. Tests make users and tokens
through its API, with the token of a service that may do that.
"""

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.forks import forked

ADMIN_TOKEN = "token-of-the-test-0123456789abcdef"

_CONFIG = """
from jupyterhub.proxy import Proxy


class NoProxy(Proxy):
    should_start = False

    async def add_route(self, routespec, target, data):
        pass

    async def delete_route(self, routespec):
        pass

    async def get_all_routes(self):
        return {{}}


c.JupyterHub.proxy_class = NoProxy
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.allow_all = True
c.JupyterHub.services = [
    {{"name": "gateway", "url": "http://127.0.0.1:9", "api_token": "unused-0123456789abcdef"}},
    {{"name": "test", "api_token": "{token}"}},
]
gateway = "access:services!service=gateway"
c.JupyterHub.load_roles = [
    {{"name": "user", "scopes": ["self", gateway]}},
    {{
        "name": "test",
        "scopes": ["admin:users", "admin:groups", "tokens", "read:metrics", gateway],
        "services": ["test"],
    }},
]
"""


class BareHub:
    """A hub at ``api_url`` that logs to the file ``log``."""

    def __init__(self, port: int, log: Path) -> None:
        self.log = log
        self.api_url = f"http://127.0.0.1:{port}/hub/api"

    def add_user(self, name: str) -> None:
        """Add a user."""
        self._call("POST", f"users/{name}")

    def add_group(self, name: str, users: Sequence[str]) -> None:
        """Add a group with these users."""
        self._call("POST", f"groups/{name}")
        self._call("POST", f"groups/{name}/users", {"users": list(users)})

    def make_token(self, name: str, scopes: Sequence[str]) -> str:
        """Return a new token of a user's, with these scopes."""
        token: str = self._call("POST", f"users/{name}/tokens", {"scopes": scopes})["token"]
        return token

    def revoke(self, name: str, token: str) -> None:
        """Revoke a token of a user's: JupyterHub calls a token by a number, not by itself."""
        made = self._call("GET", "user", token=token)
        self._call("DELETE", f"users/{name}/tokens/{made['token_id']}")

    def answers(self) -> bool:
        """Whether the hub is up."""
        try:
            self._call("GET", "")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def _call(self, method: str, path: str, body: Any = None, token: str = ADMIN_TOKEN) -> Any:
        request = urllib.request.Request(
            f"{self.api_url}/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {token}"},
        )
        no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with no_proxy.open(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def bare_hub(folder: Path, seconds: float = 180.0) -> Iterator[BareHub]:
    """Run a hub that keeps its state in ``folder``; it has ``seconds`` to start."""
    port = free_port()
    config = folder / "jupyterhub_config.py"
    config.write_text(_CONFIG.format(port=port, token=ADMIN_TOKEN))
    with (folder / "hub.log").open("wb") as log:
        with forked():
            process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(config)],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            hub = BareHub(port, folder / "hub.log")
            deadline = time.monotonic() + seconds
            while not hub.answers():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "hub.log").read_text())
                time.sleep(0.1)
            yield hub
        finally:
            process.terminate()
            process.wait(120)
