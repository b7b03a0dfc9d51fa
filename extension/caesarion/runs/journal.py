"""
The journal of one run: an append-only file of JSON lines.

The first line is the header, which says what the run is. Each line after it is an event with its
number, counted from 1. Written by :mod:`caesarion.runs.recording`; read by it and, after a restart,
by :mod:`caesarion.runs.store`. A writer holds a lock on its file as long as its process lives, so
a server tells the journals that another one still writes from those that were cut off.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from caesarion.errors import JournalError, JournalFull
from caesarion.regular_files import open_regular

SUFFIX = ".jsonl"

# Bytes that are kept free for the status with which a full journal ends.
_RESERVE = 16_384

_encode = json.JSONEncoder(check_circular=False).encode

# Bytes of one read; a longer line takes several.
_CHUNK = 262_144

# Bytes of a line, about, behind which no more is read; more than an event has.
_LONGEST = 256 * _CHUNK


@dataclass(slots=True)
class Entry:
    """An event of a run: its number from 1, when it was (UTC, ISO 8601), its name and its data."""

    number: int
    at: str
    name: str
    data: dict[str, Any]


def now() -> str:
    """Return the time as journals have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class JournalWriter:
    """
    Appends to the journal at ``path``, which it makes; at most ``max_bytes``.

    Raises JournalError where the file cannot be written.
    """

    def __init__(self, path: Path, header: dict[str, Any], max_bytes: int) -> None:
        self.path = path
        self.number = 0
        self._max_bytes = max_bytes
        self._written = 0
        self._file = -1
        try:
            # Unbuffered: what was appended survives the death of the process.
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
            with contextlib.suppress(OSError):  # Some file systems have no locks.
                fcntl.flock(self._file, fcntl.LOCK_EX)
            self._write(json.dumps(header).encode() + b"\n")
        except OSError as error:
            self.discard()
            raise unwritable(path, error) from error

    def append(self, name: str, data: dict[str, Any], *, last: bool = False) -> Entry:
        """Append an event; raise JournalFull if it would be too much, unless it is the ``last``."""
        entry = Entry(self.number + 1, now(), name, data)
        raw = _line(entry)
        if not last and self._written + len(raw) > self._max_bytes - _RESERVE:
            raise JournalFull(
                f"The journal of this run has reached {self._max_bytes:,} bytes, so the run was "
                "stopped. Show less, or raise CaesarionRuns.journal_bytes."
            )
        try:
            self._write(raw)
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.number = entry.number
        return entry

    def sync(self) -> None:
        """Return when what was appended is on the disk."""
        with contextlib.suppress(OSError):  # Some file systems have no such thing.
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file when it is on the disk, which ends its lock."""
        if self._file >= 0:
            self.sync()
            os.close(self._file)
            self._file = -1

    def discard(self) -> None:
        """Close the file and delete it."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self.close()

    def _write(self, raw: bytes) -> None:
        written = 0
        try:
            while written < len(raw):
                written += os.write(self._file, raw[written:])
        except OSError:
            # On a full disk a part may fit. What comes later must not stand in the same line.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._written)
            raise
        self._written += len(raw)


class JournalReader:
    """Reads the events of a journal one after the other, as far as it is written."""

    def __init__(self, path: Path) -> None:
        self._file = open_regular(path)
        self.header: dict[str, Any] | None = None
        self.whole = 0
        """Bytes up to the end of the last whole line that was read."""
        self._rest: list[bytes] = []

    def read(self) -> list[Entry]:
        """Return the next events, at least one if there are any; what is no whole line waits."""
        found: list[Entry] = []
        while not found:
            chunk = self._file.read(_CHUNK)
            if not chunk:
                return found
            *lines, rest = chunk.split(b"\n")
            if lines:
                lines[0] = b"".join((*self._rest, lines[0]))
                self._rest.clear()
            self._rest.append(rest)
            if len(self._rest) > _LONGEST // _CHUNK:
                self._skip()
                return found
            for line in lines:
                if self.header is None:
                    self.header = _object(line)
                elif entry := _entry(line):
                    found.append(entry)
                else:
                    # A power cut may leave zeros. Nothing that was written comes after them.
                    self._skip()
                    return found
                self.whole += len(line) + 1
        return found

    def _skip(self) -> None:
        """Read no more of what is there."""
        self._file.seek(0, os.SEEK_END)
        self._rest.clear()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_header(path: Path) -> dict[str, Any] | None:
    """Return the header of a journal; None if it has none that is whole."""
    with open_regular(path) as file:
        line = file.readline(_CHUNK)
    return _object(line) if line.endswith(b"\n") else None


def read_last(path: Path) -> Entry | None:
    """Return the last event of a journal, if its end is whole and the event is short."""
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _RESERVE))
        tail = file.read()
    *lines, rest = tail.split(b"\n")
    return _entry(lines[-1]) if len(lines) > 1 and not rest else None


class CutOff:
    """A journal whose writer has died, locked by :func:`cut_off`."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._whole = 0
        self._number = 0

    def entries(self) -> Iterator[Entry]:
        """Yield the events, up to the last whole line."""
        with contextlib.closing(JournalReader(self._path)) as reader:
            while found := reader.read():
                yield from found
                self._number = found[-1].number
            self._whole = reader.whole

    def end(self, name: str, data: dict[str, Any]) -> Entry:
        """Let the journal end with this event, behind the entries that were read to their end."""
        self._file.truncate(self._whole)
        self._file.seek(self._whole)
        entry = Entry(self._number + 1, now(), name, data)
        self._file.write(_line(entry))
        self._file.flush()
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        return entry


@contextlib.contextmanager
def cut_off(path: Path) -> Iterator[CutOff | None]:
    """Provide a journal whose writer has died; None if another process writes it."""
    with open_regular(path, os.O_RDWR) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
        else:
            yield CutOff(path, file)


def _line(entry: Entry) -> bytes:
    # Two thirds of the time of json.dumps of the whole: numbers, times and names need no escapes.
    head = f'{{"n": {entry.number}, "at": "{entry.at}", "event": "{entry.name}", "data": '
    return f"{head}{_encode(entry.data)}}}\n".encode()


def _entry(line: bytes) -> Entry | None:
    found = _object(line)
    if found is None:
        return None
    try:
        return Entry(int(found["n"]), str(found["at"]), str(found["event"]), dict(found["data"]))
    except (KeyError, TypeError, ValueError):
        return None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def unwritable(path: Path, error: OSError) -> JournalError:
    """Return what to raise where the file at ``path`` cannot be written."""
    return JournalError(
        f"The journal of the run cannot be written in {str(path.parent)!r}: "
        f"{error.strerror or error}. Free some space, or set CaesarionRuns.folder."
    )
