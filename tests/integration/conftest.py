"""
Fixtures of the tests against a real server: the scripted model, and a client.

A module that is about settings has its own ``server``, with them.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from caesarion.config import CaesarionKernel
from caesarion.kernels.kernel import Kernel

from tests.fakes.openai_server import OpenAIServer
from tests.forks import forked
from tests.kernels import Notebook, notebook, running_kernel_manager, start
from tests.server import RunningServer, running_server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[OpenAIServer]:
    """The scripted OpenAI-compatible server."""
    async with OpenAIServer() as provider:
        yield provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    """A server that asks ``provider``, with the settings of a newcomer; nothing fails in it."""
    with running_server(tmp_path_factory.mktemp("server"), model_url=provider.base_url) as server:
        yield server
    assert server.failures == []


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http(server: RunningServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the module's server, let in."""
    async with server.client() as http:
        yield http


@pytest.fixture
def model(provider: OpenAIServer) -> OpenAIServer:
    """The model, with nothing asked of it and nothing to answer yet."""
    provider.requests.clear()
    provider.replies_left.clear()
    return provider


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel_manager(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Any]:
    """Jupyter Server's kernel manager, without a server."""
    folder = tmp_path_factory.mktemp("kernels")
    with forked():
        async with running_kernel_manager(folder) as kernel_manager:
            yield kernel_manager


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kernel_id(kernel_manager: Any) -> str:
    """One kernel for a module; a test that kills it leaves a new one under the same id."""
    return await start(kernel_manager)


@pytest_asyncio.fixture(loop_scope="module")
async def make(kernel_manager: Any, kernel_id: str) -> AsyncIterator[Callable[..., Kernel]]:
    """Make the agent's side of the module's kernel, with settings."""
    made: list[Kernel] = []

    def make(**settings: Any) -> Kernel:
        made.append(
            Kernel(CaesarionKernel(**{"time_limit": 60, **settings}), kernel_manager, kernel_id)
        )
        return made[-1]

    yield make
    for kernel in made:
        await kernel.close()


@pytest_asyncio.fixture(loop_scope="module")
async def user(kernel_manager: Any, kernel_id: str) -> AsyncIterator[Notebook]:
    """The user's notebook, connected to the module's kernel."""
    async with notebook(kernel_manager, kernel_id) as notebook_in_front:
        yield notebook_in_front
