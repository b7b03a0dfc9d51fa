"""
Model servers of any dialect behind a real gateway: what its client gets, and the audit has.

The fixtures of ``tests/dialects`` over real HTTP. The client reads with a short strict
reader of its own, so that the gateway is not checked by itself.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import openai
import pytest
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.database import Database
from sqlalchemy import select

from tests import dialects
from tests.dialects import Case
from tests.fakes.bare_hub import bare_hub, free_port
from tests.fakes.gateway_process import GatewayProcess, gateway_process
from tests.fakes.raw_provider import RawAnswer, RawProvider, refusal

CASES = {case.name: case for case in dialects.read()}
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"
BODY: dict[str, Any] = {"messages": [{"role": "user", "content": "go"}]}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True)
class Deployment:
    """A gateway, its database, a user's token, and the port of the provider behind it."""

    gateway: GatewayProcess
    database: str
    token: str
    port: int

    @contextlib.asynccontextmanager
    async def answering(self, answer: RawAnswer) -> AsyncIterator[aiohttp.ClientSession]:
        """Have the provider answer so, and yield the user's client."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            RawProvider(lambda _: answer, self.port),
            aiohttp.ClientSession(self.gateway.url, headers=headers) as http,
        ):
            yield http

    async def records(self, conversation: str, number: int) -> list[dict[str, Any]]:
        """Return the audit's records of a conversation, as soon as there are so many."""
        async with asyncio.timeout(60):
            while len(found := self._records(conversation)) < number:  # noqa: ASYNC110 - a process
                await asyncio.sleep(0.02)
        return found

    def _records(self, conversation: str) -> list[dict[str, Any]]:
        with contextlib.closing(Database(self.database)) as database:
            audit = tables.audit.c
            asked = select(audit.call, audit.record).where(audit.conversation == conversation)
            with database.reading() as connection:
                rows = connection.execute(asked.order_by(audit.number))
                return [{"call": row.call, **json.loads(row.record)} for row in rows]


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("gateway")
    port = free_port()
    key = folder / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    upstream = {
        "name": "raw",
        "baseUrl": f"http://127.0.0.1:{port}/v1",
        "keyFile": str(key),
        "timeouts": {"firstByte": 5, "silence": 5},
        "retries": 0,
        "breaker": {"failures": 10_000},
    }
    url = f"sqlite:///{folder}/gateway.sqlite"
    values = {"upstreams": [upstream], "database": {"url": url}, "audit": {"text": True}}
    file = folder / "gateway.yaml"
    file.write_text(json.dumps(values))
    with bare_hub(folder) as hub:
        hub.add_user("ada")
        token = hub.make_token("ada", ["access:services!service=gateway"])
        settings = {"JUPYTERHUB_API_URL": hub.api_url, "CAESARION_GATEWAY_CONFIG": str(file)}
        with gateway_process(folder, settings) as gateway:
            yield Deployment(gateway, url, token, port)
            assert "Traceback" not in gateway.log.read_text()


def answer_of(case: Case) -> RawAnswer:
    return RawAnswer(case.pieces, case.content_type)


async def ask(
    http: aiohttp.ClientSession, conversation: str, **body: Any
) -> tuple[int, dict[str, str], bytes]:
    """Ask a model of that name, so that nothing learned of one case is used in another."""
    asked = {**BODY, "model": conversation, **body}
    headers = {"X-Caesarion-Conversation": conversation}
    async with http.post("v1/chat/completions", json=asked, headers=headers) as response:
        return response.status, dict(response.headers), await response.read()


def check(found: dict[str, Any], case: Case) -> None:
    expected = {**case.expected, "extras": {}}
    calls = [{key: call[key] for key in call if key != "extras"} for call in expected["calls"]]
    for call, other in zip(found["calls"], calls, strict=False):
        other.setdefault("id", call["id"])
    assert found == {**expected, "calls": calls}


async def check_audit(deployment: Deployment, conversation: str, found: dict[str, Any]) -> None:
    """Compare the audit's records with the calls that the client got."""
    records = await deployment.records(conversation, len(found["calls"]))
    expected = []
    for call in found["calls"]:
        code = json.loads(call["arguments"]).get("code")
        code = code if isinstance(code, str) else call["arguments"]
        expected.append((call["id"], call["name"], code, hashlib.sha256(code.encode()).hexdigest()))
    assert [(one["call"], one["tool"], one["text"], one["sha256"]) for one in records] == expected
    assert all(one["complete"] for one in records)


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if not case.expected["failure"]], ids=str
)
async def test_the_client_gets_openais_own_form_and_the_audit_has_the_same(
    deployment: Deployment, case: Case
) -> None:
    async with deployment.answering(answer_of(case)) as http:
        status, headers, body = await ask(http, case.name, **STREAM)
    assert (status, headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    found = dialects.canonical(body)
    check(found, case)
    if case.unchanged:
        assert body == case.body
    await check_audit(deployment, case.name, found)


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if not case.expected["failure"]], ids=str
)
async def test_a_whole_answer_is_openais_own_whatever_the_provider_sends(
    deployment: Deployment, case: Case
) -> None:
    conversation = f"{case.name}, whole"
    async with deployment.answering(answer_of(case)) as http:
        status, headers, body = await ask(http, conversation)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    whole = json.loads(body)
    assert whole["object"] == "chat.completion"
    message = whole["choices"][0]["message"] if whole["choices"] else {}
    calls = [{"id": call["id"], **call["function"]} for call in message.get("tool_calls") or []]
    found = dialects.NOTHING | {
        "text": message.get("content") or "",
        "reasoning": message.get("reasoning_content") or "",
        "refusal": message.get("refusal") or "",
        "calls": calls,
        "finish": whole["choices"][0]["finish_reason"] if whole["choices"] else "",
        "usage": dialects.usage_of({**whole, "choices": []}) if whole.get("usage") else None,
    }
    check(found, case)
    await check_audit(deployment, conversation, found)


