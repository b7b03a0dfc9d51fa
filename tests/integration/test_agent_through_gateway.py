"""The agent behind the real gateway: what a provider says reaches the turn as it was meant."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from caesarion.agent.model import Model
from caesarion.config import CaesarionModel
from caesarion.events import Done, Reasoning, Refusal, ToolCall, Usage

from tests.fakes.bare_hub import BareHub, bare_hub, free_port
from tests.fakes.gateway_process import GatewayProcess, gateway_process
from tests.fakes.openai_server import Fault, OpenAIServer, Raw
from tests.fakes.raw_provider import RawAnswer, RawProvider, refusal
from tests.integration.test_agent_over_http import (
    Counter,
    ask_model,
    code,
    failures,
    thinking,
    words,
)

SCOPE = "access:services!service=gateway"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add_user("alice")
        yield hub


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def gateway(
    hub: BareHub, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    upstream = {
        "name": "scripted",
        "baseUrl": f"http://127.0.0.1:{port}/v1",
        "timeouts": {"firstByte": 1, "silence": 1},
        "retries": 0,
        "breaker": {"failures": 1000},
    }
    values = folder / "gateway.yaml"
    values.write_text(json.dumps({"upstreams": [upstream]}))
    settings = {"JUPYTERHUB_API_URL": hub.api_url, "CAESARION_GATEWAY_CONFIG": str(values)}
    with gateway_process(folder, settings) as gateway:
        yield gateway


@pytest.fixture
async def model(gateway: GatewayProcess, hub: BareHub) -> AsyncIterator[Model]:
    """A user's server's model; its own limit of silence is below the gateway's."""
    token = hub.make_token("alice", [SCOPE])
    model = Model(CaesarionModel(base_url=gateway.base_url, token=token, timeout=0.2))
    await model.endpoint.status()
    yield model
    await model.close()


async def test_reasoning_goes_back_to_a_provider_that_wants_it(model: Model, port: int) -> None:
    script = [thinking(code("1")), thinking()]
    async with OpenAIServer(script, needs="reasoning_content", port=port) as provider:
        events = await ask_model(model)
    assert (words(events), failures(events)) == ("done", [])
    assert [event.delta for event in events if isinstance(event, Reasoning)] == [
        *("Let me ", "see."),
        *("Let me ", "see."),
    ]
    assert len(provider.requests) == 2
    assert provider.requests[1].body["messages"][2]["reasoning_content"] == "Let me see."


async def test_a_signature_of_a_call_goes_back_with_it(model: Model, port: int) -> None:
    signature = {"google": {"thought_signature": "s"}}
    script = [thinking(code("1", extra_content=signature)), thinking()]
    fields = ("extra_content", "reasoning_content")
    async with OpenAIServer(script, own_fields=fields, port=port) as provider:
        assert failures(await ask_model(model)) == []
    asked = provider.requests[-1].body["messages"][2]
    assert asked["tool_calls"][0]["extra_content"] == signature


async def test_a_provider_that_refuses_reasoning_is_asked_without_it_from_then_on(
    model: Model, port: int
) -> None:
    script = [thinking(code("1")), thinking(), thinking(code("2")), thinking()]
    async with OpenAIServer(script, port=port) as provider:
        for _ in range(2):
            events = await ask_model(model)
            assert (words(events), failures(events)) == ("done", [])
    sent = ["reasoning_content" in str(request.body["messages"]) for request in provider.requests]
    assert sent == [False, True, False, False, False]


async def test_a_refusal_is_an_answer(model: Model, port: int) -> None:
    said = "I'm sorry, I can't help with that."
    delta = {"role": "assistant", "content": None, "refusal": said}
    refused = Raw([{"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]}])
    async with OpenAIServer([refused], port=port):
        events = await ask_model(model)
    assert "".join(event.delta for event in events if isinstance(event, Refusal)) == said
    assert failures(events) == []


async def test_of_counts_that_run_along_the_last_one_counts(model: Model, port: int) -> None:
    def counted(number: int, *choices: Any) -> dict[str, Any]:
        usage = {"prompt_tokens": 100, "completion_tokens": number, "total_tokens": 100 + number}
        return {"choices": list(choices), "usage": usage}

    word = {"index": 0, "delta": {"content": "word "}}
    chunks = [*(counted(number, word) for number in range(1, 6)), counted(5)]
    async with OpenAIServer([Raw(chunks)], port=port):
        events = await ask_model(model)
    [usage] = [event for event in events if isinstance(event, Usage)]
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 5)


async def test_arguments_that_come_as_an_object_run(model: Model, port: int) -> None:
    tool, asked = Counter(), code("")
    asked["function"]["arguments"] = {"code": "print('obj')"}
    async with OpenAIServer(
        [thinking(asked), thinking()], own_fields=["reasoning_content"], port=port
    ):
        events = await ask_model(model, tool)
    assert tool.runs == ["print('obj')"]
    [made] = [event for event in events if isinstance(event, ToolCall)]
    assert json.loads(made.arguments) == {"code": "print('obj')"}


async def test_the_gateways_limit_of_silence_holds(model: Model, port: int) -> None:
    """The server's own, which is shorter here, is for endpoints that are no gateway."""
    async with OpenAIServer([Fault("stall_mid_stream")], port=port):
        events = await ask_model(model)
    [sentence] = failures(events)
    assert "was silent for 1 seconds" in sentence
    assert "CaesarionModel" not in sentence
    assert events[-1] == Done("error")


@pytest.mark.parametrize(
    "answer",
    [
        RawAnswer([b"<html><title>Welcome</title></html>"], "text/html"),
        refusal(500, {"error": {"message": "It broke."}}),
    ],
    ids=["page", "500"],
)
async def test_an_answer_that_is_none_is_asked_for_once(
    model: Model, port: int, answer: RawAnswer
) -> None:
    async with RawProvider(lambda _: answer, port) as provider:
        events = await ask_model(model)
    assert len(failures(events)) == 1
    assert len([path for path in provider.paths if path.endswith("/completions")]) == 1
