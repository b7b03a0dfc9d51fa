"""
A user's server as a hub's spawner starts it: its environment, its token, its hub.

Called by the tests of :mod:`caesarion.singleuser` and by the benchmark of the start::

    with bare_hub(folder) as hub, singleuser(folder / "ada", hub, "ada") as server:
        server.wait()
        server.get("api/status")

The hub is real (``tests/fakes/bare_hub.py``); nothing is between the two, no proxy. A server that
waits for its user is started and claimed as by a hub, too::

    with warm_server(folder) as warm:
        server = await warm.claim(hub, "ada")
        server.wait()
"""

import asyncio
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
from urllib.parse import urlsplit

from caesarion_hub import claims

from tests.fakes.bare_hub import BareHub, free_port
from tests.hub import REPOSITORY, clean_environment
from tests.server import READY_WITHIN, STOPPED_WITHIN, RunningServer, shipped_configuration

RECORDED_ENVIRONMENT = """
import json, os, sys
read = set()

class Recorded(type(os.environ)):
    def __getitem__(self, key):
        read.add(os.fsdecode(key))
        return super().__getitem__(key)
"""
"""The beginning of a program: an environment of this class tells which variables are ``read``."""

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
    variables = user_environment(hub, user, home, free_port()) | dict(environment or {})
    with _process(
        [program, *command, "--allow-root", *arguments], home, _anybodys(folder) | variables
    ) as (process, log):
        yield _made(variables, process, log)


@dataclass
class WarmServer:
    """A server at ``url`` that waits for its user."""

    url: str
    nonce: str
    process: subprocess.Popen[str]
    log: Path

    async def wait(self) -> None:
        """Wait until it can be claimed."""
        async with asyncio.timeout(READY_WITHIN):
            while not await claims.is_waiting(self.url):
                assert self.process.poll() is None, self.log.read_text()
                await asyncio.sleep(0.01)

    async def claim(
        self,
        hub: BareHub,
        user: str,
        environment: Mapping[str, str] | None = None,
        *,
        in_pod: bool = False,
    ) -> Singleuser:
        """Make it the server of ``user``, in a home beside its log: ``in_pod``, where it is."""
        home = self.log.parent / "home"
        home.mkdir(exist_ok=True)
        port = urlsplit(self.url).port
        assert port
        variables = user_environment(hub, user, home, port) | dict(environment or {})
        await claims.claim(self.url, self.nonce, variables, None if in_pod else str(home))
        return _made(variables, self.process, self.log)


@contextmanager
def warm_server(
    folder: Path,
    *,
    command: Sequence[str] = OURS,
    environment: Mapping[str, str] | None = None,
) -> Iterator[WarmServer]:
    """Run a server that waits for its user; yields at once."""
    folder.mkdir(parents=True, exist_ok=True)
    nonce, url = claims.new_nonce(), f"http://127.0.0.1:{free_port()}"
    variables = {
        "JUPYTERHUB_SERVICE_URL": f"{url}/",
        claims.NONCE_VARIABLE: nonce,
        **(environment or {}),
    }
    with _process(
        [sys.executable, *command, "--allow-root", claims.WARM_ARGUMENT],
        folder,
        _anybodys(folder) | variables,
    ) as (process, log):
        yield WarmServer(url, nonce, process, log)


def pod_environment(hub: BareHub, folder: Path) -> dict[str, str]:
    """Return what a pod says beforehand, the same for all users, whose server is in ``folder``."""
    home = folder / "home"
    home.mkdir(parents=True)
    return {
        "HOME": str(home),
        "JUPYTERHUB_API_URL": hub.api_url,
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_DEFAULT_URL": "/lab",
        "JUPYTERHUB_DISABLE_USER_CONFIG": "1",
        "JUPYTERHUB_ROOT_DIR": "~",
    }


def user_environment(hub: BareHub, user: str, home: Path, port: int) -> dict[str, str]:
    """Return what a hub's spawner says of the user and of the hub."""
    prefix = f"/user/{user}/"
    return {
        "HOME": str(home),
        "JUPYTERHUB_API_TOKEN": hub.make_token(user, ["self"]),
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
    }


def _anybodys(folder: Path) -> dict[str, str]:
    """Return what is the same for all users."""
    ours = (REPOSITORY / "extension", REPOSITORY / "dialects", REPOSITORY)
    return {
        **clean_environment(),
        "HOME": str(folder),
        "JUPYTER_CONFIG_PATH": str(shipped_configuration(folder / "configuration")),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "PYTHONPATH": os.pathsep.join(str(path) for path in ours),
    }


def _made(variables: Mapping[str, str], process: subprocess.Popen[str], log: Path) -> Singleuser:
    url, home = variables["JUPYTERHUB_SERVICE_URL"], Path(variables["HOME"])
    return Singleuser(url, variables["JUPYTERHUB_API_TOKEN"], home, process, log)


@contextmanager
def _process(
    command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    log = Path(environment["JUPYTER_CONFIG_PATH"]).parent / "server.log"
    with log.open("wb") as printed:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield process, log
        finally:
            process.terminate()
            try:
                process.wait(STOPPED_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
