"""
The beginning of a file as bytes or text, and plain text's digest. Called by the kinds beside it.
"""

import codecs
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

_LINES = 10
_LINE = 200
_BLOCK = 262_144


class NotReadable(Exception):  # noqa: N818 - a finding, told as a sentence
    """What a file is not; ``str()`` of it is the digest."""


@dataclass(frozen=True)
class Head:
    """The beginning of a text file."""

    text: str
    whole: bool
    """Whether it is all there is."""
    encoding: str


def opened(path: Path) -> BinaryIO:
    """Open ``path`` for reading bytes, refusing a symbolic link by an OSError."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")


def head_bytes(path: Path, limit: int) -> bytes:
    """Return the first ``limit`` bytes."""
    with opened(path) as file:
        return file.read(limit)


def head_text(path: Path, limit: int) -> Head:
    """
    Return the text of the first ``limit`` bytes.

    The encoding is UTF-8 or UTF-16 by its mark, else UTF-8, else Windows-1252.
    Raise NotReadable if there are NUL bytes, as in no text.
    """
    raw = head_bytes(path, limit + 1)
    whole = len(raw) <= limit
    raw = raw[:limit]
    for encoding in _encodings(raw):
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            text = decoder.decode(raw, final=whole)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return Head(text, whole, encoding)
    raise NotReadable("This is not a text file, whatever its name says.")


def blocks(path: Path, encoding: str, until: float) -> Iterator[str]:
    """Yield a file's text by 262,144 characters; raise TimeoutError at ``until``."""
    with TextIOWrapper(opened(path), encoding, errors="replace", newline="") as file:
        while block := file.read(_BLOCK):
            if time.monotonic() > until:
                raise TimeoutError
            yield block


def first_lines(text: str) -> str:
    """Return the first ten lines, those of over 200 characters cut."""
    lines = text.split("\n", _LINES)[:_LINES]
    return "\n".join(clipped(line.rstrip("\r"), _LINE) for line in lines).rstrip("\n")


def clipped(text: str, length: int) -> str:
    """Return ``text``, or its beginning and dots, of ``length`` characters at most."""
    return text if len(text) <= length else text[: length - 4] + " ..."


def megabytes(size: int) -> str:
    """Return a size for people: ``1.5 MB``."""
    return f"{size / 1_000_000:,.1f} MB"


def plain_text(path: Path, until: float) -> str:
    """Return the digest of any text: how many lines, and the first."""
    head = head_text(path, 65_536)
    lines, last = 0, "\n"
    try:
        for block in blocks(path, head.encoding, until):
            lines += block.count("\n")
            last = block[-1]
        lines += last != "\n"
        count = f"{lines:,}"
    except TimeoutError:
        count = f"more than {lines:,}"
    if not head.text:
        return "An empty file."
    shown = first_lines(head.text)
    return f"Text, {count} line{'s' * (count != '1')}, {_said(head.encoding)}. It begins:\n{shown}"


def _encodings(raw: bytes) -> tuple[str, ...]:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    return ("utf-8-sig", "cp1252")


def _said(encoding: str) -> str:
    return {"utf-8-sig": "UTF-8", "utf-16": "UTF-16", "cp1252": "Windows-1252"}[encoding]
