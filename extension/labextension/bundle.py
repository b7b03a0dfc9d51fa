"""
Builds the labextension's bundle.

Called by ``hatch_build.py`` for a wheel or an editable install, and on the
command line: ``python extension/labextension/bundle.py`` builds the bundle if it is
out of date, ``... bundle.py check`` type-checks the sources. Calls npm with the Node
that ``caesarion_hub.up.nodejs`` finds. Standard library only, since it also runs in
pip's isolated build environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Before anything is installed the package is found in the checkout only.
sys.path.insert(0, str(HERE.parents[1] / "hub_config"))
from caesarion_hub.up import nodejs  # noqa: E402

#: Where the bundle goes; package.json tells the bundler the same.
BUNDLE = HERE.parent / "caesarion" / "labextension"
_TAIL_LINES = 25
_TIMEOUT_S = 900


class BundleError(Exception):
    """The bundle cannot be built; ``str`` of it says why and what to do."""


def run_npm(*arguments: str, cwd: Path = HERE) -> None:
    """Run npm in ``cwd``. Raises :class:`BundleError` with the end of npm's output."""
    found = nodejs.find()
    if not found:
        raise BundleError(
            f"{nodejs.VERSIONS} is needed to build the labextension. "
            f"Install it, or: pip install '{nodejs.PACKAGE}'."
        )
    command = [*nodejs.npm(found), *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=cwd,
            env={**os.environ, "PATH": nodejs.path_with(found)},
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
            "Check the network and try again."
        ) from None
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-_TAIL_LINES:])
        raise BundleError(
            f"npm {' '.join(arguments)} failed with status {done.returncode} in {cwd}. "
            f"The end of its output:\n{tail}"
        )


def is_current(source: Path = HERE, bundle: Path = BUNDLE) -> bool:
    """Return whether the bundle is complete and newer than all its sources."""
    made = bundle / "package.json"
    try:
        # The bundler adds ``_build`` last.
        whole = "_build" in json.loads(made.read_text("utf-8"))["jupyterlab"]
    except (OSError, ValueError, KeyError):
        return False
    # The modification time of a folder changes when a file is removed.
    folders = [source / "schema", source / "src", source / "style"]
    parts = [
        *source.glob("*.json"),
        *folders,
        *(part for one in folders for part in one.rglob("*")),
    ]
    return whole and made.stat().st_mtime > max(part.stat().st_mtime for part in parts)


def install(source: Path = HERE) -> None:
    """Install the packages of package-lock.json, unless that is done."""
    lock, installed = source / "package-lock.json", source / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        # Packages' install scripts are not run; none of these needs one.
        run_npm("ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund", cwd=source)


def build() -> None:
    """Build the bundle unless it is current."""
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
