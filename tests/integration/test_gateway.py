"""
The gateway as a process, between a real hub and the scripted provider.

Asked through the real SDK, and through bare HTTP where bytes matter.
"""

import asyncio
import io
import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import openai
import psutil
import pytest

from tests.dialects import HEAD
from tests.fakes.bare_hub import BareHub, bare_hub, free_port
from tests.fakes.gateway_process import GatewayProcess, environment, gateway_process
from tests.fakes.openai_server import Fault, OpenAIServer, Raw, Text, ToolCalls, Usage, call

KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"
SCOPE = "access:services!service=gateway"
SECRET_PROMPT = "nobody-else-may-read-this"
ASKED: list[Any] = [{"role": "user", "content": SECRET_PROMPT}]
BODY = {"model": "gpt-4.1", "messages": ASKED}
COUNTED = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True)
class Tokens:
    """Of alice, who may use the gateway: one token that may, one that may not."""

    right: str
    narrow: str


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(scope="module")
def tokens(hub: BareHub) -> Tokens:
    hub.add_user("alice")
    return Tokens(hub.make_token("alice", [SCOPE]), hub.make_token("alice", ["read:users!user"]))


@pytest.fixture(scope="module")
def provider_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(
    hub: BareHub, provider_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    key_file = folder / "key"
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    upstream = {
        "name": "scripted",
        "baseUrl": f"http://127.0.0.1:{provider_port}/v1/",
        "keyFile": str(key_file),
        "timeouts": {"firstByte": 1, "silence": 1},
        # One failure after another is what most of these tests are about.
        "retries": 0,
        "breaker": {"failures": 1000},
    }
    values = folder / "gateway.yaml"
    values.write_text(json.dumps({"upstreams": [upstream]}))
    settings = {
        "JUPYTERHUB_API_URL": hub.api_url,
        "CAESARION_GATEWAY_CONFIG": str(values),
    }
    with gateway_process(folder, settings) as gateway:
        yield gateway
        said = gateway.log.read_text()
    for secret in (KEY, KEY[-6:], SECRET_PROMPT, "hidden-query"):
        assert secret not in said
    assert "Traceback" not in said


@pytest.fixture
async def provider(provider_port: int) -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer(key=KEY, port=provider_port) as provider:
        yield provider


@pytest.fixture
async def client(gateway: GatewayProcess, tokens: Tokens) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=gateway.base_url, api_key=tokens.right, max_retries=0, timeout=60
    ) as client:
        yield client


@pytest.fixture
async def http(gateway: GatewayProcess, tokens: Tokens) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        gateway.url,
        headers={"Authorization": f"Bearer {tokens.right}"},
        timeout=aiohttp.ClientTimeout(15),
        auto_decompress=False,
    ) as session:
        yield session


async def stream(client: openai.AsyncOpenAI) -> list[Any]:
    chunks = await client.chat.completions.create(
        model="gpt-4.1", messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    return [chunk async for chunk in chunks]


async def open_stream(client: openai.AsyncOpenAI) -> AsyncIterator[Any]:
    chunks = await client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)
    return aiter(chunks)


def spoken(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


# What goes through.


async def test_words_calls_and_usage_pass(
    provider: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    provider.add(
        ToolCalls(call("f", {"a": "ü"}), text="Hel lo", split=2, usage=Usage(3, 4)), Text("whole")
    )
    chunks = await stream(client)
    whole = await client.chat.completions.create(model="gpt-4.1", messages=ASKED)
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    pieces = [piece for delta in deltas for piece in delta.tool_calls or []]
    assert spoken(chunks) == "Hel lo"
    assert "".join(piece.function.arguments for piece in pieces) == '{"a": "ü"}'
    assert chunks[-1].usage.total_tokens == 7
    assert whole.choices[0].message.content == "whole"


@pytest.mark.parametrize(
    "reply",
    [
        Text("naïve ", "🙂"),
        Fault("split_utf8"),
        Fault("huge_delta"),
        Fault("many_chunks", size=999),
    ],
)
@pytest.mark.parametrize("way", [COUNTED, {"stream": False}])
async def test_requests_and_answers_are_the_same_bytes(
    provider: OpenAIServer, http: aiohttp.ClientSession, reply: Text | Fault, way: dict[str, Any]
) -> None:
    provider.add(reply)
    raw = json.dumps(BODY | way, indent=3).encode() + b" \n"
    async with http.post("v1/chat/completions", data=raw) as answer:
        through = await answer.read()
    async with (
        OpenAIServer([reply]) as twin,
        http.post(f"{twin.base_url}/chat/completions", data=raw) as direct,
    ):
        expected = await direct.read()
    when = re.compile(rb'"created": \d+')
    assert provider.requests[0].raw == raw
    assert when.sub(b"", through) == when.sub(b"", expected)
    assert answer.headers["Content-Type"] == direct.headers["Content-Type"]


async def test_what_is_canonical_passes_byte_for_byte(
    provider: OpenAIServer, http: aiohttp.ClientSession
) -> None:
    deltas = [{"role": "assistant", "content": ""}, *[{"content": "naïve 🙂\u2028"}] * 50]
    chunks = [
        {**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None}], "n": number}
        for number, delta in enumerate(deltas)
    ]
    provider.add(Raw(chunks))
    async with http.post("v1/chat/completions", json=BODY | {"stream": True}) as answer:
        received = await answer.read()
    events = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
    assert received.startswith("".join(events).encode())
    assert received.endswith(b"data: [DONE]\n\n")


