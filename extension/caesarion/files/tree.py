"""
Files and folders of the server's user, by path: list, read, write, move, remove.

Called by :mod:`caesarion.api.files`. Paths are absolute, below the user's home (``~/x``), or
relative to the server's root. Whoever may call this may run code here, so it reaches what the
user's code does. All functions block. A file is written whole or not at all.
"""

import contextlib
import errno
import grp
import os
import pwd
import secrets
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from caesarion.errors import CaesarionError
from caesarion.regular_files import open_regular

MAX_ENTRIES = 20_000
"""Entries in one list, at most; a made-up number."""

_STATUS = {
    errno.ENOENT: (404, "There is no '{}'."),
    errno.ENOTDIR: (400, "A part of '{}' is not a folder."),
    errno.EISDIR: (400, "'{}' is a folder, not a file."),
    errno.EEXIST: (409, "'{}' is there already."),
    errno.ENOTEMPTY: (409, "The folder '{}' is not empty."),
    errno.EACCES: (403, "The system does not allow this for '{}'."),
    errno.EPERM: (403, "The system does not allow this for '{}'."),
    errno.EROFS: (403, "The file system of '{}' is read-only."),
    errno.ENAMETOOLONG: (400, "'{}' is too long a name."),
    errno.ELOOP: (400, "'{}' is a link that leads to itself."),
    errno.ENOSPC: (507, "The disk is full: '{}' was not written."),
    errno.EDQUOT: (507, "The disk is full: '{}' was not written."),
}


class FileError(CaesarionError):
    """A file that cannot be used so; ``str`` is a sentence, ``status`` is HTTP's."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@contextlib.contextmanager
def failures_of(path: Path | str) -> Iterator[None]:
    """Raise FileError for what the system refuses in the block."""
    try:
        yield
    except OSError as error:
        status, sentence = _STATUS.get(error.errno or 0, (409, "'{}' cannot be used."))
        raise FileError(status, sentence.format(str(path)[:300])) from error


def resolve(root: Path, path: str) -> Path:
    """Return an absolute path; raise FileError for one that cannot be a path."""
    if not path or "\0" in path or len(path) > 4096:
        raise FileError(400, "path is empty, too long, or has a zero byte.")
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise FileError(400, "path is not text in UTF-8.") from error
    if path == "~" or path.startswith("~/"):
        return Path(os.path.normpath(Path.home() / path[1:].lstrip("/")))
    return Path(os.path.normpath(root / path))


def describe(path: Path) -> dict[str, Any]:
    """Return name, path, type, size, mode, owner and time of an entry; FileError if none."""
    with failures_of(path):
        found = path.lstat()
        is_link = stat.S_ISLNK(found.st_mode)
        kind = path.stat() if is_link and path.exists() else found
        return {
            "name": path.name,
            "path": str(path),
            "type": "dir" if stat.S_ISDIR(kind.st_mode) else "file",
            "link": str(path.readlink()) if is_link else None,
            "size": kind.st_size,
            "mode": stat.S_IMODE(kind.st_mode),
            "permissions": stat.filemode(kind.st_mode),
            "owner": _name(pwd.getpwuid, kind.st_uid),
            "group": _name(grp.getgrgid, kind.st_gid),
            "modified": datetime.fromtimestamp(kind.st_mtime, UTC).isoformat(),
        }


def _name(look_up: Any, number: int) -> str:
    try:
        return str(look_up(number)[0])
    except KeyError:
        return str(number)


def entries(path: Path, depth: int) -> list[dict[str, Any]]:
    """Return what is in a folder, ``depth`` levels deep, without following links."""
    found: list[dict[str, Any]] = []
    with failures_of(path):
        for entry in sorted(path.iterdir()):
            with contextlib.suppress(FileError):  # it has just been removed
                found.append(describe(entry))
            if len(found) > MAX_ENTRIES:
                raise FileError(413, f"'{path}' has more than {MAX_ENTRIES:,} entries.")
            if depth > 1 and entry.is_dir() and not entry.is_symlink():
                with contextlib.suppress(FileError):
                    found += entries(entry, depth - 1)
    return found


def make_folder(path: Path) -> None:
    """Make a folder and those above it; FileError 409 if it is there."""
    with failures_of(path):
        path.mkdir(parents=True)


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder, in the place of a file that is there."""
    with failures_of(source):
        source.lstat()
    with failures_of(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            raise FileError(409, f"'{target}' is a folder that is there already.")
        shutil.move(source, target)


def remove(path: Path, *, folders: bool) -> None:
    """Remove a file, and with ``folders`` a folder with all that is in it."""
    with failures_of(path):
        if path.is_dir() and not path.is_symlink():
            if not folders:
                raise FileError(409, f"'{path}' is a folder. Name a file.")
            shutil.rmtree(path)
        else:
            path.unlink()


def open_to_read(path: Path) -> tuple[IO[bytes], int]:
    """Open a regular file, and return it with its size."""
    with failures_of(path):
        try:
            file = open_regular(path, follow=True)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise FileError(400, f"'{path}' is not a file that can be read.") from error
            raise
        return file, os.fstat(file.fileno()).st_size


class NewFile:
    """A file that is being written beside its place, and put there when it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._beside = path.with_name(f".{secrets.token_hex(8)}.caesarion-part")
        with failures_of(path):
            if path.is_dir():
                raise FileError(400, f"'{path}' is a folder. Name a file.")
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._beside.open("xb")

    def write(self, piece: bytes) -> None:
        """Write a piece of the content."""
        with failures_of(self.path):
            self._file.write(piece)

    def keep(self) -> None:
        """Put the file into its place, with the mode of the one that is there."""
        with failures_of(self.path):
            self._file.close()
            if self.path.exists():
                self._beside.chmod(stat.S_IMODE(self.path.stat().st_mode))
            self._beside.replace(self.path.resolve() if self.path.is_symlink() else self.path)

    def discard(self) -> None:
        """Leave nothing, unless the file has been kept."""
        self._file.close()
        with contextlib.suppress(OSError):
            self._beside.unlink()
