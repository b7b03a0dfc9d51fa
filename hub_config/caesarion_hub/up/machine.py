"""
Determines facts about this machine: free ports and the proxy's command.

Called by ``launcher``; calls ``nodejs``.
"""

import errno
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

from caesarion_hub.up import UpError, nodejs

PROXY = "share/caesarion/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
"""The path below Python's prefix where the Makefile installs the proxy."""


BROKEN_ANSWERS = Path(__file__).parents[2] / "proxy" / "broken_answers.cjs"
"""What the proxy needs besides, to end answers whose server is killed; it says why."""


def proxy_command() -> tuple[str, ...]:
    """
    Return the command that starts the proxy: Node and the script.

    Not ``configurable-http-proxy`` from PATH: the Python package of that name
    installs a command with the same name, which buffers streamed responses.
    """
    found = nodejs.find()
    if not found:
        raise UpError(
            f"{nodejs.VERSIONS}, is missing. "
            f"Install it, or run: .venv/bin/pip install '{nodejs.PACKAGE}'"
        )
    script = Path(sys.prefix, PROXY)
    if not script.exists():
        raise UpError(f"The proxy is missing: {script}. Run: make clean up")
    return str(found), "--require", str(BROKEN_ANSWERS), str(script)


def free_ports(count: int, but: str) -> list[int]:
    """Return ``count`` free ports other than ``but``, the port that the operator has chosen."""
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count + 1)
        ]
        ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    return [port for port in ports if str(port) != but][:count]


def claim(port: int) -> None:
    """Raise :class:`UpError` unless this process may listen on ``port``."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except PermissionError as problem:
        raise UpError(
            f"This user may not listen on port {port}. Choose another: PORT=8000 make up"
        ) from problem
    except OSError as problem:
        if problem.errno != errno.EADDRINUSE:
            raise
        another = port + 1 if port < 65535 else 8000
        raise UpError(
            f"Port {port} is in use by another program. "
            f"Stop that program, or choose another: PORT={another} make up"
        ) from problem
