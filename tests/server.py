"""
A real Jupyter server with Caesarion for tests: a process of its own, without a hub.

Called by integration tests and by the benchmarks::

    with running_server(folder, model_url=model.base_url) as server:
        async with server.client() as http:
            await http.get("caesarion/api/status")

It has a home, a root folder, a port and a token of its own, and is configured by
the very files that the wheel ships, so that it is what a user of the hub gets.
``tests/chat.py`` talks to its chats.
"""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from uuid import uuid4

import aiohttp
import httpx
import psutil

from tests.forks import forked, without_sources
from tests.hub import REPOSITORY, clean_environment, free_port, is_alive

READY_WITHIN = 180.0
STOPPED_WITHIN = 60.0

_READY = "is running at:"
_KERNEL_SOCKET = re.compile(
    r'(?:\s.*\n)*\s+File ".*/ipykernel/.*\n(?:\s.*\n)*zmq\.error\.ZMQError: '
)
_CONFIGURATION = "etc/jupyter/"


async def eventually(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until ``condition`` holds, where nobody tells of it."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _is_end(line: str) -> bool:
    """Whether a traceback ends with this line: the name of an exception, and what it says."""
    return re.match(r"[\w.]+(:|$)", line) is not None


@dataclass
class RunningServer:
    """A server that answers."""

    url: str
    """Where it is, with a slash at the end."""
    token: str
    root: Path
    """The folder that its user sees."""
    process: Popen[str] | Popen[bytes]
    printed: list[str] = field(default_factory=list)
    """Its log up to now, by line."""

    @property
    def log(self) -> str:
        """Its log up to now."""
        return "\n".join(self.printed)

    @property
    def headers(self) -> dict[str, str]:
        """What lets a request in."""
        return {"Authorization": f"token {self.token}"}

    def client(self) -> httpx.AsyncClient:
        """Return a client that is let in; its paths are relative to the server's address."""
        return httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=90)

    @asynccontextmanager
    async def browser(self) -> AsyncIterator[httpx.AsyncClient]:
        """Provide a client that is logged in as a browser is: by a cookie, with its XSRF token."""
        async with httpx.AsyncClient(base_url=self.url, timeout=90) as http:
            await http.get("lab", params={"token": self.token})
            http.headers["X-XSRFToken"] = http.cookies["_xsrf"]
            yield http

    async def touch(self, path: str) -> None:
        """Make an empty file, unless there is one."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()

    async def start_kernel(self, **request: str) -> str:
        """Start a kernel as a notebook does (``name``, ``path``); return its id."""
        async with self.client() as http:
            answer = await http.post("api/kernels", json=request)
        return str(answer.raise_for_status().json()["id"])

    async def run_cell(self, kernel_id: str, code: str, seconds: float = 90.0) -> str:
        """Run ``code`` in a kernel as a notebook does, and return what it printed."""
        header = {
            "msg_id": uuid4().hex,
            "msg_type": "execute_request",
            "session": uuid4().hex,
            "username": "ada",
            "version": "5.4",
        }
        request = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": {"code": code, "silent": False, "store_history": True},
            "channel": "shell",
            "buffers": [],
        }
        url = f"{self.url}api/kernels/{kernel_id}/channels?session_id={header['session']}"
        printed = ""
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(headers=self.headers) as http,
            http.ws_connect(url) as socket,
        ):
            await socket.send_json(request)
            async for told in socket:
                message = json.loads(told.data)
                if message["parent_header"].get("msg_id") != header["msg_id"]:
                    continue
                if message["msg_type"] == "stream":
                    printed += message["content"]["text"]
                if message["content"].get("execution_state") == "idle":
                    return printed
        raise AssertionError("the kernel's socket was closed")

    @property
    def failures(self) -> list[str]:
        """
        The last lines of the tracebacks in the log.

        Not of kernels that were interrupted, as those are that end while they start, nor of
        ipykernel's own sockets: it answers a run after its shutdown has closed them, or finds
        the port taken that jupyter_client chose (and is started again). Where two processes
        print at once, the first traceback has no last line, and others run into each other.
        """
        _, *after = self.log.split("Traceback (most recent call last):\n")
        ends = [
            next(filter(_is_end, text.splitlines()), "")
            for text in after
            if not _KERNEL_SOCKET.match(text)
        ]
        return [end for end in ends if end not in ("", "KeyboardInterrupt")]

    def processes(self) -> list[psutil.Process]:
        """Return the server and its kernels, those that have ended excepted."""
        if self.process.poll() is not None:
            return []
        server = psutil.Process(self.process.pid)
        running = without_sources((server, *server.children(recursive=True)))
        return [one for one in running if is_alive(one)]

    def stop(self) -> int:
        """Stop it as a hub does, and return its exit status; 0 is what should be."""
        self.process.terminate()
        return self.process.wait(STOPPED_WITHIN)

    def kill(self) -> None:
        """End it at once, so that it can save nothing, and its kernels."""
        everything = self.processes()
        self.process.kill()
        self.process.wait(STOPPED_WITHIN)
        for one in everything:
            if is_alive(one):
                one.kill()
        psutil.wait_procs(everything, STOPPED_WITHIN)


@contextmanager
def running_server(
    folder: Path,
    *,
    model_url: str,
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    python: str | None = None,
) -> Iterator[RunningServer]:
    """
    Run a server whose home and root are in ``folder`` until the block ends.

    ``model_url`` is the address of an OpenAI-compatible endpoint, up to its
    ``/v1``; ``environment`` adds variables (``CAESARION_MODEL_TIMEOUT`` ...) and
    ``arguments`` command-line options. ``python`` is the program that starts it,
    where none that is forked will do. The same folder again is the same user
    after a restart. Yields when the server answers; the failure of a start
    shows its log.
    """
    root = folder / "home" / "work"
    root.mkdir(parents=True, exist_ok=True)
    port, token = free_port(), uuid4().hex
    options = (
        *("--no-browser", "--allow-root", f"--ServerApp.port={port}"),
        *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}"),
        # jupyter-lsp 2.3 would ask npm where to look for language servers: 0.2 s of CPU.
        *("--LanguageServerManager.node_roots=[]", *arguments),
    )
    variables = {
        **clean_environment(),
        "HOME": str(folder / "home"),
        "JUPYTER_CONFIG_PATH": str(shipped_configuration(folder / "configuration")),
        "JUPYTER_TOKEN": token,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONPATH": os.pathsep.join(str(path) for path in (REPOSITORY / "extension", REPOSITORY)),
        "CAESARION_MODEL_BASE_URL": model_url,
        **(environment or {}),
    }
    receiver, sender = os.pipe()
    with nullcontext() if python else forked():
        process = Popen(
            [python or sys.executable, "-m", "jupyter_server", *options],
            cwd=root,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=sender,
            stderr=sender,
            start_new_session=True,
        )
    os.close(sender)
    server = RunningServer(f"http://127.0.0.1:{port}/", token, root, process)
    ready = threading.Event()
    reader = threading.Thread(target=_read, args=(server, receiver, ready), daemon=True)
    reader.start()
    try:
        if not ready.wait(READY_WITHIN) or process.poll() is not None:
            raise AssertionError(f"the server did not start\n{server.log}")
        _wait_until_it_listens(port)
        yield server
    finally:
        try:
            if process.poll() is None:
                server.stop()
        except subprocess.TimeoutExpired:
            server.kill()
            raise
        finally:
            reader.join(STOPPED_WITHIN)


def _wait_until_it_listens(port: int) -> None:
    """Wait for the moment between what the log says and what is so."""
    deadline = time.monotonic() + READY_WITHIN
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def shipped_configuration(folder: Path) -> Path:
    """Put the configuration that an installed wheel brings into ``folder``."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    for source, target in shared.items():
        if target.startswith(_CONFIGURATION):
            file = folder / target.removeprefix(_CONFIGURATION)
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / source, file)
    return folder


def _read(server: RunningServer, receiver: int, ready: threading.Event) -> None:
    """Collect the log; set ``ready`` when the server says it is, or when it ends."""
    with open(receiver, encoding="utf-8") as lines:
        for line in lines:
            server.printed.append(line.rstrip("\n"))
            if _READY in line:
                ready.set()
    ready.set()
