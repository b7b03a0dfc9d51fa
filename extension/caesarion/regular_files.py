"""
Regular files, opened without waiting for anything else that has their name.

Used wherever the server opens files that code in a kernel could have put there: opening a named
pipe waits for its other end, which may never come.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, cast


def open_regular(
    path: Path | str,
    flags: int = os.O_RDONLY,
    *,
    follow: bool = False,
    folder: int | None = None,
) -> BinaryIO:
    """
    Open a regular file; ``flags`` are those of ``os.open``.

    A relative path begins in the ``folder`` of this descriptor. Raise an OSError if it is
    anything else than a regular file, or a link unless these are to be followed.
    """
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    number = os.open(path, flags, 0o666, dir_fd=folder)
    kind = os.fstat(number).st_mode
    if not stat.S_ISREG(kind):
        os.close(number)
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    modes = {os.O_RDONLY: "rb", os.O_WRONLY: "wb", os.O_RDWR: "r+b"}
    mode = "ab" if flags & os.O_APPEND else modes[flags & os.O_ACCMODE]
    return cast(BinaryIO, os.fdopen(number, mode))
