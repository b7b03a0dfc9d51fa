"""Calls that wait for a person: in the chat of a real server, and over HTTP."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from caesarion.agent.approval import tell_not_offered

from tests.chat import Chat, code, open_chat, shown, shown_code
from tests.fakes.openai_server import OpenAIServer, Text
from tests.server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

LATE = {
    "message": "This call does not wait any more: it was answered before, or its turn has ended."
}


def heard(model: OpenAIServer) -> str:
    """Return what the model was told of its last call."""
    return str(model.requests[-1].body["messages"][-1]["content"])


def records(chat: Chat) -> list[Json]:
    """Return what is recorded of the chat's calls."""
    every = [message.get("metadata", {}).get("caesarion", {}) for message in chat.messages.values()]
    return [record for record in every if record.get("kind") == "call"]


def waiting(chat: Chat) -> list[Json]:
    return [record for record in records(chat) if record.get("status") == "waiting"]


async def answer(server: RunningServer, record: Json, **answer: Any) -> httpx.Response:
    body = {"shown": shown(record), **answer}
    async with server.browser() as http:
        return await http.post(f"caesarion/api/approvals/{record['approval_id']}", json=body)


async def ask_and_wait(chat: Chat, question: str) -> tuple[str, Json]:
    """Ask in the mode that asks; return the question's id and the call that waits."""
    question_id = await chat.send(question, approval="ask")
    await chat.until(lambda: bool(waiting(chat)))
    return question_id, waiting(chat)[0]


async def test_code_waits_and_runs_when_it_is_approved(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("print(6 * 7)"), Text("Forty-two."))
    async with open_chat(server, "chats/run.chat") as chat:
        question, record = await ask_and_wait(chat, "compute")
        await chat.until(lambda: chat.status == "is waiting for you...")
        assert len(chat.answer(question)) == 1
        assert (await answer(server, record, decision="run")).status_code == 204
        await chat.until(lambda: chat.turns == 1)
        [kept] = records(chat)
        assert kept["status"] == "ok"
        assert "approval_id" not in kept
        by = {"decision": "run", "by": kept["decided"]["by"], "edited": False}
        assert kept["decided"] == {**by, "at": kept["decided"]["at"]}
        assert by["by"]
        at = datetime.fromisoformat(kept["decided"]["at"])
        assert timedelta() <= datetime.now(UTC) - at < timedelta(minutes=1)
        assert (await answer(server, record, decision="refuse")).json() == LATE
    assert heard(model) == "42"
    assert (
        "The person decides on each change and on each piece of code"
        in model.requests[0].body["messages"][0]["content"]
    )


async def test_edited_code_runs_instead_and_stays_told_in_the_next_question(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("print('mine')"), Text("Printed."), Text("Yours."))
    async with open_chat(server, "chats/edit.chat") as chat:
        _, record = await ask_and_wait(chat, "print")
        edited = await answer(server, record, decision="run", code="print('yours')")
        assert edited.status_code == 204
        await chat.until(lambda: chat.turns == 1)
        told = "The user edited the code. This is what ran:\n```python\nprint('yours')\n```\nyours"
        assert heard(model) == told
        [kept] = records(chat)
        assert kept["decided"]["edited"] is True
        assert json.loads(kept["arguments"]) == {"code": "print('yours')"}
        await chat.ask("whose was it?")
    messages = model.requests[-1].body["messages"]
    assert messages[2]["tool_calls"][0]["function"]["arguments"] == '{"code": "print(\'mine\')"}'
    assert messages[3]["content"] == told


async def test_a_refusal_with_its_reason_is_told_to_the_model(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("open('kept', 'w')"), Text("Then not."))
    async with open_chat(server, "chats/refuse.chat") as chat:
        _, record = await ask_and_wait(chat, "write")
        refused = await answer(server, record, decision="refuse", reason=" it is Sunday ")
        assert refused.status_code == 204
        await chat.until(lambda: chat.turns == 1)
        [kept] = records(chat)
        assert (kept["status"], kept["decided"]["decision"]) == ("refused", "refuse")
    assert heard(model) == "The user refused this call. Their reason: it is Sunday"
    assert not (server.root / "kept").exists()


async def test_of_two_answers_the_first_counts_and_both_tabs_see_it(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("1"), Text("One."))
    async with (
        open_chat(server, "chats/two.chat") as here,
        open_chat(server, "chats/two.chat") as there,
    ):
        _, record = await ask_and_wait(here, "one")
        await there.until(lambda: bool(waiting(there)))
        answers = await asyncio.gather(
            answer(server, record, decision="run"), answer(server, record, decision="refuse")
        )
        assert sorted(one.status_code for one in answers) == [204, 404]
        for chat in (here, there):
            await chat.until(lambda chat=chat: chat.turns == 1)  # type: ignore[misc]
            assert waiting(chat) == []
        assert records(here) == records(there)


