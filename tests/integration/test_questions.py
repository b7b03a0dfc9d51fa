"""Questions of the agent in the chat of a real server, and over HTTP where nobody answers."""

from typing import Any

import httpx
import pytest

from tests.chat import Chat, call_shown, open_chat
from tests.fakes.openai_server import OpenAIServer, Text, ToolCalls, call
from tests.server import RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

Json = dict[str, Any]

QUESTION = {"question": "Which *column*?", "choices": ["rain", "sun"]}


def asks(model: OpenAIServer, **more: Any) -> None:
    model.add(ToolCalls(call("ask_user", {**QUESTION, **more})), Text("As you say."))


def heard(model: OpenAIServer) -> str:
    """Return what the model was told of its last call."""
    return str(model.requests[-1].body["messages"][-1]["content"])


def cards(chat: Chat) -> list[Json]:
    """Return the questions that the chat shows."""
    calls = [
        call_shown(message)
        for message in chat.messages.values()
        if message.get("metadata", {}).get("caesarion", {}).get("kind") == "call"
    ]
    return [shown for shown in calls if "question" in shown]


async def wait(chat: Chat, **metadata: Any) -> Json:
    """Ask, and return the question that waits for an answer."""
    await chat.send("plot it", **metadata)
    await chat.until(lambda: any(card["question"]["id"] for card in cards(chat)))
    [card] = cards(chat)
    return card


async def answer(server: RunningServer, card: Json, text: str) -> httpx.Response:
    async with server.browser() as http:
        return await http.post(
            f"caesarion/api/answers/{card['question']['id']}", json={"answer": text}
        )


@pytest.mark.parametrize("mode", ["read-only", "plan", "ask", "auto"])
async def test_a_choice_is_told_to_the_model_in_every_mode(
    server: RunningServer, model: OpenAIServer, mode: str
) -> None:
    asks(model)
    async with open_chat(server, f"{mode}.chat") as chat:
        card = await wait(chat, approval=mode)
        await chat.until(lambda: chat.status == "is waiting for you...")
        assert (card["status"], card["question"]["text"]) == ("waiting", "Which *column*?")
        assert card["question"]["choices"] == ["rain", "sun"]
        assert (await answer(server, card, "sun")).status_code == 204
        await chat.until(lambda: chat.turns == 1)
        [card] = cards(chat)
        late = await answer(server, {"question": {"id": "0" * 32}}, "rain")
    assert heard(model) == "The user chose: sun"
    assert (card["status"], card["question"]["id"]) == ("ok", None)
    given = card["question"]["answer"]
    assert (given["text"], given["is_choice"]) == ("sun", True)
    assert given["by"]
    assert late.status_code == 404
    assert late.json()["message"].startswith("This question does not wait any more")


async def test_other_words_are_told_as_the_users_own(
    server: RunningServer, model: OpenAIServer
) -> None:
    asks(model)
    async with open_chat(server, "words.chat") as chat:
        card = await wait(chat)
        assert (await answer(server, card, "  ")).status_code == 400
        assert (await answer(server, card, " both ")).status_code == 204
        await chat.until(lambda: chat.turns == 1)
        [card] = cards(chat)
    assert heard(model) == "The user answered in their own words: both"
    assert card["question"]["answer"]["is_choice"] is False


async def test_a_token_cannot_answer(server: RunningServer, model: OpenAIServer) -> None:
    asks(model)
    async with open_chat(server, "token.chat") as chat:
        card = await wait(chat)
        async with server.client() as http:
            told = await http.post(
                f"caesarion/api/answers/{card['question']['id']}", json={"answer": "sun"}
            )
        assert told.status_code == 403
        assert (
            told.json()["message"] == "A token cannot answer for a person. Answer in the browser."
        )
        assert (await answer(server, card, "rain")).status_code == 204
        await chat.until(lambda: chat.turns == 1)
    assert heard(model) == "The user chose: rain"


async def test_stop_ends_a_question(server: RunningServer, model: OpenAIServer) -> None:
    asks(model)
    async with open_chat(server, "stop.chat") as chat:
        card = await wait(chat)
        await chat.stop()
        [stopped] = cards(chat)
        assert (stopped["status"], stopped["question"]["id"]) == ("interrupted", None)
        assert (await answer(server, card, "sun")).status_code == 404
        model.replies_left.clear()
        model.add(Text("Later then."))
        await chat.ask("go on")
    told = [m["content"] for m in model.requests[-1].body["messages"] if m["role"] == "tool"]
    assert told == ["The user stopped this call. The question was not answered."]


async def test_a_wrong_question_is_told_to_the_model(
    server: RunningServer, model: OpenAIServer
) -> None:
    asks(model, choices=["rain", "rain"])
    async with open_chat(server, "wrong.chat") as chat:
        await chat.ask("plot it")
    assert "choices: the choices are not all different" in heard(model)


async def test_a_program_is_told_that_nobody_can_be_asked(
    http: httpx.AsyncClient, model: OpenAIServer
) -> None:
    asks(model)
    question = {"messages": [{"role": "user", "content": "plot it"}]}
    told = await http.post("caesarion/api/chat", json=question)
    assert told.status_code == 200
    assert heard(model).startswith("Nobody can be asked here: a program has sent the message.")
