"""
Models that do not take OpenAI's own form of a request, behind the gateway's upstreams.

Over real sockets, in this process; the limit of an answer's tokens through a whole gateway.
"""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from caesarion_hub.gateway.upstream.errors import UpstreamError
from caesarion_hub.values.gateway import ModelParameters

from tests import dialects
from tests.dialects import HEAD
from tests.fakes.bare_hub import bare_hub
from tests.fakes.gateway_process import gateway_process
from tests.fakes.openai_server import Fault, OpenAIServer, Reply, Text
from tests.fakes.raw_provider import RawAnswer, RawProvider, refusal
from tests.upstreams import BODY, ask, content, providers, upstream

Body = dict[str, Any]

USE_OTHER_LIMIT = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)


def reasoning_model(body: Body) -> Reply:
    """Answer as o3 and gpt-5 do."""
    if "max_tokens" in body:
        return Fault(400, message=USE_OTHER_LIMIT)
    if "temperature" in body:
        return Fault(400, message="Unsupported value: 'temperature' does not support 0.2.")
    return Text("hello")


async def test_what_a_model_refuses_is_learned_once(caplog: pytest.LogCaptureFixture) -> None:
    async with (
        OpenAIServer(reasoning_model, models=["gpt-4.1", "o3"]) as server,
        providers(upstream(server)) as backend,
    ):
        for _ in range(3):
            assert await ask(backend, max_tokens=500, temperature=0.2) == "hello"
        assert [condition.outcomes for condition in backend.conditions()] == [{"ok": 3}]
        # Another model may take what this one does not.
        await ask(backend, model="o3", max_tokens=500)
    sent = [(request.body["model"], *sorted(request.body)) for request in server.requests]
    common = ("messages", "model", "stream", "stream_options")
    assert sent == [
        ("gpt-4.1", *sorted(("max_tokens", "temperature", *common))),
        ("gpt-4.1", *sorted(("max_completion_tokens", "temperature", *common))),
        *[("gpt-4.1", *sorted(("max_completion_tokens", *common)))] * 3,
        ("o3", *sorted(("max_tokens", *common))),
        ("o3", *sorted(("max_completion_tokens", *common))),
    ]
    assert {request.body.get("max_completion_tokens", 500) for request in server.requests} == {500}
    assert caplog.messages[0] == (
        "Upstream a: requests for the model gpt-4.1 are adapted from now on, since it refused one: "
        "without temperature, with max_completion_tokens for the limit of tokens"
    )


async def test_what_the_values_set_is_not_tried_first() -> None:
    parameters = {
        "gpt*": ModelParameters(drop=("temperature",), outputLimit="max_completion_tokens")
    }
    async with (
        OpenAIServer(reasoning_model) as server,
        providers(upstream(server, parameters=parameters)) as backend,
    ):
        assert await ask(backend, max_tokens=500, temperature=0.2) == "hello"
    assert len(server.requests) == 1


async def test_a_refusal_that_stays_is_told_and_not_learned() -> None:
    message = "Unsupported parameter: 'temperature'."
    async with (
        OpenAIServer([Fault(400, message=message)] * 4) as server,
        providers(upstream(server)) as backend,
    ):
        for _ in range(2):
            with pytest.raises(UpstreamError) as raised:
                await ask(backend, temperature=0.2)
            assert message in raised.value.body().decode()
    assert ["temperature" in request.body for request in server.requests] == [True, False] * 2


async def test_a_model_that_cannot_stream_is_asked_for_the_whole_and_it_is_streamed() -> None:
    def answer(body: Body) -> Reply:
        if body.get("stream"):
            return Fault(400, message="Unsupported value: 'stream' does not support true.")
        return Text("hello")

    async with OpenAIServer(answer) as server, providers(upstream(server)) as backend:
        assert [await ask(backend), await ask(backend)] == ["hello", "hello"]
    assert len(server.requests) == 3


async def test_the_limit_of_an_answer_reaches_a_model_that_refuses_max_tokens(
    tmp_path: Path,
) -> None:
    with bare_hub(tmp_path) as hub:
        hub.add_user("ada")
        token = hub.make_token("ada", ["access:services!service=gateway"])
        async with OpenAIServer(reasoning_model, models=["o3"]) as server:
            values = tmp_path / "gateway.yaml"
            limits = {"maxOutputTokens": 500}
            values.write_text(json.dumps({"baseUrl": server.base_url, "limits": limits}))
            settings = {"JUPYTERHUB_API_URL": hub.api_url, "CAESARION_GATEWAY_CONFIG": str(values)}
            headers = {"Authorization": f"Bearer {token}"}
            with gateway_process(tmp_path, settings) as gateway:
                async with aiohttp.ClientSession(gateway.url, headers=headers) as http:
                    for _ in range(2):
                        body = BODY | {"model": "o3", "stream": True}
                        async with http.post("v1/chat/completions", json=body) as answer:
                            said = dialects.canonical(await answer.read())
                        assert (answer.status, said["text"]) == (200, "hello")
    limits_sent = [
        {name: said for name, said in request.body.items() if name.startswith("max_")}
        for request in server.requests
    ]
    assert limits_sent == [{"max_tokens": 500}, *[{"max_completion_tokens": 500}] * 2]


