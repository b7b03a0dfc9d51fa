"""
``POST caesarion/api/notebooks/run``: run a notebook from top to bottom in a fresh kernel.

Called by the labextension and by programs; also the work of such a run in the background.
:mod:`caesarion.notebooks.run` runs it, :mod:`caesarion.notebooks.storage` reads and writes it.
"""

import contextlib
import functools
import json
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, Field
from tornado import web

from caesarion.api import background
from caesarion.api.base import BaseHandler
from caesarion.api.kernel_choice import uncut
from caesarion.api.notebooks import status_of
from caesarion.api.streaming import StreamHandler
from caesarion.bodies import Bounded
from caesarion.errors import NotebookError
from caesarion.notebooks.storage import StoredNotebook
from caesarion.runs.recording import Recording
from caesarion.runs.run import Subject
from caesarion.runs.store import Work
from caesarion.services import Services

if TYPE_CHECKING:  # nbclient costs a tenth of a second to import: not before it is needed.
    from caesarion.notebooks.run import CellEnd, CellStart, RunOver


class Notebook(Bounded):
    """The body of ``POST caesarion/api/notebooks/run``."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=4_096)


class KeyedNotebook(Notebook, background.Keyed):
    """A notebook that is to run in the background."""


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
            self.refuse(status_of(error), str(error))
            return
        await self.stream(self._run(notebook))

    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """Return the line that ends a run which could not go on."""
        return _line({"status": "error", "message": f"{sentence} The notebook is as it was."})

    async def _run(self, notebook: StoredNotebook) -> None:
        async with _steps(self.services, notebook) as steps:
            from caesarion.notebooks.run import CellStart, RunOver

            self.begin_stream("application/x-ndjson")
            progress = ""
            with self.services.activity.under_way():
                async with self.heartbeat(lambda: progress):
                    async for step in steps:
                        if isinstance(step, RunOver):
                            await self.send(_line(await _save(self.services, notebook, step)))
                        elif isinstance(step, CellStart):
                            progress = _line(asdict(step))
                            await self.send(progress)


async def begin(handler: BaseHandler, request: KeyedNotebook) -> None:
    """Begin a run of a notebook in the background."""
    services, path = handler.services, request.path.strip("/")
    subject = Subject("notebook", title=path, notebook_path=path)
    work = background_notebook(services, path)
    check = functools.partial(services.notebooks.read, path)
    await background.begin(handler, subject, request, work, check)


def background_notebook(services: Services, path: str) -> Work:
    """Return the work of a run of the notebook at ``path``."""

    async def work(recording: Recording) -> None:
        notebook = await services.notebooks.read(path)
        async with _steps(services, notebook) as steps:
            from caesarion.notebooks.run import CellStart, RunOver

            await recording.begin()
            with services.activity.under_way(recording.is_activity):
                async for step in steps:
                    if isinstance(step, RunOver):
                        await _end(recording, await _save(services, notebook, step))
                    else:
                        name = "cell" if isinstance(step, CellStart) else "cell_outputs"
                        recording.write(name, asdict(step))

    return work


async def _end(recording: Recording, end: dict[str, Any]) -> None:
    recording.write("result", end)
    path = str(end.get("path", recording.run.subject.notebook_path))
    if end["status"] == "ok":
        await recording.end("completed", path=path)
    else:
        await recording.end("failed", error=("cell_failed", str(end["message"])), path=path)


@contextlib.asynccontextmanager
async def _steps(
    services: Services, notebook: StoredNotebook
) -> "AsyncIterator[AsyncGenerator[CellStart | CellEnd | RunOver, None]]":
    """Provide the steps of a run in a fresh kernel, which is shut down afterwards."""
    from caesarion.notebooks import run

    kernels = services.kernels
    name = notebook.content.metadata.get("kernelspec", {}).get("name")
    folder = posixpath.dirname(notebook.path)
    async with contextlib.AsyncExitStack() as stack:
        start = kernels.start_temporary(folder, name)
        kernel_id = await uncut(stack.enter_async_context(start))
        process = kernels.process(kernel_id)
        stack.callback(process.close)
        steps = run.run(notebook.content, process, kernels.settings)
        yield await stack.enter_async_context(contextlib.aclosing(steps))


async def _save(services: Services, notebook: StoredNotebook, over: "RunOver") -> dict[str, Any]:
    """Save what ran; return the last line, which says how it ended."""
    end = {key: value for key, value in asdict(over).items() if value is not None}
    try:
        saved = await services.notebooks.save(notebook)
    except NotebookError as error:
        return {"status": "error", "message": f"The notebook ran. {error}"}
    if saved != notebook.path:
        kept = (
            f"{notebook.path!r} was changed while it ran, and is as it was changed. "
            f"What ran is saved as {saved!r}."
        )
        end |= {"path": saved, "message": " ".join(filter(None, (over.message, kept)))}
    return end


def _line(said: dict[str, Any]) -> str:
    return json.dumps(said) + "\n"
