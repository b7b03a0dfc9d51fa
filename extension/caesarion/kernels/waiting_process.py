"""
A process that becomes a kernel: imports what a kernel imports, then waits to be told which.

Run as a script by :mod:`caesarion.kernels.waiting`, by the Python that would run the kernel. Reads
from its standard input, as JSON, what ``subprocess.Popen`` would have been told: the command, the
environment, the folder. Where that command would have become something else, because of the
environment or of new packages of the user's, it runs the command, in the same process.

Invariant: it imports nothing of ours and leaves nothing behind, so that the kernel is the one
that ``python -m ipykernel_launcher`` makes. ``tests/integration/test_waiting_kernel.py`` compares
the two.
"""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # The folder of this file, which Python puts there for a script.

import contextlib
import importlib
import importlib.util
import io
import json
import os
import site
import sysconfig
import time
import tokenize
from pathlib import Path
from typing import Any

# The leaves of what IPKernelApp (ipykernel 7) imports until its first answer.
_IMPORTS = (
    *("ipykernel.kernelapp", "ipykernel.debugger", "IPython.core.completerlib"),
    *("IPython.core.debugger", "IPython.core.logger", "IPython.core.oinspect"),
    *("IPython.extensions.storemagic", "IPython.utils.wildcard"),
    *("faulthandler", "psutil", "sqlite3", "tornado.platform.asyncio"),
)


def main() -> None:
    """Wait, then be the kernel; ends at once when the input ends without a word."""
    users_packages = _users_packages()
    # The debugger would say that its breakpoints can be missed, where nobody debugs.
    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        for name in _IMPORTS:
            importlib.import_module(name)
        # Compiles Python's own expressions, which the first cell would: 4 ms of CPU.
        for _ in tokenize.generate_tokens(io.StringIO("1+1\n").readline):
            pass
    if not (told := _read()):
        return
    command, environment, started = told["command"], told["environment"], told["started"]
    # By what Python runs at its start, and by the debugger for programs that it would follow.
    set_meanwhile = {n: text for n, text in os.environ.items() if started.get(n) != text}
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(environment)
    _remember_home()
    time.tzset()
    launcher = importlib.util.find_spec("ipykernel_launcher")
    at_start = tuple(told["at_start"])
    if (
        _only(started, at_start) != _only(environment, at_start)
        or users_packages != _users_packages()
        or launcher is None
        or "ipykernel.kernelapp" not in sys.modules
    ):
        os.execv(command[0], command)  # noqa: S606
    os.environ.update(set_meanwhile)
    sys.orig_argv[:] = command
    sys.argv[:] = [str(launcher.origin), *command[3:]]
    sys.modules["ipykernel.kernelapp"].launch_new_instance()


def _remember_home() -> None:
    """Find out again what Python has found out of the home that it had at its start."""
    site.USER_BASE = site.USER_SITE = None
    site.getusersitepackages()
    sysconfig.get_config_vars()["userbase"] = site.USER_BASE


def _read() -> Any:
    """Return what comes on the standard input until its end; None if nothing does."""
    pieces = []
    while piece := os.read(0, 65536):
        pieces.append(piece)
    return json.loads(b"".join(pieces)) if pieces else None


def _only(environment: dict[str, str], prefixes: tuple[str, ...]) -> dict[str, str]:
    return {name: text for name, text in environment.items() if name.startswith(prefixes)}


def _users_packages() -> object:
    """Return what Python has found of the user's own packages; equal only if nothing changed."""
    if not site.ENABLE_USER_SITE:
        return None
    folder = Path(site.getusersitepackages())
    if any(folder.glob("*.pth")) or any(folder.glob("usercustomize*")):
        return object()  # Code that ran when Python started, with less environment than a kernel's.
    return folder, folder.stat().st_mtime_ns if folder.exists() else 0


if __name__ == "__main__":
    main()