async def test_each_piece_arrives_when_it_is_sent(
    provider: OpenAIServer, http: aiohttp.ClientSession
) -> None:
    provider.add(Text("one", "two", delay=0.2))
    async with http.post("v1/chat/completions", json=BODY | {"stream": True}) as answer:
        arrived = [time.monotonic() async for line in answer.content if b'"content": "' in line]
    assert len(arrived) == 3
    assert arrived[1] - arrived[0] > 0.1
    assert arrived[2] - arrived[1] > 0.1


async def test_half_a_character_waits_for_its_other_half(
    provider: OpenAIServer, http: aiohttp.ClientSession
) -> None:
    provider.add(Fault("split_utf8"))
    async with http.post("v1/chat/completions", json=BODY | COUNTED) as answer:
        pieces = [data.decode() async for data, _ in answer.content.iter_chunks()]
    assert "naïve 🙂 café" in "".join(pieces)


async def test_a_hundred_thousand_pieces_pass(hub: BareHub, tokens: Tokens, tmp_path: Path) -> None:
    async with OpenAIServer([Fault("many_chunks", size=100_000)]) as provider:
        settings = {"JUPYTERHUB_API_URL": hub.api_url, "OPENAI_BASE_URL": provider.base_url}
        with gateway_process(tmp_path, settings) as gateway:
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {tokens.right}"}) as http,
                http.post(f"{gateway.base_url}/chat/completions", json=BODY | COUNTED) as answer,
            ):
                content = await answer.read()
    assert content.count(b'"content": "word "') == 100_000
    assert content.endswith(b"data: [DONE]\n\n")


async def test_nothing_of_the_callers_but_the_body_goes_up(
    provider: OpenAIServer, http: aiohttp.ClientSession
) -> None:
    provider.add(Text("hello"))
    headers = {"Cookie": "session=1", "X-Forwarded-For": "10.0.0.1", "OpenAI-Organization": "o"}
    async with http.post("v1/chat/completions", json=BODY, headers=headers) as answer:
        assert answer.status == 200
    seen = {name.lower(): value for name, value in provider.requests[0].headers.items()}
    assert seen.pop("content-length").isdigit()
    assert seen == {
        "host": provider.base_url.split("/")[2],
        "authorization": f"Bearer {KEY}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": "caesarion-gateway",
    }


async def test_nothing_of_the_providers_account_comes_down(
    provider: OpenAIServer, http: aiohttp.ClientSession
) -> None:
    provider.add(Text("hello"))
    async with http.post("v1/chat/completions", json=BODY | {"stream": True}) as answer:
        await answer.read()
    names = {name.lower() for name in answer.headers}
    length = {"content-length", "transfer-encoding"}  # the former if the answer came all at once
    assert len(names & length) == 1
    assert names - length == {
        *("content-type", "date"),
        *("cache-control", "x-accel-buffering", "x-request-id"),
        *("x-caesarion-receipt", "x-caesarion-request", "x-caesarion-silence"),
    }


