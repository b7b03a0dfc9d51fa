"""The agent with the real SDK over real HTTP, against the scripted provider and its faults."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from caesarion.agent import prompt
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.config import CaesarionAgent, CaesarionModel
from caesarion.events import (
    CallEnd,
    Done,
    Event,
    Failure,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    Usage,
)
from pydantic import BaseModel

from tests.fakes import openai_server as fake
from tests.fakes.openai_replies import ContentFault, WireFault
from tests.fakes.raw_provider import RawAnswer, RawProvider
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
    kind = "read"

    def __init__(self) -> None:
        self.runs: list[str] = []

    async def run(self, arguments: Code) -> AsyncGenerator[Step, None]:
        self.runs.append(arguments.code)
        yield ToolResult("ok", f"ran {arguments.code}")


@contextlib.asynccontextmanager
async def model_at(base_url: str, **settings: Any) -> AsyncIterator[Model]:
    options = {"timeout": 5.0, "retries": 2, **settings}
    model = Model(CaesarionModel(base_url=base_url, token="of-the-server", **options))
    try:
        yield model
    finally:
        await model.close()


async def ask_model(model: Model, tool: Counter | None = None, question: str = "go") -> list[Event]:
    """Ask once; return the events."""
    agent = Agent(CaesarionAgent(), model, [tool or Counter()])
    history = [prompt.system_message(), {"role": "user", "content": question}]
    return [event async for event in agent.run(history)]


async def ask(
    base_url: str, tool: Counter | None = None, question: str = "go", **settings: Any
) -> list[Event]:
    """Ask a model of its own once; return the events."""
    async with model_at(base_url, **settings) as model:
        return await ask_model(model, tool, question)


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
    assert told.startswith("The model answered 502: xxx")
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


EMPTY = "The model gave an empty answer. Ask again."


@pytest.mark.parametrize(
    ("chunk", "sentence"),
    [
        ([1], UNREADABLE),
        ("text", EMPTY),
        ({"choices": "x"}, EMPTY),
        ({"choices": [None]}, EMPTY),
        ({"choices": [{"delta": {"tool_calls": [None]}}]}, EMPTY),
        ({"choices": [], "usage": 5}, EMPTY),
    ],
    ids=str,
)
async def test_json_of_another_shape_is_a_sentence(chunk: Any, sentence: str) -> None:
    async with fake.OpenAIServer([fake.Raw([chunk])]) as server:
        events = await ask(server.base_url)
    assert failures(events) == [sentence]
    assert events[-1] in (Done("error"), Done("stop"))
    assert len(server.requests) == 1


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
        async with asyncio.timeout(60):
            await request.ended.wait()
        assert request.client_gone


def thinking(*calls: dict[str, Any]) -> fake.Raw:
    """Return an answer that thinks in a field of its own, and then calls tools or says "done"."""
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "reasoning_content": "Let me "},
        {"reasoning_content": "see."},
        {"tool_calls": list(calls)} if calls else {"content": "done"},
    ]
    reason = "tool_calls" if calls else "stop"
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return fake.Raw([*chunks, {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}])


def code(source: str, **more: Any) -> dict[str, Any]:
    function = {"name": "python_interpreter", "arguments": f'{{"code": "{source}"}}'}
    return {"index": 0, "id": "c1", "type": "function", "function": function, **more}


async def test_reasoning_is_no_part_of_the_answer() -> None:
    async with fake.OpenAIServer([thinking()]) as server:
        events = await ask(server.base_url)
    assert words(events) == "done"
    assert [event.delta for event in events if isinstance(event, Reasoning)] == ["Let me ", "see."]


async def test_a_provider_that_wants_its_reasoning_back_gets_it_with_the_call() -> None:
    script: list[fake.Reply] = [thinking(code("1")), thinking()]
    async with fake.OpenAIServer(script, needs="reasoning_content") as server:
        events = await ask(server.base_url)
    assert (words(events), failures(events)) == ("done", [])
    assert len(server.requests) == 2
    assert server.requests[1].body["messages"][2]["reasoning_content"] == "Let me see."


async def test_signatures_of_messages_and_calls_go_back_as_they_came() -> None:
    signed = code("1", extra_content={"google": {"thought_signature": "s"}})
    first = thinking(signed)
    detail = {"type": "reasoning.encrypted", "data": "x", "index": 0}
    first.chunks[1]["choices"][0]["delta"]["reasoning_details"] = [detail]
    fields = ("extra_content", "reasoning_content", "reasoning_details")
    async with fake.OpenAIServer([first, thinking()], own_fields=fields) as server:
        events = await ask(server.base_url)
    assert (words(events), len(server.requests)) == ("done", 2)
    asked = server.requests[1].body["messages"][2]
    assert asked["reasoning_details"] == [detail]
    assert asked["tool_calls"][0]["extra_content"] == signed["extra_content"]


async def test_a_field_that_a_provider_refuses_is_sent_once_and_never_again() -> None:
    """OpenAI itself refuses fields that it does not know."""
    script = [thinking(code("1")), thinking(), thinking(code("2")), thinking()]
    async with fake.OpenAIServer(script) as server, model_at(server.base_url) as model:
        for _ in range(2):
            events = await ask_model(model)
            assert (words(events), failures(events)) == ("done", [])
        sent = [
            any("reasoning_content" in message for message in request.body["messages"])
            for request in server.requests
        ]
    assert sent == [False, True, False, False, False]


async def test_a_server_that_refuses_stream_options_is_asked_without_them() -> None:
    refused = fake.Fault(400, message="Unknown parameter: 'stream_options'.")
    script: list[fake.Reply] = [refused, fake.Text("one"), fake.Text("two")]
    async with fake.OpenAIServer(script) as server, model_at(server.base_url) as model:
        assert words(await ask_model(model)) == "one"
        assert words(await ask_model(model)) == "two"
        sent = ["stream_options" in request.body for request in server.requests]
    assert sent == [True, False, False]


async def test_a_refusal_is_read_as_one() -> None:
    delta = {"role": "assistant", "content": None, "refusal": "I'm sorry, I can't help with that."}
    refused = fake.Raw([{"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]}])
    async with fake.OpenAIServer([refused]) as server:
        events = await ask(server.base_url)
    assert Refusal("I'm sorry, I can't help with that.") in events
    assert (words(events), failures(events)) == ("", [])
    assert events[-1] == Done("stop")


async def test_of_counts_that_run_along_the_last_one_counts() -> None:
    def counted(number: int) -> dict[str, Any]:
        usage: dict[str, Any] = {"prompt_tokens": 100, "completion_tokens": number}
        usage["total_tokens"] = 100 + number
        usage["prompt_tokens_details"] = {"cached_tokens": 64}
        usage["completion_tokens_details"] = {"reasoning_tokens": number - 1}
        return {"choices": [{"index": 0, "delta": {"content": "word "}}], "usage": usage}

    chunks = [*(counted(number) for number in range(1, 6)), {**counted(5), "choices": []}]
    async with fake.OpenAIServer([fake.Raw(chunks)]) as server:
        events = await ask(server.base_url)
    [usage] = [event for event in events if isinstance(event, Usage)]
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 5)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (64, 4)


async def test_arguments_that_come_as_an_object_are_taken_as_its_json() -> None:
    tool = Counter()
    call = code("")
    call["function"]["arguments"] = {"code": "print('obj')"}
    async with fake.OpenAIServer([thinking(call), thinking()]) as server:
        await ask(server.base_url, tool)
    assert tool.runs == ["print('obj')"]


@contextlib.asynccontextmanager
async def breaking_off(*pieces: bytes) -> AsyncIterator[str]:
    """Serve one answer of ``pieces`` without the end of its body; yield the base URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    ended = asyncio.Event()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await ended.wait()


ANSWER = b"""data: {"choices": [{"index": 0, "delta": {"content": "ok"}, "finish_reason": "stop"}]}

"""


async def test_comments_are_signs_of_life() -> None:
    pieces = [*[b": keep-alive\n\n"] * 5, ANSWER, b"data: [DONE]\n\n"]
    async with RawProvider(lambda _: RawAnswer(pieces, pause=0.5)) as provider:
        events = await ask(provider.base_url, timeout=2.0)
    assert (words(events), failures(events)) == ("ok", [])


async def test_an_answer_is_whole_though_the_connection_breaks_behind_its_end() -> None:
    async with breaking_off(ANSWER) as url:
        events = await ask(url, retries=0)
    assert (words(events), failures(events)) == ("ok", [])
