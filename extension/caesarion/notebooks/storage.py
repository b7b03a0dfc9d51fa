"""
The notebooks of the user's folder, read and written through Jupyter Server's contents manager.

Called by :mod:`caesarion.api.notebooks` and :mod:`caesarion.notebooks.document`. Invariant: no
notebook takes the place of what somebody else has written, neither a new one nor one that ran or
was changed.
"""

import asyncio
import contextlib
import errno
import posixpath
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeVar

from jupyter_core.utils import ensure_async
from nbformat import NotebookNode
from tornado.web import HTTPError

from caesarion.errors import NotebookError, NotebookNotSaved, UnknownNotebook
from caesarion.files.names import numbered
from caesarion.files.opening import MAX_NUMBER
from caesarion.notebooks.cells import with_ids

Result = TypeVar("Result")

# Times that a notebook is read again which somebody else writes at the same time.
_TRIES = 5

# Notebooks whose cells' ids are kept; made up: more than one turn reads.
_KEPT = 100


@dataclass(frozen=True)
class StoredNotebook:
    """A notebook at ``path`` below the root; ``digest`` tells its file as it was read."""

    path: str
    content: NotebookNode
    digest: str


class NotebookStorage:
    """The notebooks of one server."""

    def __init__(self, contents: Any) -> None:
        self._contents = contents
        # Contents managers of others may be older than the hashes of Jupyter Server 2.11.
        self._takes_hash = "require_hash" in signature(contents.get).parameters
        # Held from the choice of a new name until there is a file of that name: two
        # notebooks that are saved at once must not choose the same.
        self._naming = asyncio.Lock()
        # The ids of the cells of each notebook that was read last, with the hash of its file.
        self._ids: dict[str, tuple[str, list[str]]] = {}

    async def read(self, path: str) -> StoredNotebook:
        """
        Return the notebook at ``path``, in which every cell has an id.

        Raises UnknownNotebook or NotebookError.
        """
        unknown = UnknownNotebook(
            f"There is no notebook {path[:200]!r}. Give its path, from the folder that JupyterLab "
            "shows as its root."
        )
        if not path.endswith(".ipynb"):
            raise unknown
        try:
            model = await self._get(path, content=True)
        except HTTPError as error:
            if error.status_code == 404:
                raise unknown from error
            raise _unreadable(path) from error
        except Exception as error:  # nbformat raises what it meets: AttributeError, KeyError ...
            raise _unreadable(path) from error
        if model.get("message"):  # It is JSON, but no valid notebook.
            raise _unreadable(path)
        content, digest = with_ids(model["content"]), _digest(model)
        self._keep_ids(path, content, digest)
        return StoredNotebook(path, content, digest)

    async def update(self, path: str, change: Callable[[NotebookNode], Result]) -> Result:
        """
        Read a notebook, change it and save it; return what ``change`` returns.

        A file that somebody has written meanwhile is read and changed again, so that ``change``
        sees what is there and may refuse. Nothing is saved that was not changed. Raises
        UnknownNotebook, NotebookError, NotebookNotSaved, and what ``change`` raises.
        """
        for _ in range(_TRIES):
            notebook = await self.read(path)
            before = deepcopy(notebook.content)
            result = change(notebook.content)
            if notebook.content == before:
                return result
            if await self._is_unchanged(notebook):
                await self._write(path, notebook.content)
                return result
        raise NotebookNotSaved(
            f"The notebook {path!r} was not changed: something else writes it all the time. Stop "
            "that, and try again."
        )

    async def save(self, notebook: StoredNotebook) -> str:
        """
        Save a notebook that was read and then changed; return its path.

        If the file is no longer what was read, it is saved beside it, as "name (run 1).ipynb".
        Raises NotebookNotSaved.
        """
        if await self._is_unchanged(notebook):
            await self._write(notebook.path, notebook.content)
            return notebook.path
        folder, name = posixpath.split(notebook.path)
        return await self._save_as(
            folder, lambda number: numbered(name, f"run {number}"), notebook.content
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

    def _keep_ids(self, path: str, content: NotebookNode, digest: str) -> None:
        """
        Give the cells the ids that they had when the same file was read before.

        nbformat 5.10 replaces missing and double ids by random ones at each reading.
        """
        known, ids = self._ids.pop(path, ("", []))
        if known == digest:
            for cell, id in zip(content.cells, ids, strict=True):
                cell["id"] = id
        self._ids[path] = digest, [cell.id for cell in content.cells]
        if len(self._ids) > _KEPT:
            del self._ids[next(iter(self._ids))]

    async def _is_unchanged(self, notebook: StoredNotebook) -> bool:
        try:
            model = await self._get(notebook.path, content=False)
        except HTTPError:  # It was deleted or moved.
            return False
        return _digest(model) == notebook.digest

    async def _get(self, path: str, *, content: bool) -> dict[str, Any]:
        options = {"content": content, "type": "notebook"}
        if self._takes_hash:
            options["require_hash"] = True
        model: dict[str, Any] = await ensure_async(self._contents.get(path, **options))
        return model

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


def _digest(model: dict[str, Any]) -> str:
    """Return the hash of a file, or when it was modified if its contents manager has no hashes."""
    return str(model.get("hash") or model["last_modified"])


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
