"""A question asked again, edited or not: what was said is taken back; and what a turn took."""

from typing import Any

import pytest

from tests.chat import Chat, open_chat
from tests.fakes.openai_server import Fault, OpenAIServer, Text, ToolCalls, Usage, call
from tests.server import RunningServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


def visible(chat: Chat) -> list[str]:
    """Return the bodies that can be seen, oldest first."""
    messages = sorted(chat.messages.values(), key=lambda message: message["time"])
    return [message["body"] for message in messages if not message.get("deleted")]


def told(model: OpenAIServer) -> list[Any]:
    """Return what the model was sent last, without the system message."""
    messages: list[Any] = model.requests[-1].body["messages"]
    return messages[1:]


async def test_a_question_asked_again_takes_the_place_of_the_first(
    server: RunningServer, model: OpenAIServer
) -> None:
    model.add(Text("Hello."), Text("Wrong."), Text("Right."))
    async with open_chat(server, "chats/again.chat") as chat:
        await chat.ask("hi")
        first = await chat.send("6 * 7?")
        await chat.until(lambda: chat.turns == 2)
        await chat.ask("6 times 7?", replaces=first)
        assert visible(chat) == ["hi", "Hello.", "6 times 7?", "Right."]
    assert told(model) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "6 times 7?"},
    ]
    async with open_chat(server, "chats/again.chat") as chat:
        assert visible(chat) == ["hi", "Hello.", "6 times 7?", "Right."]


@pytest.mark.parametrize("under_way", ["words", "code"])
async def test_an_answer_under_way_is_stopped_first(
    server: RunningServer, model: OpenAIServer, under_way: str
) -> None:
    loop = call("python_interpreter", {"code": "print('began', flush=True)\nwhile True: pass"})
    slow = Fault("stall_mid_stream", after=Text("began"))
    model.add(slow if under_way == "words" else ToolCalls(loop), Text("Done."))
    async with open_chat(server, f"chats/stopped {under_way}.chat") as chat:
        first = await chat.send("go")
        await chat.until(lambda: "began" in str(chat.answer(first)[under_way == "code" :]))
        again = await chat.send("go, but fast", replaces=first)
        await chat.until(lambda: bool(chat.answer(again)) and chat.status == "")
        assert visible(chat) == ["go, but fast", "Done."]
    assert told(model) == [{"role": "user", "content": "go, but fast"}]


async def test_a_question_that_waits_is_replaced_before_it_is_answered(
    server: RunningServer, model: OpenAIServer
) -> None:
    wait = call("python_interpreter", {"code": "import time; time.sleep(1)"})
    model.add(ToolCalls(wait), Text("One."), Text("Two."))
    async with open_chat(server, "chats/waits.chat") as chat:
        first = await chat.send("one")
        await chat.until(lambda: bool(chat.answer(first)))
        second = await chat.send("tow")
        third = await chat.send("two", replaces=second)
        await chat.until(lambda: bool(chat.answer(third)))
        assert [body for body in visible(chat) if "sleep" not in body and body] == [
            "one",
            "two",
            "One.",
            "Two.",
        ]


async def test_what_a_turn_took_stands_with_its_last_message_and_survives(
    server: RunningServer, model: OpenAIServer
) -> None:
    ran = ToolCalls(call("python_interpreter", {"code": "1 + 1"}), usage=Usage(100, 20))
    model.add(ran, Text("Two.", usage=Usage(1_000, 3)))
    async with open_chat(server, "chats/usage.chat") as chat:
        question = await chat.send("1 + 1?")
        await chat.until(lambda: chat.turns == 1)
    async with open_chat(server, "chats/usage.chat") as chat:
        answer = chat.answer(question)
    *others, last = [message["metadata"]["caesarion"].get("usage") for message in answer]
    assert others == [None] * len(others)
    assert 0 < last.pop("seconds") < 30
    counted = {"prompt_tokens": 1_100, "completion_tokens": 23}
    assert last == {**counted, "cached_tokens": 0, "reasoning_tokens": 0}