async def test_a_call_that_comes_slowly_behind_its_finish_reason_is_recorded_whole(
    deployment: Deployment,
) -> None:
    case = CASES["end: a finish reason on each chunk"]
    slow = RawAnswer(case.pieces, case.content_type, pause=0.1)
    async with deployment.answering(slow) as http:
        _, _, body = await ask(http, "slow", **STREAM)
    found = dialects.canonical(body)
    check(found, case)
    await check_audit(deployment, "slow", found)


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.expected["failure"]], ids=str
)
async def test_what_fails_ends_in_the_providers_words_and_no_call_is_recorded_as_whole(
    deployment: Deployment, case: Case
) -> None:
    codes = {
        "error": "upstream_error",
        "garbled": "upstream_garbled",
        "cut": "upstream_disconnected",
    }
    async with deployment.answering(answer_of(case)) as http:
        status, headers, body = await ask(http, case.name, **STREAM)
    begun = bool(case.expected["text"] or case.expected["calls"])
    assert status == (200 if begun else 502)
    last = body.removesuffix(b"\n\n").split(b"\n\n")[-1].removeprefix(b"data: ")
    error = json.loads(last)["error"]
    assert case.expected["error"] in error["message"]
    if case.expected["failure"] != "error":
        assert error["code"] == codes[case.expected["failure"]]
    if not begun:
        assert headers["X-Should-Retry"] == "false"
    records = await deployment.records(case.name, len(case.expected["calls"]))
    assert [record["complete"] for record in records] == [False] * len(records)


# The provider's key.


def quoting(text: str, *, headers: dict[str, str] | None = None) -> RawAnswer:
    """Return a stream that says ``text``, in pieces of seven letters."""
    deltas = [{"content": text[at : at + 7]} for at in range(0, len(text), 7)]
    choices = [
        {"index": 0, "delta": delta, "finish_reason": None}
        for delta in ({"role": "assistant"}, *deltas)
    ]
    events = [dialects.event({**dialects.HEAD, "choices": [choice]}) for choice in choices]
    return RawAnswer([*events, b"data: [DONE]\n\n"], headers=headers or {})


@pytest.mark.parametrize("body", [STREAM, {}], ids=["stream", "whole"])
async def test_no_answer_quotes_the_providers_key(
    deployment: Deployment, body: dict[str, Any]
) -> None:
    names = ("x-request-id", "x-ratelimit-limit-requests")
    answer = quoting(f"Your key is {KEY}.", headers=dict.fromkeys(names, f"of-{KEY}"))
    async with deployment.answering(answer) as http:
        status, headers, received = await ask(http, "gpt-4.1", **body)
    assert status == 200
    assert KEY.encode() not in received
    assert b"[key]" in received
    assert {
        name.lower(): value for name, value in headers.items() if name.lower() in names
    } == dict.fromkeys(names, "of-[key]")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal(400, [{"error": {"message": f"API key {KEY} not valid"}}]), "API key [key] not"),
        (refusal(422, {"detail": [{"loc": ["body"], "msg": "too big"}]}), "body: too big"),
        (RawAnswer([b"no capacity"], "text/plain", 400), "answered 400: no capacity"),
        (RawAnswer([b"<title>Blocked</title>"], "text/html", 400), "answered 400: Blocked"),
    ],
    ids=["list", "FastAPI", "text", "page"],
)
async def test_an_error_of_any_shape_is_told_in_the_providers_words(
    deployment: Deployment, answer: RawAnswer, words: str
) -> None:
    async with deployment.answering(answer) as http:
        status, _, received = await ask(http, "gpt-4.1", **STREAM)
    assert status == answer.status
    message = json.loads(received)["error"]["message"]
    assert words in message
    assert "Check" not in message


@pytest.mark.parametrize(
    "answer",
    [
        RawAnswer([b"<html>Log in</html>"], "text/html"),
        RawAnswer([b"nonsense"], "application/json"),
        RawAnswer([b"broken"], "text/plain", 500),
    ],
    ids=["page", "nonsense", "500"],
)
async def test_a_client_asks_once_for_an_answer_that_is_none(
    deployment: Deployment, answer: RawAnswer
) -> None:
    async with (
        RawProvider(lambda _: answer, deployment.port) as provider,
        openai.AsyncOpenAI(
            base_url=deployment.gateway.base_url, api_key=deployment.token, max_retries=2
        ) as client,
    ):
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "go"}], stream=True
            )
    assert len(provider.requests) == 1
