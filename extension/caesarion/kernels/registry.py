"""
Find the kernel in which code is to run, or start one.

Called by :mod:`caesarion.chat.persona` and the handlers of :mod:`caesarion.api`; calls Jupyter
Server's kernel, session and contents managers, and returns
:class:`~caesarion.kernels.kernel.Kernel` objects.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from jupyter_client.kernelspec import NoSuchKernel
from jupyter_core.utils import ensure_async
from tornado.web import HTTPError
from traitlets import TraitError

from caesarion.config import CaesarionKernel
from caesarion.errors import KernelError, OtherLanguage, UnknownKernel
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.prewarm import PrewarmedKernel
from caesarion.kernels.process import KernelProcess


class KernelRegistry:
    """The kernels of one server that the agent uses."""

    def __init__(self, settings: CaesarionKernel, serverapp: Any) -> None:
        self.settings = settings
        self._kernel_manager = serverapp.kernel_manager
        self._sessions = serverapp.session_manager
        self._contents = serverapp.contents_manager
        self._specs = serverapp.kernel_spec_manager
        self.prewarmed = PrewarmedKernel(self._kernel_manager, settings.prewarm)
        """The kernel that is started ahead for the first conversation."""
        self._known: dict[str, Kernel] = {}
        self._conversations: dict[str, str] = {}
        # Shutdowns of temporary kernels, and closings of connections, that go on by themselves.
        self._ending: set[asyncio.Future[None]] = set()
        # Held while a kernel is looked up and started: two questions at once
        # must not start two kernels for one notebook or conversation.
        self._starting = asyncio.Lock()

    async def get(self, kernel_id: str, notebook_path: str = "") -> Kernel:
        """
        Return the running kernel; raise UnknownKernel, or KernelError if it is not Python.

        ``notebook_path`` is the path of its notebook, where that is known.
        """
        if kernel_id not in self._kernel_manager:
            raise UnknownKernel(
                f"There is no kernel '{kernel_id}'. Name a running one, or none at all."
            )
        self._check_language(self._kernel_manager.get_kernel(kernel_id).kernel_name)
        return self._kernel(kernel_id, notebook_path)

    async def for_notebook(self, path: str) -> Kernel:
        """Return the kernel of the notebook at ``path`` below the root, started if need be."""
        async with self._starting:
            if kernel := await self._session_kernel(path):
                return await self.get(kernel["id"], path)
            try:
                model = await ensure_async(self._contents.get(path, content=True, type="notebook"))
            except HTTPError as error:
                raise UnknownKernel(
                    f"There is no notebook '{path}'. Check the path, from the folder that "
                    "JupyterLab shows as its root."
                ) from error
            name = model["content"]["metadata"].get("kernelspec", {}).get("name")
            with contextlib.suppress(NoSuchKernel):  # The start says it.
                self._check_language(name or self._kernel_manager.default_kernel_name)
            session = await self._started(
                self._sessions.create_session(
                    path=path, name=model["name"], type="notebook", kernel_name=name
                )
            )
        return await self.get(session["kernel"]["id"], path)

    async def notebook_language(self, path: str) -> str:
        """
        Return the language of the notebook at ``path``, by its kernelspec; starts no kernel.

        It is "" where there is no such notebook, or no such kernelspec here.
        """
        try:
            if kernel := await self._session_kernel(path):
                return self._language(kernel["name"])
            model = await ensure_async(self._contents.get(path, content=True, type="notebook"))
            named = model["content"]["metadata"].get("kernelspec", {}).get("name")
            return self._language(named or self._kernel_manager.default_kernel_name)
        except (HTTPError, NoSuchKernel):
            return ""

    async def _session_kernel(self, path: str) -> dict[str, Any] | None:
        """Return the model of the kernel in the session of the notebook at ``path``, if any."""
        for session in await self._sessions.list_sessions():
            if session["path"] == path and session["kernel"]:
                return dict(session["kernel"])
        return None

    def _check_language(self, kernel_name: str) -> None:
        if (language := self._language(kernel_name)).lower() != "python":
            raise OtherLanguage(language)

    def _language(self, kernel_name: str) -> str:
        return str(self._specs.get_kernel_spec(kernel_name).language)

    async def running_for_notebook(self, path: str) -> Kernel | None:
        """Return the kernel of the notebook at ``path`` if it runs, else None."""
        kernel = await self._session_kernel(path)
        return await self.get(kernel["id"], path) if kernel else None

    def running_for_conversation(self, conversation: str) -> Kernel | None:
        """Return the kernel of ``conversation`` if it runs, else None."""
        kernel_id = self._conversations.get(conversation)
        return self._kernel(kernel_id) if kernel_id and kernel_id in self._kernel_manager else None

    async def for_conversation(self, conversation: str, path: str, name: str) -> Kernel:
        """
        Return the kernel of ``conversation``, started if need be.

        JupyterLab's Running panel lists it as ``name``, of ``path``; its working folder is the
        server's root, where the user's files are.
        """
        async with self._starting:
            kernel_id = self._conversations.get(conversation)
            if kernel_id is None or kernel_id not in self._kernel_manager:
                kernel_id = await self._started(self._prewarmed_or_new())
                self._conversations[conversation] = kernel_id
                await self._sessions.create_session(
                    path=path, name=name, type="file", kernel_id=kernel_id
                )
        return self._kernel(kernel_id)

    async def _prewarmed_or_new(self) -> str:
        return await self.prewarmed.adopt() or str(await self._kernel_manager.start_kernel(path=""))

    def forget(self, conversation: str) -> None:
        """Give the kernel of a conversation that was deleted to none that comes later."""
        self._conversations.pop(conversation, None)

    @contextlib.asynccontextmanager
    async def temporary(self) -> AsyncIterator[Kernel]:
        """Provide a new kernel that is shut down at the end of the block."""
        async with self.start_temporary() as kernel_id:
            try:
                yield self._kernel(kernel_id)
            finally:
                if kernel := self._known.pop(kernel_id, None):
                    await kernel.close()

    @contextlib.asynccontextmanager
    async def start_temporary(
        self, folder: str = "", name: str | None = None
    ) -> AsyncIterator[str]:
        """
        Provide the id of a new kernel that is shut down at the end of the block.

        Its working folder is ``folder`` below the root; ``name`` is its kernelspec's. Raises
        UnknownKernel if there is no such kernelspec.
        """
        known = self._specs.get_all_specs()
        if name is not None and name not in known:
            raise UnknownKernel(
                f"There is no kernel named '{name}' here. The kernels are: "
                f"{', '.join(sorted(known))}."
            )
        kernel_id = await self._started(
            self._kernel_manager.start_kernel(path=folder, kernel_name=name)
        )
        try:
            yield kernel_id
        finally:
            if kernel_id in self._kernel_manager:
                await asyncio.shield(
                    self._end(self._kernel_manager.shutdown_kernel(kernel_id, now=True))
                )

    async def kernel_id_of(self, conversation: str, notebook: str) -> str | None:
        """
        Return the id of the running kernel in which the code of a conversation ran, if it does.

        That is the kernel of the notebook at the path ``notebook``, or the conversation's own.
        """
        if notebook and (kernel := await self._session_kernel(notebook)):
            return str(kernel["id"])
        kernel_id = self._conversations.get(conversation)
        return kernel_id if kernel_id in self._kernel_manager else None

    def kernelspec(self, kernel_id: str | None) -> dict[str, str]:
        """Return name, display_name and language of a kernel, or of one that would be started."""
        name = self._kernel_manager.default_kernel_name
        if kernel_id in self._kernel_manager:
            name = self._kernel_manager.get_kernel(kernel_id).kernel_name
        spec = self._specs.get_kernel_spec(name)
        return {"name": name, "display_name": spec.display_name, "language": spec.language}

    def process(self, kernel_id: str) -> KernelProcess:
        """Return the process of a running kernel, which the caller has to close."""
        return KernelProcess(self._kernel_manager, kernel_id)

    async def running(self) -> list[dict[str, str]]:
        """Return id, name and state of the server's kernels, for the status."""
        kernels = []
        for kernel_id in self._kernel_manager.list_kernel_ids():
            # A kernel that is just being started or shut down has no model.
            with contextlib.suppress(HTTPError, KeyError, TraitError):
                model = await ensure_async(self._kernel_manager.kernel_model(kernel_id))
                state = model["execution_state"]
                kernels.append({"id": kernel_id, "name": model["name"], "state": state})
        return kernels

    async def end_runs(self) -> None:
        """Shut down the kernels in which code of ours still runs: the server is being stopped."""
        busy = [kernel for kernel in self._known.values() if kernel.runs and kernel.exists]
        await asyncio.gather(
            *(self._kernel_manager.shutdown_kernel(kernel.id, now=True) for kernel in busy),
            return_exceptions=True,
        )

    async def close(self) -> None:
        """Close all connections; kernels live on until the server shuts them down."""
        await asyncio.gather(
            self.prewarmed.close(), *(kernel.close() for kernel in self._known.values())
        )
        # Otherwise the server would shut the same kernels down at the same time.
        await asyncio.gather(*self._ending, return_exceptions=True)
        self._known.clear()

    def _kernel(self, kernel_id: str, notebook_path: str = "") -> Kernel:
        for gone in [known for known in self._known.values() if not known.exists]:
            del self._known[gone.id]
            self._end(gone.close())
        kernel = self._known.setdefault(
            kernel_id, Kernel(self.settings, self._kernel_manager, kernel_id)
        )
        # A notebook may have been renamed since.
        kernel.notebook_path = notebook_path or kernel.notebook_path
        return kernel

    def _end(self, work: Coroutine[Any, Any, None]) -> "asyncio.Future[None]":
        ending = asyncio.ensure_future(work)
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def _started(self, start: Any) -> Any:
        try:
            async with asyncio.timeout(self.settings.start_limit):
                return await ensure_async(start)
        except TimeoutError as error:
            raise KernelError(
                f"The kernel did not start within {self.settings.start_limit:g} seconds. "
                "Shut down kernels that are not in use, and ask again."
            ) from error
        except Exception as error:
            raise KernelError(
                f"The kernel could not be started: {error}. Check the notebook's kernel."
            ) from error
