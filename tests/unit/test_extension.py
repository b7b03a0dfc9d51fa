"""What a server does for the first question before anybody asks it."""

from types import SimpleNamespace
from typing import Any

import pytest
from caesarion import extension
from caesarion.errors import ModelError
from caesarion.extension import Caesarion, after_first_answer
from tornado.web import Application


def test_what_waits_for_the_first_answer_is_done_after_it_and_once() -> None:
    happened: list[Any] = []
    application = Application(log_function=happened.append)
    after_first_answer(application, lambda: happened.append("prepared"))
    assert happened == []
    first, second = SimpleNamespace(), SimpleNamespace()
    application.log_request(first)  # type: ignore[arg-type]
    application.log_request(second)  # type: ignore[arg-type]
    assert happened == [first, "prepared", second]


@pytest.mark.parametrize("error", [None, ModelError("No model is set.")])
async def test_the_model_is_made_ready_when_a_page_has_had_its_time(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async def warm() -> None:
        assert waited == [extension._PAGE]
        waited.append(0)
        if error:
            raise error

    monkeypatch.setattr("asyncio.sleep", sleep)
    shared: Any = SimpleNamespace(model=SimpleNamespace(warm=warm))
    await Caesarion()._warm(shared)
    assert waited == [extension._PAGE, 0]
