"""
``caesarion/api/notebooks``: save a chat as a notebook, run a notebook from top to bottom.

Called by the labextension and by programs; :mod:`caesarion.notebooks.export` makes
the notebook, :mod:`caesarion.notebooks.run` runs it, :mod:`caesarion.notebooks.storage`
reads and writes it.
"""

import contextlib
import json
import posixpath
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel, ConfigDict, Field
from tornado import web

from caesarion.api.base import BaseHandler
from caesarion.api.streaming import StreamHandler
from caesarion.errors import NotebookError, NotebookNotSaved, UnknownNotebook
from caesarion.notebooks import export
from caesarion.notebooks.storage import StoredNotebook


class Chat(BaseModel):
    """The body of ``POST caesarion/api/notebooks``."""

    model_config = ConfigDict(extra="forbid")

    chat: str = Field(min_length=1)


class Notebook(BaseModel):
    """The body of ``POST caesarion/api/notebooks/run``."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1)


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
            saved = await storage.save_new(
                folder, name, export.make_notebook(content, path, kernels.kernelspec(kernel_id))
            )
        except NotebookError as error:
            self.refuse(_status(error), str(error))
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


class RunNotebookHandler(StreamHandler):
    """``POST caesarion/api/notebooks/run``: run a notebook in a fresh kernel, and save it."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Stream the progress; 400, 404, 409 or 413 with a sentence before it begins."""
        path = self.body(Notebook).path.strip("/")
        try:
            notebook = await self.services.notebooks.read(path)
        except NotebookError as error:
            self.refuse(_status(error), str(error))
            return
        await self.stream(self._run(notebook))

    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """Return the line that ends a run which could not go on."""
        return _line({"status": "error", "message": f"{sentence} The notebook is as it was."})

    async def _run(self, notebook: StoredNotebook) -> None:
        # nbclient costs a tenth of a second to import: not before it is needed.
        from caesarion.notebooks import run

        kernels = self.services.kernels
        name = notebook.content.metadata.get("kernelspec", {}).get("name")
        folder = posixpath.dirname(notebook.path)
        async with contextlib.AsyncExitStack() as stack:
            with self.uncut():
                kernel_id = await stack.enter_async_context(kernels.start_temporary(folder, name))
            self.begin_stream("application/x-ndjson")
            process = kernels.process(kernel_id)
            stack.callback(process.close)
            steps = run.run(notebook.content, process, kernels.settings)
            progress = ""
            async with self.heartbeat(lambda: progress), contextlib.aclosing(steps):
                stack.enter_context(self.services.activity.under_way())
                async for step in steps:
                    if isinstance(step, run.RunOver):
                        await self.send(_line(await self._save(step, notebook)))
                    else:
                        progress = _line(asdict(step))
                        await self.send(progress)

    async def _save(self, over: Any, notebook: StoredNotebook) -> dict[str, Any]:
        """Save what ran; return the last line, which says how it ended."""
        end = {key: value for key, value in asdict(over).items() if value is not None}
        try:
            saved = await self.services.notebooks.save(notebook)
        except NotebookError as error:
            return {"status": "error", "message": f"The notebook ran. {error}"}
        if saved != notebook.path:
            kept = (
                f"{notebook.path!r} was changed while it ran, and is as it was changed. "
                f"What ran is saved as {saved!r}."
            )
            end |= {"path": saved, "message": " ".join(filter(None, (over.message, kept)))}
        return end


def _status(error: NotebookError) -> int:
    """Return the HTTP status that an error has."""
    if isinstance(error, UnknownNotebook):
        return 404
    return 507 if isinstance(error, NotebookNotSaved) else 409


def _line(said: dict[str, Any]) -> str:
    return json.dumps(said) + "\n"
