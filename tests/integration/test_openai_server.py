"""The scripted provider, seen through the real SDK and through bare HTTP."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from tests.fakes.openai_server import Fault, OpenAIServer, Raw, Reply, Text, ToolCalls, Usage, call

HELLO: list[Any] = [{"role": "user", "content": "Hello"}]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "python_interpreter", "parameters": {}}}
]
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "a", "content": "1"}


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer(key="sk-right") as server:
        yield server


@pytest.fixture
async def client(server: OpenAIServer) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=server.base_url, api_key="sk-right", max_retries=0, timeout=60
    ) as client:
        yield client


async def stream(client: openai.AsyncOpenAI, **options: Any) -> list[Any]:
    chunks = await client.chat.completions.create(
        model="gpt-4.1",
        messages=HELLO,
        stream=True,
        stream_options={"include_usage": True},
        **options,
    )
    return [chunk async for chunk in chunks]


def spoken(chunks: list[Any]) -> str:
    return "".join(
        chunk.choices[0].delta.content or ""
        for chunk in chunks
        if chunk.choices and chunk.choices[0].delta
    )


async def test_words_stream_in_their_chunks_and_usage_comes_last(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.add(Text("Hel", "lo", usage=Usage(3, 2)))
    chunks = await stream(client)
    contents = [chunk.choices[0].delta.content for chunk in chunks[:-1]]
    assert contents == ["", "Hel", "lo", None]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 5)
    assert server.requests[0].body["messages"] == HELLO
    assert server.requests[0].headers["authorization"] == "Bearer sk-right"


async def test_arguments_come_in_pieces_of_the_asked_size(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.add(ToolCalls(call("one", {"a": 1}), call("two", "{bad", id="mine"), split=3))
    arguments, ids = {0: "", 1: ""}, []
    for chunk in await stream(client):
        for choice in chunk.choices:
            for piece in choice.delta.tool_calls or []:
                arguments[piece.index] += piece.function.arguments
                ids += [piece.id] if piece.id else []
                assert len(piece.function.arguments) <= 3
    assert arguments == {0: '{"a": 1}', 1: "{bad"}
    assert ids == ["call_1_0", "mine"]


async def test_without_streaming_the_same_reply_comes_whole(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.add(ToolCalls(call("one", {"a": 1}), text="Let me see.", split=2, usage=Usage(1, 1)))
    whole = await client.chat.completions.create(model="gpt-4.1", messages=HELLO)
    message = whole.choices[0].message
    assert message.content == "Let me see."
    assert message.tool_calls is not None
    assert message.tool_calls[0].to_dict() == {
        "id": "call_1_0",
        "type": "function",
        "function": {"name": "one", "arguments": '{"a": 1}'},
    }
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.usage is not None
    assert whole.usage.total_tokens == 2


async def test_raw_chunks_are_sent_as_they_are(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.add(Raw([{"id": "x", "odd": True, "choices": []}]))
    chunks = await stream(client)
    assert [chunk.to_dict() for chunk in chunks] == [{"id": "x", "odd": True, "choices": []}]


async def test_the_models_are_listed(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["gpt-4.1"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (408, openai.APIStatusError),
        (409, openai.ConflictError),
        (413, openai.APIStatusError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (502, openai.InternalServerError),
        (503, openai.InternalServerError),
        (504, openai.InternalServerError),
    ],
)
async def test_a_status_raises_the_sdks_error(
    server: OpenAIServer,
    client: openai.AsyncOpenAI,
    status: int,
    error: type[openai.APIStatusError],
) -> None:
    server.add(Fault(status, retry_after=7))
    with pytest.raises(error) as raised:
        await stream(client)
    assert raised.value.status_code == status
    assert raised.value.response.headers["retry-after"] == "7"
    assert isinstance(raised.value.body, dict)
    assert set(raised.value.body) == {"message", "type", "param", "code"}


async def test_a_refused_key_is_quoted_as_providers_do(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    with pytest.raises(openai.AuthenticationError, match="API key provided: sk-wrong"):
        await stream(client.with_options(api_key="sk-wrong"))


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("kind", ["reset_before_headers", "reset_mid_stream", "cut_mid_stream"])
async def test_a_broken_connection_raises(
    server: OpenAIServer, client: openai.AsyncOpenAI, kind: Any, streamed: bool
) -> None:
    server.add(Fault(kind))
    whole = client.chat.completions.create(model="gpt-4.1", messages=HELLO)
    with pytest.raises(openai.APIConnectionError):
        await (stream(client) if streamed else whole)
    whole.close()
    assert not server.requests[0].client_gone


async def test_what_came_before_the_break_is_read(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.add(Fault("reset_mid_stream", after=Text("one ", "two")))
    chunks = await client.chat.completions.create(model="gpt-4.1", messages=HELLO, stream=True)
    seen: list[Any] = []

    async def read() -> None:
        async for chunk in chunks:
            seen.append(chunk)  # noqa: PERF401 - the end is an exception

    with pytest.raises(openai.APIConnectionError):
        await read()
    assert spoken(seen) == "one two"


@pytest.mark.parametrize("kind", ["stall_before_headers", "stall_mid_stream"])
async def test_a_stall_times_out_and_the_server_sees_the_client_go(
    server: OpenAIServer, client: openai.AsyncOpenAI, kind: Any
) -> None:
    server.add(Fault(kind))
    with pytest.raises(openai.APITimeoutError):
        await stream(client.with_options(timeout=0.3))
    await asyncio.wait_for(server.requests[0].ended.wait(), 60)
    assert server.requests[0].client_gone


async def test_an_error_event_raises(server: OpenAIServer, client: openai.AsyncOpenAI) -> None:
    server.add(Fault("error_mid_stream"))
    with pytest.raises(openai.APIError, match="The engine broke"):
        await stream(client)


async def test_garbage_is_no_json(server: OpenAIServer, client: openai.AsyncOpenAI) -> None:
    server.add(Fault("garbage_sse"))
    with pytest.raises(json.JSONDecodeError):
        await stream(client)


async def test_odd_streams_are_whole(server: OpenAIServer, client: openai.AsyncOpenAI) -> None:
    server.add(Fault("split_utf8"), Fault("huge_delta", size=300_000))
    assert spoken(await stream(client)) == "naïve 🙂 café"
    assert spoken(await stream(client)) == "x" * 300_000
    server.add(Fault("many_chunks", size=500), Fault("no_usage"), Fault("empty_choices"))
    assert len(await stream(client)) == 500 + 3
    assert [chunk.usage for chunk in await stream(client)] == [None, None, None]
    assert [chunk.choices for chunk in await stream(client)] == [[], [], [], []]


async def test_odd_tool_calls_are_odd(server: OpenAIServer, client: openai.AsyncOpenAI) -> None:
    kinds: list[Reply] = [
        Fault("missing_call_id"),
        Fault("truncated_arguments"),
        Fault("unknown_tool"),
        Fault("null_delta"),
    ]
    server.add(*kinds)
    missing, truncated, unknown, null = [
        [choice for chunk in await stream(client) for choice in chunk.choices] for _ in kinds
    ]
    assert missing[1].delta.tool_calls[0].id is None
    assert truncated[-1].finish_reason == "length"
    assert unknown[1].delta.tool_calls[0].function.name == "wether"
    assert null[0].delta is None


async def test_a_split_character_arrives_in_two_packets(server: OpenAIServer) -> None:
    server.add(Fault("split_utf8"))
    body = {"model": "gpt-4.1", "messages": HELLO, "stream": True}
    undecodable = 0
    headers = {"Authorization": "Bearer sk-right"}
    url = f"{server.base_url}/chat/completions"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=body) as response,
    ):
        async for data, _ in response.content.iter_chunks():
            try:
                data.decode()
            except UnicodeDecodeError:
                undecodable += 1
    assert undecodable == 2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"colour": "red"}, "Unknown parameter: 'colour'"),
        ({"messages": []}, "Invalid value for 'messages'"),
        ({"messages": [{"role": "user"}]}, "Missing required parameter: 'messages.0.user.content'"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "Invalid value for 'messages.0'"),
        ({"messages": [*HELLO, ASKED]}, "did not have response messages: a"),
        ({"messages": [*HELLO, ASKED, *HELLO]}, "did not have response messages: a"),
        ({"messages": [*HELLO, TOLD]}, "must be a response to a preceeding message"),
        ({"messages": [ASKED, {**TOLD, "tool_call_id": "b"}]}, "'tool_call_id' of 'b' not found"),
        ({"messages": [ASKED, TOLD, TOLD]}, "must be a response to a preceeding message"),
        ({"messages": [{"role": "assistant", "content": None}]}, "expected a string, got null"),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": []}]},
            "at least 1 item",
        ),
        (
            {
                "messages": [
                    {**ASKED, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": "{"}}]}
                ]
            },
            "function.arguments': not JSON",
        ),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "should match pattern"),
        ({"tool_choice": "auto"}, "only allowed when 'tools' are specified"),
        ({"temperature": 3}, "less than or equal to 2"),
    ],
)
async def test_a_malformed_request_is_refused(
    server: OpenAIServer, client: openai.AsyncOpenAI, change: dict[str, Any], match: str
) -> None:
    body = {"model": "gpt-4.1", "messages": HELLO} | change
    with pytest.raises(openai.BadRequestError, match=match):
        await client.post("/chat/completions", body=body, cast_to=object)


async def test_an_answered_history_is_taken(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.add(Text("1"))
    messages: Any = [*HELLO, ASKED, TOLD, {"role": "assistant", "content": "1"}, *HELLO]
    whole = await client.chat.completions.create(model="gpt-4.1", messages=messages, tools=TOOLS)
    assert whole.choices[0].message.content == "1"


async def test_an_unknown_path_or_model_is_not_found(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    with pytest.raises(openai.NotFoundError, match=r"Invalid URL \(POST /v1/embeddings\)"):
        await client.embeddings.create(model="x", input="y")
    with pytest.raises(openai.NotFoundError, match="The model `gpt-0` does not exist"):
        await client.chat.completions.create(model="gpt-0", messages=HELLO)


async def test_an_exhausted_script_says_so(
    server: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    server.add(Text("only"))
    await stream(client)
    with pytest.raises(
        openai.InternalServerError, match="The script is exhausted: it had 1 replies"
    ):
        await stream(client)


def test_an_unknown_fault_is_refused_where_it_is_written() -> None:
    with pytest.raises(ValueError, match="There is no fault 'flood'"):
        Fault("flood")  # type: ignore[arg-type]


async def test_as_a_program_it_echoes_or_plays_a_script(tmp_path: Path) -> None:
    script = tmp_path / "replies.json"
    script.write_text(json.dumps([{"text": ["scripted"]}, {"fault": 429, "retry_after": 1}]))
    for options, expected in (([], "You said: Hello"), (["--script", str(script)], "scripted")):
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.fakes.openai_server", *options, stdout=-1
        )
        assert program.stdout is not None
        base_url = (await asyncio.wait_for(program.stdout.readline(), 60)).decode().strip()
        async with openai.AsyncOpenAI(base_url=base_url, api_key="x", max_retries=0) as client:
            assert spoken(await stream(client)) == expected
            if options:
                with pytest.raises(openai.RateLimitError):
                    await stream(client)
        program.terminate()
        assert await asyncio.wait_for(program.wait(), 60) == 0
