"""The agent's work is activity of its server, and nothing else of ours is, over real HTTP."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from nbformat import v4, writes

from tests.chat import code, open_chat
from tests.fakes.openai_server import OpenAIServer, Text
from tests.hub import running_hub
from tests.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Says nothing, so that the kernel does not count as active by its messages.
SILENT = "import time; time.sleep(60)"

# Longer than the pause between two entries of an activity.
LONGER = 3.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    with running_server(
        tmp_path_factory.mktemp("activity"),
        model_url=provider.base_url,
        environment={"CAESARION_KERNEL_PREWARM": "0"},
    ) as server:
        notebook = v4.new_notebook(cells=[v4.new_code_cell(SILENT)])
        (server.root / "silent.ipynb").write_text(writes(notebook))
        yield server
    # What :func:`last_activity` asks again for ends so.
    assert [end for end in server.failures if "wrote error: 'Unhandled error'" not in end] == []


async def last_activity(http: httpx.AsyncClient) -> str:
    """Return when the server was last in use, as it would tell a hub; to ask is no use."""
    async with asyncio.timeout(120):
        # Jupyter Server 2.21 cannot say it while a kernel starts or ends.
        while (answer := await http.get("api/status")).is_error:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return str(answer.json()["last_activity"])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def goes_on(http: httpx.AsyncClient) -> None:
    """Wait until the activity goes on, four times: the first may be messages of the kernel."""
    for _ in range(4):
        before = await last_activity(http)
        await until(lambda before=before: has_changed(http, before))  # type: ignore[misc]


async def has_changed(http: httpx.AsyncClient, before: str) -> bool:
    return await last_activity(http) != before


async def is_over(http: httpx.AsyncClient) -> None:
    """Wait until there is no activity any more."""

    async def rests() -> bool:
        before = await last_activity(http)
        await asyncio.sleep(LONGER)
        return not await has_changed(http, before)

    await until(rests)


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("chat", {"messages": [{"role": "user", "content": "wait"}]}),
        ("execute", {"code": SILENT}),
        ("notebooks/run", {"path": "silent.ipynb"}),
    ],
)
async def test_work_that_streams_is_activity_until_it_ends(
    http: httpx.AsyncClient, model: OpenAIServer, route: str, body: dict[str, Any]
) -> None:
    model.add(code(SILENT))

    async def listen() -> None:
        async with http.stream("POST", f"caesarion/api/{route}", json=body) as answer:
            async for _ in answer.aiter_bytes():
                pass

    listening = asyncio.create_task(listen())
    await goes_on(http)
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    await is_over(http)


async def test_a_run_that_nobody_listens_to_is_activity_until_it_ends(
    http: httpx.AsyncClient,
) -> None:
    run = await http.post("caesarion/api/runs", json={"kind": "execute", "code": SILENT})
    await goes_on(http)
    await http.post(f"caesarion/api/runs/{run.json()['id']}/cancel")
    await is_over(http)


async def test_a_turn_in_a_chat_is_activity_until_it_is_stopped(
    server: RunningServer, http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    model.add(code(SILENT))
    async with open_chat(server, "chats/silent.chat") as chat:
        await chat.send("wait")
        await goes_on(http)
        await chat.stop()
        await is_over(http)


async def test_a_call_that_waits_for_a_person_is_no_activity(
    server: RunningServer, http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    model.add(code(SILENT))
    async with open_chat(server, "chats/waits.chat") as chat:
        question = await chat.send("wait", approval="ask")
        await chat.until(lambda: "approval_id" in json.dumps(chat.answer(question)))
        await is_over(http)
        await chat.stop()


async def test_polls_of_the_status_are_no_activity(http: httpx.AsyncClient) -> None:
    before = await last_activity(http)
    await http.get("caesarion/api/status")
    assert await last_activity(http) == before


async def test_no_culler_stops_a_server_whose_agent_is_at_work_and_it_stops_an_idle_one(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    timeout = 10
    provider.add(code(f"import time; time.sleep({2 * timeout})"), Text("Done."))
    with running_hub(
        tmp_path_factory.mktemp("culled") / "state",
        environment={"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "sk-none"},
        values={"cull": {"timeout": timeout, "every": 1}},
    ) as hub:
        ada = hub.login("ada")
        server = await asyncio.to_thread(ada.start_server)
        token = ada.token()
        headers = {"Authorization": f"token {token}"}
        body = {"messages": [{"role": "user", "content": "wait"}]}
        async with httpx.AsyncClient(base_url=hub.url, headers=headers, timeout=60) as program:
            answer = await program.post(f"{server}caesarion/api/chat", json=body)
            assert answer.text.endswith('event: done\ndata: {"reason": "stop"}\n\n')

            async def is_stopped() -> bool:
                user = (await program.get("/hub/api/users/ada")).json()
                return not user["servers"]

            await until(is_stopped)
