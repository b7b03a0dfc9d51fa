"""The file under inspection, and the phrases of descriptions. Used by all modules here."""

import mmap
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from typing import BinaryIO

_BLOCK = 262_144


class NotReadable(Exception):  # noqa: N818 - a finding about the file, not an error of ours
    """The file, or this part of it, cannot be read; ``str()`` of it is a sentence."""


@dataclass(frozen=True)
class Image:
    """An image that could be decoded; ``kind`` is the subtype of its media type."""

    kind: str


@dataclass(frozen=True)
class Source:
    """An open file, its suffix in lower case, and the ``time.monotonic()`` to stop at."""

    file: BinaryIO
    suffix: str
    until: float

    @property
    def size(self) -> int:
        """Return the size in bytes."""
        return os.fstat(self.file.fileno()).st_size

    @property
    def path(self) -> str:
        """Return a path to the open file, for libraries that need a path."""
        return f"/dev/fd/{self.file.fileno()}"

    def seconds(self) -> float:
        """Return the seconds that are left, at least 0."""
        return max(0.0, self.until - time.monotonic())

    def head(self, limit: int) -> bytes:
        """Return the first ``limit`` bytes."""
        self.file.seek(0)
        return self.file.read(limit)

    def tail(self, limit: int) -> bytes:
        """Return the last ``limit`` bytes."""
        self.file.seek(max(0, self.size - limit))
        return self.file.read(limit)

    def holds(self, needle: bytes) -> bool:
        """Return whether ``needle`` occurs anywhere in the file."""
        if not self.size:
            return False
        with mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(needle) >= 0

    def blocks(self, encoding: str) -> Iterator[str]:
        """Yield the text, with every line end as ``\\n``."""
        self.file.seek(0)
        copy = os.fdopen(os.dup(self.file.fileno()), "rb")
        with TextIOWrapper(copy, encoding, errors="replace", newline=None) as text:
            while block := text.read(_BLOCK):
                yield block


def clipped(text: str, length: int) -> str:
    """Return ``text``, cut to ``length`` characters with an ellipsis if it is longer."""
    return text if len(text) <= length else text[: length - 4] + " ..."


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def megabytes(size: int) -> str:
    """Return a size in megabytes: ``1.5 MB``."""
    return f"{size / 1_000_000:,.1f} MB"


def reason(error: Exception) -> str:
    """Return the first line of a library's error, without a full stop."""
    return clipped(" ".join(str(error).partition("\n")[0].split()), 200).rstrip(".")
