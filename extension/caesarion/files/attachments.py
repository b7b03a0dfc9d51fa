"""
What is attached to a question: where it lies, what is in it, and its image for the model.

Called by :mod:`caesarion.chat.persona`; ``caesarion.files.uploads`` looks into the files. Its law:
only what really lies below the server's root or in the uploads folder is opened.
"""

import asyncio
import base64
import json
import os
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from caesarion.config import CaesarionModel
from caesarion.files.inspection.spreadsheet import image_kind
from caesarion.files.inspection.text import opened
from caesarion.files.names import suffix
from caesarion.files.uploads import Uploads
from caesarion.text import clip

_GONE = "There is no such file any more."

# Characters of an attached cell, and bytes of a notebook that cells are looked for in: made up.
_CELL = 2_000
_NOTEBOOK = 10_000_000

IMAGES = ("png", "jpg", "jpeg", "gif", "webp")

Key = TypeVar("Key", bound=Hashable)


class Refused(Exception):  # noqa: N818 - told to the model, as what is in the file
    """An attachment that is not looked into; ``str()`` of it is a sentence that says why."""


class Attachments:
    """The files that a chat's messages may name."""

    def __init__(self, settings: CaesarionModel, uploads: Uploads, root: Path) -> None:
        self._settings = settings
        self._uploads = uploads
        self._root = root

    def path(self, value: str) -> Path:
        """Return where the attachment ``value`` should lie; nothing is looked at."""
        path = Path(value)
        # A volume for uploads lies beside the root; all else is relative to it.
        if path.is_absolute() and path.is_relative_to(self._uploads.folder):
            return path
        return self._root / value.lstrip("/")

    async def digest(self, value: str, cells: Sequence[str] = ()) -> str:
        """
        Return what is in the attachment ``value``, or a sentence about why that is not known.

        ``cells`` are the ids of those in a notebook that are meant; their sources come first.
        """
        try:
            path = await asyncio.to_thread(self._found, value)
            limit = await asyncio.to_thread(self._image_limit, path)
            sources = await asyncio.to_thread(_sources, path, cells) if cells else ""
        except Refused as refusal:
            return str(refusal)
        except OSError:  # It went between two looks at it.
            return _GONE
        return f"{sources}{await self._uploads.preview(path)}{limit}"

    async def images(self, wanted: Iterable[tuple[Key, str]]) -> dict[Key, str]:
        """
        Return the images among attachments as data URLs, by the keys they came with.

        ``wanted`` is newest first. No more come back than the settings let a request
        carry, in number and in bytes; what is no image or is gone is passed over.
        """
        return await asyncio.to_thread(self._images, list(wanted))

    def _found(self, value: str) -> Path:
        """Return the real path of a file that may be opened; raise Refused."""
        try:
            path = self.path(value).resolve(strict=True)
        except FileNotFoundError as error:
            raise Refused(_GONE) from error
        except (OSError, ValueError, RuntimeError) as error:
            raise Refused("There is no such file.") from error
        folders = (self._root, self._uploads.folder)
        if not any(path.is_relative_to(folder.resolve()) for folder in folders):
            raise Refused(
                "This lies outside the folders of this server and was not looked into. "
                "Upload a copy."
            )
        if path.is_dir():
            raise Refused("This is a folder.")
        if not path.is_file():
            raise Refused("This is no file that can be read.")
        return path

    def _image_limit(self, path: Path) -> str:
        if suffix(path.name) not in IMAGES:
            return ""
        size = path.stat().st_size
        if not self._settings.max_images:
            return "\nNo images are shown to you, only this text."
        if size > self._settings.image_bytes:
            return (
                f"\nIt is not shown to you, as its {size:,} bytes are more than the "
                f"{self._settings.image_bytes:,} that are sent. Make it smaller with Python."
            )
        return ""

    def _images(self, wanted: list[tuple[Key, str]]) -> dict[Key, str]:
        images: dict[Key, str] = {}
        room = self._settings.image_bytes
        for key, value in wanted:
            if len(images) == self._settings.max_images:
                break
            if suffix(value) not in IMAGES:
                continue
            try:
                data = _at_most(self._found(value), room)
            except (Refused, OSError):
                continue
            if kind := image_kind(data):
                room -= len(data)
                images[key] = f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
        return images


def _sources(path: Path, cells: Sequence[str]) -> str:
    """Return the cells of a notebook that have these ids, as they were saved last."""
    try:
        notebook = json.loads(_at_most(path, _NOTEBOOK))
        numbered = enumerate(notebook["cells"], 1)
        told = [
            f"Cell {number} ({cell['cell_type']}):\n{clip(''.join(cell['source']), _CELL)}\n"
            for number, cell in numbered
            if cell.get("id") in cells
        ]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        told = []
    if len(told) < len(cells):
        told.append(
            "Of the attached cells some are not in the file: it was not saved, or changed.\n"
        )
    return "".join([f"Attached of it: {len(cells)} cell{'s' * (len(cells) != 1)}.\n", *told])


def _at_most(path: Path, limit: int) -> bytes:
    """Return a file's bytes, or none of more than ``limit``."""
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            return b""
        data = file.read(limit + 1)  # It may have grown meanwhile.
        return data if len(data) <= limit else b""
