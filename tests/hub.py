"""
A real hub for tests: the launcher of ``make up`` as a process of its own.

Called by the fixtures in ``conftest.py``, by tests that need a hub of their own
and by the benchmarks::

    with running_hub(folder, environment={"OPENAI_BASE_URL": url}) as hub:
        ada = hub.login("ada")
        ada.start_server()
        ada.get("/user/ada/caesarion/api/status").raise_for_status()

Every port is chosen free, nothing listens beyond the loopback interface, and
when the block ends the launcher has been stopped and has left no process.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psutil
import yaml

from tests.forks import forked, without_sources

REPOSITORY = Path(__file__).parents[1]
READY_WITHIN = 180.0
STOPPED_WITHIN = 60.0
SERVER_WITHIN = 180.0


def free_port() -> int:
    """Return a port of the loopback interface that is free at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process still runs; one that only waits to be reaped does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def clean_environment() -> dict[str, str]:
    """Return this process's environment without anything that would configure a hub."""
    ours = ("OPENAI_", "CAESARION_", "JUPYTER", "JPY_", "PORT")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


class Session(httpx.Client):
    """
    A logged-in browser without a window: cookies, redirects, the XSRF header.

    Paths are relative to the hub (``/hub/api/...``, ``/user/<name>/...``).
    """

    def __init__(self, url: str, user: str, transport: httpx.BaseTransport | None = None) -> None:
        super().__init__(base_url=url, follow_redirects=True, timeout=60, transport=transport)
        self.user = user
        self._api = f"/hub/api/users/{quote(user)}"
        self.event_hooks["request"].append(self._add_xsrf)

    def log_in(self, password: str) -> httpx.Response:
        """Send the login form; a wrong password is answered with 403."""
        self.get("/hub/login").raise_for_status()
        form = {"username": self.user, "password": password, "_xsrf": self.xsrf("/hub/")}
        return self.post("/hub/login?next=/hub/home", data=form)

    def start_server(self) -> str:
        """Start the user's server if it is not running, and return its path when it answers."""
        path = f"{self._api}/server"
        started = self.post(path)
        if started.status_code != 400:  # 400: it is running already
            started.raise_for_status()
        with self.stream("GET", f"{path}/progress", timeout=SERVER_WITHIN) as events:
            for line in events.iter_lines():
                event = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                assert not event.get("failed"), event
                if event.get("ready"):
                    # The first page brings the cookies that the server's API asks for.
                    self.get(event["url"]).raise_for_status()
                    return str(event["url"])
        raise AssertionError(f"the server of {self.user} did not become ready")

    def stop_server(self) -> None:
        """Stop the user's server; the hub may still be at it when this returns."""
        self.delete(f"{self._api}/server").raise_for_status()

    def token(self) -> str:
        """Return a new API token with all of the user's rights."""
        answer = self.post(f"{self._api}/tokens", json={"note": "a test"})
        answer.raise_for_status()
        return str(answer.json()["token"])

    def xsrf(self, path: str) -> str:
        """Return the XSRF cookie for a path: the hub has one, each server another."""
        fitting = [c for c in self.cookies.jar if c.name == "_xsrf" and path.startswith(c.path)]
        return max(fitting, key=lambda c: len(c.path)).value or "" if fitting else ""

    def _add_xsrf(self, request: httpx.Request) -> None:
        request.headers["X-XSRFToken"] = self.xsrf(request.url.path)


