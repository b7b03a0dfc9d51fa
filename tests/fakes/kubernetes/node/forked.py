"""
Runs one container as ``sandbox`` does, and forks what of ours it would execute there.

Started by ``containers`` for an image that says so, and itself forked: see :mod:`tests.forks`.
The container has its own namespaces, root, user, limits and environment; but what our programs
import comes from the process that has imported it, and its memory counts there.
"""

import os
import sys
from pathlib import Path
from typing import NoReturn

from tests import forks
from tests.fakes.kubernetes.node import sandbox, tini

SINGLEUSER = [sys.executable, "-s", "-P", "-m", "caesarion.singleuser"]
"""What the script ``caesarion-singleuser`` executes."""


def execute(program: str, argv: list[str], environment: dict[str, str]) -> NoReturn:
    """Take the place of ``os.execvpe`` in the container's first process."""
    if program != "tini":
        os.execvpe(program, argv, environment)
    os.close(int(sys.argv[2]))  # The container runs.
    os._exit(tini.main(argv[1:], execute_ours))


def execute_ours(words: list[str]) -> None:
    """Take the place of ``os.execvp`` below tini."""
    match words:
        case ["caesarion-singleuser", *arguments]:
            words = [*SINGLEUSER, *arguments]
        case ["python", *arguments]:
            words = [sys.executable, *arguments]
    if not os.environ.keys() & {"LC_ALL", "LC_CTYPE", "LANG"}:
        os.environ["LC_CTYPE"] = "C.UTF-8"  # Python does so: PEP 538.
    forks.execute(words)


if __name__ == "__main__":
    sys.exit(sandbox.main(Path(sys.argv[1]), int(sys.argv[2]), execute))
