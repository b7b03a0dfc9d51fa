"""
``caesarion/api/notebooks``: save a chat as a notebook, run a notebook from top to bottom.

Called by the labextension and by programs; :mod:`caesarion.notebooks.export` makes
the notebook, :mod:`caesarion.notebooks.run` runs it.
"""

import asyncio
import contextlib
import json
import posixpath
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nbformat
from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel, ConfigDict, Field
from tornado import web

from caesarion.api.base import BaseHandler
from caesarion.api.streaming import StreamHandler
from caesarion.files import writing
from caesarion.notebooks import export

_WHERE = "Give its path, from the folder that JupyterLab shows as its root."


class Chat(BaseModel):
    """The body of ``POST caesarion/api/notebooks``."""

    model_config = ConfigDict(extra="forbid")

    chat: str = Field(min_length=1)


class Notebook(BaseModel):
    """The body of ``POST caesarion/api/notebooks/run``."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1)


class _NotebookHandler(BaseHandler):
    @property
    def root(self) -> Path:
        assert self.serverapp is not None
        return Path(self.serverapp.root_dir).resolve()

    def file(self, path: str, suffix: str, what: str) -> Path:
        """Return the file at ``path`` below the root; raise web.Finish after refusing it."""
        try:
            file = (self.root / path.strip("/")).resolve()
            if path.endswith(suffix) and file.is_relative_to(self.root) and file.is_file():
                return file
        except (OSError, ValueError):
            pass  # A name that no file can have, or a loop of links.
        self.refuse(404, f"There is no {what} {path[:200]!r}. {_WHERE}")
        raise web.Finish

    @contextlib.contextmanager
    def storing(self) -> Iterator[None]:
        """Refuse what the disk refuses."""
        try:
            yield
        except OSError as error:
            self.refuse(507, f"The notebook could not be saved: {error.strerror}.")
            raise web.Finish from error


class NotebooksHandler(_NotebookHandler):
    """``POST caesarion/api/notebooks``: save a chat as a notebook."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Answer 201, its path and its code's kernel; 400, 404, 409, 413 or 507 in a sentence."""
        path = self.body(Chat).chat.strip("/")
        file = self.file(path, ".chat", "chat")
        content = self.services.read_chat(file)
        if content is None or not export.read(content):
            self.refuse(409, f"There is nothing in the chat {path!r} to save yet.")
            return
        place = export.place(content)
        folder = (self.root / posixpath.dirname(place)).resolve()
        if not (folder.is_relative_to(self.root) and folder.is_dir()):
            folder = self.root
        chat_id = str((content.get("metadata") or {}).get("id", ""))
        kernels = self.services.kernels
        kernel_id = await kernels.kernel_id_of(chat_id, place)
        made = export.make(content, path, kernels.kernelspec(kernel_id))
        with self.storing():
            saved = await asyncio.to_thread(
                lambda: writing.write_new(folder, f"{file.stem}.ipynb", nbformat.writes(made))
            )
        if saved is None:
            self.refuse(
                409, f"There are {writing.MAX_NUMBER} notebooks of {path!r} already. Delete some."
            )
            return
        self.set_status(201)
        path = saved.relative_to(self.root).as_posix()
        self.finish({"path": path, "kernel_id": kernel_id})


class RunNotebookHandler(_NotebookHandler, StreamHandler):
    """``POST caesarion/api/notebooks/run``: run a notebook in a fresh kernel, and save it."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Stream the progress; 400, 404, 409 or 413 with a sentence before it begins."""
        path = self.body(Notebook).path.strip("/")
        file = self.file(path, ".ipynb", "notebook")
        try:
            read = await asyncio.to_thread(nbformat.read, file, as_version=4)
            nbformat.validate(read)
        except Exception:  # nbformat raises what it meets: AttributeError, KeyError ...
            self.refuse(409, f"{path[:200]!r} cannot be read as a notebook. Open it to see why.")
            return
        await self.stream(self._run(read, file))

    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """Return the line that ends a run which could not go on."""
        return _line({"status": "error", "message": f"{sentence} The notebook is as it was."})

    async def _run(self, read: nbformat.NotebookNode, file: Path) -> None:
        # nbclient costs a tenth of a second to import: not before it is needed.
        from caesarion.notebooks import run

        kernels = self.services.kernels
        name = read.metadata.get("kernelspec", {}).get("name")
        folder = posixpath.dirname(file.relative_to(self.root).as_posix())
        async with contextlib.AsyncExitStack() as stack:
            with self.uncut():
                kernel_id = await stack.enter_async_context(kernels.start_temporary(folder, name))
            self.begin_stream("application/x-ndjson")
            steps = run.run(read, kernels.manager(kernel_id), kernels.settings)
            progress = ""
            async with self.heartbeat(lambda: progress), contextlib.aclosing(steps):
                async for step in steps:
                    if isinstance(step, run.RunOver):
                        await self.send(_line(await self._save(step, read, file)))
                    else:
                        progress = _line(asdict(step))
                        await self.send(progress)

    async def _save(self, over: Any, read: nbformat.NotebookNode, file: Path) -> dict[str, Any]:
        """Save what ran; return the last line, which says how it ended."""
        try:
            await asyncio.to_thread(lambda: writing.replace(file, nbformat.writes(read)))
        except OSError as error:
            return {
                "status": "error",
                "message": f"The notebook ran but could not be saved: {error.strerror}.",
            }
        return {key: value for key, value in asdict(over).items() if value is not None}


def _line(said: dict[str, Any]) -> str:
    return json.dumps(said) + "\n"
