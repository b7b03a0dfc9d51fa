"""
Files that are opened without following a link, or created without replacing another.

Called by :mod:`caesarion.files.uploads` and :mod:`caesarion.files.attachments`. What was
checked by its path is what is opened: a link that takes its place meanwhile is an OSError.
"""

import contextlib
import os
from pathlib import Path
from typing import BinaryIO

from caesarion.files.names import numbered
from caesarion.regular_files import open_regular

MAX_NUMBER = 999
"""Files of one name that a folder holds at most."""


def open_below(folder: Path, path: Path) -> BinaryIO:
    """
    Open the regular file at ``path`` for reading, where it lies below ``folder``.

    Raise an OSError if any part of the path below the folder is a symbolic link, or
    if it is no regular file; ValueError if it does not lie below the folder.
    """
    *folders, name = path.relative_to(folder).parts
    inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in folders:
            outer = inside
            inside = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=outer)
            os.close(outer)
        return open_regular(name, folder=inside)
    finally:
        os.close(inside)


def create_new(folder: Path, name: str) -> Path | None:
    """
    Create an empty file under the first name that is free; return None if 999 are taken.

    A rename would replace a file of that name silently; creating one does not, even if
    two do it at once, and even where a file system has no links.
    """
    for number in range(1, MAX_NUMBER + 1):
        place = folder / (name if number == 1 else numbered(name, number))
        with contextlib.suppress(FileExistsError):
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return place
    return None
