"""
Read the files attached to messages, and their images for the model.

Called by :mod:`caesarion.chat.persona`; :mod:`caesarion.files.preview` describes the files.
Invariant: a file is read because the user has just sent a message with it, never because the
file of a chat says so; and only below the server's root or in the uploads folder.
"""

import asyncio
import base64
import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from caesarion.config import CaesarionModel
from caesarion.files.names import suffix
from caesarion.files.opening import open_below
from caesarion.files.uploads import Uploads
from caesarion.text import clip

_GONE = "There is no such file any more."
_HIDDEN = (
    "This file is hidden, as a part of its path begins with a dot, and was not read. "
    "Attach it once more if it is to be read."
)
_REFUSED = "\nThe model's provider refused this image, so it is not shown to you."

# Limits, made up: characters of an attached cell, and bytes of a notebook to find it in.
_CELL = 2_000
_NOTEBOOK = 10_000_000

_IMAGES = ("png", "jpg", "jpeg", "gif", "webp")

Attached = tuple[str, str]
"""The id of a message, and the path of a file attached to it, as the message gives it."""


class Refused(Exception):  # noqa: N818 - a finding for the model, not a fault
    """An attachment is not read; ``str()`` of it is a sentence with the reason."""


class Attachments:
    """The files attached to messages in the chats of one server."""

    def __init__(self, settings: CaesarionModel, uploads: Uploads, root: Path) -> None:
        self._settings = settings
        self._uploads = uploads
        self._root = root
        # What users have attached since the server started. Anybody may have written an
        # older message into the file of a chat, so its attachments are not read.
        self._sent: set[Attached] = set()
        # Hidden files that were attached, each with the ids of the messages. One message may name
        # a file twice, in two spellings or by a link: that is no second thought.
        self._hidden: dict[Path, set[str]] = {}
        # By the hash of an image: the subtype of its media type, or "" if it is not to be sent.
        self._kinds: dict[bytes, str] = {}

    def path(self, value: str) -> Path:
        """Return the path of the attachment ``value``, without looking at the disk."""
        path = Path(value)
        # A volume for uploads is outside the root; all other paths are relative to it.
        if path.is_absolute() and path.is_relative_to(self._uploads.folder):
            return path
        return self._root / value.lstrip("/")

    async def read(self, attached: Attached, cells: Sequence[str] = ()) -> str:
        """
        Return a description of a file of a message just sent, or why it is not read.

        ``cells`` are the ids of the attached cells of a notebook; their sources come first.
        """
        value = attached[1]
        self._sent.add(attached)
        try:
            file = await asyncio.to_thread(self._open, value, attached[0])
        except Refused as refusal:
            return str(refusal)
        with file:
            sources = await asyncio.to_thread(_sources, file, cells) if cells else ""
            preview = await self._uploads.previewer.preview(file, suffix(value))
            note = ""
            if preview.image:
                data = await asyncio.to_thread(_content, file, self._settings.image_bytes)
                note = self._note(file, data)
                if data:
                    self._kinds.setdefault(sha256(data).digest(), preview.image)
            return f"{sources}{preview.text}{note}"

    async def images(self, wanted: Iterable[Attached]) -> dict[Attached, str]:
        """
        Return the images among ``wanted`` as data URLs, within the settings' limits.

        ``wanted`` is newest first. Skipped are attachments that were not sent since the
        server started, and images that cannot be decoded or that the provider refused.
        """
        images: dict[Attached, str] = {}
        room = self._settings.image_bytes
        for attached in wanted:
            if len(images) == self._settings.max_images:
                break
            if attached not in self._sent or suffix(attached[1]) not in _IMAGES:
                continue
            try:
                file = await asyncio.to_thread(self._open, attached[1])
            except Refused:
                continue
            with file:
                data = await asyncio.to_thread(_content, file, room)
                if data and (kind := await self._kind(file, data, suffix(attached[1]))):
                    room -= len(data)
                    encoded = base64.b64encode(data).decode()
                    images[attached] = f"data:image/{kind};base64,{encoded}"
        return images

    def refuse(self, images: Iterable[str]) -> None:
        """Do not return these data URLs again, since the provider of the model refused them."""
        for image in images:
            data = base64.b64decode(image.partition(",")[2])
            self._kinds[sha256(data).digest()] = ""

    async def _kind(self, file: BinaryIO, data: bytes, ending: str) -> str:
        """Return the subtype of an image's media type, or "" if it is not to be sent."""
        known = sha256(data).digest()
        if known not in self._kinds:
            file.seek(0)
            self._kinds[known] = (await self._uploads.previewer.preview(file, ending)).image
        return self._kinds[known]

    def _note(self, file: BinaryIO, data: bytes) -> str:
        """Return a line with the reason why an image is not shown to the model, or ""."""
        if not self._settings.max_images:
            return "\nNo images are shown to you, only this text."
        if not data:
            return (
                f"\nIt is not shown to you, as its {_size(file):,} bytes are more than the "
                f"{self._settings.image_bytes:,} that are sent. Make it smaller with Python."
            )
        return _REFUSED if self._kinds.get(sha256(data).digest()) == "" else ""

    def _open(self, value: str, sent_with: str = "") -> BinaryIO:
        """Open an attachment, just ``sent_with`` a message of this id or none; or raise Refused."""
        try:
            path = self.path(value).resolve(strict=True)
            folders = [folder.resolve() for folder in (self._root, self._uploads.folder)]
            folder = next((folder for folder in folders if path.is_relative_to(folder)), None)
            if folder is None:
                raise Refused(
                    "This lies outside the folders of this server and was not read. Upload a copy."
                )
            if path.is_dir():
                raise Refused("This is a folder.")
            if not path.is_file():
                raise Refused("This is not a file that can be read.")
            if _is_hidden(path.relative_to(folder)) or _is_hidden(self._below(value)):
                self._check_hidden(path, sent_with)
            return open_below(folder, path)
        except FileNotFoundError as error:
            raise Refused(_GONE) from error
        except PermissionError as error:
            raise Refused("This file may not be read by this server.") from error
        except (OSError, ValueError, RuntimeError) as error:
            raise Refused("There is no such file.") from error

    def _below(self, value: str) -> Path:
        path = self.path(value)
        folder = self._uploads.folder
        return path.relative_to(folder if path.is_relative_to(folder) else self._root)

    def _check_hidden(self, path: Path, sent_with: str) -> None:
        """Raise Refused unless a hidden file has been attached to two messages."""
        messages = self._hidden.setdefault(path, set())
        if sent_with:
            messages.add(sent_with)
        if len(messages) < 2:
            raise Refused(_HIDDEN)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") and part != ".." for part in path.parts)


def _sources(file: BinaryIO, cells: Sequence[str]) -> str:
    """Return the sources of the cells with these ids, as the notebook was saved last."""
    try:
        notebook = json.loads(_content(file, _NOTEBOOK))
        numbered = enumerate(notebook["cells"], 1)
        sources = [
            f"Cell {number} ({cell['cell_type']}):\n{clip(''.join(cell['source']), _CELL)}\n"
            for number, cell in numbered
            if cell.get("id") in cells
        ]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        sources = []
    if len(sources) < len(cells):
        sources.append(
            "Some of the attached cells are not in the file: it was not saved, or has changed.\n"
        )
    return "".join([f"Attached of it: {len(cells)} cell{'s' * (len(cells) != 1)}.\n", *sources])


def _size(file: BinaryIO) -> int:
    return file.seek(0, 2)


def _content(file: BinaryIO, limit: int) -> bytes:
    """Return the bytes of a file, or b"" if it has more than ``limit``."""
    file.seek(0)
    data = file.read(limit + 1)
    file.seek(0)
    return data if len(data) <= limit else b""
