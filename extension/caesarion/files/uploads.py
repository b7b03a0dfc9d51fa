"""
The uploads folder: receive a file, list, preview and delete what is there.

Called by :mod:`caesarion.api.uploads`; ``names`` makes the files' names safe, ``preview``
looks into them. Invariant: a file is in the folder whole or not at all, never in the place of
another, and nothing outside the folder is touched.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from caesarion.config import CaesarionUploads
from caesarion.errors import CaesarionError
from caesarion.files.names import safe_name, suffix
from caesarion.files.opening import MAX_NUMBER, create_new, open_below
from caesarion.files.preview import Previewer

_UNFINISHED = ".caesarion-upload-"

# Sessions with files that the model has not been told of, and files of one; made-up numbers.
_MAX_SESSIONS = 1000
_MAX_FILES = 100

_FULL = (errno.ENOSPC, errno.EDQUOT)


class UploadError(CaesarionError):
    """
    A file cannot be accepted, found or deleted; ``str()`` of it is a sentence for the user.

    ``status`` is HTTP's: 400 no usable name, 404 no such file, 409 something in the
    way, 413 too large, 415 a type that is not accepted, 507 no space to store it.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Uploads:
    """The files in the uploads folder of one server."""

    def __init__(self, settings: CaesarionUploads, root: Path) -> None:
        self._settings = settings
        self._root = root
        self._folder = root / settings.folder
        self.previewer = Previewer()
        self._untold: dict[str, list[tuple[str, str]]] = {}

    @property
    def folder(self) -> Path:
        """The folder."""
        return self._folder

    @property
    def types(self) -> list[str]:
        """The accepted suffixes, in lower case and without dots."""
        return list(self._settings.types)

    @property
    def max_size(self) -> int:
        """The largest size of a file, in bytes."""
        return self._settings.max_size

    def files(self) -> list[dict[str, Any]]:
        """Return name, size in bytes and path of each file, sorted by name."""
        files = []
        for entry in self._entries():
            with contextlib.suppress(FileNotFoundError):
                size = entry.stat(follow_symlinks=False).st_size
                files.append({"name": entry.name, "size": size, "path": entry.path})
        return sorted(files, key=itemgetter("name"))

    def note(self, session_id: str, path: Path, preview: str) -> None:
        """Keep a file, in memory, until the next question of ``session_id`` tells the model."""
        while len(self._untold) >= _MAX_SESSIONS:
            del self._untold[next(iter(self._untold))]
        files = self._untold.setdefault(session_id, [])
        files[:] = [*files[1 - _MAX_FILES :], (str(path), preview)]

    def take_noted(self, session_id: str) -> list[tuple[str, str]]:
        """Return path and preview of the files that are new to ``session_id``, once."""
        return self._untold.pop(session_id, [])

    def attachment(self, path: Path) -> str:
        """Return the path that a chat message names: relative to the root, or else absolute."""
        return str(path.relative_to(self._root) if path.is_relative_to(self._root) else path)

    def check_space(self, size: int) -> None:
        """Raise UploadError if a file of ``size`` bytes exceeds the limit or the free space."""
        if size > self.max_size:
            raise _too_large(self.max_size)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise _not_stored(error, self._folder) from error
        if size > free:
            raise UploadError(
                507,
                f"The disk of the uploads folder has {free:,} bytes free, and the file needs "
                f"{size:,}. Delete files that you no longer need.",
            )

    def receive(self, name: str) -> "IncomingFile":
        """
        Create a hidden file for the upload ``name``, and return it to be written.

        Raise UploadError if no part of the name can be used, its type is not accepted
        or the folder cannot be written.
        """
        safe = safe_name(name)
        if not safe:
            raise UploadError(
                400, f"{name[:100]!r} cannot be used as a file name. Rename the file."
            )
        if suffix(safe) not in self.types:
            types = ", ".join(self.types) or "none"
            raise UploadError(
                415, f"Files like {safe!r} are not accepted. Accepted types: {types}."
            )
        return IncomingFile(self._folder, safe, self.max_size)

    async def preview(self, path: Path) -> str:
        """Return a description of the file at ``path`` in the folder, in a few lines."""
        try:
            file = await asyncio.to_thread(open_below, self._folder, path)
        except OSError as error:
            return f"This file cannot be read: {error.strerror}."
        with file:
            return (await self.previewer.preview(file, suffix(path.name))).text

    def delete(self, name: str) -> None:
        """Delete the file ``name``; raise UploadError if there is none, or it cannot be deleted."""
        for entry in self._entries():
            if entry.name == name:
                try:
                    Path(entry.path).unlink()
                except FileNotFoundError:
                    break
                except OSError as error:
                    raise UploadError(
                        409, f"{name!r} cannot be deleted: {error.strerror}."
                    ) from error
                return
        raise UploadError(404, f"There is no uploaded file {name[:255]!r}.")

    def clear_leftovers(self) -> None:
        """Delete the unfinished files of a server that was killed, but not those still written."""
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            with contextlib.suppress(OSError):
                file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(file)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        """Yield the regular files that are not hidden."""
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                        yield entry
        except (FileNotFoundError, NotADirectoryError):
            return


class IncomingFile:
    """
    A file that is being uploaded, hidden until it is complete.

    Its methods block, so call them in threads. A method that raises UploadError, because
    the file cannot be stored, has discarded it.
    """

    def __init__(self, folder: Path, name: str, max_size: int) -> None:
        self._folder, self._name, self._max_size = folder, name, max_size
        self._path = folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
        self.size = 0
        """Bytes written so far."""
        # Held while the file is used: the client may disconnect while a thread writes.
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._file = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise _not_stored(error, folder) from error
        # Shows a server that starts meanwhile that this file is still being written. Where
        # locks are not supported, that server cannot lock it either, and deletes nothing.
        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        with self._lock:
            self.size += len(data)
            if self.size > self._max_size:
                self._drop()
                raise _too_large(self._max_size)
            rest = memoryview(data)
            try:
                while rest and self._file >= 0:
                    rest = rest[os.write(self._file, rest) :]
            except OSError as error:
                self._drop()
                raise _not_stored(error, self._folder) from error

    def keep(self) -> Path:
        """Give the file its name, with a number if that is taken, and return its path."""
        with self._lock:
            try:
                os.fsync(self._file)
                place = create_new(self._folder, self._name)
                if place is None:
                    self._drop()
                    raise UploadError(
                        409,
                        f"There are {MAX_NUMBER} files named {self._name!r} already. "
                        "Rename this one.",
                    )
                try:
                    self._path.replace(place)
                except OSError:
                    place.unlink(missing_ok=True)
                    raise
            except OSError as error:
                self._drop()
                raise _not_stored(error, self._folder) from error
            self._close()
            return place

    def discard(self) -> None:
        """Delete the file, unless it has been kept."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._file >= 0:
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        file, self._file = self._file, -1
        # fsync has reported any error of the file already.
        with contextlib.suppress(OSError):
            os.close(file)


def _too_large(limit: int) -> UploadError:
    return UploadError(413, f"The file is larger than the limit of {limit:,} bytes.")


def _not_stored(error: OSError, folder: Path) -> UploadError:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return UploadError(409, f"{folder} is needed for uploads and is not a folder. Rename it.")
    if error.errno in _FULL:
        return UploadError(
            507, "The disk of the uploads folder is full. Delete files that you no longer need."
        )
    return UploadError(507, f"The uploads folder {folder} cannot be written: {error.strerror}.")
