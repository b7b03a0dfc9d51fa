"""
The agent and the gateway before model servers that other people wrote: aimock and LiteLLM.

A real hub, the gateway as a process, the agent's own loop with the real SDK, a scripted
provider behind LiteLLM; and in the end what the gateway has put into its audit.
"""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from caesarion.agent import prompt
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.config import CaesarionAgent, CaesarionModel
from caesarion.events import Done, Event, Failure, Text, Usage
from pydantic import BaseModel

from tests.fakes.bare_hub import BareHub, bare_hub, free_port
from tests.fakes.gateway_process import GatewayProcess, environment, gateway_process
from tests.fakes.openai_server import Fault, OpenAIServer, ToolCalls, call
from tests.fakes.openai_server import Text as Said
from tests.fakes.openai_server import Usage as Used
from tests.other_servers import aimock, litellm

CODE = "print('ü', 6 * 7)"
SCOPE = "access:services!service=gateway"


class Code(BaseModel):
    code: str


class Python(Tool[Code]):
    """Keeps what it is to run, and says what that would print."""

    name = "python_interpreter"
    description = "Run Python."
    arguments = Code
    kind = "read"

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def run(self, arguments: Code) -> AsyncGenerator[Step, None]:
        self.ran.append(arguments.code)
        yield ToolResult("ok", "ü 42")


class Asked:
    """What came of one question."""

    def __init__(self, events: list[Event], ran: list[str]) -> None:
        self.ran = ran
        self.words = "".join(event.delta for event in events if isinstance(event, Text))
        self.failures = [event.message for event in events if isinstance(event, Failure)]
        self.usages = [event for event in events if isinstance(event, Usage)]
        self.end = events[-1]


async def ask(base_url: str, token: str, question: str) -> Asked:
    model = Model(CaesarionModel(base_url=base_url, token=token, retries=0))
    tool = Python()
    agent = Agent(CaesarionAgent(), model, [tool])
    history = [prompt.system_message(), {"role": "user", "content": question}]
    try:
        return Asked([event async for event in agent.run(history)], tool.ran)
    finally:
        await model.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        hub.add_user("ada")
        yield hub


@pytest.fixture(scope="module")
def token(hub: BareHub) -> str:
    return hub.make_token("ada", [SCOPE])


@contextmanager
def gateway_before(base_url: str, hub: BareHub, folder: Path) -> Iterator[GatewayProcess]:
    values = folder / "gateway.yaml"
    upstream = {"name": "other", "baseUrl": base_url, "retries": 0}
    database = {"url": database_of(folder)}
    given = {"upstreams": [upstream], "audit": {"text": True}, "database": database}
    values.write_text(json.dumps(given))
    settings = {
        "JUPYTERHUB_API_URL": hub.api_url,
        "CAESARION_GATEWAY_CONFIG": str(values),
    }
    with gateway_process(folder, settings) as gateway:
        yield gateway


def database_of(folder: Path) -> str:
    return f"sqlite:///{folder}/gateway.sqlite"


