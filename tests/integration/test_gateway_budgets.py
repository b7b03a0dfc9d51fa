"""
Gateways as processes with a ledger: what is charged, refused and recorded.

Between a real hub and the scripted provider, on SQLite and, for two gateways at
once, on PostgreSQL.
"""

import asyncio
import hashlib
import json
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model, Source
from caesarion.config import CaesarionAgent, CaesarionModel
from caesarion.events import Done, Failure
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.audit_key import AuditKey
from caesarion_hub.gateway.store.audit_log import AuditLog
from caesarion_hub.gateway.store.audit_verification import in_database
from caesarion_hub.gateway.store.commands import AuditEntry, receipt_hash
from caesarion_hub.gateway.store.database import Database
from caesarion_hub.gateway.store.settlements import LOST
from sqlalchemy import func, select

from tests.fakes.bare_hub import ADMIN_TOKEN, BareHub, bare_hub
from tests.fakes.gateway_process import environment
from tests.fakes.openai_server import Fault, OpenAIServer, Raw, Text, ToolCalls, Usage, call
from tests.fakes.postgres import Postgres
from tests.forks import forked
from tests.gateways import ASKED, COUNTED, SCOPE, STREAM, Gateways, ask, ask_with_receipt, session


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        for user in ("ada", "bob"):
            hub.add_user(user)
        hub.add_group("students", ["bob"])
        yield hub


@pytest.fixture(scope="module")
def ada(hub: BareHub) -> str:
    return hub.make_token("ada", [SCOPE])


@pytest.fixture(scope="module")
def bob(hub: BareHub) -> str:
    return hub.make_token("bob", [SCOPE])


@pytest.fixture
async def provider() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer(models=["gpt-4.1", "small"]) as provider:
        yield provider


@pytest.fixture
def gateways(hub: BareHub, provider: OpenAIServer, tmp_path: Path) -> Gateways:
    return Gateways(hub, provider, tmp_path)


