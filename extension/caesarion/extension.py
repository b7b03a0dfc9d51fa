"""
Wiring: read the settings, build the services, add the routes, stop it all.

Jupyter Server loads this by ``jupyter-config/caesarion.json``; nobody else does.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir
from jupyter_server.extension.application import ExtensionApp
from tornado.web import Application, RequestHandler

from caesarion.activity import Activity
from caesarion.agent.approval import Approvals
from caesarion.agent.model import Model
from caesarion.api.approvals import ApprovalHandler
from caesarion.api.chat import ChatHandler
from caesarion.api.execute import ExecuteHandler
from caesarion.api.notebooks import NotebooksHandler, RunNotebookHandler
from caesarion.api.status import StatusHandler
from caesarion.api.uploads import UploadHandler, UploadsHandler
from caesarion.api.variables import VariablesHandler
from caesarion.chat import provenance, store
from caesarion.config import (
    CaesarionAgent,
    CaesarionKernel,
    CaesarionModel,
    CaesarionUploads,
    CaesarionWeather,
)
from caesarion.errors import CaesarionError
from caesarion.files.attachments import Attachments
from caesarion.files.uploads import Uploads
from caesarion.kernels.registry import KernelRegistry
from caesarion.notebooks.storage import NotebookStorage
from caesarion.services import Services

# Seconds after the first answer in which nothing is done that can wait: made up, as long as
# a page takes to load.
_PAGE = 5.0

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
    ]
    handlers: list[Any] = [  # noqa: RUF012
        (r"/caesarion/api/approvals/([^/]+)", ApprovalHandler),
        (r"/caesarion/api/chat", ChatHandler),
        (r"/caesarion/api/execute", ExecuteHandler),
        (r"/caesarion/api/status", StatusHandler),
        (r"/caesarion/api/variables", VariablesHandler),
        (r"/caesarion/api/notebooks", NotebooksHandler),
        (r"/caesarion/api/notebooks/run", RunNotebookHandler),
        (r"/caesarion/api/uploads", UploadsHandler),
        (r"/caesarion/api/uploads/([^/]+)", UploadHandler),
    ]

    _warming: "asyncio.Task[None] | None" = None

    def initialize_settings(self) -> None:
        """Build the services that chat and HTTP API share."""
        began = time.monotonic()
        assert self.serverapp is not None
        root = Path(self.serverapp.root_dir)
        uploads = Uploads(CaesarionUploads(parent=self), root)
        uploads.clear_leftovers()
        model_settings = CaesarionModel(parent=self)
        self.settings["caesarion"] = Services(
            model=Model(model_settings),
            kernels=KernelRegistry(CaesarionKernel(parent=self), self.serverapp),
            uploads=uploads,
            attachments=Attachments(model_settings, uploads, root),
            agent_settings=CaesarionAgent(parent=self),
            approvals=Approvals(),
            weather_settings=CaesarionWeather(parent=self),
            notebooks=NotebookStorage(self.serverapp.contents_manager),
            activity=Activity(self.serverapp.web_app.settings),
            read_chat=self._read_chat,
        )
        assert self.serverapp.event_logger is not None
        key = provenance.read_key(Path(jupyter_data_dir()) / "caesarion")
        store.install(self.serverapp.event_logger, root, key)
        self.log.debug("Caesarion is ready after %.3f s.", time.monotonic() - began)

    def _read_chat(self, file: Path) -> dict[str, Any] | None:
        return store.content(file, self.settings.get("chats_by_id", {}).values())

    async def _start_jupyter_server_extension(self, serverapp: Any) -> None:
        """Listen for the order to stop; prepare for the first question, but answer first."""
        # Jupyter Server's own handler logs on the spot. In the middle of another line that is
        # an error, after which the server never stops, until it is killed.
        with contextlib.suppress(NotImplementedError):  # Windows has no such signal.
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop_server)
        services = self.settings.get("caesarion")
        if isinstance(services, Services):
            after_first_answer(serverapp.web_app, lambda: self._prepare(services))

    def _stop_server(self) -> None:
        assert self.serverapp is not None
        self.log.info("Stopping, as SIGTERM says.")
        self.serverapp.stop()

    def _prepare(self, services: Services) -> None:
        services.kernels.spare.start()
        self._warming = asyncio.ensure_future(self._warm(services))

    async def _warm(self, services: Services) -> None:
        await asyncio.sleep(_PAGE)
        with contextlib.suppress(CaesarionError):  # The first question will say it.
            await services.model.warm()

    async def stop_extension(self) -> None:
        """Write what waits, close what is open."""
        if self._warming:
            self._warming.cancel()
        closing: list[Awaitable[None]] = [store.stop()]
        services = self.settings.get("caesarion")
        if isinstance(services, Services):  # Else a setting was wrong, and nothing was built.
            await _end_responses(services)
            closing += [services.kernels.close(), services.model.close()]
        # An exception here would keep Jupyter Server from stopping at all.
        for result in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(result, Exception):
                self.log.error("Caesarion did not close cleanly.", exc_info=result)


async def _end_responses(services: Services) -> None:
    """Let each response that is under way end with a status, as long as there are kernels."""
    responses = dict(services.responses)
    for cancel in responses.values():
        cancel()
    if responses:
        _, left = await asyncio.wait(responses, timeout=_INTERRUPTED)
        if left:
            await services.kernels.end_runs()
            await asyncio.wait(left, timeout=_ENDING)


def after_first_answer(application: Application, do: Callable[[], None]) -> None:
    """
    Call ``do`` when the server has answered its first request.

    Until then it has nothing more important to do; what it does for the future would only
    make it slower for the hub, or the person, that waits for it now.
    """
    log: Callable[[RequestHandler], None] = application.settings["log_function"]

    def first(handler: RequestHandler) -> None:
        application.settings["log_function"] = log
        log(handler)
        do()

    application.settings["log_function"] = first


# ``jupyter caesarion``: JupyterLab with the agent, for one person without a hub.
main = Caesarion.launch_instance