async def test_the_providers_models_are_listed(
    provider: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    assert [model.id async for model in client.models.list()] == ["gpt-4.1"]


async def test_a_local_provider_needs_neither_key_nor_list(
    hub: BareHub, tokens: Tokens, tmp_path: Path
) -> None:
    async with OpenAIServer([]) as provider:
        settings = {
            "JUPYTERHUB_API_URL": hub.api_url,
            "OPENAI_BASE_URL": f"{provider.base_url}/elsewhere",
            "CAESARION_GATEWAY_DEFAULT_MODEL": "llama",
        }
        with gateway_process(tmp_path, settings) as gateway:
            async with openai.AsyncOpenAI(
                base_url=gateway.base_url, api_key=tokens.right, max_retries=0
            ) as client:
                assert [model.id async for model in client.models.list()] == ["llama"]
                with pytest.raises(openai.NotFoundError, match="Invalid URL"):
                    await stream(client)
    assert [request.path for request in provider.requests] == [
        "/v1/elsewhere/models",
        "/v1/elsewhere/chat/completions",
    ]
    assert all("Authorization" not in request.headers for request in provider.requests)


# Who may ask.


@pytest.mark.parametrize(
    ("path", "method"), [("v1/models", "GET"), ("v1/chat/completions", "POST")]
)
async def test_only_a_token_with_the_scope_may_ask(
    provider: OpenAIServer, http: aiohttp.ClientSession, tokens: Tokens, path: str, method: str
) -> None:
    for header, status, code in (
        ("", 401, "missing_token"),
        ("Bearer", 401, "missing_token"),
        (f"Basic {tokens.right}", 401, "missing_token"),
        ("Bearer made-up", 401, "invalid_token"),
        (f"Bearer {tokens.right}x", 401, "invalid_token"),
        (f"Bearer {tokens.narrow}", 403, "missing_scope"),
    ):
        headers = {"Authorization": header}
        async with http.request(method, path, json=BODY, headers=headers) as answer:
            error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (status, code)
        assert error["type"] == "invalid_request_error"
    assert provider.requests == provider.looks == []


async def test_a_refused_caller_may_have_sent_a_long_request(http: aiohttp.ClientSession) -> None:
    headers = {"Authorization": "Bearer made-up"}
    body = io.BytesIO(json.dumps(BODY | {"user": "x" * 4 * 2**20}).encode())
    async with http.post("v1/chat/completions", data=body, headers=headers) as answer:
        assert answer.status == 401


async def test_health_needs_no_token(http: aiohttp.ClientSession) -> None:
    async with http.get("health", headers={"Authorization": ""}) as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok", "demo": False})
        assert "Server" not in answer.headers


async def test_other_paths_and_methods_are_openais_errors(http: aiohttp.ClientSession) -> None:
    for path, method, status, code in (
        ("v1/embeddings?hidden-query=1", "POST", 404, "not_found"),
        ("v1/models", "POST", 405, "method_not_allowed"),
        ("v1/chat/completions", "GET", 405, "method_not_allowed"),
    ):
        async with http.request(method, path) as answer:
            error = (await answer.json())["error"]
        assert (answer.status, error["code"]) == (status, code)
        assert "hidden-query" not in error["message"]


# What is no request.


async def test_what_is_not_a_request_is_a_sentence(
    provider: OpenAIServer, http: aiohttp.ClientSession
) -> None:
    for body, message in (
        (b"{", "The request is not JSON."),
        (b'{"model": "m"}', "The request has no 'messages': it must be a list of objects."),
    ):
        async with http.post("v1/chat/completions", data=body) as answer:
            error = (await answer.json())["error"]
        assert (answer.status, error["message"]) == (400, message)
    assert provider.requests == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_request_over_ten_mebibytes_is_too_large(
    provider: OpenAIServer, http: aiohttp.ClientSession, chunked: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b" " * 2**20

    data: Any = pieces() if chunked else io.BytesIO(b" " * 11 * 2**20)
    async with http.post("v1/chat/completions", data=data) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["code"]) == (413, "request_too_large")
    assert error["message"].startswith("The request is longer than 10 MiB.")
    assert provider.requests == []


# What the provider refuses or fails to do.


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault(400), 400, None),
        (Fault(401), 502, "upstream_unauthorized"),
        (Fault(403), 502, "upstream_forbidden"),
        (Fault(404), 404, "model_not_found"),
        (Fault(408), 408, "upstream_error"),
        (Fault(409), 409, "upstream_error"),
        (Fault(413), 413, "request_too_large"),
        (Fault(429), 429, "rate_limit_exceeded"),
        (Fault(429, retry_after=7), 429, "rate_limit_exceeded"),
        (Fault(500), 500, "upstream_error"),
        (Fault(502), 502, "upstream_error"),
        (Fault(503, retry_after=7), 503, "upstream_error"),
        (Fault(504), 504, "upstream_error"),
        (Fault("reset_before_headers"), 502, "upstream_disconnected"),
        (Fault("stall_before_headers"), 504, "upstream_timeout"),
        (Fault("reset_before_body"), 502, "upstream_disconnected"),
        (Fault("stall_before_body"), 504, "upstream_timeout"),
    ],
)
async def test_the_providers_failures_are_openais_errors(
    provider: OpenAIServer,
    http: aiohttp.ClientSession,
    fault: Fault,
    status: int,
    code: str | None,
    streamed: bool,
) -> None:
    provider.add(fault)
    async with http.post("v1/chat/completions", json=BODY | {"stream": streamed}) as answer:
        text = await answer.text()
    error = json.loads(text)["error"]
    assert (answer.status, error["code"]) == (status, code)
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    assert KEY not in text + str(answer.headers)
    assert answer.headers.get("Retry-After") == ("7" if fault.retry_after else None)
    assert "Set-Cookie" not in answer.headers
    assert "openai-organization" not in answer.headers


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(401), "does not accept this deployment's key"),
        (Fault(429, retry_after=0.1), "takes no more requests for now"),
        (Fault(500), r"failed \(500\): The server had an error"),
        (Fault(503, retry_after=0.1), r"failed \(503\)"),
        (Fault("garbage_sse", after=Text()), "no answer of the OpenAI protocol"),
    ],
    ids=["401", "429", "500", "503", "garbage"],
)
async def test_the_sdk_does_not_ask_again_what_the_gateway_gave_up(
    provider: OpenAIServer,
    client: openai.AsyncOpenAI,
    fault: Fault,
    message: str,
    streamed: bool,
) -> None:
    provider.add(fault, Text("never"))
    patient = client.with_options(max_retries=2)
    whole = patient.chat.completions.create(model="gpt-4.1", messages=ASKED)
    with pytest.raises(openai.APIError, match=message):
        await (stream(patient) if streamed else whole)
    whole.close()
    assert len(provider.requests) == 1


