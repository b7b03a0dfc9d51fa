"""
A process that waits to become a kernel, so that a kernel starts without importing anything.

Started by :mod:`caesarion.singleuser` before the server's own imports, on another core than they;
taken by :mod:`caesarion.kernels.prewarm` for the kernel that is started ahead of its use. Runs
``waiting_process.py``. It knows nothing of its user until then: of the server's variables it
gets those that count when Python starts.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_SCRIPT = Path(__file__).with_name("waiting_process.py")

# Who has it ends with the server that started it: jupyter_client's own launcher sets it.
_SERVER = "JPY_PARENT_PID"

AT_START = (
    *("PYTHON", "_PYTHON", "LD_", "LC_", "LANG", "MALLOC_", "GLIBC_", "OPENSSL_", "SSLKEYLOGFILE"),
    *("DEBUG_PYDEVD", "DEBUGPY_", "DISPLAY", "GEVENT_", "IN_SPHINX_RUN", "IPYTHON", _SERVER),
    *("JUPYTER_ALLOW_INSECURE_WRITES", "JUPYTER_PLATFORM_DIRS", "JUPYTER_USE_PROGRAMDATA"),
    *("PATHS_FROM_ECLIPSE", "PSUTIL_", "PYCHARM_", "PYDEV", "PYZMQ_"),
    *("TERM", "TORNADO_", "TRAITLETS_"),
)
"""
Prefixes of variables that are read when Python, its libraries or a kernel's modules are loaded.

Where a kernel's differ from the process's, the process starts afresh.
"""

# `make up` finds processes of a hub that was killed by the last.
_PASSED = ("PATH", "HOME", "CAESARION_RUN")

LAUNCHER = [sys.executable, "-m", "ipykernel_launcher"]
"""How the command of a kernel begins that the process can become: the default kernelspec's."""


class Waiting:
    """A process that waits, in a session of its own, as kernels are."""

    def __init__(self) -> None:
        passed = {
            name: text
            for name, text in os.environ.items()
            if name in _PASSED or name.startswith(AT_START)
        }
        self._environment = passed | {_SERVER: str(os.getpid())}
        self.process = subprocess.Popen(  # noqa: S603
            [sys.executable, str(_SCRIPT)],
            env=self._environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def become(self, command: list[str], environment: Mapping[str, str], cwd: str) -> bool:
        """
        Let it become the kernel of this command; return whether it was still there.

        Blocks until it listens, which takes as long as its imports.
        """
        told = {
            "command": command,
            "environment": {**environment, _SERVER: str(os.getpid())},
            "cwd": cwd,
            "started": self._environment,
            "at_start": AT_START,
        }
        assert self.process.stdin
        try:
            with self.process.stdin as pipe:
                pipe.write(json.dumps(told).encode())
        except BrokenPipeError:
            self.process.wait()
        return self.process.poll() is None

    def end(self) -> None:
        """End it, whatever it is."""
        self.process.kill()
        self.process.communicate()


_waiting: Waiting | None = None


def start() -> None:
    """Start the server's process that waits."""
    global _waiting
    _waiting = Waiting()


def take() -> Waiting | None:
    """Return the process, which is the caller's from now on; None if there is none any more."""
    global _waiting
    taken, _waiting = _waiting, None
    return taken


def end() -> None:
    """End the process if it still waits."""
    if taken := take():
        taken.end()
