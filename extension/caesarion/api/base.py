"""
The base of every handler: a body that is checked, a refusal in a sentence, work
that ends with its client, and the kernel that a request names.

Called by the handlers of this package; calls the services that
:mod:`caesarion.extension` puts into the server's settings. Every route is
authenticated and authorised as Jupyter Server's own are; what is refused is
answered with one JSON sentence, ``{"message": ...}``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

from jupyter_server.base.handlers import APIHandler
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado import web
from tornado.iostream import StreamClosedError

from caesarion.errors import KernelError, UnknownKernel
from caesarion.kernels.kernel import Kernel
from caesarion.services import Services

_MAX_BODY = 1_048_576


class KernelName(BaseModel):
    """Which kernel to use: the first field that is given counts; none means a temporary one."""

    model_config = ConfigDict(extra="forbid")

    kernel_id: str | None = None
    notebook_path: str | None = None
    session_id: str | None = Field(None, min_length=1, max_length=200)


Body = TypeVar("Body", bound=BaseModel)


class BaseHandler(APIHandler):
    """A route below ``caesarion/api``."""

    auth_resource = "caesarion"
    _work: "asyncio.Task[None] | None" = None
    _client_gone = False
    _starting = False

    @property
    def services(self) -> Services:
        """Return the services of this server."""
        services: Services = self.settings["caesarion"]
        return services

    def refuse(self, status: int, sentence: str) -> None:
        """Answer with a sentence instead of a result."""
        self.set_status(status)
        self.finish({"message": sentence})

    def body(self, form: type[Body]) -> Body:
        """Return the request's body as ``form``; raise web.Finish after refusing it."""
        raw = self.request.body
        if len(raw) > _MAX_BODY:
            self.refuse(413, f"The body has {len(raw):,} bytes; at most {_MAX_BODY:,} are taken.")
            raise web.Finish
        try:
            return form.model_validate_json(raw)
        except ValidationError as error:
            self.refuse(400, problem(error))
            raise web.Finish from error

    @contextlib.asynccontextmanager
    async def kernel(self, named: KernelName) -> AsyncIterator[Callable[[], Any]]:
        """Provide a function that finds the kernel ``named``, or starts a temporary one."""
        kernels = self.services.kernels
        async with contextlib.AsyncExitStack() as stack:
            with self.uncut():
                if named.kernel_id:
                    found = await kernels.get(named.kernel_id)
                elif named.notebook_path:
                    found = await kernels.for_notebook(named.notebook_path.lstrip("/"))
                elif named.session_id:
                    found = await kernels.for_conversation(
                        f"session {named.session_id}", named.session_id, named.session_id
                    )
                else:
                    found = None
            temporary: list[Kernel] = [] if found is None else [found]

            async def find() -> Kernel:
                if not temporary:
                    with self.uncut():
                        temporary.append(await stack.enter_async_context(kernels.temporary()))
                return temporary[0]

            yield find

    @contextlib.contextmanager
    def uncut(self) -> Iterator[None]:
        """
        Let a kernel start to its end before a client that goes away cancels the work.

        A start that is cut off leaves a process that nothing in the server knows.
        """
        self._starting = True
        try:
            yield
        finally:
            self._starting = False
        if self._client_gone:
            raise asyncio.CancelledError

    async def while_connected(self, work: Coroutine[Any, Any, None]) -> None:
        """
        Await ``work``; cancel it when its client disconnects.

        A kernel that cannot be found or used is refused in its error's sentence.
        """
        self._work = asyncio.create_task(work)
        if self._client_gone:
            self._work.cancel()
        try:
            await self._work
        except (asyncio.CancelledError, StreamClosedError):
            pass  # The client is gone.
        except UnknownKernel as error:
            self.refuse(404, str(error))
        except KernelError as error:
            self.refuse(409, str(error))

    def on_connection_close(self) -> None:
        """Cancel the work, as its client no longer waits for it."""
        self._client_gone = True
        if self._work and not self._starting:
            self._work.cancel()
        super().on_connection_close()


def problem(error: ValidationError, part: str = "body") -> str:
    """Return what is wrong with a request in a sentence."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return f"The body is not JSON ({first['ctx']['error']}). Send a JSON object."
    where = ".".join(str(step) for step in first["loc"]) or part
    return f"The {part} is not right: {where}: {first['msg']}. See the documentation of this call."
