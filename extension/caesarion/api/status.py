"""
``GET caesarion/api/status``: version, model, modes, gateway, kernels, uploads and limits.

Called by the labextension, every few seconds, and by programs.
"""

import asyncio
import contextlib
from importlib.metadata import version

from jupyter_server.auth.decorator import authorized
from tornado import web

from caesarion.agent import approval
from caesarion.api.base import BaseHandler
from caesarion.errors import KernelError
from caesarion.kernels.kernel import Kernel


class StatusHandler(BaseHandler):
    """``GET caesarion/api/status``."""

    # Pages ask again and again while nobody is there, which must not keep an idle server alive.
    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Answer in one JSON object; with ``kernel_id`` or ``chat_id``, also of these."""
        services = self.services
        endpoint = await services.model.endpoint.status()
        self.finish(
            {
                "version": version("caesarion"),
                "model": endpoint.model,
                "approval": {
                    "default": approval.mode(services.agent_settings),
                    "allowed": approval.allowed(services.agent_settings),
                },
                "gateway_reachable": endpoint.reachable,
                "problem": endpoint.problem,
                "chat_problem": services.chat_problem(self.get_query_argument("chat_id", "")),
                "kernel": await self._kernel(),
                "kernels": await services.kernels.running(),
                "uploads": await asyncio.to_thread(services.uploads.files),
                "upload_limits": {
                    "max_size": services.uploads.max_size,
                    "types": services.uploads.types,
                },
            }
        )

    async def _kernel(self) -> dict[str, str] | None:
        """Return the kernel that a question would use now."""
        kernels = self.services.kernels
        kernel: Kernel | None = None
        with contextlib.suppress(KernelError):
            kernel = await kernels.get(self.get_query_argument("kernel_id", ""))
        kernel = kernel or kernels.running_for_conversation(self.get_query_argument("chat_id", ""))
        return {"id": kernel.id, "state": await kernel.state()} if kernel else None