# What goes back to the provider.


def streamed(*deltas: Body) -> RawAnswer:
    pieces = [
        dialects.event({**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        for delta in deltas
    ]
    return RawAnswer([*pieces, b"data: [DONE]\n\n"])


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"role": "tool", "tool_call_id": "a", "content": "1"}


def wants_its_reasoning_back(body: Body) -> RawAnswer:
    """Answer as DeepSeek does: the reasoning of a round with calls has to come back."""
    calling = [message for message in body["messages"] if message.get("tool_calls")]
    if any("reasoning_content" not in message for message in calling):
        return refusal(400, {"error": {"message": "Missing `reasoning_content` field"}})
    if calling:
        return streamed({"role": "assistant", "content": "done"})
    return streamed(
        {"role": "assistant", "reasoning_content": "I run it."},
        {"tool_calls": [{"index": 0, **CALL, "extra_content": {"google": {"sig": "x"}}}]},
    )


async def test_reasoning_and_what_else_a_provider_wants_back_goes_back() -> None:
    async with (
        RawProvider(wants_its_reasoning_back) as server,
        providers(upstream(server.base_url)) as backend,
    ):
        streamed_body = BODY | {"stream": True}
        async with backend.complete(json.dumps(streamed_body).encode(), streamed_body) as answer:
            said = dialects.canonical(await content(answer))
        assert (said["reasoning"], said["calls"][0]["id"]) == ("I run it.", "a")
        message = {"role": "assistant", "content": None, "reasoning_content": said["reasoning"]}
        message |= {"tool_calls": [{**CALL, "extra_content": {"google": {"sig": "x"}}}]}
        history = [*BODY["messages"], message, TOOL]
        assert await ask(backend, messages=history) == "done"
    assert server.requests[1]["messages"] == history


async def test_reasoning_goes_back_in_the_field_that_it_came_in() -> None:
    def answer(body: Body) -> RawAnswer:
        return streamed({"role": "assistant", "reasoning": "Hm."}, {"content": "hello"})

    message = {"role": "assistant", "content": "hello", "reasoning_content": "Hm."}
    async with RawProvider(answer) as server, providers(upstream(server.base_url)) as backend:
        for _ in range(2):
            assert await ask(backend, messages=[message, *BODY["messages"]]) == "hello"
    fields = [sorted(request["messages"][0]) for request in server.requests]
    assert fields == [
        ["content", "reasoning_content", "role"],
        ["content", "reasoning", "role"],
    ]


async def test_a_provider_that_knows_no_reasoning_gets_none_back() -> None:
    def answer(body: Body) -> Reply:
        if any("reasoning_content" in message for message in body["messages"]):
            return Fault(400, message="property 'reasoning_content' is unsupported")
        return Text("hello")

    message = {"role": "assistant", "content": "hello", "reasoning_content": "Hm."}
    history = [*BODY["messages"], message, *BODY["messages"]]
    async with (
        RawProvider(lambda body: raw(answer(body))) as server,
        providers(upstream(server.base_url)) as backend,
    ):
        for _ in range(2):
            assert await ask(backend, messages=history) == "hello"
    assert [len(request["messages"][1]) for request in server.requests] == [3, 2, 2]


def raw(reply: Reply) -> RawAnswer:
    if isinstance(reply, Fault):
        return refusal(400, {"error": {"message": reply.message}})
    return streamed({"role": "assistant", "content": "hello"})


async def test_a_model_that_begins_within_its_reasoning_is_known_from_its_first_answer() -> None:
    def answer(_: Body) -> RawAnswer:
        return streamed({"role": "assistant", "content": "Hm.\n</think>\n\nhello"})

    async with RawProvider(answer) as server, providers(upstream(server.base_url)) as backend:
        said = []
        for _ in range(2):
            body = BODY | {"stream": True}
            async with backend.complete(json.dumps(body).encode(), body) as answered:
                said.append(await content(answered))
    assert [b"</think>" in one for one in said] == [True, False]
    for one in said:
        found = dialects.canonical(one)
        assert (found["reasoning"], found["text"]) == ("Hm.\n", "hello")
