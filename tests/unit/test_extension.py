"""What a server prepares for the first question before anybody asks it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from caesarion import extension
from caesarion.errors import ModelError
from caesarion.extension import Caesarion

SERVER = SimpleNamespace(web_app=SimpleNamespace(settings={"base_url": "/"}))


@pytest.mark.parametrize("is_imported", [False, True])
@pytest.mark.parametrize("error", [None, ModelError("No model is set.")])
async def test_a_server_prepares_a_kernel_and_the_model_once_its_first_requests_are_answered(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None, is_imported: bool
) -> None:
    happened: list[str] = []

    async def warm() -> None:
        happened.append("model")
        if error:
            raise error

    monkeypatch.setattr(extension, "_PREWARM_DELAY", 0.01)
    monkeypatch.setattr(extension, "_FIRST_WORK", 0.02 if is_imported else 60.0)
    monkeypatch.setattr(extension, "_PAGE_LOAD", 60.0 if is_imported else 0.02)
    monkeypatch.setattr(extension, "Services", SimpleNamespace)
    prewarmed = SimpleNamespace(start=lambda: happened.append("kernel"))
    services: Any = SimpleNamespace(
        model=SimpleNamespace(warm=warm, is_imported=is_imported),
        kernels=SimpleNamespace(prewarmed=prewarmed),
    )
    app = Caesarion()
    app.settings = {"caesarion": services}
    await app._start_jupyter_server_extension(SERVER)
    assert happened == []
    await asyncio.sleep(0.1)
    assert happened == ["kernel", "model"]


async def test_a_server_that_stops_at_once_prepares_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []
    monkeypatch.setattr(extension, "_PREWARM_DELAY", 0.01)
    monkeypatch.setattr(extension, "Services", SimpleNamespace)

    async def close() -> None:
        pass

    prewarmed = SimpleNamespace(start=lambda: happened.append("kernel"))
    services: Any = SimpleNamespace(
        model=SimpleNamespace(close=close, is_imported=False),
        kernels=SimpleNamespace(prewarmed=prewarmed, close=close),
        undo=SimpleNamespace(close=close),
        traces=SimpleNamespace(close=close),
        commands=SimpleNamespace(close=close),
        responses={},
        runs=SimpleNamespace(responses={}),
    )
    app = Caesarion()
    app.settings = {"caesarion": services}
    await app._start_jupyter_server_extension(SERVER)
    await app.stop_extension()
    await asyncio.sleep(0.05)
    assert happened == []
