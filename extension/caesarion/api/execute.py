"""
``POST caesarion/api/execute``: run code in a kernel, one JSON line an output.

Called by programs; :mod:`caesarion.kernels.kernel` runs the code.
"""

import contextlib
import json
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from caesarion.api.base import KernelName
from caesarion.api.streaming import StreamHandler
from caesarion.events import RunStart, StatusChange
from caesarion.kernels.run import RunEnd


class Run(KernelName):
    """The body of ``POST caesarion/api/execute``."""

    code: str


class ExecuteHandler(StreamHandler):
    """``POST caesarion/api/execute``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Stream the outputs; 400, 404, 409 or 413 with a sentence before the run begins."""
        run = self.body(Run)
        await self.stream(self._run(run))

    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """Return the line that ends a run which could not go on."""
        status = "aborted" if stopped else "error"
        return json.dumps({"status": status, "execution_count": None, "message": sentence}) + "\n"

    async def _run(self, run: Run) -> None:
        async with self.kernel(run) as find:
            kernel = await find()
            self.begin_stream("application/x-ndjson")
            with self.services.activity.under_way():
                async with contextlib.aclosing(kernel.run(run.code)) as steps:
                    async for step in steps:
                        if not isinstance(step, StatusChange | RunStart):
                            await self.send(_line(step))


def _line(step: RunEnd | dict[str, Any]) -> str:
    if isinstance(step, RunEnd):
        step = {"status": step.status, "execution_count": step.execution_count}
    return json.dumps(step) + "\n"
