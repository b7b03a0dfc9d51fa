"""
The files that ``make up`` keeps in its state folder (``.caesarion``), readable only by its owner.

Called by ``launcher``. JupyterHub stores its database, its cookie secret and
users' homes in the same folder.
"""

import fcntl
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from caesarion_hub.up import UpError

KEY_VARIABLE = "OPENAI_API_KEY"
KEY_FILE_VARIABLE = "CAESARION_GATEWAY_KEY_FILE"
"""Tells this program, started again without the key, that the key file is its own."""


class StateFolder:
    """The folder and its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.key_file = path / "provider_key"
        self.values_file = path / "values.yaml"
        self.log_file = path / "hub.log"
        self._lock_file = path / "lock"
        self._run_file = path / "run"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder, and lock it for this process while the block runs."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = self._lock_file.open("a")
        except OSError as problem:
            raise UpError(
                f"The folder {self.path} cannot be used: {problem.strerror}. "
                "Choose another: CAESARION_STATE=<folder> make up"
            ) from problem
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as problem:
                raise UpError(
                    f"Caesarion is already running with the state folder {self.path}. "
                    "Stop it with Ctrl-C, or choose another folder: "
                    "CAESARION_STATE=<folder> make up"
                ) from problem
            yield

    def hide_key(self, environment: Mapping[str, str]) -> None:
        """
        Move the provider's key from the environment to a file, then re-execute without it.

        Deleting the variable would not change ``/proc/<pid>/environ``, hence the
        new start. ``make`` and the calling shell still have the key, where
        programs of the same operating-system user can read it. The lock is
        released for a moment, because file descriptors are not inherited.
        """
        key = environment.get(KEY_VARIABLE, "").strip()
        if key:
            write(self.key_file, key)
            clean = {name: value for name, value in environment.items() if name != KEY_VARIABLE}
            clean[KEY_FILE_VARIABLE] = str(self.key_file)
            os.execve(sys.executable, sys.orig_argv, clean)  # noqa: S606
        if environment.get(KEY_FILE_VARIABLE) != str(self.key_file):
            self.key_file.unlink(missing_ok=True)

    def secret(self, name: str, length: int) -> str:
        """Return a random secret of ``length`` characters, the same at every start."""
        file = self.path / name
        if not file.exists():
            write(file, secrets.token_hex(length // 2))
        return file.read_text()

    def last_run(self) -> str | None:
        """Return the mark of the previous start's processes, or None."""
        return self._run_file.read_text() if self._run_file.exists() else None

    def mark(self, run: str) -> None:
        """Save the mark of this start's processes."""
        write(self._run_file, run)


def write(file: Path, text: str) -> None:
    """Write a file atomically, readable only by its owner."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    part.write_text(text)
    part.replace(file)
