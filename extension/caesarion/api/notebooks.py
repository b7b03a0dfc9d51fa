"""
``POST caesarion/api/notebooks``: save a chat as a notebook.

Called by the labextension and by programs; :mod:`caesarion.notebooks.export` makes the
notebook, :mod:`caesarion.notebooks.storage` writes it.
"""

import asyncio
import posixpath
from pathlib import Path

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, Field
from tornado import web

from caesarion.api.base import BaseHandler
from caesarion.bodies import Bounded
from caesarion.errors import NotebookError, NotebookNotSaved, UnknownNotebook
from caesarion.notebooks import export


class Chat(Bounded):
    """The body of ``POST caesarion/api/notebooks``."""

    model_config = ConfigDict(extra="forbid")

    chat: str = Field(min_length=1, max_length=4_096)


class NotebooksHandler(BaseHandler):
    """``POST caesarion/api/notebooks``: save a chat as a notebook."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Answer 201, its path and its code's kernel; 400, 404, 409, 413 or 507 in a sentence."""
        path = self.body(Chat).chat.strip("/")
        content = self.services.read_chat(self._file(path))
        if content is None or not export.read_messages(content):
            self.refuse(409, f"There is nothing in the chat {path!r} to save yet.")
            return
        place = export.notebook_path(content)
        chat_id = str((content.get("metadata") or {}).get("id", ""))
        kernels, storage = self.services.kernels, self.services.notebooks
        kernel_id = await kernels.kernel_id_of(chat_id, place)
        folder = posixpath.dirname(place)
        if not await storage.folder_exists(folder):
            folder = ""
        name = f"{posixpath.basename(path).removesuffix('.chat')}.ipynb"
        try:
            # A crafted chat of some megabytes takes seconds.
            made = await asyncio.to_thread(
                export.make_notebook, content, path, kernels.kernelspec(kernel_id)
            )
            saved = await storage.save_new(folder, name, made)
        except NotebookError as error:
            self.refuse(status_of(error), str(error))
            return
        self.set_status(201)
        self.finish({"path": saved, "kernel_id": kernel_id})

    def _file(self, path: str) -> Path:
        """Return the file of the chat at ``path``; raise web.Finish after refusing it."""
        assert self.serverapp is not None
        root = Path(self.serverapp.root_dir).resolve()
        try:
            file = (root / path).resolve()
            if path.endswith(".chat") and file.is_relative_to(root) and file.is_file():
                return file
        except (OSError, ValueError):
            pass  # A name that no file can have, or a loop of links.
        self.refuse(
            404,
            f"There is no chat {path[:200]!r}. Give its path, from the folder that JupyterLab "
            "shows as its root.",
        )
        raise web.Finish


def status_of(error: NotebookError) -> int:
    """Return the HTTP status that an error has."""
    if isinstance(error, UnknownNotebook):
        return 404
    return 507 if isinstance(error, NotebookNotSaved) else 409
