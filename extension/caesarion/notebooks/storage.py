"""
The notebooks of the user's folder, read and written through Jupyter Server's contents manager.

Called by :mod:`caesarion.api.notebooks`. Invariant: no notebook takes the place
of what somebody else has written, neither a new one nor one that ran.
"""

import asyncio
import contextlib
import errno
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jupyter_core.utils import ensure_async
from nbformat import NotebookNode
from tornado.web import HTTPError

from caesarion.errors import NotebookError, NotebookNotSaved, UnknownNotebook
from caesarion.files.names import numbered
from caesarion.files.opening import MAX_NUMBER


@dataclass(frozen=True)
class StoredNotebook:
    """A notebook at ``path`` below the root; ``digest`` is the hash of its file as it was read."""

    path: str
    content: NotebookNode
    digest: str


class NotebookStorage:
    """The notebooks of one server."""

    def __init__(self, contents: Any) -> None:
        self._contents = contents
        # Held from the choice of a new name until there is a file of that name: two
        # notebooks that are saved at once must not choose the same.
        self._naming = asyncio.Lock()

    async def read(self, path: str) -> StoredNotebook:
        """Return the notebook at ``path``; raise UnknownNotebook or NotebookError."""
        unknown = UnknownNotebook(
            f"There is no notebook {path[:200]!r}. Give its path, from the folder that JupyterLab "
            "shows as its root."
        )
        if not path.endswith(".ipynb"):
            raise unknown
        try:
            model = await ensure_async(
                self._contents.get(path, content=True, type="notebook", require_hash=True)
            )
        except HTTPError as error:
            if error.status_code == 404:
                raise unknown from error
            raise _unreadable(path) from error
        except Exception as error:  # nbformat raises what it meets: AttributeError, KeyError ...
            raise _unreadable(path) from error
        if model.get("message"):  # It is JSON, but no valid notebook.
            raise _unreadable(path)
        return StoredNotebook(path, model["content"], str(model["hash"]))

    async def save(self, notebook: StoredNotebook) -> str:
        """
        Save a notebook that was read and then changed; return its path.

        It is saved beside the file under another name if the file is no longer what was
        read. Raises NotebookNotSaved.
        """
        if await self._is_unchanged(notebook):
            await self._write(notebook.path, notebook.content)
            return notebook.path
        folder, name = posixpath.split(notebook.path)
        return await self._save_as(
            folder, lambda number: numbered(name, number + 1), notebook.content
        )

    async def save_new(self, folder: str, name: str, content: NotebookNode) -> str:
        """Save a notebook under the first free name like ``name``; return its path."""
        return await self._save_as(
            folder, lambda number: name if number == 1 else numbered(name, number), content
        )

    async def folder_exists(self, folder: str) -> bool:
        """Return whether there is a folder at the path ``folder``."""
        try:
            return bool(await ensure_async(self._contents.dir_exists(folder)))
        except HTTPError:  # It is outside the root.
            return False

    async def _is_unchanged(self, notebook: StoredNotebook) -> bool:
        try:
            model = await ensure_async(
                self._contents.get(notebook.path, content=False, require_hash=True)
            )
        except HTTPError:  # It was deleted or moved.
            return False
        return bool(model["hash"] == notebook.digest)

    async def _save_as(self, folder: str, name: Callable[[int], str], content: NotebookNode) -> str:
        async with self._naming:
            for number in range(1, MAX_NUMBER + 1):
                path = posixpath.join(folder, name(number))
                if not await ensure_async(self._contents.exists(path)):
                    break
            else:
                raise NotebookError(
                    f"There are {MAX_NUMBER} files like {path!r} already. Delete some."
                )
            try:
                await self._write(path, content)
            except NotebookNotSaved:
                # Jupyter Server 2.21 leaves what it has written of a new file.
                with contextlib.suppress(HTTPError):
                    await ensure_async(self._contents.delete(path))
                raise
        return path

    async def _write(self, path: str, content: NotebookNode) -> None:
        try:
            await ensure_async(self._contents.save({"type": "notebook", "content": content}, path))
        except HTTPError as error:
            raise NotebookNotSaved(
                f"The notebook could not be saved as {path!r}: {_reason(error)}."
            ) from error


def _unreadable(path: str) -> NotebookError:
    return NotebookError(f"{path[:200]!r} cannot be read as a notebook. Open it to see why.")


def _reason(error: HTTPError) -> str:
    """Return what the file system says, else the contents manager."""
    reason: BaseException | None = error
    found = ""
    while reason:
        # Jupyter Server looks for a backup after a write failed, and a new file has none.
        if isinstance(reason, OSError) and reason.errno not in (None, errno.ENOENT):
            found = reason.strerror or ""
        reason = reason.__cause__ or reason.__context__
    return found or error.get_message() or f"status {error.status_code}"