async def test_a_quoted_key_does_not_reach_the_user(
    provider: OpenAIServer, http: aiohttp.ClientSession
) -> None:
    masked = f"{KEY[:7]}****{KEY[-4:]}"
    provider.add(Fault(400, message=f"Neither {{key}} nor {masked} is right."))
    async with http.post("v1/chat/completions", json=BODY) as answer:
        error = (await answer.json())["error"]
    assert (answer.status, error["message"]) == (400, "Neither [key] nor [key] is right.")


async def test_a_refused_history_is_told_in_the_providers_words(
    provider: OpenAIServer, client: openai.AsyncOpenAI
) -> None:
    lonely: Any = [{"role": "tool", "tool_call_id": "a", "content": "1"}]
    with pytest.raises(openai.BadRequestError, match="must be a response to a preceeding message"):
        await client.chat.completions.create(model="gpt-4.1", messages=lonely)


async def test_without_a_provider_the_connection_is_refused(
    client: openai.AsyncOpenAI, provider_port: int
) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        await stream(client)
    assert raised.value.status_code == 502
    assert raised.value.code == "upstream_unreachable"
    assert f"127.0.0.1:{provider_port} cannot be reached" in raised.value.message


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("reset_mid_stream", "broke before the answer was complete"),
        ("cut_mid_stream", "broke before the answer was complete"),
        ("stall_mid_stream", "was silent for 1 seconds"),
        ("error_mid_stream", "The engine broke"),
        ("garbage_sse", "sent something that is no answer of the OpenAI protocol"),
    ],
)
async def test_a_stream_that_breaks_ends_in_an_error_event(
    provider: OpenAIServer, client: openai.AsyncOpenAI, kind: Any, message: str
) -> None:
    provider.add(Fault(kind, after=Text("one ", "two")))
    chunks = await client.chat.completions.create(model="gpt-4.1", messages=ASKED, stream=True)
    seen: list[Any] = []

    async def read() -> None:
        async for chunk in chunks:
            seen.append(chunk)  # noqa: PERF401 - the end is an exception

    with pytest.raises(openai.APIError, match=message):
        await read()
    assert spoken(seen) == "one two"


