"""Names that are reserved for new files, which never take the place of others."""

import contextlib
import os
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
