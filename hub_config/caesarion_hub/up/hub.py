"""
Runs JupyterHub as a process: copies its log, detects when it is ready, stops it.

Called by ``launcher``; calls ``processes`` to end what the hub leaves behind.
"""

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import DEVNULL, STDOUT
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from caesarion_hub.up import UpError, processes

CONFIG = Path(__file__).parents[2] / "jupyterhub_config.py"
GRACE = 8.0
"""Seconds that the hub has to stop its servers and services; an estimate."""

READY = re.compile(rb"(\] |\"message\": \")JupyterHub is now running at ")
WARNING = re.compile(rb"^\[([WEC]) \S+ \S+ CaesarionHub (?!log:|_xsrf_utils:)\S+\] (.*)")
"""A line at level warning or above; the two excluded modules log single requests."""


class Hub:
    """JupyterHub and all processes below it, which carry the mark ``run``."""

    def __init__(self, run: str, log_file: Path, environment: Mapping[str, str]) -> None:
        self.run = run
        self.log_file = log_file
        self.environment = environment
        self._signalled = asyncio.Event()
        self._ready = False
        self._stopping = False

    async def serve(self, announce: Callable[[], None]) -> None:
        """
        Run the hub until SIGINT, SIGTERM or SIGHUP, then stop all its processes.

        A second signal skips the grace period. Calls ``announce`` when users can
        log in. Raises :class:`UpError` if the hub ends by itself.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled.set)
        output, its_output = os.pipe()
        hub = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "caesarion_hub", "-f", str(CONFIG)),
            stdin=DEVNULL,
            stdout=its_output,
            stderr=STDOUT,
            env=self.environment,
            cwd=self.log_file.parent,
            start_new_session=True,  # Ctrl-C reaches this process only, which then stops the hub
        )
        os.close(its_output)
        following = asyncio.create_task(self._follow(output, announce))
        ended = asyncio.create_task(hub.wait())
        try:
            await self._signal_or(ended)
            status = hub.returncode
        finally:
            self._stopping = True
            self._signalled.clear()
            started = processes.of_run(self.run)
            with suppress(ProcessLookupError):
                hub.terminate()
            await self._signal_or(ended, GRACE)
            left = started | processes.of_run(self.run)
            await asyncio.to_thread(processes.end, left, 2.0)
            await asyncio.gather(ended, following)
        if status is not None:
            raise UpError(f"JupyterHub ended by itself (status {status}). Its log: {self.log_file}")

    async def _signal_or(self, ended: asyncio.Task[int], seconds: float | None = None) -> None:
        signalled = asyncio.create_task(self._signalled.wait())
        await asyncio.wait({signalled, ended}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        signalled.cancel()

    async def _follow(self, output: int, announce: Callable[[], None]) -> None:
        """
        Copy the hub's output to its log file and print warnings and errors.

        ``output`` is a pipe of our own: asyncio's ``Process.wait`` waits until a
        pipe of asyncio's is closed, and the proxy inherits it and may outlive the hub.
        """
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb")
        )
        rest = b""
        with closing(transport), self.log_file.open("wb", buffering=0) as log:
            while piece := await reader.read(65536):
                log.write(piece)
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._show(line, announce)

    def _show(self, line: bytes, announce: Callable[[], None]) -> None:
        if READY.search(line):
            self._ready = True
            announce()
        warning = WARNING.match(line)
        # During the start the hub also warns of things that are intended: no TLS, new routes.
        if warning and not self._stopping and (self._ready or warning[1] != b"W"):
            print(f"JupyterHub: {warning[2].decode(errors='replace')}", file=sys.stderr)
