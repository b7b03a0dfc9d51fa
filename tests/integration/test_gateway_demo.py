"""The demo model over the real wire: a small agent asks it, runs what it calls, asks again."""

import contextlib
import io
import json
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from caesarion.agent.model import Model
from caesarion.config import CaesarionModel

from tests.fakes.bare_hub import bare_hub
from tests.fakes.gateway_process import GatewayProcess, gateway_process
from tests.fakes.openai_rules import check_body

INTRODUCTION = "I am Caesarion's demo model: a few rules, not an LLM."
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "python_interpreter",
            "parameters": {"type": "object", "properties": {"code": {"type": "string"}}},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "get_current_weather",
            "parameters": {
                "type": "object",
                "properties": {"latitude": {}, "longitude": {}, "place": {}},
            },
        },
    },
]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GatewayProcess, str]]:
    """A demo gateway, and a token for it."""
    folder = tmp_path_factory.mktemp("demo")
    with bare_hub(folder) as hub:
        hub.add_user("alice")
        token = hub.make_token("alice", ["access:services!service=gateway"])
        with gateway_process(folder, {"JUPYTERHUB_API_URL": hub.api_url}) as gateway:
            yield gateway, token
            assert "Traceback" not in gateway.log.read_text()


@pytest.fixture
async def client(gateway: tuple[GatewayProcess, str]) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=gateway[0].base_url, api_key=gateway[1], max_retries=0, timeout=60
    ) as client:
        yield client


