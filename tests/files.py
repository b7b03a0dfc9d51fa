"""
Small files of many kinds, and their descriptions, for tests.

Called by unit and integration tests. ``describe`` inspects a file in this process; the server
uses another process, which ``tests/unit/test_uploads_preview.py`` tests.
"""

import io
import struct
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path

from caesarion.files.inspection.digest import digest
from caesarion.files.inspection.source import Image, Source
from PIL import Image as Pillow

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""How OLE compound files begin (MS-CFB)."""


def describe(path: Path, content: bytes | str | None = None, seconds: float = 30) -> str:
    """Return the description of the file at ``path``, which is made of ``content`` if given."""
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with path.open("rb") as file:
        source = Source(file, path.suffix[1:].lower(), time.monotonic() + seconds)
        return "\n".join(piece for piece in digest(source) if not isinstance(piece, Image))


def image(kind: str = "png", width: int = 3, height: int = 2) -> bytes:
    """Return a small image that can be decoded."""
    file = io.BytesIO()
    Pillow.new("RGB", (width, height), (200, 30, 30)).save(file, kind)
    return file.getvalue()


def compound(*streams: str) -> bytes:
    """Return what looks like an OLE file with these streams, as far as their names go."""
    names = b"".join(name.encode("utf-16-le").ljust(64, b"\0") for name in streams)
    return OLE + bytes(504) + names + bytes(512)


def patched(archive: Path, changes: Mapping[str, tuple[bytes, bytes]]) -> None:
    """Replace bytes in members of a ZIP archive: name to what stands there and what shall."""
    with zipfile.ZipFile(archive) as before:
        members = {name: before.read(name) for name in before.namelist()}
    for name, (old, new) in changes.items():
        assert old in members[name]
        members[name] = members[name].replace(old, new)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as after:
        for name, content in members.items():
            after.writestr(name, content)


def password_protected(workbook: bytes) -> bytes:
    """Return an old Excel workbook with a FilePass record (MS-XLS 2.4.117) behind its first."""
    begin = workbook.index(struct.pack("<HH", 0x0809, 16))
    second = begin + 4 + 16
    return workbook[:second] + struct.pack("<H", 0x2F) + workbook[second + 2 :]
