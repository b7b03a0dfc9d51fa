"""
Wiring: read the settings, build the services, add the routes, stop it all.

Loaded by Jupyter Server through ``jupyter-config/caesarion.json``; imported early by
:mod:`caesarion.singleuser`; :data:`main` is ``jupyter caesarion``.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionApp

from caesarion import config, deferred, entry_points, lab_page
from caesarion.activity import Activity
from caesarion.agent.approval import Approvals
from caesarion.agent.model import Model
from caesarion.agent.questions import Questions
from caesarion.agent.tracing import Traces
from caesarion.agent.undo import TurnUndo
from caesarion.api.answers import AnswerHandler
from caesarion.api.approvals import AllowedClassesHandler, ApprovalHandler
from caesarion.api.changes import ChangesHandler
from caesarion.api.chat import ChatHandler
from caesarion.api.commands import CommandHandler, CommandsHandler
from caesarion.api.execute import ExecuteHandler
from caesarion.api.files import ContentHandler, FilesHandler
from caesarion.api.notebook_run import RunNotebookHandler
from caesarion.api.notebooks import NotebooksHandler
from caesarion.api.page import PageHandler
from caesarion.api.runs import CancelHandler, EventsHandler, RunHandler, RunsHandler
from caesarion.api.status import StatusHandler
from caesarion.api.undo import UndoHandler
from caesarion.api.uploads import UploadHandler, UploadsHandler
from caesarion.api.variables import VariablesHandler
from caesarion.chat import provenance, store
from caesarion.commands import Commands
from caesarion.config import (
    CaesarionAgent,
    CaesarionKernel,
    CaesarionModel,
    CaesarionRuns,
    CaesarionUploads,
    CaesarionWeather,
)
from caesarion.errors import CaesarionError
from caesarion.files.attachments import Attachments
from caesarion.files.uploads import Uploads
from caesarion.kernels.registry import KernelRegistry
from caesarion.notebooks.changes import Changes
from caesarion.notebooks.checkpoints import Checkpoints
from caesarion.notebooks.document import Documents
from caesarion.notebooks.pages import Pages
from caesarion.notebooks.storage import NotebookStorage
from caesarion.runs.store import Runs
from caesarion.services import Services
from caesarion.user_config import keep_users_kernels

# Seconds after the server listens until a kernel is started ahead of its use: the hub's first
# request is answered by then, and the kernel is up before a page is.
_PREWARM_DELAY = 0.1

# Seconds until the model's SDK is imported ahead of its use; about as long as a page loads. Where
# it is, its client is opened, which takes 0.04 s of CPU: when twenty servers start at once, after
# their first results; a page has no chat by then.
_PAGE_LOAD, _FIRST_WORK = 5.0, 2.0

# Seconds that code under way has to yield to an interrupt when the server stops, and seconds
# that responses have to end after that: JupyterHub's local spawner kills a server 5 s after
# SIGTERM, and outcomes are reported for 2 s more.
_INTERRUPTED = 1.5
_ENDING = 1.5


class Caesarion(ExtensionApp):
    """Caesarion's server extension."""

    name = "caesarion"
    description = "An agent in JupyterLab's chat that works in the user's own kernel."
    extension_url = "/lab"
    load_other_extensions = True
    classes = [  # noqa: RUF012 - traitlets' own way of listing what is configurable
        CaesarionModel,
        CaesarionAgent,
        CaesarionKernel,
        CaesarionWeather,
        CaesarionUploads,
        CaesarionRuns,
    ]
    handlers: list[Any] = [  # noqa: RUF012
        (r"/caesarion/api/allowed-classes", AllowedClassesHandler),
        (r"/caesarion/api/answers/([^/]+)", AnswerHandler),
        (r"/caesarion/api/approvals/([^/]+)", ApprovalHandler),
        (r"/caesarion/api/changes", ChangesHandler),
        (r"/caesarion/api/chat", ChatHandler),
        (r"/caesarion/api/commands", CommandsHandler),
        (r"/caesarion/api/commands/(\d{1,10})", CommandHandler),
        (r"/caesarion/api/execute", ExecuteHandler),
        (r"/caesarion/api/files", FilesHandler),
        (r"/caesarion/api/files/content", ContentHandler),
        (r"/caesarion/api/status", StatusHandler),
        (r"/caesarion/api/variables", VariablesHandler),
        (r"/caesarion/api/notebooks", NotebooksHandler),
        (r"/caesarion/api/notebooks/run", RunNotebookHandler),
        (r"/caesarion/api/page", PageHandler),
        (r"/caesarion/api/runs", RunsHandler),
        (r"/caesarion/api/runs/([^/]+)", RunHandler),
        (r"/caesarion/api/runs/([^/]+)/cancel", CancelHandler),
        (r"/caesarion/api/runs/([^/]+)/events", EventsHandler),
        (r"/caesarion/api/undo", UndoHandler),
        (r"/caesarion/api/uploads", UploadsHandler),
        (r"/caesarion/api/uploads/([^/]+)", UploadHandler),
    ]

    _timers: list[asyncio.TimerHandle] = []  # noqa: RUF012 - replaced, never changed
    _warming: "asyncio.Task[None] | None" = None

    def initialize_settings(self) -> None:
        """Build the services that chat and HTTP API share."""
        began = time.monotonic()
        assert self.serverapp is not None
        entry_points.answer_others()
        deferred.find_language_servers_when_asked()
        if config.hub_server():  # No browser is there to be opened by a page with the token.
            self.serverapp.no_browser_open_file = True
        if config.leaves_out_home():
            keep_users_kernels(self.serverapp.kernel_spec_manager)
        root = Path(self.serverapp.root_dir)
        uploads = Uploads(CaesarionUploads(parent=self), root)
        uploads.clear_leftovers()
        model_settings = CaesarionModel(parent=self)
        notebooks, pages = NotebookStorage(self.serverapp.contents_manager), Pages()
        documents, changes = Documents(notebooks, pages, root), Changes(pages)
        checkpoints, approvals = Checkpoints(root), Approvals()
        model = Model(model_settings)
        agent_settings, runs_settings = CaesarionAgent(parent=self), CaesarionRuns(parent=self)
        self.settings["caesarion"] = Services(
            model=model,
            kernels=KernelRegistry(CaesarionKernel(parent=self), self.serverapp),
            uploads=uploads,
            attachments=Attachments(model_settings, uploads, root),
            agent_settings=agent_settings,
            approvals=approvals,
            questions=Questions(),
            weather_settings=CaesarionWeather(parent=self),
            notebooks=notebooks,
            documents=documents,
            pages=pages,
            changes=changes,
            checkpoints=checkpoints,
            undo=TurnUndo(checkpoints, documents, changes, approvals, model.report_decisions),
            traces=Traces.from_environment(),
            runs=Runs(
                runs_settings,
                Path(runs_settings.folder or Path(jupyter_data_dir()) / "caesarion" / "runs"),
                agent_settings.background_max_minutes,
                lambda run: pages.tell_all({"type": "run", "run": run.to_dict()}),
            ),
            activity=Activity(self.serverapp.web_app.settings),
            commands=Commands(root),
            read_chat=self._read_chat,
            chat_problem=store.problem_of,
        )
        assert self.serverapp.event_logger is not None
        key = provenance.read_key(Path(jupyter_data_dir()) / "caesarion")
        store.install(self.serverapp.event_logger, root, key, self._forget_chat)
        self.log.debug("Caesarion is ready after %.3f s.", time.monotonic() - began)

    def _read_chat(self, file: Path) -> dict[str, Any] | None:
        assert self.serverapp is not None
        root = Path(self.serverapp.root_dir)
        return store.content(root, file, self.settings.get("chats_by_id", {}).values())

    def _forget_chat(self, chat_id: str) -> None:
        """End what was granted to a chat that was deleted."""
        services: Services = self.settings["caesarion"]
        services.approvals.forget(chat_id)
        services.kernels.forget(chat_id)
        services.runs.forget_chat(chat_id)

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        """
        Handle SIGTERM; prepare for the first question, but let the first answer go first.

        Jupyter Server's hook for extensions that start tasks: called once its event loop runs.
        """
        loop = asyncio.get_running_loop()
        # The handler of Jupyter Server 2.21 logs on the spot. In the middle of another line of
        # the log that is an error, after which the server never stops, until it is killed.
        with contextlib.suppress(NotImplementedError):  # Windows has no such signal.
            loop.add_signal_handler(signal.SIGTERM, self._stop_server)
        lab_page.install(serverapp.web_app.settings)
        services = self.settings.get("caesarion")
        if isinstance(services, Services):
            is_imported = services.model.is_imported
            self._timers = [
                loop.call_later(_PREWARM_DELAY, services.kernels.prewarmed.start),
                loop.call_later(
                    _FIRST_WORK if is_imported else _PAGE_LOAD, self._warm_model, services
                ),
            ]

    def _stop_server(self) -> None:
        assert self.serverapp is not None
        self.log.info("Stopping on SIGTERM.")
        self.serverapp.stop()

    def _warm_model(self, services: Services) -> None:
        self._warming = asyncio.ensure_future(self._warm(services))

    async def _warm(self, services: Services) -> None:
        with contextlib.suppress(CaesarionError):  # The first question will say it.
            await services.model.warm()

    async def stop_extension(self) -> None:
        """Write what waits, close what is open."""
        for timer in self._timers:
            timer.cancel()
        if self._warming:
            self._warming.cancel()
        closing: list[Awaitable[None]] = [store.stop()]
        services = self.settings.get("caesarion")
        if isinstance(services, Services):  # Else a setting was wrong, and nothing was built.
            await _end_responses(services)
            closing += [services.undo.close(), services.kernels.close(), services.model.close()]
            closing += [services.traces.close(), services.commands.close()]
        # An exception here would keep Jupyter Server from stopping at all.
        for result in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(result, Exception):
                self.log.error("Caesarion did not close cleanly.", exc_info=result)


async def _end_responses(services: Services) -> None:
    """Let each response that is under way end with a status, as long as there are kernels."""
    responses = services.responses | services.runs.responses
    for cancel in responses.values():
        cancel()
    if responses:
        _, left = await asyncio.wait(responses, timeout=_INTERRUPTED)
        if left:
            await services.kernels.end_runs()
            await asyncio.wait(left, timeout=_ENDING)


# ``jupyter caesarion``: JupyterLab with the agent, for one person without a hub.
main = Caesarion.launch_instance