async def test_stop_ends_the_waiting(server: RunningServer, model: OpenAIServer) -> None:
    model.add(code("open('kept', 'w')"), Text("On we go."))
    async with open_chat(server, "chats/stop.chat") as chat:
        _, record = await ask_and_wait(chat, "write")
        await chat.stop()
        [kept] = records(chat)
        assert (kept["status"], kept["result"]) == (
            "interrupted",
            "The user stopped this call. It had not run, as it waited for the user's decision.",
        )
        late = await answer(server, record, decision="run")
        assert (late.status_code, late.json()) == (404, LATE)
        await chat.ask("go on")
    assert not (server.root / "kept").exists()


async def test_an_answer_that_cannot_be_used_leaves_the_call_waiting(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("1"), Text("One."))
    async with open_chat(server, "chats/wrong.chat") as chat:
        _, record = await ask_and_wait(chat, "one")
        for wrong, word in (
            ({"decision": "maybe"}, "decision"),
            ({"decision": "run", "code": ""}, "code"),
            ({"decision": "refuse", "reason": "x" * 2001}, "reason"),
            ({}, "decision"),
        ):
            refused = await answer(server, record, **wrong)
            assert refused.status_code == 400
            assert refused.json()["message"].startswith(f"The body is not right: {word}: ")
        assert (await answer(server, record, decision="run")).status_code == 204
        await chat.until(lambda: chat.turns == 1)


