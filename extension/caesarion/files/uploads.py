"""
The folder of what a user gives the agent: what comes in, what is there, what goes.

Called by the HTTP doors; names are made safe by ``caesarion.files.names``, files
looked into by ``caesarion.files.inspection``. Its law: a file is in the folder whole or
not at all, never in another's place, and nothing outside the folder is touched.
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

_FULL = (errno.ENOSPC, errno.EDQUOT)


class UploadError(CaesarionError):
    """
    A file that is not taken, found or deleted; the user is told.

    ``status`` is what HTTP calls it: 400 no usable name, 404 not there, 409 in the
    way, 413 too large, 415 not of a type that is taken, 507 not to be stored.
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

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._folder

    @property
    def types(self) -> list[str]:
        """Suffixes of what is taken, in lower case and without dots."""
        return list(self._settings.types)

    @property
    def max_size(self) -> int:
        """Bytes that one file may have."""
        return self._settings.max_size

    def files(self) -> list[dict[str, Any]]:
        """Return name, size in bytes and path of each file, by name; none if there is no folder."""
        files = []
        for entry in self._entries():
            with contextlib.suppress(FileNotFoundError):
                size = entry.stat(follow_symlinks=False).st_size
                files.append({"name": entry.name, "size": size, "path": entry.path})
        return sorted(files, key=itemgetter("name"))

    def attachment(self, path: Path) -> str:
        """Return what a chat message calls the file: its path in the root, else the whole one."""
        return str(path.relative_to(self._root) if path.is_relative_to(self._root) else path)

    def check_room(self, size: int) -> None:
        """Raise UploadError if ``size`` bytes are too many for a file or for the disk."""
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
                f"{size:,}. Delete what is no longer needed.",
            )

    def receive(self, name: str) -> "Incoming":
        """
        Begin a file that its sender calls ``name``, and return what takes its bytes.

        Raise UploadError if nothing of the name can be used, its type is not taken
        or the folder cannot be written.
        """
        safe = safe_name(name)
        if not safe:
            raise UploadError(
                400, f"{name[:100]!r} is no name for a file. Rename it and try again."
            )
        if suffix(safe) not in self.types:
            taken = ", ".join(self.types) or "none"
            raise UploadError(415, f"{safe!r} is not of a type that is taken. Those are: {taken}.")
        return Incoming(self._folder, safe, self.max_size)

    async def preview(self, path: Path) -> str:
        """Return what is in the file at ``path`` in the folder, in a few lines."""
        try:
            file = await asyncio.to_thread(open_below, self._folder, path)
        except OSError as error:
            return f"This file cannot be read: {error.strerror}."
        with file:
            return (await self.previewer.preview(file, suffix(path.name))).text

    def delete(self, name: str) -> None:
        """Delete the file ``name``; raise UploadError if there is none or it cannot be."""
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
        """Delete what uploads left that a server was killed in; those of a living one stay."""
        for path in self._folder.glob(f"{_UNFINISHED}*"):
            with contextlib.suppress(OSError):
                file = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(file)

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        """Yield what counts as an upload: files, neither hidden nor links to anywhere."""
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                        yield entry
        except (FileNotFoundError, NotADirectoryError):
            return


class Incoming:
    """
    A file on its way in: hidden until it is whole. Its methods may block; call them in threads.

    Each raises UploadError if the file cannot be stored, and has then discarded it.
    """

    def __init__(self, folder: Path, name: str, max_size: int) -> None:
        self._folder, self._name, self._max_size = folder, name, max_size
        self._path = folder / f"{_UNFINISHED}{secrets.token_hex(8)}"
        self.size = 0
        """Bytes so far."""
        # Held while the file is used: the sender may go away while a thread writes.
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self._file = os.open(self._path, flags, 0o666)
        except OSError as error:
            raise _not_stored(error, folder) from error
        # Tells a server that starts meanwhile that this one is alive. Where there are
        # no such locks, it cannot take one either, and deletes nothing.
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
        """Put the file into the folder, under its name or a number added, and return its path."""
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
        """Leave nothing of the file, unless it has been kept."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._file >= 0:
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        file, self._file = self._file, -1
        # What could go wrong with the file has been heard from fsync.
        with contextlib.suppress(OSError):
            os.close(file)


def _too_large(limit: int) -> UploadError:
    return UploadError(413, f"The file is larger than the {limit:,} bytes that are taken.")


def _not_stored(error: OSError, folder: Path) -> UploadError:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return UploadError(409, f"{folder} is needed for uploads and is not a folder. Rename it.")
    if error.errno in _FULL:
        return UploadError(
            507, "The disk of the uploads folder is full. Delete what is no longer needed."
        )
    return UploadError(507, f"The uploads folder {folder} cannot be written: {error.strerror}.")
