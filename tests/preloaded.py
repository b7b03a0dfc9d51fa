"""
Processes that start quickly: forked from one that has already imported what they run.

Called by fixtures of which a test has its own. Importing takes two thirds of the processor time
of such a start. What is started, and all that it does, is the same; only /proc still shows the
command and the environment of the process that it was forked from. How production starts
things is for other tests.
"""

import atexit
import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        *("caesarion_hub.gateway.__main__", "caesarion_hub.gateway.audit"),
        *("jupyter_server.serverapp", "jupyterlab.labapp", "caesarion.extension"),
        "tests.notebook_schema",
        *("alembic.command", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql"),
    ]
)


class Preloaded:
    """A process that runs a function; it is used as :class:`subprocess.Popen` is."""

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        assert process.pid is not None
        self.pid: int = process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, or the negative number of the signal that ended it."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit status, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status when it has ended; raise TimeoutExpired before."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise subprocess.TimeoutExpired(repr(self._process), timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Tell it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def start(
    function: str,
    arguments: Sequence[str] = (),
    *,
    environment: Mapping[str, str],
    output: int,
    errors: int | None = None,
    folder: Path | None = None,
) -> Preloaded:
    """
    Start a process of a session of its own that calls a ``module:function`` with no argument.

    It finds ``arguments`` in ``sys.argv``, has ``environment`` and no other, and works in
    ``folder``. What it prints goes to the file descriptor ``output``, and errors to ``errors``,
    if that is another one.
    """
    printed = Connection(os.dup(output))
    told = Connection(os.dup(output if errors is None else errors))
    with printed, told:
        given = (function, list(arguments), dict(environment), folder or Path.cwd(), printed, told)
        process = _CONTEXT.Process(target=_run, args=given)
        process.start()
    return Preloaded(process)


def _run(
    function: str,
    arguments: list[str],
    environment: dict[str, str],
    folder: Path,
    printed: Connection,
    told: Connection,
) -> None:
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for stream, number in ((printed, 1), (told, 2)):
        os.dup2(stream.fileno(), number)
        stream.close()
    module, _, name = function.partition(":")
    sys.argv = [module, *arguments]
    try:
        sys.exit(getattr(importlib.import_module(module), name)())
    finally:
        # As at the end of any Python, but not of multiprocessing's.
        atexit._run_exitfuncs()