async def test_a_stream_that_breaks_within_an_event_ends_in_an_error_event(
    gateway_to_raw_server: str, tokens: Tokens
) -> None:
    headers = {"Authorization": f"Bearer {tokens.right}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(gateway_to_raw_server, json=BODY | COUNTED) as answer,
    ):
        whole, error, rest = (await answer.read()).split(b"\n\n")
    assert (whole, rest) == (b": keep-alive", b"")
    assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "upstream_disconnected"


@pytest.fixture
async def gateway_to_raw_server(hub: BareHub, tmp_path: Path) -> AsyncIterator[str]:
    """A gateway to a server that goes within an event; yields its completions' URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b'Transfer-Encoding: chunked\r\n\r\n16\r\ndata: {}\n\ndata: {"half\r\n'
        )
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    settings = {
        "JUPYTERHUB_API_URL": hub.api_url,
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1",
    }
    with gateway_process(tmp_path, settings) as gateway:
        yield f"{gateway.base_url}/chat/completions"
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("kind", "status", "message"),
    [
        ("reset_mid_stream", 502, "broke before the answer was complete"),
        ("stall_mid_stream", 504, "was silent for 1 seconds"),
        ("garbage_sse", 502, "no answer of the OpenAI protocol"),
    ],
)
async def test_a_whole_answer_that_breaks_is_an_error(
    provider: OpenAIServer, client: openai.AsyncOpenAI, kind: Any, status: int, message: str
) -> None:
    provider.add(Fault(kind))
    with pytest.raises(openai.InternalServerError, match=message) as raised:
        await client.chat.completions.create(model="gpt-4.1", messages=ASKED)
    assert raised.value.status_code == status


async def test_two_upstreams_stand_in_for_each_other_and_neither_key_is_told(
    hub: BareHub, tokens: Tokens, tmp_path: Path
) -> None:
    other_key = "another-key-9876543210"
    refusal = Fault(400, message="Not with {key}.")
    async with (
        OpenAIServer([Fault(503), Text("not asked")], key=KEY) as first,
        OpenAIServer([Text("here"), refusal], key=other_key) as second,
    ):
        upstreams: list[dict[str, Any]] = []
        for name, server, key in (("first", first, KEY), ("second", second, other_key)):
            file = tmp_path / name
            file.write_text(key)
            file.chmod(0o600)
            upstreams.append(
                {
                    "name": name,
                    "baseUrl": server.base_url,
                    "keyFile": str(file),
                    "priority": len(upstreams),
                    "breaker": {"failures": 1},
                    "retries": 0,
                }
            )
        values = tmp_path / "gateway.yaml"
        values.write_text(json.dumps({"upstreams": upstreams}))
        settings = {
            "JUPYTERHUB_API_URL": hub.api_url,
            "CAESARION_GATEWAY_CONFIG": str(values),
            "OPENAI_API_KEY": "not-used",
        }
        with gateway_process(tmp_path, settings) as gateway:
            async with openai.AsyncOpenAI(
                base_url=gateway.base_url, api_key=tokens.right, max_retries=0
            ) as client:
                assert spoken(await stream(client)) == "here"
                with pytest.raises(openai.BadRequestError) as raised:
                    await stream(client)
            said = gateway.log.read_text()
    assert raised.value.message == "Error code: 400 - Not with [key]."
    assert len(first.requests) == 1
    assert "OPENAI_API_KEY is not used, since gateway.upstreams is set." in said
    assert KEY not in said
    assert other_key not in said


# Coming and going.


@pytest.mark.parametrize("kind", ["stall_before_headers", "stall_mid_stream"])
async def test_a_client_that_goes_ends_the_request_to_the_provider(
    hub: BareHub, tokens: Tokens, tmp_path: Path, kind: Any
) -> None:
    async with OpenAIServer([Fault(kind), Text("hello")]) as provider:
        settings = {"JUPYTERHUB_API_URL": hub.api_url, "OPENAI_BASE_URL": provider.base_url}
        with gateway_process(tmp_path, settings) as gateway:
            async with openai.AsyncOpenAI(
                base_url=gateway.base_url, api_key=tokens.right, max_retries=0
            ) as client:
                asking = asyncio.create_task(stream(client))
                request = await provider.request()
                asking.cancel()
                await asyncio.wait_for(request.ended.wait(), 60)
                assert request.client_gone
                assert spoken(await stream(client)) == "hello"
            assert "Traceback" not in gateway.log.read_text()


async def test_many_streams_run_at_once(hub: BareHub, tokens: Tokens, tmp_path: Path) -> None:
    kept = Fault("stall_mid_stream", after=Text("a", "b"))
    async with OpenAIServer([kept] * 120) as provider:
        settings = {"JUPYTERHUB_API_URL": hub.api_url, "OPENAI_BASE_URL": provider.base_url}
        with gateway_process(tmp_path, settings) as gateway:
            async with openai.AsyncOpenAI(
                base_url=gateway.base_url, api_key=tokens.right, max_retries=0
            ) as client:
                begun = [await open_stream(client) for _ in range(120)]
                # None has ended when the last one's words are here.
                said = [spoken([await anext(chunks) for _ in range(3)]) for chunks in begun]
    assert said == ["ab"] * 120


async def test_a_hub_that_does_not_answer_is_a_sentence(
    tmp_path: Path, provider: OpenAIServer
) -> None:
    settings = {
        "JUPYTERHUB_API_URL": f"http://127.0.0.1:{free_port()}/hub/api",
        "OPENAI_BASE_URL": provider.base_url,
    }
    with gateway_process(tmp_path, settings) as gateway:
        client = openai.AsyncOpenAI(base_url=gateway.base_url, api_key="some", max_retries=0)
        async with client:
            with pytest.raises(openai.InternalServerError, match="could not say whose token"):
                await client.models.list()
    assert provider.requests == []


async def test_an_answer_of_the_hub_is_remembered(
    provider: OpenAIServer, client: openai.AsyncOpenAI, hub: BareHub
) -> None:
    provider.add(Text("1"), Text("2"))
    await stream(client)
    log = hub.log.read_text().count("GET /hub/api/user ")
    await stream(client)
    assert hub.log.read_text().count("GET /hub/api/user ") == log


async def test_the_key_is_in_no_environment_and_command_line(gateway: GatewayProcess) -> None:
    process = psutil.Process(gateway.process.pid)
    assert KEY not in "".join(process.cmdline())
    assert KEY not in str(process.environ())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_in_order(tmp_path: Path, number: int) -> None:
    settings = {
        "JUPYTERHUB_API_URL": "http://127.0.0.1:9/hub/api",
        "CAESARION_GATEWAY_GRACE": "3600",  # Seconds for answers, of which there are none.
    }
    with gateway_process(tmp_path, settings) as gateway:
        gateway.process.send_signal(number)
        assert gateway.process.wait(60) == 0
        assert "Traceback" not in gateway.log.read_text()


async def test_a_signal_lets_an_answer_end(hub: BareHub, tokens: Tokens, tmp_path: Path) -> None:
    async with OpenAIServer([Text(*"abcde", delay=0.2)]) as provider:
        settings = {"JUPYTERHUB_API_URL": hub.api_url, "OPENAI_BASE_URL": provider.base_url}
        with gateway_process(tmp_path, settings) as gateway:
            async with openai.AsyncOpenAI(
                base_url=gateway.base_url, api_key=tokens.right, max_retries=0
            ) as client:
                asking = asyncio.create_task(stream(client))
                await provider.request()
                gateway.process.terminate()
                assert spoken(await asking) == "abcde"
            assert await asyncio.to_thread(gateway.process.wait, 60) == 0
            assert "Traceback" not in gateway.log.read_text()


def refused_start(**settings: str) -> str:
    """Return all that a gateway says that does not start."""
    process = subprocess.run(
        [sys.executable, "-m", "caesarion_hub.gateway"],
        env=environment(JUPYTERHUB_API_URL="http://127.0.0.1:9/hub/api") | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 1
    assert process.stdout == ""
    return process.stderr


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused_start(JUPYTERHUB_SERVICE_URL=f"http://127.0.0.1:{port}")
    assert said == (
        f"The gateway cannot listen on 127.0.0.1:{port}: Address already in use. "
        "Set JUPYTERHUB_SERVICE_URL to an address of this machine and a free port.\n"
    )


def test_an_unreadable_key_file_is_one_sentence(tmp_path: Path) -> None:
    said = refused_start(CAESARION_GATEWAY_KEY_FILE=str(tmp_path))
    assert re.fullmatch(r"The key file \S+ cannot be read: Is a directory\. .*\n", said)
