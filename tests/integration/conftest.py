"""
Fixtures of the tests against a real server: the scripted model, and a client.

A module has its own ``server``, with the settings that it is about.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.fakes.openai_server import OpenAIServer
from tests.kernels import running_kernel_manager
from tests.server import RunningServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def provider() -> AsyncIterator[OpenAIServer]:
    """The scripted OpenAI-compatible server."""
    async with OpenAIServer() as provider:
        yield provider


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
    async with running_kernel_manager(tmp_path_factory.mktemp("kernels")) as kernel_manager:
        yield kernel_manager
