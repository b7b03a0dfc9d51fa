"""
Files that are written whole or not at all. Called for uploads and notebooks.

A new file never takes the place of another; a number is added to its name.
"""

import contextlib
import os
import secrets
from pathlib import Path

from caesarion.files.names import numbered

MAX_NUMBER = 999


def reserve(folder: Path, name: str) -> Path | None:
    """
    Create an empty file under the first name that is free; None if 999 are taken.

    A rename would replace a file of that name without a word; creating one does
    not, even if two do it at once, and even where a file system has no links.
    """
    for number in range(1, MAX_NUMBER + 1):
        place = folder / (name if number == 1 else numbered(name, number))
        with contextlib.suppress(FileExistsError):
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return place
    return None


def write_new(folder: Path, name: str, text: str) -> Path | None:
    """Write ``text`` into a new file; None if its name is taken too often. Raises OSError."""
    place = reserve(folder, name)
    if place:
        try:
            replace(place, text)
        except OSError:
            place.unlink(missing_ok=True)
            raise
    return place


def replace(path: Path, text: str) -> None:
    """Let ``text`` be all that is in the file at ``path``, with its rights. Raises OSError."""
    temporary = path.with_name(f".{secrets.token_hex(4)}.new")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            temporary.chmod(path.stat().st_mode)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