async def test_what_a_request_took_is_in_the_ledger(
    gateways: Gateways, provider: OpenAIServer, bob: str
) -> None:
    counted = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 400},
    }
    delta = {"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}
    provider.add(Raw([{"choices": [delta]}, {"choices": [], "usage": counted}]))
    told = {"X-Caesarion-Conversation": "lab.chat", "X-Caesarion-Message": "m-1"}
    with gateways.running() as gateway:
        async with session(gateway, bob) as http:
            status, body = await ask(http, **told)
            assert status == 200
            assert b'"prompt_tokens":1000' in body
        (row,) = await gateways.settled(1)
    assert (row.user, row.server, json.loads(row.groups)) == ("bob", "", ["students"])
    assert (row.model, row.conversation, row.message) == ("gpt-4.1", "lab.chat", "m-1")
    assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (1000, 100, 400)
    assert (row.estimated, row.nanos) == (False, 600 * 2000 + 400 * 500 + 100 * 8000)
    assert (row.status, row.error, row.finish_reason, row.calls) == (200, "", "stop", 0)
    assert 0 <= row.first_ms <= row.total_ms < 10_000
    assert row.upstream == provider.base_url.split("/")[2]
    assert "nobody-else-may-read-this" not in str(row)


async def test_who_did_not_ask_for_the_usage_does_not_see_it(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Text("hello", usage=Usage(7, 8)), Text("hello", usage=Usage(7, 8)))
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            _, plain = await ask(http, STREAM)
            _, counted = await ask(http)
        rows = await gateways.settled(2)
    assert plain.count(b"data: ") == counted.count(b"data: ") - 1
    assert b'"prompt_tokens"' not in plain
    assert [(row.prompt_tokens, row.completion_tokens) for row in rows] == [(7, 8)] * 2
    assert provider.requests[0].body["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(
    "reply",
    [
        Text("Nobody", " counted", ".", usage=None),
        Text("Nobody", " counted", ".", usage=Usage(-3, 4)),
        Text("Nobody", " counted", ".", usage=Usage(2**50, 4)),
    ],
)
async def test_what_the_provider_does_not_count_we_count(
    gateways: Gateways, provider: OpenAIServer, ada: str, reply: Any
) -> None:
    provider.add(reply)
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            assert (await ask(http))[0] == 200
        (row,) = await gateways.settled(1)
    assert (row.estimated, row.completion_tokens) == (True, 5)
    assert 30 < row.prompt_tokens < 100
    assert row.nanos == row.prompt_tokens * 2000 + row.completion_tokens * 8000


async def test_a_model_without_a_price_costs_nobody_knows_what(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Text("hello", usage=Usage(7, 8)))
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            assert (await ask(http, COUNTED | {"model": "small"}))[0] == 200
        (row,) = await gateways.settled(1)
    assert (row.model, row.prompt_tokens, row.nanos) == ("small", 7, None)


async def test_a_refusal_of_the_provider_costs_nothing(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Fault(400), *[Fault("reset_before_headers")] * 3)
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            assert [(await ask(http))[0] for _ in range(2)] == [400, 502]
        rows = await gateways.settled(2)
    assert [(row.status, row.error) for row in rows] == [
        (400, "upstream_refused"),
        (502, "upstream_disconnected"),
    ]
    assert {(row.prompt_tokens, row.completion_tokens, row.nanos) for row in rows} == {(0, 0, 0)}


async def test_an_answer_that_breaks_off_costs_what_was_said(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Fault("reset_mid_stream", after=Text("123456789012", "34")))
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            assert b"broke before the answer was complete" in (await ask(http))[1]
        (row,) = await gateways.settled(1)
    assert (row.status, row.error) == (502, "upstream_disconnected")
    assert (row.completion_tokens, row.estimated) == (5, True)


async def test_who_goes_away_pays_for_what_was_said(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Text(*["word "] * 500, delay=0.01))
    with gateways.running() as gateway:
        async with (
            session(gateway, ada) as http,
            http.post("v1/chat/completions", json=COUNTED) as answer,
        ):
            while b"word" not in await answer.content.readline():
                pass
        request = await provider.request()
        async with asyncio.timeout(60):
            await request.ended.wait()
        assert request.client_gone
        (row,) = await gateways.settled(1)
    assert (row.status, row.error) == (499, "client_gone")
    assert row.estimated
    assert 1 <= row.completion_tokens < 300
    assert row.prompt_tokens > 30


async def test_a_reached_budget_is_a_sentence_and_the_next_user_may_ask(
    gateways: Gateways, provider: OpenAIServer, ada: str, bob: str
) -> None:
    provider.add(*[Text("hello", usage=Usage(10, 90))] * 3)
    budgets = [
        {"scope": "user", "window": "day", "tokens": 1000},
        {"scope": "user", "name": "ada", "window": "month", "tokens": 150},
    ]
    with gateways.running(budgets=budgets, limits={"maxOutputTokens": 100}) as gateway:
        async with openai.AsyncOpenAI(base_url=gateway.base_url, api_key=ada) as client:
            for _ in range(2):
                await client.chat.completions.create(model="gpt-4.1", messages=ASKED)
            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(model="gpt-4.1", messages=ASKED)
        message = caught.value.body["message"]  # type: ignore[index]
        assert re.fullmatch(
            r"Your budget of 150 tokens a month is used up: 200 are used\. "
            r"It renews on \d{4}-\d\d-01 at 00:00 UTC\.",
            message,
        )
        assert (caught.value.code, caught.value.type) == ("budget_reached", "budget_error")
        async with session(gateway, bob) as http:
            assert (await ask(http))[0] == 200
    assert len(provider.requests) == 3
    assert provider.requests[0].body["max_tokens"] == 100
    assert gateways.refusals() == [("ada", "budget_reached", 1, "gpt-4.1", message)]


async def test_refusals_are_counted_by_user_and_reason(
    gateways: Gateways, provider: OpenAIServer, ada: str, bob: str
) -> None:
    provider.add(Text("hello"))
    with gateways.running(limits={"models": ["gpt-4.1"], "requestsPerMinute": 1}) as gateway:
        async with session(gateway, ada) as http:
            statuses = [(await ask(http))[0] for _ in range(3)]
        async with session(gateway, bob) as http:
            others = [COUNTED | {"model": model} for model in ("gpt-4", "small")]
            statuses += [(await ask(http, body))[0] for body in others]
    assert statuses == [200, 429, 429, 403, 403]
    assert [row[:4] for row in gateways.refusals()] == [
        ("ada", "too_many_requests", 2, "gpt-4.1"),
        ("bob", "model_not_allowed", 2, "small"),
    ]


async def test_a_budget_reached_in_mid_answer_lets_it_end(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Text(*["word "] * 50, delay=0.01, usage=Usage(10, 5000)))
    budgets = [{"scope": "everyone", "window": "total", "tokens": 20}]
    with gateways.running(budgets=budgets) as gateway:
        async with session(gateway, ada) as http:
            status, body = await ask(http)
            assert (status, body.count(b"word")) == (200, 50)
            status, body = await ask(http)
    assert status == 429
    assert b"It does not renew; the operator can raise it." in body


async def test_a_group_has_its_own_models_and_names_for_them(
    gateways: Gateways, provider: OpenAIServer, ada: str, bob: str
) -> None:
    provider.add(Text("hello"), Text("hello"))
    values = {
        "groups": {"students": {"models": ["small"], "defaultModel": "small"}},
        "aliases": {"fast": "small"},
    }
    with gateways.running(**values) as gateway:
        async with session(gateway, bob) as http:
            for model in ("fast", "default"):
                assert (await ask(http, COUNTED | {"model": model}))[0] == 200
            status, body = await ask(http, COUNTED | {"model": "gpt-4"})
            async with http.get("v1/models") as answer:
                students = [model["id"] for model in (await answer.json())["data"]]
        async with session(gateway, ada) as http, http.get("v1/models") as answer:
            others = [model["id"] for model in (await answer.json())["data"]]
    assert [request.body["model"] for request in provider.requests] == ["small", "small"]
    assert (status, json.loads(body)["error"]["code"]) == (403, "model_not_allowed")
    assert students == ["small", "fast"]
    assert others == ["gpt-4.1", "small", "fast"]


async def test_a_tool_call_is_in_the_audit_before_its_answer_ends(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    code = "print('ü')"
    provider.add(
        ToolCalls(call("python_interpreter", {"code": code}), call("f", "{not json"), split=5),
        ToolCalls(call("python_interpreter", {"code": code})),
    )
    told = {"X-Caesarion-Conversation": "lab.chat"}
    with gateways.running(audit={"text": True}) as gateway:
        async with session(gateway, ada) as http:
            async with http.post("v1/chat/completions", json=COUNTED, headers=told) as answer:
                async for line in answer.content:
                    if b'"finish_reason": "tool_calls"' in line:
                        break
                records = gateways.records()
                await answer.read()
            await ask(http, COUNTED | {"stream": False, "stream_options": None})
            rows = await gateways.settled(2)
    assert [row.calls for row in rows] == [2, 1]
    assert [(record["tool"], record["text"]) for record in records] == [
        ("python_interpreter", code),
        ("f", "{not json"),
    ]
    assert records[0]["sha256"] == hashlib.sha256(code.encode()).hexdigest()
    assert {record["conversation"] for record in records} == {"lab.chat"}
    assert len(gateways.records()) == 3


async def test_a_servers_report_of_a_call_is_recorded_once_and_as_such(
    gateways: Gateways, provider: OpenAIServer, ada: str, bob: str
) -> None:
    provider.add(ToolCalls(call("f", {}, id="call_7")))
    outcome = {"call": "call_7", "outcome": "ok", "approval": "auto"}
    with gateways.running() as gateway:
        async with session(gateway, ada) as http, session(gateway, bob) as other:
            _, receipt = await ask_with_receipt(http)
            report = {"outcomes": [outcome | {"receipt": receipt, "approver": "rule"}]}
            made_up = {"outcomes": [outcome | {"call": "call_8", "receipt": receipt}]}
            recorded = []
            for client, told in ((other, report), (http, made_up), (http, report), (http, report)):
                async with client.post("v1/audit/outcomes", json=told) as answer:
                    recorded.append((await answer.json())["recorded"])
            foreign = outcome | {"approver": "nobody"}
            oddities: list[Any] = [{}, {"outcomes": [{}]}, {"outcomes": 5}]
            oddities += [{"outcomes": [foreign]}, {"outcomes": ["call"]}]
            for odd in oddities:
                async with http.post("v1/audit/outcomes", json=odd) as answer:
                    assert answer.status == 400
                    assert "reports no outcomes" in (await answer.json())["error"]["message"]
    assert recorded == [0, 0, 1, 0]
    asked, ended = gateways.records()
    assert (asked["kind"], asked["call"]) == ("call", "call_7")
    assert ended == {
        "number": 2,
        "made": ended["made"],
        "kind": "outcome",
        "user": "ada",
        "server": "",
        "conversation": asked["conversation"],
        "call": "call_7",
        "call_number": 1,
        "outcome": "ok",
        "approval": "auto",
        "approver": "rule",
        "reported_by": "the user's server",
    }


CHANGE = {
    "path": "a/b.ipynb",
    "cell": "1a2b3c4d",
    "operation": "edit",
    "before": "0123456789ab",
    "after": "ba9876543210",
    "decision": "accepted",
    "by": "ada",
}


async def test_a_change_of_a_notebook_is_recorded_with_its_call_and_later_decisions_by_themselves(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(ToolCalls(call("f", {}, id="call_7")))
    ended = {"outcome": "ok", "approval": "run by ada", "approver": "person"}
    undone = {"conversation": "lab.chat", "change": CHANGE | {"decision": "undone"}}
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            _, receipt = await ask_with_receipt(http)
            named = {"call": "call_7", "receipt": receipt}
            report = {
                "outcomes": [ended | named | {"change": CHANGE}],
                "decisions": [undone | named],
            }
            async with http.post("v1/audit/outcomes", json=report) as answer:
                assert (answer.status, await answer.json()) == (200, {"recorded": 1})
    _, outcome, decision = gateways.records()
    assert outcome["change"] == CHANGE
    assert decision == {
        "number": 3,
        "made": decision["made"],
        "kind": "change",
        "user": "ada",
        "server": "",
        "conversation": "lab.chat",
        "call": "call_7",
        "change": CHANGE | {"decision": "undone"},
        "reported_by": "the user's server",
    }


async def test_code_with_the_servers_token_reports_nothing_in_the_name_of_a_person(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    for name in ("call_7", "call_8"):
        provider.add(ToolCalls(call("f", {}, id=name)))
    forged = {"call": "call_7", "outcome": "ok", "approval": "run by ada", "approver": "person"}
    refused = {"outcome": "refused", "approval": "refuse by ada", "approver": "person"}
    decision = {"conversation": "lab.chat", "change": CHANGE | {"decision": "kept"}}
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            _, receipt = await ask_with_receipt(http)
            _, own_receipt = await ask_with_receipt(http)
            request = gateways.requests()[0].id  # which the user's pages show
            named = {"call": "call_7", "receipt": receipt}
            recorded = []
            reports: list[dict[str, Any]] = [
                {"outcomes": [forged]},
                {"outcomes": [forged | {"receipt": request}]},
                {"outcomes": [forged | {"receipt": receipt_hash(receipt)}]},
                {"outcomes": [forged | {"receipt": own_receipt}]},
                {"outcomes": [refused | named | {"change": CHANGE | {"decision": "rejected"}}]},
                {"outcomes": [], "decisions": [decision]},
                {
                    "outcomes": [],
                    "decisions": [decision | {"call": "call_8", "receipt": own_receipt}],
                },
                {"outcomes": [], "decisions": [decision | named]},
            ]
            for report in reports:
                async with http.post("v1/audit/outcomes", json=report) as answer:
                    recorded.append((await answer.json())["recorded"])
    assert recorded == [0, 0, 0, 0, 1, 0, 0, 0]
    *_, outcome, first, second, last = gateways.records()
    assert (outcome["call"], outcome["approval"]) == ("call_7", "refuse by ada")
    for record in (first, second):
        assert (record["call"], record["change"]["by"]) == ("", "ada (unverified)")
        assert record["reported_by"] == "the user's server, or its kernels"
    assert (last["call"], last["change"]["by"]) == ("call_7", "ada")
    assert receipt not in json.dumps(gateways.records())


async def test_a_change_that_cannot_be_recorded_is_refused_in_a_sentence(
    gateways: Gateways, ada: str
) -> None:
    odd: tuple[tuple[object, str], ...] = (
        (CHANGE | {"before": "xyz"}, "change.before: String should match pattern"),
        (CHANGE | {"before": "xyz"}, "not 'xyz'."),
        (CHANGE | {"operation": "burn"}, "change.operation: Input should be 'edit', 'insert'"),
        (CHANGE | {"path": "p" * 2_000}, "change.path: String should have at most 1024 characters"),
        (CHANGE | {"path": 5}, "change.path: Input should be a valid string, not 5."),
        (CHANGE | {"more": 1}, "change.more: Extra inputs are not permitted, not 1."),
        ({}, "change.path: Field required."),
        ("edit", "change: Input should be a valid dictionary"),
    )
    outcome = {"call": "call_7", "outcome": "ok", "approval": "auto"}
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            for change, problem in odd:
                for told in (
                    {"outcomes": [outcome | {"change": change}]},
                    {"outcomes": [], "decisions": [{"conversation": "c", "change": change}]},
                ):
                    async with http.post("v1/audit/outcomes", json=told) as answer:
                        assert answer.status == 400
                        message = (await answer.json())["error"]["message"]
                        assert message.startswith("A change cannot be recorded: change")
                        assert problem in message
            for decisions in (5, ["c"], [{"conversation": "c"}], {"change": CHANGE}):
                report: dict[str, Any] = {"outcomes": [], "decisions": decisions}
                async with http.post("v1/audit/outcomes", json=report) as answer:
                    assert answer.status == 400
                    assert "The decisions must be" in (await answer.json())["error"]["message"]
    assert gateways.records() == []


async def test_the_agent_reports_its_calls_and_shows_a_refusal_as_it_is(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(ToolCalls(call("wether", {})), Text("There is no such tool."))
    budgets = [{"scope": "user", "window": "total", "tokens": 20}]
    with gateways.running(budgets=budgets) as gateway:
        model = Model(CaesarionModel(base_url=gateway.base_url, token=ada))
        agent = Agent(CaesarionAgent(), model, [])
        source = Source("lab.chat", "m-1")
        try:
            said = [event async for event in agent.run(list(ASKED), source)]
            refused = [event async for event in agent.run(list(ASKED), source)]
        finally:
            await model.close()
        rows = await gateways.settled(2)
    assert Done("stop") in said
    assert refused[0] == Failure(
        "Your budget of 20 tokens in total is used up: 30 are used. It does not renew; the "
        "operator can raise it."
    )
    assert [(row.conversation, row.message) for row in rows] == [("lab.chat", "m-1")] * 2
    asked, told = gateways.records()
    assert (asked["tool"], asked["call"]) == ("wether", told["call"])
    assert (told["outcome"], told["approval"]) == ("error", "auto")
    assert told["approver"] == "rule"


Ran = tuple[int, str, str]


class Operator:
    """Runs the command on the audit of some gateways."""

    def __init__(self, gateways: Gateways, folder: Path) -> None:
        self._gateways = gateways
        self._folder = folder

    def __call__(self, *words: str, database: str = "", key: Path | None = None) -> Ran:
        """Return the status, what was printed, and the errors."""
        of_key = ("--key", str(key)) if key else ()
        arguments = ("--database", database or self._gateways.database_url, *of_key, *words)
        printed, errors = (self._folder / name for name in ("printed", "errors"))
        with printed.open("w") as one, errors.open("w") as other:
            command = [sys.executable, "-m", "caesarion_hub.gateway.audit", *arguments]
            with forked():
                run = subprocess.run(command, env=environment(), stdout=one, stderr=other)
        return run.returncode, printed.read_text(), errors.read_text()


async def ask_for_calls(
    gateways: Gateways, provider: OpenAIServer, token: str, number: int, **values: Any
) -> None:
    provider.add(*[ToolCalls(call("f", {}))] * number)
    with gateways.running(**values) as gateway:
        async with session(gateway, token) as http:
            for _ in range(number):
                await ask(http)


async def test_the_operators_command_verifies_exports_and_cuts_the_audit(
    gateways: Gateways, provider: OpenAIServer, ada: str, tmp_path: Path
) -> None:
    await ask_for_calls(gateways, provider, ada, 3)
    run, url = Operator(gateways, tmp_path), gateways.database_url
    status, said, _ = run("verify")
    assert status == 0
    pattern = r"The audit of (.*) is whole\. Its records: 3; its head: 3:[0-9a-f]{64}\. (.*)\n"
    match = re.fullmatch(pattern, said)
    assert match
    assert match.groups() == (url, "It is not signed: no key is set.")
    lines = [json.loads(line) for line in run("export")[1].splitlines()]
    assert [(line["number"], line["record"]["tool"]) for line in lines] == [
        *((1, "f"), (2, "f"), (3, "f")),
    ]
    assert run("cut", "2026-01-01")[1] == f"There is nothing to cut in {url}.\n"
    assert run("cut", "2999-01-01")[1] == f"The records up to number 3 are deleted in {url}.\n"
    assert " is whole. Its records: 1; its head: 4:" in run("verify")[1]
    with closing(Database(gateways.database_url)) as database, database.exclusive() as connection:
        connection.execute(tables.audit.update().values(user="eve"))
    assert "'soon' is no day like 2026-01-31" in run("cut", "soon")[2]
    gone = f"{gateways.database_url}.gone"
    status, said, error = run("verify", database=gone)
    assert (status, said) == (1, "")
    assert error.startswith(f"There is no database at {gone.removeprefix('sqlite:///')}. ")
    broken = "is broken. Record 4 was changed: its column 'user' differs."
    assert run("verify") == (1, "", f"The audit of {url} {broken}\n")
    with gateways.running() as gateway:
        async with session(gateway, ADMIN_TOKEN) as http:
            for _ in range(600):
                if f"The audit {broken}" in gateway.log.read_text():
                    break
                await asyncio.sleep(0.1)
            async with http.get("metrics") as answer:
                assert "caesarion_gateway_audit_whole 0.0" in await answer.text()


async def test_who_writes_the_database_cannot_rewrite_a_signed_audit_unseen(
    gateways: Gateways, provider: OpenAIServer, ada: str, tmp_path: Path
) -> None:
    key, public, export = (tmp_path / name for name in ("key", "public.pem", "export.jsonl"))
    key.write_text("k" * 64)
    await ask_for_calls(gateways, provider, ada, 2)
    await ask_for_calls(gateways, provider, ada, 2, audit={"keyFile": str(key)})
    run = Operator(gateways, tmp_path)
    status, said, _ = run("verify", key=key)
    assert status == 0
    assert " is whole. Its records: 5; its head: 5:" in said
    assert "Records 1 to 2 are older than the key and not signed; all others are." in said
    assert "Its signatures were not checked: no key is set." in run("verify")[1]
    assert [one["kind"] for one in gateways.records()] == ["call", "call", "key", "call", "call"]
    head = said.partition("its head: ")[2].partition(".")[0]

    # Elsewhere, with the public key and the exported file alone.
    public.write_text(run("key", key=key)[1])
    export.write_text(run("export", key=key)[1])
    database = f"sqlite:///{tmp_path}/none.sqlite"
    verified = run("verify", "--file", str(export), "--head", head, database=database, key=public)
    assert (verified[0], verified[1].partition(" is ")[0]) == (0, f"The audit of {export}")
    assert run("cut", "2999-01-01", key=public)[2] == (
        "The audit is signed, and so must be the record of a cut: name --key\n"
    )

    def forge(*, log: AuditLog, until: int) -> None:
        """Rewrite the audit as another user's, and end it at a record."""
        with closing(Database(gateways.database_url)) as database:
            with database.reading() as connection:
                records = list(in_database(connection))[:until]
            with database.exclusive() as connection:
                connection.execute(tables.audit.delete())
                log.append(connection, [AuditEntry(one.kind, "eve") for one in records])

    assert run("verify", "--head", head, key=key)[0] == 0
    forge(log=AuditLog(AuditKey.from_text("m" * 64)), until=5)
    assert "Record 1's signature does not fit" in run("verify", key=key)[2]
    forge(log=AuditLog(AuditKey.read(key)), until=5)  # as if the key had been stolen, too
    assert run("verify", key=key)[0] == 0
    assert (
        "Record 5 is not the one of the earlier head" in run("verify", "--head", head, key=key)[2]
    )
    forge(log=AuditLog(AuditKey.read(key)), until=3)
    ends = "It ends at record 3, before the earlier head's record 5: its end was cut off."
    assert ends in run("verify", "--head", head, key=key)[2]
    forge(log=AuditLog(), until=5)
    assert "None of its records is signed" in run("verify", key=key)[2]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "cannot be read: No such file or directory"),
        ("short", "holds no key of the audit"),
        (AuditKey.from_text("k" * 64).public_pem(), "holds public keys, and those sign nothing"),
    ],
    ids=["none", "short", "public"],
)
def test_a_gateway_without_the_key_that_it_was_given_does_not_start(
    gateways: Gateways, tmp_path: Path, text: str | None, sentence: str
) -> None:
    file = tmp_path / "key"
    if text:
        file.write_text(text)
    with (
        pytest.raises(RuntimeError, match=sentence),
        gateways.running(audit={"keyFile": str(file)}),
    ):
        pass


async def test_metrics_are_for_tokens_with_the_scope_and_name_no_user(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Text("hello", usage=Usage(7, 8)), Fault(404))
    budgets = [
        {"scope": "user", "window": "day", "tokens": 15},
        {"scope": "everyone", "window": "month", "tokens": 100},
    ]
    with gateways.running(budgets=budgets) as gateway:
        async with session(gateway, ada) as http:
            await ask(http, COUNTED | {"model": "made-up-by-ada"})
            await ask(http)
            await gateways.settled(2)
            assert (await ask(http))[0] == 429
            async with http.get("metrics") as answer:
                assert answer.status == 403
        async with session(gateway, ADMIN_TOKEN) as http, http.get("metrics") as answer:
            text = await answer.text()
    for line in (
        'caesarion_gateway_requests_total{model="gpt-4.1",status="200"} 1.0',
        'caesarion_gateway_requests_total{model="other",status="404"} 1.0',
        'caesarion_gateway_tokens_total{kind="completion",model="gpt-4.1"} 8.0',
        'caesarion_gateway_cost_dollars_total{model="gpt-4.1"} 7.8e-05',
        'caesarion_gateway_refusals_total{reason="budget_reached"} 1.0',
        'caesarion_gateway_first_token_seconds_count{model="gpt-4.1"} 1.0',
        "caesarion_gateway_requests_under_way 0.0",
        "caesarion_gateway_audit_records 0.0",
        "caesarion_gateway_audit_whole 1.0",
        "caesarion_gateway_ledger_writable 1.0",
        'caesarion_gateway_everyones_budget_used_ratio{window="month"} 0.15',
    ):
        assert line in text.splitlines()
    assert re.search(r'^caesarion_gateway_upstream_up\{upstream=".+"\} 1.0$', text, re.MULTILINE)
    closed = r'^caesarion_gateway_upstream_circuit\{state="closed",upstream=".+"\} 1.0$'
    assert re.search(closed, text, re.MULTILINE)
    asked = r'^caesarion_gateway_upstream_attempts_total\{outcome="ok",upstream=".+"\} [1-9]'
    assert re.search(asked, text, re.MULTILINE)
    assert "ada" not in text


async def test_the_log_is_lines_of_json_with_the_requests_id(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Text("hello"))
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            async with http.post("v1/chat/completions", json=COUNTED) as answer:
                await answer.read()
            async with http.post("v1/chat/completions", json={}) as refused:
                assert refused.status == 400
        (row,) = await gateways.settled(1)
    assert answer.headers["X-Caesarion-Request"] == row.id
    assert len(refused.headers["X-Caesarion-Request"]) == 32
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
    (told,) = (line for line in lines if line["message"] == "settled")
    assert (told["request"], told["user"], told["status"]) == (row.id, "ada", 200)
    assert "nobody-else-may-read-this" not in gateway.log.read_text()


async def test_alive_is_not_ready(
    gateways: Gateways, postgres: Postgres, provider: OpenAIServer, ada: str
) -> None:
    gateways.database_url = postgres.make_database()
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            async with http.get("ready") as answer:
                assert (answer.status, await answer.json()) == (200, {"status": "ready"})
            with postgres.away(gateways.database_url):
                async with http.get("ready") as answer:
                    assert (answer.status, await answer.json()) == (
                        503,
                        {"status": "not ready", "problems": ["The database does not answer."]},
                    )
                async with http.get("health") as answer:
                    assert answer.status == 200
                status, body = await ask(http)
                assert (status, json.loads(body)["error"]["code"]) == (503, "ledger_unavailable")
            provider.add(Text("hello"))
            for _ in range(200):
                status, _ = await ask(http)
                if status == 200:
                    break
                await asyncio.sleep(0.3)
        rows = await gateways.settled(1)
    assert [row.status for row in rows] == [200]


async def test_a_killed_gateway_loses_nothing_that_was_settled(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(
        ToolCalls(call("f", {}), usage=Usage(1, 2)), Text(*["word "] * 500, delay=0.01), Text("ok")
    )
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            await ask(http)
            await gateways.settled(1)
            async with http.post("v1/chat/completions", json=COUNTED) as answer:
                while b"word" not in await answer.content.readline():
                    pass
                gateway.process.send_signal(signal.SIGKILL)
                gateway.process.wait()
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            assert (await ask(http))[0] == 200
        first, second, third = await gateways.settled(3)
        assert "The audit is whole. Its records: 1; its head: 1:" in gateway.log.read_text()
    assert (first.prompt_tokens, first.completion_tokens) == (1, 2)
    assert (second.status, second.error, second.completion_tokens) == (500, LOST, 4096)
    assert (third.status, third.error) == (200, "")
    assert [record["tool"] for record in gateways.records()] == ["f"]


async def test_a_gateway_that_is_told_to_stop_settles_what_it_ends(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Text(*["word "] * 5000, delay=0.01))
    with gateways.running() as gateway:
        async with (
            session(gateway, ada) as http,
            http.post("v1/chat/completions", json=COUNTED) as answer,
        ):
            while b"word" not in await answer.content.readline():
                pass
            gateway.process.terminate()
            await asyncio.to_thread(gateway.process.wait, 60)
    (row,) = gateways.requests()
    assert (row.status, row.error) == (499, "gateway_stopped")
    assert row.completion_tokens > 1
    with closing(Database(gateways.database_url)) as database, database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(tables.replica)) == 0


async def test_two_gateways_on_one_database_keep_one_budget(
    gateways: Gateways, provider: OpenAIServer, postgres: Postgres, ada: str
) -> None:
    gateways.database_url = postgres.make_database()
    provider.add(*[ToolCalls(call("f", {}), usage=Usage(20, 80), delay=0.01)] * 200)
    budgets = [{"scope": "user", "window": "day", "tokens": 1000}]
    values: dict[str, Any] = {"budgets": budgets, "limits": {"maxOutputTokens": 100}}
    with gateways.running(**values) as one, gateways.running(**values) as two:
        async with session(one, ada) as first, session(two, ada) as second:
            # One each: of twenty at once the quicker one may let in all for whom there is room.
            statuses = [(await ask(http))[0] for http in (first, second)]
            while True:
                asked = [ask(http) for http in (first, second) for _ in range(10)]
                answers = await asyncio.gather(*asked)
                statuses += [status for status, _ in answers]
                if any(b"is used up" in body for _, body in answers):
                    break
        rows = gateways.requests()
    assert set(statuses) == {200, 429}
    assert statuses.count(200) == len(rows) == len(provider.requests)
    assert 1000 <= sum(row.prompt_tokens + row.completion_tokens for row in rows) <= 1100
    assert len({row.replica for row in rows}) == 2
    assert len(gateways.records()) == len(rows)
