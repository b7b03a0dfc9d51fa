"""
What ``make up`` keeps in its folder (``.caesarion``), readable by its owner alone.

Called by ``launcher``. The hub's database, cookie secret and the users' homes
lie there too; JupyterHub writes those.
"""

import fcntl
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from caesarion_hub.names import GATEWAY_KEY_FILE_VARIABLE, GATEWAY_VALUES_FILE
from caesarion_hub.up.errors import UpError

KEY_VARIABLE = "OPENAI_API_KEY"


class State:
    """One folder of state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key_file = folder / "provider_key"
        self.values_file = folder / "values.yaml"
        self.gateway_file = folder / GATEWAY_VALUES_FILE
        self.log_file = folder / "hub.log"
        self._lock_file = folder / "lock"
        self._run_file = folder / "run"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and keep it for this process while the block runs."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._lock_file.open("a")
        except OSError as problem:
            raise UpError(
                f"The folder {self.folder} cannot be used: {problem.strerror}. "
                "Name another: CAESARION_STATE=<folder> make up"
            ) from problem
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                raise UpError(
                    f"Caesarion is running already with the state in {self.folder}. "
                    "Stop that one with Ctrl-C, or name another folder: "
                    "CAESARION_STATE=<folder> make up"
                ) from problem
            yield

    def hide_key(self, environment: Mapping[str, str]) -> None:
        """
        Move the provider's key from the environment into a file, then start anew without it.

        What stays: deleting a variable does not change ``/proc/<pid>/environ``,
        hence the new start; but ``make`` and the shell that called us keep
        theirs, where programs of the same operating-system user can read it.
        The lock is free for a moment, because it is not handed through.
        """
        key = environment.get(KEY_VARIABLE, "").strip()
        if key:
            write(self.key_file, key)
            clean = {name: value for name, value in environment.items() if name != KEY_VARIABLE}
            clean[GATEWAY_KEY_FILE_VARIABLE] = str(self.key_file)
            os.execve(sys.executable, sys.orig_argv, clean)  # noqa: S606
        if environment.get(GATEWAY_KEY_FILE_VARIABLE) != str(self.key_file):
            self.key_file.unlink(missing_ok=True)

    def password(self, name: str, length: int) -> str:
        """Return a password of ``length`` characters that stays the same from start to start."""
        file = self.folder / name
        if not file.exists():
            write(file, secrets.token_hex(length // 2))
        return file.read_text()

    def last_run(self) -> str | None:
        """Return the mark of the processes of the start before this one."""
        return self._run_file.read_text() if self._run_file.exists() else None

    def mark(self, run: str) -> None:
        """Remember the mark of this start's processes."""
        write(self._run_file, run)


def write(file: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(text)
    part.replace(file)