def audited(folder: Path) -> list[str]:
    """Return what the audit says was asked to be run, in order."""
    command = [sys.executable, "-m", "caesarion_hub.gateway.audit"]
    exported = subprocess.run(
        [*command, "--database", database_of(folder), "export"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    records = [json.loads(line)["record"] for line in exported.stdout.splitlines()]
    return [record["text"] for record in records if "text" in record]


FIXTURES: list[dict[str, Any]] = [
    {
        "match": {"userMessage": "compute", "hasToolResult": False},
        "response": {
            "content": "Let me see. ",
            "toolCalls": [{"name": "python_interpreter", "arguments": {"code": CODE}}],
        },
    },
    {"match": {"toolResultContains": "ü 42"}, "response": {"content": "It is 42."}},
    {
        "match": {"userMessage": "too long"},
        "response": {"error": {"message": "Shorten it, please."}, "status": 400},
    },
    {
        "match": {"userMessage": "hang up"},
        "response": {"content": "Nobody reads this."},
        "chaos": {"disconnectRate": 1},
    },
    {
        "match": {"userMessage": "garble"},
        "response": {"content": "Nobody reads this."},
        "chaos": {"malformedRate": 1},
    },
]


# aimock.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("aimock")


@pytest.fixture(scope="module")
def aimock_gateway(hub: BareHub, folder: Path) -> Iterator[GatewayProcess]:
    with aimock(folder, FIXTURES) as mock, gateway_before(mock.base_url, hub, folder) as gateway:
        yield gateway


async def test_a_call_of_aimocks_goes_round_and_is_audited_as_it_ran(
    aimock_gateway: GatewayProcess, folder: Path, token: str
) -> None:
    asked = await ask(aimock_gateway.base_url, token, "compute")
    assert (asked.words, asked.ran) == ("Let me see. It is 42.", [CODE])
    assert (asked.failures, asked.end) == ([], Done("stop"))
    assert asked.usages[-1].total_tokens > 0
    assert audited(folder) == [CODE]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("too long", "Shorten it, please."),
        ("something else", "failed (503)"),
        ("hang up", "closed the connection"),
        ("garble", "no answer of the OpenAI protocol"),
    ],
)
async def test_what_aimock_does_not_answer_is_a_sentence(
    aimock_gateway: GatewayProcess, token: str, question: str, words: str
) -> None:
    asked = await ask(aimock_gateway.base_url, token, question)
    assert (asked.words, asked.ran, asked.end) == ("", [], Done("error"))
    (sentence,) = asked.failures
    assert words in sentence


# LiteLLM.


@pytest.fixture(scope="module")
def provider_port() -> int:
    return free_port()


@pytest.fixture
async def provider(provider_port: int) -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer(port=provider_port) as provider:
        yield provider


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("litellm")


@pytest.fixture(scope="module")
def litellm_gateway(hub: BareHub, behind: Path, provider_port: int) -> Iterator[GatewayProcess]:
    with (
        litellm(behind, f"http://127.0.0.1:{provider_port}/v1") as proxy,
        gateway_before(proxy.base_url, hub, behind) as gateway,
    ):
        yield gateway


async def test_a_call_through_litellm_goes_round_and_is_audited_as_it_ran(
    litellm_gateway: GatewayProcess, provider: OpenAIServer, behind: Path, token: str
) -> None:
    provider.add(
        ToolCalls(call("python_interpreter", {"code": CODE}), text="Let me see. ", split=3),
        Said("It ", "is ", "42.", usage=Used(100, 5)),
    )
    asked = await ask(litellm_gateway.base_url, token, "compute")
    assert (asked.words, asked.ran) == ("Let me see. It is 42.", [CODE])
    assert (asked.failures, asked.end) == ([], Done("stop"))
    assert asked.usages[-1].total_tokens >= 105
    assert audited(behind) == [CODE]


async def test_the_providers_words_come_through_litellm(
    litellm_gateway: GatewayProcess, provider: OpenAIServer, token: str
) -> None:
    provider.add(*[Fault(400, message="Shorten it, please.")] * 4)
    asked = await ask(litellm_gateway.base_url, token, "compute")
    assert (asked.words, asked.ran, asked.end) == ("", [], Done("error"))
    (sentence,) = asked.failures
    assert "Shorten it, please." in sentence


async def test_an_answer_that_litellm_loses_half_way_is_an_error_after_its_words(
    litellm_gateway: GatewayProcess, provider: OpenAIServer, token: str
) -> None:
    provider.add(Fault("reset_mid_stream", after=Said("one ", "two")))
    asked = await ask(litellm_gateway.base_url, token, "compute")
    assert asked.words.strip() == "one two"
    assert (len(asked.failures), asked.end) == (1, Done("error"))