class Conversation:
    """A small agent: asks, runs the calls in one namespace, asks again until it hears words."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self.client = client
        self.messages: list[Any] = []
        self.variables: dict[str, Any] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []

    async def ask(self, question: str) -> str:
        """Return what was said to the question, all rounds joined."""
        self.messages.append({"role": "user", "content": question})
        said = ""
        while True:
            message = await self.answer()
            said += message["content"] or ""
            self.messages.append(message)
            if "tool_calls" not in message:
                return said
            for call in message["tool_calls"]:
                arguments = json.loads(call["function"]["arguments"])
                self.calls.append((call["function"]["name"], arguments))
                result = self.run(arguments["code"]) if "code" in arguments else "No such place."
                self.messages.append(
                    {"role": "tool", "tool_call_id": call["id"], "content": result}
                )

    async def answer(self) -> dict[str, Any]:
        """Stream one answer and return it as a message."""
        body: Any = {"model": "gpt-4.1", "messages": self.messages, "tools": TOOLS, "stream": True}
        check_body(json.dumps(body).encode())
        text, calls, finish = "", dict[int, Any](), None
        async for chunk in await self.client.chat.completions.create(**body):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                finish = choice.finish_reason or finish
                for piece in choice.delta.tool_calls or []:
                    call = calls.setdefault(piece.index, {"function": {"arguments": ""}})
                    if piece.id:
                        call |= {"id": piece.id, "type": "function"}
                        call["function"]["name"] = piece.function.name
                    call["function"]["arguments"] += piece.function.arguments
        assert finish == ("tool_calls" if calls else "stop")
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        return message | {"tool_calls": list(calls.values())} if calls else message

    def run(self, code: str) -> str:
        """Run code as a kernel would; tell what it printed, its value, or its error."""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            try:
                exec(compile(code, "<cell>", "exec"), self.variables)
            except Exception:
                printed.write(traceback.format_exc())
        return printed.getvalue() or "The code ran and showed nothing."


async def test_a_variable_is_printed_in_the_users_own_kernel(client: openai.AsyncOpenAI) -> None:
    conversation = Conversation(client)
    conversation.variables["x"] = 41
    said = await conversation.ask("print x+1")
    assert said.startswith(INTRODUCTION)
    assert said.endswith("The result is `42`.")
    assert conversation.calls == [("python_interpreter", {"code": "print(x+1)"})]


async def test_it_introduces_itself_once(client: openai.AsyncOpenAI) -> None:
    conversation = Conversation(client)
    assert (await conversation.ask("hello")).startswith(INTRODUCTION)
    assert "demo model" not in await conversation.ask("run print(1)")


async def test_an_error_is_told_by_its_last_line(client: openai.AsyncOpenAI) -> None:
    said = await Conversation(client).ask("run 1/0")
    assert said.endswith("That failed: `ZeroDivisionError: division by zero`")


async def test_files_are_looked_at_in_three_rounds(
    client: openai.AsyncOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.csv").write_text("city,people\nOslo,700000\nRome,2800000\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    conversation = Conversation(client)
    conversation.variables["path"] = "mine"
    said = await conversation.ask("what files do I have?")
    assert len(conversation.calls) == 3
    assert "You have 1 file. I inspect the first data file, `data.csv`." in said
    assert said.endswith(
        "`data.csv` has 3 lines and begins with `city,people`; its first rows are shown above."
    )
    assert conversation.variables["path"] == "mine"


async def test_the_weather_is_asked_of_its_tool(client: openai.AsyncOpenAI) -> None:
    conversation = Conversation(client)
    said = await conversation.ask("What's the weather in Oslo today?")
    assert conversation.calls == [("get_current_weather", {"place": "Oslo"})]
    assert said.endswith("The weather tool says: No such place.")


async def test_usage_comes_when_it_is_asked_for(client: openai.AsyncOpenAI) -> None:
    hello: Any = {"model": "any", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    create: Any = client.chat.completions.create
    without = [chunk async for chunk in await create(**hello)]
    options = {"include_usage": True}
    counted = [chunk async for chunk in await create(**hello, stream_options=options)]
    assert {chunk.usage for chunk in without} == {None}
    usage = counted[-1].usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 100
    assert {chunk.model for chunk in counted} == {"caesarion-demo"}


async def test_without_streaming_the_same_words_come_at_once(client: openai.AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "factorial of 5"}]
    whole = await client.chat.completions.create(model="any", messages=messages, tools=TOOLS)
    message = whole.choices[0].message
    assert message.content is not None
    assert message.content.startswith(INTRODUCTION)
    assert message.tool_calls is not None
    assert json.loads(message.tool_calls[0].to_dict()["function"]["arguments"]) == {  # type: ignore[index]
        "code": "import math\n\nprint(math.factorial(5))"
    }
    assert whole.usage is not None
    assert whole.usage.total_tokens > 50


async def test_words_come_one_after_the_other(
    client: openai.AsyncOpenAI, gateway: tuple[GatewayProcess, str]
) -> None:
    headers = {"Authorization": f"Bearer {gateway[1]}"}
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    url = f"{gateway[0].base_url}/chat/completions"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=body) as answer,
    ):
        pieces = [data async for data, _ in answer.content.iter_chunks()]
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert len(pieces) > 50
    assert b"".join(pieces).endswith(b"data: [DONE]\n\n")


async def test_the_demo_model_is_listed_and_health_says_demo(
    client: openai.AsyncOpenAI, gateway: tuple[GatewayProcess, str]
) -> None:
    assert [model.id async for model in client.models.list()] == ["caesarion-demo"]
    async with aiohttp.ClientSession(gateway[0].url) as session, session.get("health") as answer:
        assert await answer.json() == {"status": "ok", "demo": True}


async def test_a_request_of_another_shape_is_a_sentence(client: openai.AsyncOpenAI) -> None:
    lonely: Any = [{"role": "system", "content": "x"}]
    with pytest.raises(openai.BadRequestError, match="must hold a message of the role 'user'"):
        await client.chat.completions.create(model="any", messages=lonely, stream=True)


async def test_the_demo_too_asks_who_is_calling(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError, match="The hub does not know this token"):
        await client.with_options(api_key="made-up").models.list()


async def test_a_users_server_calls_the_demo_model_by_its_own_name(
    gateway: tuple[GatewayProcess, str],
) -> None:
    settings = CaesarionModel(base_url=gateway[0].base_url, token=gateway[1], name="gpt-4.1")
    seen = await Model(settings).endpoint.status()
    assert (seen.model, seen.problem) == ("caesarion-demo", "")
