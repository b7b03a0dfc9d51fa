"""``1+1`` through the agent's way to a kernel, over a bare client on the same kernel."""

import contextlib
import time
from typing import Any
from uuid import uuid4

from caesarion.config import CaesarionKernel
from caesarion.kernels.kernel import Kernel
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

from tests.bench.figures import Row

# In blocks, since each side would also read the messages of the other's runs.
_BLOCKS = 5
_RUNS = 50


async def measure() -> list[Row]:
    """Run both ways in turn."""
    kernel_manager = AsyncMappingKernelManager()  # type: ignore[no-untyped-call]
    kernel_id = await kernel_manager.start_kernel()
    ours: list[float] = []
    bare: list[float] = []
    try:
        for _ in range(_BLOCKS):
            bare += await _bare_block(kernel_manager.get_kernel(kernel_id).client())
            ours += await _block(Kernel(CaesarionKernel(), kernel_manager, kernel_id))
    finally:
        await kernel_manager.shutdown_all(now=True)
    return [Row("run 1+1", "ms", ours, "jupyter_client", bare, "ratio 1.2 or less")]


async def _block(kernel: Kernel) -> list[float]:
    samples = []
    await kernel.connect()
    for _ in range(_RUNS):
        began = time.perf_counter()
        async with contextlib.aclosing(kernel.run("1+1")) as steps:
            async for _ in steps:
                pass
        samples.append((time.perf_counter() - began) * 1000)
    await kernel.close()
    return samples


async def _bare_block(client: Any) -> list[float]:
    samples = []
    client.session.session = uuid4().hex
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    for _ in range(_RUNS):
        began = time.perf_counter()
        request = client.execute("1+1")
        await client.get_shell_msg(timeout=30)
        idle = False
        while not idle:
            message = await client.get_iopub_msg(timeout=30)
            idle = (
                message["parent_header"].get("msg_id") == request
                and message["content"].get("execution_state") == "idle"
            )
        samples.append((time.perf_counter() - began) * 1000)
    client.stop_channels()
    return samples