@dataclass
class RunningHub:
    """A hub that users can log in to."""

    url: str
    """Where it is, without a slash at the end."""
    port: int
    folder: Path
    """The folder of its state, with ``homes/`` and ``logs/``."""
    process: subprocess.Popen[str]
    """The launcher."""
    user_password: str
    admin_password: str
    printed: list[str] = field(default_factory=list)
    """What the launcher has printed so far, by line."""
    sessions: list[Session] = field(default_factory=list)
    """Those that ``login`` has made; they are closed with the hub."""

    @property
    def log(self) -> str:
        """The hub's log up to now, with its proxy's and its services'."""
        return (self.folder / "hub.log").read_text(errors="replace")

    def login(self, user: str, password: str | None = None) -> Session:
        """Log in and return the session; ``admin`` gets the administrators' password."""
        own = self.admin_password if user == "admin" else self.user_password
        session = Session(self.url, user)
        self.sessions.append(session)
        session.log_in(password or own).raise_for_status()
        return session

    def home(self, user: str) -> Path:
        """Return the home of a user with a simple name."""
        return self.folder / "homes" / user

    def processes(self) -> list[psutil.Process]:
        """Return the launcher and everything below it."""
        launcher = psutil.Process(self.process.pid)
        return without_sources([launcher, *launcher.children(recursive=True)])

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send the launcher a signal and return its exit status; 0 is what should be."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOPPED_WITHIN)


@contextmanager
def running_hub(
    folder: Path,
    *,
    environment: Mapping[str, str] | None = None,
    values: Mapping[str, Any] | None = None,
    port: int | None = None,
) -> Iterator[RunningHub]:
    """
    Run ``make up``'s launcher with its state in ``folder`` until the block ends.

    ``environment`` adds variables (``OPENAI_BASE_URL``, ``CAESARION_MODEL`` ...),
    ``values`` is laid over ``local.yaml``; the service for programs, a fifth of a
    start, runs only if they name it, and no server waits for a user unless they say
    so. Yields when users can log in; the failure of a start shows what the launcher
    printed and the hub's log.
    """
    port = port or free_port()
    settings = {
        "PORT": str(port),
        "CAESARION_STATE": str(folder),
        "CAESARION_PASSWORD": "the users' password",
        "CAESARION_ADMIN_PASSWORD": "the administrators' password, which is longer",
        **(environment or {}),
    }
    file = folder.with_name(f"{folder.name}-values.yaml")
    table = {"api": {"enabled": False}, **(values or {})}
    table["singleuser"] = {"warm": {"replicas": 0}, **table.get("singleuser", {})}
    file.write_text(yaml.safe_dump(table))
    settings["CAESARION_VALUES"] = str(file)
    with forked():
        process = launch(settings)
    hub = RunningHub(
        url=f"http://127.0.0.1:{port}",
        port=port,
        folder=folder,
        process=process,
        user_password=settings["CAESARION_PASSWORD"],
        admin_password=settings["CAESARION_ADMIN_PASSWORD"],
    )
    ready = threading.Event()
    reader = threading.Thread(target=_read, args=(process, hub.printed, ready), daemon=True)
    reader.start()
    try:
        if not ready.wait(READY_WITHIN) or process.poll() is not None:
            raise AssertionError("\n".join(["the hub did not start", *hub.printed, _tail(hub)]))
        yield hub
    finally:
        for session in hub.sessions:
            session.close()
        try:
            hub.stop()
        except subprocess.TimeoutExpired:
            left = hub.processes()
            for one in left:
                one.kill()
            psutil.wait_procs(left, STOPPED_WITHIN)
            process.wait(STOPPED_WITHIN)
            raise
        finally:
            reader.join(STOPPED_WITHIN)


def launch(settings: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start the launcher in a session of its own, with ``settings`` in its environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "caesarion_hub.up"],
        cwd=REPOSITORY,
        env={**clean_environment(), **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _read(process: subprocess.Popen[str], printed: list[str], ready: threading.Event) -> None:
    """Collect what the launcher prints; set ``ready`` at the banner's end, or when it ends."""
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            printed.append(line.rstrip("\n"))
            if line.strip().startswith("Stop "):
                ready.set()
    ready.set()


def _tail(hub: RunningHub) -> str:
    return "\n".join(hub.log.splitlines()[-40:]) if (hub.folder / "hub.log").exists() else ""
