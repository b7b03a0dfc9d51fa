"""
A user's server as a hub's spawner starts it: its environment, its token, its hub.

Called by the tests of :mod:`caesarion.singleuser` and by the benchmark of the start::

    with bare_hub(folder) as hub, singleuser(folder / "ada", hub, "ada") as server:
        server.wait()
        server.get("api/status")

The hub is real (``tests/fakes/bare_hub.py``); nothing is between the two, no proxy.
"""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.bare_hub import BareHub, free_port
from tests.hub import REPOSITORY, clean_environment
from tests.server import READY_WITHIN, STOPPED_WITHIN, RunningServer, shipped_configuration

OURS = ("-s", "-P", "-m", "caesarion.singleuser")
JUPYTERHUBS = ("-m", "jupyterhub.singleuser")

_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Singleuser:
    """A server at ``url``, which ends in a slash; what it prints is in the file ``log``."""

    url: str
    token: str
    root: Path
    process: subprocess.Popen[str]
    log: Path

    def as_running(self) -> RunningServer:
        """Return it as tests of servers without a hub know one, to run cells in."""
        return RunningServer(self.url, self.token, self.root, self.process)

    def get(self, path: str, token: str | None = None, seconds: float = 90) -> tuple[int, str]:
        """Return status and body of an answer to the user, or to whoever has ``token``."""
        headers = {"Authorization": f"token {self.token if token is None else token}"}
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with _NO_PROXY.open(request, timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def wait(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + READY_WITHIN
        while True:
            try:
                self.get("api")
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"it did not start\n{self.log.read_text()}") from None
                time.sleep(0.005)
            else:
                return


@contextmanager
def singleuser(
    folder: Path,
    hub: BareHub,
    user: str,
    *,
    command: Sequence[str] = OURS,
    program: Path = Path(sys.executable),
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
) -> Iterator[Singleuser]:
    """
    Run the server of ``user``, whom the hub knows, with its home in ``folder``.

    ``command`` is what ``program``, Python, is told to run. Yields at once: the server has not
    answered yet.
    """
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    token = hub.make_token(user, ["self"])
    port, prefix = free_port(), f"/user/{user}/"
    log = folder / "server.log"
    with log.open("wb") as printed:
        process = subprocess.Popen(
            [program, *command, "--allow-root", *arguments],
            cwd=home,
            env={
                **clean_environment(),
                "HOME": str(home),
                "JUPYTER_CONFIG_PATH": str(shipped_configuration(folder / "configuration")),
                "JUPYTERHUB_API_TOKEN": token,
                "JUPYTERHUB_API_URL": hub.api_url,
                "JUPYTERHUB_ACTIVITY_URL": f"{hub.api_url}/users/{user}/activity",
                "JUPYTERHUB_BASE_URL": "/",
                "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{user}",
                "JUPYTERHUB_DEFAULT_URL": "/lab",
                "JUPYTERHUB_OAUTH_ACCESS_SCOPES": f'["access:servers!user={user}"]',
                "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
                "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES": "[]",
                "JUPYTERHUB_ROOT_DIR": "~",
                "JUPYTERHUB_SERVICE_PREFIX": prefix,
                "JUPYTERHUB_SERVICE_URL": f"http://127.0.0.1:{port}{prefix}",
                "JUPYTERHUB_USER": user,
                "PYTHONPATH": os.pathsep.join(
                    str(path) for path in (REPOSITORY / "extension", REPOSITORY)
                ),
                **(environment or {}),
            },
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield Singleuser(f"http://127.0.0.1:{port}{prefix}", token, home, process, log)
        finally:
            process.terminate()
            try:
                process.wait(STOPPED_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
