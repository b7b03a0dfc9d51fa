"""
A kernel that is started ahead of its use, so that the first result need not wait for one.

Built by :mod:`caesarion.kernels.registry`, which gives it to the first conversation;
started by :mod:`caesarion.extension`. Until then it is in no list: neither JupyterLab's
Running panel nor a culler knows of it, only this module.
"""

import asyncio
import contextlib
import logging
from typing import Any

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from caesarion.kernels import provisioner, waiting

_log = logging.getLogger(__name__)


class PrewarmedKernel:
    """
    One kernel of the default kernelspec, unknown to Jupyter Server until it is adopted.

    It takes the memory of a kernel, some 60 MB, so there is one, it is given away once, and
    it is ended when it was not needed for ``seconds``. With 0 seconds there is none.
    """

    def __init__(self, kernel_manager: Any, seconds: float) -> None:
        self._kernel_manager = kernel_manager
        self._seconds = seconds
        # Kernel managers of other kinds have their kernels elsewhere, and make them otherwise.
        self._wanted = seconds > 0 and type(kernel_manager) is AsyncMappingKernelManager
        if not self._wanted:
            waiting.end()
        self._started: asyncio.Task[Any] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the kernel, unless it was started before."""
        if self._wanted:
            self._wanted = False
            self._started = asyncio.ensure_future(self._start())
            loop = asyncio.get_running_loop()
            self._expiry = loop.call_later(self._seconds, self._expire)

    async def adopt(self) -> str | None:
        """Hand the kernel to Jupyter Server and return its id; None where none lives."""
        self.start()
        manager = await self._take()
        if manager is None:
            return None
        if (
            manager.kernel_name != self._kernel_manager.default_kernel_name
            or not await manager.is_alive()
        ):
            await _end(manager)
            return None
        usual = self._kernel_manager.kernel_manager_factory

        def hand_over(*_: Any, **__: Any) -> Any:
            self._kernel_manager.kernel_manager_factory = usual
            return manager

        async def has_started(**_: Any) -> None:
            del manager.start_kernel

        # Jupyter Server makes a manager, lets it start a kernel, and enters it into all its books.
        # It is given this one, which has nothing left to start. Between the two lines nothing
        # else runs: it asks for its manager before it first waits. Jupyter Server has no
        # way to take over a kernel that runs (2.21; a test fails when what this relies
        # on changes). Measured by tests.bench start: the first 1+1, asked a second after the
        # server's first answer, takes 0.8 s instead of 2.2 s (two
        # cores with other load).
        self._kernel_manager.kernel_manager_factory = hand_over
        manager.start_kernel = has_started
        return str(await self._kernel_manager.start_kernel(kernel_id=manager.kernel_id, path=""))

    async def close(self) -> None:
        """End the kernel, if no conversation has adopted it."""
        waiting.end()
        self._expire()
        await asyncio.gather(*self._ending)

    async def _start(self) -> Any:
        kernel_manager = self._kernel_manager
        manager, _, kernel_id = kernel_manager.pre_start_kernel(None, {})
        options: dict[str, Any] = {}
        if kernel_manager.transport_encryption != "disabled":
            options["transport_encryption"] = kernel_manager.transport_encryption
        if process := waiting.take():
            provisioner.provide(manager, kernel_id, process)
        await manager.start_kernel(
            kernel_id=kernel_id, cwd=kernel_manager.cwd_for_path(""), **options
        )
        return manager

    async def _take(self) -> Any:
        """Return the kernel's manager, which is the caller's from now on; None if there is none."""
        self._wanted = False  # Nobody starts it any more.
        if self._expiry:
            self._expiry.cancel()
        started, self._started = self._started, None
        if started is None:
            return None
        try:
            return await started
        except Exception as error:  # The conversation starts one itself, and shows the error.
            _log.warning("No kernel could be started ahead of its use: %s", error)
            return None

    def _expire(self) -> None:
        task = asyncio.ensure_future(self._end_unused())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end_unused(self) -> None:
        if manager := await self._take():
            await _end(manager)


async def _end(manager: Any) -> None:
    with contextlib.suppress(Exception):  # It may have ended by itself, and its files are gone.
        await manager.shutdown_kernel(now=True)
