"""
Real kernels for tests: a kernel manager as Jupyter Server has it, and what a run showed.

Used by the tests of :mod:`caesarion.kernels.kernel` and of the agent.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from caesarion.events import RunStart, StatusChange
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.run import Late, RunEnd
from caesarion.kernels.terminal import Terminal
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from traitlets.config import Config


@contextlib.asynccontextmanager
async def running_kernel_manager(folder: Path) -> AsyncIterator[Any]:
    """Provide Jupyter Server's kernel manager, quick to restart a dead kernel."""
    kernel_manager: Any = AsyncMappingKernelManager(  # type: ignore[no-untyped-call]
        config=Config({"KernelRestarter": {"time_to_dead": 0.3}}),
        connection_dir=str(folder),
        root_dir=str(folder),
    )
    try:
        yield kernel_manager
    finally:
        await kernel_manager.shutdown_all(now=True)


async def start(kernel_manager: Any) -> str:
    """Start a kernel whose IPython profile is its own; return its id."""
    environment = {**os.environ, "IPYTHONDIR": str(Path(kernel_manager.root_dir) / "ipython")}
    kernel_id: str = await kernel_manager.start_kernel(path="", env=environment)
    return kernel_id


@dataclass
class Ran:
    """What a run has yielded so far."""

    outputs: list[dict[str, Any]] = field(default_factory=list)
    starts: list[RunStart] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    ends: list[RunEnd] = field(default_factory=list)

    @property
    def end(self) -> RunEnd:
        """The end, of which there is one."""
        [end] = self.ends
        return end

    @property
    def text(self) -> str:
        """What a terminal shows of the streams, standard output and errors alike."""
        terminal = Terminal()
        for output in self.outputs:
            if output["output_type"] == "stream":
                terminal.write(output["text"])
        return terminal.text()


async def run(
    kernel: Kernel,
    code: str,
    ran: Ran | None = None,
    late: Late | None = None,
    *,
    scratch: bool = False,
) -> Ran:
    """Run ``code`` to its end; ``ran``, if given, is filled while it runs."""
    ran = ran or Ran()
    async with contextlib.aclosing(kernel.run(code, late, scratch=scratch)) as steps:
        async for step in steps:
            if isinstance(step, RunEnd):
                ran.ends.append(step)
            elif isinstance(step, RunStart):
                ran.starts.append(step)
            elif isinstance(step, StatusChange):
                ran.notices.append(step.text)
            else:
                ran.outputs.append(step)
    return ran


async def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait until ``condition`` holds, where nothing tells of it."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Notebook:
    """What the user's notebook does in the kernel."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def begin(self, code: str) -> str:
        """Send a cell and wait until it runs; return the request's id."""
        request: str = self._client.execute(code)
        async with asyncio.timeout(90):
            while True:
                message = await self._client.get_iopub_msg()
                if message["parent_header"].get("msg_id") != request:
                    continue
                if message["msg_type"] == "execute_input":
                    return request

    def queue(self, code: str) -> str:
        """Send a cell; return the request's id."""
        return str(self._client.execute(code))

    async def reply(self, request: str) -> str:
        """Wait for the cell's end; return its status."""
        async with asyncio.timeout(90):
            while True:
                reply = await self._client.get_shell_msg()
                if reply["parent_header"]["msg_id"] == request:
                    return str(reply["content"]["status"])

    async def run(self, code: str) -> str:
        """Run a cell; return its status."""
        return await self.reply(await self.begin(code))


@contextlib.asynccontextmanager
async def notebook(kernel_manager: Any, kernel_id: str) -> AsyncIterator[Notebook]:
    """Provide a notebook that is connected to the kernel."""
    client = kernel_manager.get_kernel(kernel_id).client()
    client.session.session = uuid4().hex
    client.start_channels(stdin=False, hb=False, control=False)
    try:
        await client.wait_for_ready(timeout=90)
        yield Notebook(client)
    finally:
        client.stop_channels()


class Gate:
    """Holds a cell until it is opened, so that no test waits for a clock."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"

    @property
    def code(self) -> str:
        """Python that goes on when the gate is open, or fails after 90 seconds."""
        return (
            "import pathlib, time\n"
            "end = time.monotonic() + 90\n"
            f"while not pathlib.Path({str(self.path)!r}).exists():\n"
            "    assert time.monotonic() < end\n"
            "    time.sleep(0.01)\n"
        )

    def open(self) -> None:
        """Let the cell go on."""
        self.path.touch()
