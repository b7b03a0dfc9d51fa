"""What becomes of runs when their server dies, is stopped, or cannot write; a real server."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from caesarion.runs.journal import Entry, JournalReader

from tests.chat import Chat, code, open_chat
from tests.fakes.openai_server import OpenAIServer, Text
from tests.integration.test_runs import begin, events, is_status, look, shown, statuses
from tests.server import eventually, running_server

# What it prints does not stand in it.
ENDLESS = "import time\nprint('be' + 'gan', flush=True)\nwhile True: time.sleep(0.1)"

NO_KERNEL_AHEAD = {"CAESARION_KERNEL_PREWARM": "0"}


def journal(folder: Path, run: dict[str, Any]) -> list[Entry]:
    """Return the events of a run's journal."""
    [path] = folder.rglob(f"{run['id']}.jsonl")
    reader = JournalReader(path)
    found = []
    while entries := reader.read():
        found += entries
    reader.close()
    return found


def notices(chat: Chat) -> list[str]:
    """Return what a chat says of turns that were cut off."""
    records = [
        (message.get("metadata", {}).get("caesarion", {}), message["body"])
        for message in chat.messages.values()
    ]
    return [body for record, body in records if record.get("cut_off")]


async def only_run(http: httpx.AsyncClient, **filters: str) -> dict[str, Any]:
    listing = await http.get("caesarion/api/runs", params=filters)
    [run] = listing.raise_for_status().json()["runs"]
    found: dict[str, Any] = run
    return found


@pytest.fixture
async def provider() -> Any:
    async with OpenAIServer() as provider:
        yield provider


async def test_a_run_whose_server_was_killed_is_read_to_its_end_and_its_chat_says_so_once(
    provider: OpenAIServer, tmp_path: Path
) -> None:
    provider.add(code("6 * 7", "c1"), code(ENDLESS, "c2"))
    with running_server(
        tmp_path, model_url=provider.base_url, environment=NO_KERNEL_AHEAD
    ) as server:
        async with server.client() as http, open_chat(server, "chats/a.chat") as chat:
            run = await begin(http, kind="execute", code=ENDLESS, idempotency_key="k")
            before = await events(http, run, lambda event: "began" in str(event))
            await chat.send("loop")
            await chat.until(lambda: "began" in str(chat.messages))
            turn = await only_run(http, chat_path="chats/a.chat")
            assert (turn["kind"], turn["title"], turn["status"]) == ("chat", "loop", "in_progress")
            # The chat's own file is written a moment later than its journal.
            await eventually(lambda: "began" in (server.root / "chats/a.chat").read_text(), 120)
        await asyncio.to_thread(server.kill)
    with running_server(
        tmp_path, model_url=provider.base_url, environment=NO_KERNEL_AHEAD
    ) as server:
        async with server.client() as http, open_chat(server, "chats/a.chat") as chat:
            found = await events(http, run, params={"starting_after": before[-1][0]})
            assert [(number, name) for number, name, _ in found] == [(before[-1][0] + 1, "status")]
            ended = await look(http, run)
            assert (ended["status"], ended["error"]["code"]) == ("failed", "server_died")
            assert shown(await events(http, run)) == "began\n"
            again = await begin(http, kind="execute", code=ENDLESS, idempotency_key="k")
            assert again == ended
            assert (await look(http, turn))["error"]["code"] == "server_died"
            await chat.until(lambda: notices(chat) != [])
            assert notices(chat) == [
                "⚠️ The server stopped before this answer was complete. Its calls: 1 ended, 1 cut "
                "off. What they did is done: ask again to go on."
            ]
            provider.add(Text("Here I am again."))
            assert (await chat.ask("are you there?"))[-1]["body"] == "Here I am again."
        async with open_chat(server, "chats/a.chat") as chat:
            await chat.until(lambda: notices(chat) != [])
            assert len(notices(chat)) == 1
        assert server.failures == []


async def test_a_run_whose_server_is_stopped_says_why_and_so_does_its_stream(
    provider: OpenAIServer, tmp_path: Path
) -> None:
    provider.add(code("1"))
    environment = {**NO_KERNEL_AHEAD, "CAESARION_AGENT_BACKGROUND_MAX_MINUTES": "0"}
    with running_server(tmp_path, model_url=provider.base_url, environment=environment) as server:
        async with server.client() as http:
            run = await begin(http, kind="execute", code=ENDLESS)
            question = [{"role": "user", "content": "run it"}]
            waiting = await begin(http, kind="chat", messages=question, approval="ask")
            await events(http, run, lambda event: "began" in str(event))
            await events(http, waiting, is_status("requires_action"))
            heard: list[Any] = []

            def goes_on(event: Any) -> bool:
                heard.append(event)
                return False

            reading = asyncio.create_task(events(http, run, goes_on))
            await eventually(lambda: heard != [], 60)
            server.process.terminate()
            assert statuses(await reading)[-1] == "failed"
            await eventually(lambda: server.process.poll() is not None, 60)
        assert server.process.returncode == 0
        assert server.failures == []
    for one in (run, waiting):
        last = journal(tmp_path, one)[-1]
        assert last.data == {
            "status": "failed",
            "error": {
                "code": "server_stopped",
                "message": "The server was stopped while this ran. After 0 minutes a run that "
                "nobody listens to no longer counts as activity, so an idle server is stopped "
                "(agent.backgroundMaxMinutes).",
            },
        }


async def test_where_no_journal_can_be_written_runs_are_refused_and_chats_go_on(
    provider: OpenAIServer, tmp_path: Path
) -> None:
    folder = tmp_path / "a file"
    folder.touch()
    environment = {**NO_KERNEL_AHEAD, "CAESARION_RUNS_FOLDER": str(folder)}
    with running_server(tmp_path, model_url=provider.base_url, environment=environment) as server:
        async with server.client() as http, open_chat(server, "a.chat") as chat:
            answer = await http.post("caesarion/api/runs", json={"kind": "execute", "code": "1"})
            assert answer.status_code == 507
            assert "cannot be written in" in answer.json()["message"]
            provider.add(Text("Hello."))
            assert (await chat.ask("hi"))[-1]["body"] == "Hello."
            listing = await http.get("caesarion/api/runs")
            assert listing.json() == {"runs": [], "has_more": False}
        assert server.failures == []
