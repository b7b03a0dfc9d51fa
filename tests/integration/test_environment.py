"""The versions that a real kernel says it has."""

import asyncio
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from caesarion.kernels.environment import Environments
from caesarion.kernels.kernel import Kernel

from tests.kernels import Gate, run

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_kernel_says_its_python_and_the_packages_that_matter(
    make: Callable[..., Kernel],
) -> None:
    kernel = make()
    await run(kernel, "1")
    told = await Environments().versions(kernel)
    assert next(iter(told)) == "Python"
    assert told["Python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["pandas"] == version("pandas")
    assert "tensorflow" not in told


async def test_a_kernel_is_asked_once_until_it_is_restarted(
    make: Callable[..., Kernel], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, environments, asked = make(), Environments(), 0
    evaluate = kernel.evaluate

    async def count(source: str, function: str, *arguments: object) -> str:
        nonlocal asked
        asked += 1
        return await evaluate(source, function, *arguments)

    monkeypatch.setattr(kernel, "evaluate", count)
    await run(kernel, "1")
    first = await environments.versions(kernel)
    assert await environments.versions(kernel) == first
    assert asked == 1
    await run(kernel, "import os; os._exit(1)")
    await run(kernel, "1")
    assert await environments.versions(kernel) == first
    assert asked == 2


async def test_a_busy_kernel_is_not_waited_for(make: Callable[..., Kernel], tmp_path: Path) -> None:
    kernel, gate = make(), Gate(tmp_path)
    await run(kernel, "1")
    running = asyncio.ensure_future(run(kernel, gate.code))
    await asyncio.sleep(0)
    assert await Environments().versions(kernel) == {}
    gate.open()
    await running