async def test_a_call_that_waited_when_its_server_was_killed_is_known_not_to_have_run(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    model.add(code("1"), Text("It did not run."))
    with running_server(folder, model_url=provider.base_url) as server:
        async with open_chat(server, "chats/killed.chat") as chat:
            _, record = await ask_and_wait(chat, "one")
            await asyncio.sleep(1)  # The chat's file is written a moment later.
            server.kill()
    with running_server(folder, model_url=provider.base_url) as server:
        async with open_chat(server, "chats/killed.chat") as chat:
            assert (await answer(server, record, decision="run")).json() == LATE
            await chat.ask("did it run?")
    told = [message["content"] for message in model.requests[-1].body["messages"][1:]]
    assert told[2] == (
        "The server stopped while this call waited for the user's decision. It did not run."
    )


async def test_in_read_only_no_tool_that_runs_code_is_offered(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(code("open('kept', 'w')"), Text("I may not."))
    async with open_chat(server, "chats/read.chat") as chat:
        await chat.ask("write", approval="read-only")
        [kept] = records(chat)
        assert kept["status"] == "refused"
    offered = [tool["function"]["name"] for tool in model.requests[0].body["tools"]]
    assert offered == ["get_current_weather", "read_notebook", "ask_user"]
    assert heard(model) == tell_not_offered("read-only")
    assert not (server.root / "kept").exists()


async def ask_and_decide(http: httpx.AsyncClient, decider: httpx.AsyncClient) -> list[Any]:
    """Ask over HTTP; return the status of a decision by ``decider``, and the turn's events."""
    question = {"messages": [{"role": "user", "content": "compute"}], "approval": "ask"}
    told: list[Any] = []
    async with http.stream("POST", "caesarion/api/chat", json=question) as turn:
        name = ""
        async for line in turn.aiter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = json.loads(line.removeprefix("data: "))
                told.append((name, data))
                if name == "waiting":
                    path = f"caesarion/api/approvals/{data['approval_id']}"
                    body = {"decision": "run", "shown": shown_code("print(6 * 7)")}
                    answered = await decider.post(path, json=body)
                    told.append(("answered", answered))
                    if answered.status_code != 204:
                        break
    return told


async def test_programs_are_told_that_a_call_waits_and_of_the_answer(
    server: RunningServer, http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    model.add(code("print(6 * 7)"), Text("Forty-two."))
    async with server.browser() as browser:
        told = await ask_and_decide(http, browser)
    names = [name for name, _ in told]
    assert names[:4] == ["tool_call", "waiting", "answered", "decided"]
    decided = told[3][1]
    assert decided.keys() == {
        *("call_id", "decision", "by", "at", "arguments", "reason", "program", "classes", "rule")
    }
    assert (decided["decision"], decided["arguments"]) == ("run", None)
    assert decided["program"] is False
    assert names[-1] == "done"


NOT_SHOWN = {
    "message": "What was shown is not what waits, so nothing was decided. Look at the call as it "
    'is now; a program sends the SHA-256 of what it shows as "shown".'
}


@pytest.mark.parametrize(
    "body",
    [
        {"decision": "run", "shown": shown_code("1 + 1")},
        {"decision": "run", "shown": shown_code("1 + 1"), "code": "1 + 1"},
        {"decision": "run", "shown": shown_code("1 + 1"), "class": "files"},
        {"decision": "refuse", "shown": shown_code("1 + 1")},
        {"decision": "run"},
    ],
)
async def test_a_decision_about_something_else_decides_nothing_and_the_call_is_shown_again(
    server: RunningServer, http: httpx.AsyncClient, model: OpenAIServer, body: Json
) -> None:
    model.add(code("open('kept', 'w')"), Text("Then not."))
    async with open_chat(server, "chats/shown.chat") as chat:
        _, record = await ask_and_wait(chat, "write")
        [asked] = [m for m in chat.messages.values() if "approval_id" in json.dumps(m)]
        frames = len(chat.updates(asked))
        async with server.browser() as browser:
            path = f"caesarion/api/approvals/{record['approval_id']}"
            refused = await browser.post(path, json=body)
        assert (refused.status_code, refused.json()) == (409, NOT_SHOWN)
        await chat.until(lambda: len(chat.updates(asked)) > frames)
        assert waiting(chat) == [record]
        told = await http.get("caesarion/api/allowed-classes", params={"chat_id": chat.id})
        assert told.json() == {"allowed": []}
        turns = chat.turns
        assert (await answer(server, record, decision="refuse")).status_code == 204
        await chat.until(lambda: chat.turns > turns)
    assert not (server.root / "kept").exists()


async def test_a_token_decides_nothing(http: httpx.AsyncClient, model: OpenAIServer) -> None:
    model.add(code("print(6 * 7)"))
    _, _, (_, answered) = await ask_and_decide(http, http)
    assert answered.status_code == 403
    assert answered.json() == {
        "message": "A token cannot decide for a person. Decide in the browser, or ask whoever runs "
        "this server to set CaesarionAgent.program_approvals."
    }


async def test_a_cookie_without_its_xsrf_token_decides_nothing(server: RunningServer) -> None:
    async with server.browser() as browser:
        del browser.headers["X-XSRFToken"]
        answered = await browser.post("caesarion/api/approvals/any", json={"decision": "run"})
    assert answered.status_code == 403


async def test_where_a_token_may_decide_its_decision_is_a_programs(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer
) -> None:
    model.add(code("print(6 * 7)"), Text("Forty-two."))
    with running_server(
        tmp_path_factory.mktemp("programs"),
        model_url=provider.base_url,
        environment={"CAESARION_AGENT_PROGRAM_APPROVALS": "true"},
    ) as server:
        async with server.client() as http:
            http.headers["User-Agent"] = "nightly/1.0"
            told = await ask_and_decide(http, http)
            user = (await http.get("api/me")).json()["identity"]["name"]
    (decided,) = [data for name, data in told if name == "decided"]
    assert decided["program"] is True
    assert decided["by"] == f"{user} (nightly/1.0)"


async def test_the_server_caps_the_mode_whatever_is_asked_for(
    provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer
) -> None:
    model.add(code("open('kept', 'w')"), Text("No."), code("open('kept', 'w')"), Text("No."))
    with running_server(
        tmp_path_factory.mktemp("capped"),
        model_url=provider.base_url,
        environment={"CAESARION_AGENT_MAX_APPROVAL": "read-only"},
        arguments=["--CaesarionAgent.max_approval=auto"],
    ) as server:
        async with server.client() as http:
            status = (await http.get("caesarion/api/status")).json()
            assert status["approval"] == {"default": "read-only", "allowed": ["read-only"]}
            question = {"messages": [{"role": "user", "content": "write"}], "approval": "auto"}
            turn = await http.post("caesarion/api/chat", json=question)
            assert '"status": "refused"' in turn.text
        async with open_chat(server, "chats/capped.chat") as chat:
            await chat.ask("write", approval="auto")
            assert records(chat)[0]["status"] == "refused"
        assert not (server.root / "kept").exists()


async def test_an_answer_needs_its_user_and_a_mode_that_exists(
    server: RunningServer, http: httpx.AsyncClient
) -> None:
    async with httpx.AsyncClient(base_url=server.url) as stranger:
        path = "caesarion/api/approvals/any"
        assert (await stranger.post(path, json={"decision": "run"})).status_code == 403
    async with server.browser() as browser:
        answered = await browser.post("caesarion/api/approvals/any", json={"decision": "run"})
    assert answered.json() == LATE
    question = {"messages": [{"role": "user", "content": "go"}], "approval": "yolo"}
    refused = await http.post("caesarion/api/chat", json=question)
    assert refused.status_code == 400
    modes = "'read-only', 'plan', 'ask', 'accept-edits' or 'auto'"
    assert f"approval: Input should be {modes}" in refused.json()["message"]
