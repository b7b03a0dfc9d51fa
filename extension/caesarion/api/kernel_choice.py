"""
The kernel that a request names, or a temporary one.

Used by the handlers of :mod:`caesarion.api` and by :mod:`caesarion.api.background`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from pydantic import ConfigDict, Field

from caesarion.bodies import Bounded
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.registry import KernelRegistry

Result = TypeVar("Result")


class KernelName(Bounded):
    """Which kernel to use: the first field that is given counts; none means a temporary one."""

    model_config = ConfigDict(extra="forbid")

    kernel_id: str | None = Field(None, max_length=200)
    notebook_path: str | None = Field(None, max_length=4_096)
    session_id: str | None = Field(None, min_length=1, max_length=200)

    @property
    def is_given(self) -> bool:
        """Whether a kernel is named."""
        return bool(self.kernel_id or self.notebook_path or self.session_id)


@contextlib.asynccontextmanager
async def chosen_kernel(
    kernels: KernelRegistry, named: KernelName
) -> AsyncIterator[Callable[[], Awaitable[Kernel]]]:
    """
    Provide a function that finds the kernel ``named``, or starts a temporary one.

    Raises UnknownKernel or KernelError.
    """
    async with contextlib.AsyncExitStack() as stack:
        found: list[Kernel] = []
        if named.kernel_id:
            found = [await kernels.get(named.kernel_id)]
        elif named.notebook_path:
            path = named.notebook_path.lstrip("/")
            found = [await uncut(kernels.for_notebook(path))]
        elif session := named.session_id:
            start = kernels.for_conversation(f"session {session}", session, session)
            found = [await uncut(start)]

        async def find() -> Kernel:
            if not found:
                found.append(await uncut(stack.enter_async_context(kernels.temporary())))
            return found[0]

        yield find


async def check_kernel(kernels: KernelRegistry, named: KernelName) -> None:
    """Raise UnknownKernel or KernelError if a kernel is named by its id and cannot be used."""
    if named.kernel_id:
        await kernels.get(named.kernel_id)


async def uncut(start: Coroutine[Any, Any, Result]) -> Result:
    """
    Let a kernel start to its end before a cancellation goes on.

    A start that is cut off leaves a process that nothing in the server knows.
    """
    starting = asyncio.ensure_future(start)
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait({starting})
        raise
