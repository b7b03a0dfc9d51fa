"""
Wiring: reads the settings, builds what is shared, opens the doors, stops it all.

Jupyter Server loads this by ``jupyter-config/caesarion.json``; nobody else does.
"""

import asyncio
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from jupyter_server.extension.application import ExtensionApp

from caesarion import chatstore
from caesarion.approval import Approvals
from caesarion.approval_handler import ApprovalHandler
from caesarion.attachments import Attachments
from caesarion.config import (
    CaesarionAgent,
    CaesarionKernel,
    CaesarionModel,
    CaesarionUploads,
    CaesarionWeather,
)
from caesarion.handlers import ChatHandler, ExecuteHandler, StatusHandler, VariablesHandler
from caesarion.kernels import Kernels
from caesarion.model import Model
from caesarion.notebook_handlers import NotebooksHandler, RunNotebookHandler
from caesarion.shared import Shared
from caesarion.upload_handlers import UploadHandler, UploadsHandler
from caesarion.uploads import Uploads


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

    def initialize_settings(self) -> None:
        """Build what the doors share."""
        began = time.monotonic()
        assert self.serverapp is not None
        root = Path(self.serverapp.root_dir)
        uploads = Uploads(CaesarionUploads(parent=self), root)
        uploads.clear_leftovers()
        model_settings = CaesarionModel(parent=self)
        self.settings["caesarion"] = Shared(
            model=Model(model_settings),
            kernels=Kernels(CaesarionKernel(parent=self), self.serverapp),
            uploads=uploads,
            attachments=Attachments(model_settings, uploads, root),
            agent_settings=CaesarionAgent(parent=self),
            approvals=Approvals(),
            weather_settings=CaesarionWeather(parent=self),
        )
        assert self.serverapp.event_logger is not None
        chatstore.install(self.serverapp.event_logger, root)
        self.log.debug("Caesarion is ready after %.3f s.", time.monotonic() - began)

    async def stop_extension(self) -> None:
        """Write what waits, close what is open."""
        closing: list[Awaitable[None]] = [chatstore.stop()]
        shared = self.settings.get("caesarion")
        if isinstance(shared, Shared):  # Else a setting was wrong, and nothing was built.
            closing += [shared.kernels.close(), shared.model.close()]
        # An exception here would keep Jupyter Server from stopping at all.
        for result in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(result, Exception):
                self.log.error("Caesarion did not close cleanly.", exc_info=result)


# ``jupyter caesarion``: JupyterLab with the agent, for one person without a hub.
main = Caesarion.launch_instance
