"""The agent with the real SDK over real HTTP, against the scripted provider and its faults."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from caesarion.agent import prompt
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.config import CaesarionAgent, CaesarionModel
from caesarion.events import CallEnd, Done, Event, Failure, Text, ToolCall
from pydantic import BaseModel

from tests.fakes import openai_server as fake
from tests.fakes.openai_replies import ContentFault, WireFault
from tests.hub import free_port

UNREADABLE = (
    "The model's endpoint sent something that cannot be read. Ask again; if it stays so, "
    "CaesarionModel.base_url is not an OpenAI-compatible endpoint."
)


class Code(BaseModel):
    code: str


class Counter(Tool[Code]):
    """Counts its runs instead of running anything."""

    name = "python_interpreter"
    description = "Counts."
    arguments = Code
    effects = False

    def __init__(self) -> None:
        self.runs: list[str] = []

    async def run(self, arguments: Code) -> AsyncGenerator[Step, None]:
        self.runs.append(arguments.code)
        yield ToolResult("ok", f"ran {arguments.code}")


async def ask(
    base_url: str, tool: Counter | None = None, question: str = "go", **settings: Any
) -> list[Event]:
    """Ask once; return the events but usage."""
    options = {"timeout": 5.0, "retries": 2, **settings}
    model = Model(CaesarionModel(base_url=base_url, token="of-the-server", **options))
    agent = Agent(CaesarionAgent(), model, [tool or Counter()])
    history = [prompt.system_message(), {"role": "user", "content": question}]
    try:
        return [event async for event in agent.run(history)]
    finally:
        await model.close()


def words(events: list[Event]) -> str:
    return "".join(event.delta for event in events if isinstance(event, Text))


def failures(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Failure)]


async def test_words_stream_and_a_call_goes_round() -> None:
    tool = Counter()
    calls = fake.ToolCalls(fake.call("python_interpreter", {"code": "1+1"}), split=3)
    async with fake.OpenAIServer([calls, fake.Text("It ", "ran.")]) as server:
        events = await ask(server.base_url, tool)
    assert tool.runs == ["1+1"]
    assert words(events) == "It ran."
    assert events[-1] == Done("stop")
    assert server.requests[0].body["stream_options"] == {"include_usage": True}


async def test_several_calls_of_one_answer_are_put_together_by_index() -> None:
    tool = Counter()
    calls = fake.ToolCalls(
        fake.call("python_interpreter", {"code": "a"}),
        fake.call("python_interpreter", {"code": "b"}),
        split=4,
    )
    async with fake.OpenAIServer([calls, fake.Text("done")]) as server:
        await ask(server.base_url, tool)
    assert tool.runs == ["a", "b"]


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_request_refused_before_its_first_word_is_sent_again(status: int) -> None:
    replies: list[fake.Reply] = [fake.Fault(status, retry_after=0.01), fake.Text("after all")]
    async with fake.OpenAIServer(replies) as server:
        events = await ask(server.base_url)
    assert words(events) == "after all"
    assert len(server.requests) == 2


async def test_a_provider_that_goes_on_refusing_is_a_sentence_with_its_words() -> None:
    fault = fake.Fault(429, retry_after=0.01, message="Slow down.")
    async with fake.OpenAIServer([fault] * 3) as server:
        events = await ask(server.base_url)
    assert failures(events) == ["The model is asked for too much at the moment: Slow down."]
    assert events[-1] == Done("error")


async def test_a_token_that_is_refused_is_not_repeated() -> None:
    fault = fake.Fault(401, message="Incorrect key: {key}.")
    async with fake.OpenAIServer([fault]) as server:
        events = await ask(server.base_url)
    [told] = failures(events)
    assert told.startswith("The model's endpoint does not accept this server's token")
    assert "of-the-server" not in told


async def test_an_endpoint_that_is_not_there_is_a_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    events = await ask(url, retries=0)
    assert failures(events) == [
        f"The model's endpoint {url} could not be reached. Ask again in a moment; if it stays so, "
        "tell whoever runs this server."
    ]


@pytest.mark.parametrize("kind", ["stall_before_headers", "stall_mid_stream"])
async def test_a_silent_model_is_given_up(kind: WireFault) -> None:
    async with fake.OpenAIServer([fake.Fault(kind)] * 3) as server:
        events = await ask(server.base_url, timeout=0.5)
    assert failures(events) == [
        "The model was silent for 0.5 seconds. Ask again, or raise CaesarionModel.timeout."
    ]


@pytest.mark.parametrize("kind", ["reset_mid_stream", "cut_mid_stream", "error_mid_stream"])
async def test_a_break_in_mid_answer_keeps_what_came_and_says_so(kind: WireFault) -> None:
    async with fake.OpenAIServer([fake.Fault(kind)]) as server:
        events = await ask(server.base_url)
    assert words(events) == "The answer is"
    assert len(failures(events)) == 1
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", ["reset_mid_stream", "cut_mid_stream"])
async def test_a_connection_that_breaks_in_mid_answer_is_called_that(kind: WireFault) -> None:
    async with fake.OpenAIServer([fake.Fault(kind)]) as server:
        events = await ask(server.base_url)
    assert failures(events) == [
        "The connection to the model was lost before its answer was complete. Ask again."
    ]


async def test_a_connection_that_breaks_before_the_answer_is_tried_again() -> None:
    async with fake.OpenAIServer([fake.Fault("reset_before_headers"), fake.Text("ok")]) as server:
        events = await ask(server.base_url)
    assert (words(events), events[-1]) == ("ok", Done("stop"))


async def test_what_retry_after_says_is_waited_for() -> None:
    async with fake.OpenAIServer([fake.Fault(429, retry_after=1), fake.Text("ok")]) as server:
        began = time.monotonic()
        events = await ask(server.base_url)
    assert time.monotonic() - began >= 1
    assert words(events) == "ok"


async def test_a_page_that_a_proxy_sends_is_not_shown_whole() -> None:
    page = f"<html>{'x' * 10_000}"
    async with fake.OpenAIServer([fake.Fault(502, message=page)]) as server:
        [told] = failures(await ask(server.base_url, retries=0))
    assert told.startswith("The model answered 502: <html>xxx")
    assert len(told) < 600


async def test_a_finished_call_does_not_run_twice_when_the_next_answer_breaks_off() -> None:
    tool = Counter()
    calls = fake.ToolCalls(fake.call("python_interpreter", {"code": "once"}))
    replies: list[fake.Reply] = [calls, fake.Fault("reset_mid_stream")]
    async with fake.OpenAIServer(replies) as server:
        events = await ask(server.base_url, tool)
    assert tool.runs == ["once"]
    assert events[-1] == Done("error")


async def test_nonsense_instead_of_events_is_a_sentence() -> None:
    async with fake.OpenAIServer([fake.Fault("garbage_sse")]) as server:
        events = await ask(server.base_url)
    assert failures(events) == [UNREADABLE]


@pytest.mark.parametrize(
    "chunk",
    [
        [1],
        "text",
        {"choices": "x"},
        {"choices": [None]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"delta": {"content": 5}}]},
        {"choices": [{"delta": {"tool_calls": [None]}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": {"arguments": {"a": 1}}}]}}]},
        {"choices": [], "usage": 5},
    ],
    ids=str,
)
async def test_json_of_another_shape_is_a_sentence(chunk: Any) -> None:
    async with fake.OpenAIServer([fake.Raw([chunk])]) as server:
        events = await ask(server.base_url)
    assert failures(events) == [UNREADABLE]
    assert events[-1] == Done("error")


async def test_halves_of_a_character_neither_break_the_answer_nor_the_next_question() -> None:
    async with fake.OpenAIServer([fake.Text("hello")]) as server:
        events = await ask(server.base_url, question="half \ud83d, whole \ud83d\ude42")
    assert words(events) == "hello"
    assert server.requests[0].body["messages"][-1]["content"] == "half \ufffd, whole 🙂"


@pytest.mark.parametrize("kind", ["split_utf8", "no_usage", "huge_delta"])
async def test_odd_but_whole_answers_are_read(kind: ContentFault) -> None:
    async with fake.OpenAIServer([fake.Fault(kind)]) as server:
        events = await ask(server.base_url)
    assert words(events) != ""
    assert failures(events) == []
    assert events[-1] == Done("stop")


@pytest.mark.parametrize("kind", ["empty_choices", "null_delta"])
async def test_an_answer_that_says_nothing_is_said_to_be_empty(kind: ContentFault) -> None:
    async with fake.OpenAIServer([fake.Fault(kind)]) as server:
        events = await ask(server.base_url)
    assert failures(events) == ["The model gave an empty answer. Ask again."]
    assert events[-1] == Done("stop")


async def test_a_call_without_an_id_gets_one_and_is_answered() -> None:
    async with fake.OpenAIServer([fake.Fault("missing_call_id"), fake.Text("ok")]) as server:
        events = await ask(server.base_url)
    [call] = [event for event in events if isinstance(event, ToolCall)]
    assert call.id.startswith("call_")
    assert server.requests[1].body["messages"][-1]["tool_call_id"] == call.id


@pytest.mark.parametrize("kind", ["truncated_arguments", "unknown_tool"])
async def test_a_call_that_cannot_be_run_is_told_in_a_valid_history(kind: ContentFault) -> None:
    tool = Counter()
    async with fake.OpenAIServer([fake.Fault(kind), fake.Text("I see")]) as server:
        events = await ask(server.base_url, tool)
    [result] = [event for event in events if isinstance(event, CallEnd)]
    assert result.status == "error"
    assert tool.runs == []
    assert words(events).endswith("I see")
    assert events[-1] == Done("stop")


async def test_two_calls_with_one_id_are_both_answered() -> None:
    tool = Counter()
    calls = [fake.call("python_interpreter", {"code": code}, id="same") for code in "ab"]
    async with fake.OpenAIServer([fake.ToolCalls(*calls), fake.Text("done")]) as server:
        events = await ask(server.base_url, tool)
    assert tool.runs == ["a", "b"]
    assert events[-1] == Done("stop")


async def test_a_call_of_nothing_is_told_in_a_valid_history() -> None:
    nothing = {"index": 0, "id": "a", "function": {"name": None, "arguments": None}}
    call = fake.Raw([{"choices": [{"delta": {"tool_calls": [nothing]}}]}])
    async with fake.OpenAIServer([call, fake.Text("I see")]) as server:
        events = await ask(server.base_url)
    told = "There is no tool ''. The tools are: python_interpreter."
    assert CallEnd("a", "error", told) in events
    assert events[-1] == Done("stop")


async def test_after_three_failures_the_model_is_not_let_call() -> None:
    wrong = fake.ToolCalls(fake.call("python_interpreter", {"cod": "1"}))
    async with fake.OpenAIServer([wrong] * 3 + [fake.Text("I could not.")]) as server:
        events = await ask(server.base_url)
    assert [request.body["tool_choice"] for request in server.requests] == [
        "auto",
        "auto",
        "auto",
        "none",
    ]
    assert events[-1] == Done("stop")


async def test_stop_ends_the_models_stream() -> None:
    stall = fake.Fault("stall_mid_stream", after=fake.Text("begun"))
    async with fake.OpenAIServer([stall]) as server:
        turn = asyncio.ensure_future(ask(server.base_url))
        request = await server.request()
        await asyncio.sleep(0.2)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        async with asyncio.timeout(1):
            await request.ended.wait()
        assert request.client_gone
