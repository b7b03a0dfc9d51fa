"""
Attacks on the gateway over HTTP, as a user with a token of their own could try them.

Between a real hub and the scripted provider. No test counts seconds: the others are asked
meanwhile, and answered.
"""

import asyncio
import contextlib
import gzip
import io
import json
import re
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import requests
from caesarion_hub.gateway.authentication import TOKEN_CACHE
from caesarion_hub.gateway.store.settlements import LOST
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.bare_hub import BareHub, bare_hub
from tests.fakes.gateway_process import GatewayProcess, gateway_process
from tests.fakes.openai_server import OpenAIServer, Raw, Text, Usage
from tests.gateways import COUNTED, SCOPE, STREAM, Gateways, ask, ask_with_receipt, session

POLL = aiohttp.ClientTimeout(3)
"""What the chart's probe waits for an answer."""

SMALL = COUNTED | {"model": "small"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareHub]:
    with bare_hub(tmp_path_factory.mktemp("hub")) as hub:
        for user in ("ada", "bob", "eve"):
            hub.add_user(user)
        hub.add_group("students", ["ada", "bob"])
        yield hub


@pytest.fixture(scope="module")
def ada(hub: BareHub) -> str:
    return hub.make_token("ada", [SCOPE])


@pytest.fixture(scope="module")
def bob(hub: BareHub) -> str:
    return hub.make_token("bob", [SCOPE])


@pytest.fixture(scope="module")
def eve(hub: BareHub) -> str:
    return hub.make_token("eve", [SCOPE])


@pytest.fixture
async def provider() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer(models=["gpt-4.1", "small"]) as provider:
        yield provider


@pytest.fixture
def gateways(
    hub: BareHub, provider: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
) -> Gateways:
    return Gateways(hub, provider, tmp_path_factory.mktemp("gateways"))


# Bodies that take long to read.


def repeated(keys: int) -> bytes:
    """Return an object whose last key is there twice."""
    pairs = [f'"k{number}":0' for number in range(keys)]
    return ("{" + ",".join([*pairs, pairs[-1]]) + "}").encode()


HOSTILE = {
    "8,000 keys, the last one twice": repeated(8_000),
    "80,000 keys, the last one twice": repeated(80_000),
    "one key 100,000 times": b"{" + b'"k":0,' * 100_000 + b'"k":0}',
    "ten million lists in each other": b"[" * 10_000_000,
    "three million lists": b"[" + b"[]," * 3_000_000 + b"[]]",
    "three million texts": b"[" + b'"",' * 3_000_000 + b'""]',
    "a text of escapes without end": b'["' + b"\\u00e9" * 1_600_000,
    "a text of escaped quotes without end": b'["' + b'\\"' * 5_000_000,
    "numbers of 4,299 digits": b"[" + (b"9" * 4299 + b",") * 2_400 + b"0]",
    "one number of ten million digits": b"[" + b"9" * 10_000_000 + b"]",
    "ten million spaces": b" " * 10_000_000,
    "a model's name of ten million letters": json.dumps(
        STREAM | {"model": "m" * 10_000_000}
    ).encode(),
    "a field's name of ten million letters": json.dumps(STREAM | {"M" * 10_000_000: 0}).encode(),
    "a message of ten million letters": json.dumps(
        STREAM | {"messages": [{"role": "user", "content": "a" * 10_000_000}]}
    ).encode(),
    "a hundred thousand messages": json.dumps(
        STREAM | {"messages": [{"role": "user"}] * 100_000}
    ).encode(),
}


async def test_health_is_answered_while_hostile_bodies_come_in(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    statuses: dict[str, int] = {}

    with gateways.running(upstreams=[]) as gateway:
        async with session(gateway, ada) as http:

            async def attack() -> None:
                for name, body in HOSTILE.items():
                    async with http.post("v1/chat/completions", data=io.BytesIO(body)) as answer:
                        await answer.read()
                        statuses[name] = answer.status

            attacking = asyncio.create_task(attack())
            asked = answered = 0
            while not attacking.done():
                asked += 1
                async with http.get("health", timeout=POLL) as answer:
                    answered += answer.status == 200
                await asyncio.sleep(0.02)
            await attacking
        assert "Traceback" not in gateway.log.read_text()
    assert asked == answered >= 10
    assert {name for name, status in statuses.items() if status not in (400, 413)} <= {
        "a message of ten million letters",
        "a hundred thousand messages",
    }
    assert len(statuses) == len(HOSTILE)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        *("model", "Model", "models", "messages", "max_tokens", "max_completion_tokens", "n"),
        *("stream", "stream_options", "tools", "functions", "tool_choice", "stop", "user"),
        *("n_predict", "service_tier", "temperature", "logit_bias", "response_format"),
    ]
)
MESSAGES = st.lists(
    st.dictionaries(
        st.sampled_from(["role", "content", "tool_calls", "tool_call_id", "name", "image_url"]),
        JSON | st.sampled_from(["user", "assistant", "tool", "system"]),
    ),
    max_size=4,
)
BODIES = st.builds(
    lambda fields, messages: {"model": "gpt-4.1", "messages": messages} | fields,
    st.dictionaries(FIELDS, JSON, max_size=4),
    MESSAGES,
)


@pytest.fixture(scope="module")
def watched(hub: BareHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with the demo model, whose loop logs callbacks that take 100 ms or more."""
    settings = {
        "JUPYTERHUB_API_URL": hub.api_url,
        "PYTHONASYNCIODEBUG": "1",
    }
    with gateway_process(tmp_path_factory.mktemp("watched"), settings) as gateway:
        yield gateway


def slow_callbacks(gateway: GatewayProcess, after: int) -> list[float]:
    """Return the seconds of each callback of the loop that blocked it for 250 ms or more."""
    took = re.findall(r"Executing .* took ([0-9.]+) seconds", gateway.log.read_text()[after:])
    allowed = 0.25 * slowness()
    return [float(seconds) for seconds in took if float(seconds) >= allowed]


def slowness() -> float:
    """Return how much longer work takes here now than its processor time: 1 on an idle machine."""
    wall, processor = time.perf_counter(), time.process_time()
    while time.process_time() - processor < 0.05:
        pass
    return (time.perf_counter() - wall) / (time.process_time() - processor)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=BODIES | JSON)
def test_no_body_is_answered_with_a_500_or_blocks_the_loop(
    watched: GatewayProcess, ada: str, body: Any
) -> None:
    raw = json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {ada}"}
    url = f"{watched.base_url}/chat/completions"
    for _ in range(3):  # a busy machine may stop the process for a moment, but not thrice
        before = len(watched.log.read_text())
        answer = requests.post(url, data=raw, headers=headers, timeout=60)
        assert answer.status_code < 500, answer.text
        if not slow_callbacks(watched, before):
            return
    raise AssertionError(f"The loop was blocked by {raw!r}.")


@pytest.mark.parametrize("name", HOSTILE)
def test_no_long_body_blocks_the_loop(watched: GatewayProcess, ada: str, name: str) -> None:
    headers = {"Authorization": f"Bearer {ada}"}
    url = f"{watched.base_url}/chat/completions"
    for _ in range(3):
        before = len(watched.log.read_text())
        with requests.post(
            url, data=HOSTILE[name], headers=headers, timeout=60, stream=True
        ) as answer:
            next(answer.iter_lines(), b"")
        assert answer.status_code < 500
        if not (slow := slow_callbacks(watched, before)):
            return
    raise AssertionError(f"The loop was blocked for {slow} seconds.")


# Bodies that never end.


class Unfinished:
    """A request with a body of ten mebibytes, whose last byte is not sent."""

    def __init__(
        self, gateway: GatewayProcess, token: str, path: str = "v1/chat/completions"
    ) -> None:
        where = urlsplit(gateway.url)
        self._socket = socket.create_connection((where.hostname, where.port), timeout=30)
        head = (
            f"POST {where.path}{path} HTTP/1.1\r\nHost: {where.netloc}\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {10 * 2**20}\r\n\r\n"
        )
        self._socket.sendall(head.encode())

    def send(self, size: int = 10 * 2**20 - 1) -> None:
        """Send so many bytes, as long as the gateway takes them."""
        with contextlib.suppress(OSError):  # it may have closed the connection
            self._socket.sendall(b" " * size)

    def finish(self) -> tuple[int, str]:
        """Send the last byte; return the status, and the code of the error."""
        self.send(1)
        return self.read()

    def read(self) -> tuple[int, str]:
        """Return the status, and the code of the error."""
        received = b""
        while data := self._socket.recv(65_536):
            received += data
            head, _, body = received.partition(b"\r\n\r\n")
            if body.endswith(b"}}"):
                break
        self._socket.close()
        return int(head.split()[1]), json.loads(body)["error"]["code"]


def send_all(requests_: list[Unfinished]) -> None:
    threads = [threading.Thread(target=one.send) for one in requests_]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def test_unfinished_bodies_of_one_user_leave_room_for_others(
    gateways: Gateways, provider: OpenAIServer, ada: str, bob: str
) -> None:
    provider.add(Text("hello"))
    with gateways.running() as gateway:
        attack = [Unfinished(gateway, ada) for _ in range(10)]
        await asyncio.to_thread(send_all, attack)
        async with session(gateway, bob) as http:
            assert (await ask(http))[0] == 200
        ends = [await asyncio.to_thread(one.finish) for one in attack]
        async with session(gateway, ada) as http:
            assert (await ask(http, {}))[0] == 400
    refused = [code for _, code in ends if code == "too_many_bytes"]
    assert len(refused) >= 8
    assert {status for status, _ in ends} == {400, 429}


async def test_unfinished_bodies_of_many_users_are_bounded_together(
    gateways: Gateways, ada: str, bob: str, eve: str
) -> None:
    with gateways.running(requests={"memory": "25Mi"}) as gateway:
        attack = [Unfinished(gateway, token) for token in (ada, bob, eve)]
        await asyncio.to_thread(send_all, attack)
        async with session(gateway, eve) as http, http.get("health") as answer:
            assert answer.status == 200
        ends = [await asyncio.to_thread(one.finish) for one in attack]
        assert sorted(ends) == [(400, "invalid_request")] * 2 + [(503, "out_of_memory")]
        again = Unfinished(gateway, eve)
        again.send()
        assert again.finish() == (400, "invalid_request")


async def test_a_body_that_does_not_come_is_given_up(gateways: Gateways, ada: str) -> None:
    with gateways.running(requests={"timeout": 0.5}) as gateway:
        silent = Unfinished(gateway, ada)
        silent.send(5)
        assert await asyncio.to_thread(silent.read) == (408, "request_timeout")
        assert "Traceback" not in gateway.log.read_text()


@pytest.mark.parametrize("path", ["health", "nowhere", "admin/budgets", "v1/models"])
async def test_other_routes_take_no_long_body(watched: GatewayProcess, ada: str, path: str) -> None:
    async with session(watched, ada) as http:
        async with http.post(path, data=io.BytesIO(b" " * 5_000_000)) as answer:
            assert answer.status in (404, 405)
        async with http.get("health", data=io.BytesIO(b" " * 5_000_000)) as answer:
            assert answer.status == 413
            assert (await answer.json())["error"]["code"] == "request_too_large"


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /?token=hidden-query HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00hidden-query\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: hidden-query" + b"a" * 100_000 + b"\r\n\r\n",
        b"POST %sv1/chat/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
        b"Authorization: Bearer %s\r\n\r\nhidden-query\r\n",
    ],
)
async def test_what_is_no_http_is_a_sentence(
    watched: GatewayProcess, ada: str, sent: bytes
) -> None:
    where = urlsplit(watched.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(sent % (where.path.encode(), ada.encode()) if b"%s" in sent else sent)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.split()[1] == b"400"
    assert b"\r\nServer:" not in head
    assert json.loads(body)["error"]["message"] == "The request is not valid HTTP."
    assert "hidden-query" not in watched.log.read_text()


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(
    watched: GatewayProcess, ada: str
) -> None:
    where = urlsplit(watched.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = (
        f"POST {where.path}v1/chat/completions HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        f"Authorization: Bearer {ada}\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    )
    writer.write(head.encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"[]")
    assert b"The request is not a JSON object." in await reader.read()
    writer.close()


async def test_a_short_body_of_another_encoding_is_not_unpacked(
    watched: GatewayProcess, ada: str
) -> None:
    packed = gzip.compress(json.dumps(STREAM).encode())
    async with (
        session(watched, ada) as http,
        http.post(
            "v1/chat/completions", data=packed, headers={"Content-Encoding": "gzip"}
        ) as answer,
    ):
        assert (answer.status, (await answer.json())["error"]["message"]) == (
            400,
            "The request is not JSON.",
        )


async def test_limits_are_looked_at_before_a_long_body_is_read(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    provider.add(Text("hello"))
    with gateways.running(limits={"requestsPerMinute": 1}) as gateway:
        async with session(gateway, ada) as http:
            assert (await ask(http))[0] == 200
            async with http.post(
                "v1/chat/completions", data=io.BytesIO(b"[" * 5_000_000)
            ) as answer:
                # It is no JSON either, which nobody has found out.
                assert answer.status == 429
                assert (await answer.json())["error"]["code"] == "too_many_requests"
    assert gateways.refusals() == [
        (
            *("ada", "too_many_requests", 1, ""),
            "You asked 1 times within a minute, which is your limit. Ask again in 60 seconds.",
        )
    ]


# Fields that providers read.


async def test_no_unknown_field_reaches_a_provider(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    unknown: dict[str, Any] = {
        "Model": "gpt-4.1",
        "models": ["gpt-4.1"],
        "route": "fallback",
        "n_predict": 10**6,
        "max_output_tokens": 10**6,
        "service_tier": "priority",
        "api_base": "http://attacker.example",
        "extra_body": {"model": "gpt-4.1"},
        "provider": {"order": ["dear"]},
    }
    limits = {"models": ["small"], "maxOutputTokens": 100}
    with gateways.running(limits=limits) as gateway:
        async with session(gateway, ada) as http:
            for name, value in unknown.items():
                status, answer = await ask(http, SMALL | {name: value})
                assert status == 400
                assert f"does not pass on the field '{name}'" in answer.decode()
    assert provider.requests == []
    provider.add(Text("hello"))
    with gateways.running(limits=limits, requests={"unknownFields": "drop"}) as gateway:
        async with session(gateway, ada) as http:
            assert (await ask(http, SMALL | unknown))[0] == 200
    assert provider.requests[0].body.keys() == (COUNTED | {"max_tokens": 100}).keys()
    assert provider.requests[0].body["model"] == "small"


async def test_an_extra_field_goes_to_the_upstream_that_takes_it_and_is_clamped(
    gateways: Gateways, hub: BareHub, provider: OpenAIServer, ada: str
) -> None:
    upstreams = [
        {"name": "one", "baseUrl": provider.base_url, "models": ["gpt-4.1"]},
        {
            "name": "two",
            "baseUrl": provider.base_url,
            "models": ["small"],
            "extraFields": ["n_predict", "top_k"],
        },
    ]
    with gateways.running(upstreams=upstreams, limits={"maxOutputTokens": 100}) as gateway:
        async with session(gateway, ada) as http:
            extra = {"n_predict": 10**6, "top_k": 5}
            # The scripted provider knows OpenAI's fields alone, and says so.
            assert b"Unknown parameter: 'n_predict'" in (await ask(http, SMALL | extra))[1]
            assert b"does not pass on the field" in (await ask(http, COUNTED | extra))[1]
    (request,) = provider.requests
    assert (request.body["n_predict"], request.body["top_k"]) == (100, 5)


async def test_numbers_are_what_they_are_or_refused(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    odd: list[dict[str, Any]] = [
        {"max_tokens": True},
        {"max_tokens": 1.5},
        {"max_tokens": "100"},
        {"max_tokens": 2**63},
        {"max_completion_tokens": 2**63},
        {"n": 1000},
        {"n": 9},
    ]
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            assert [(await ask(http, COUNTED | fields))[0] for fields in odd] == [400] * len(odd)
    assert provider.requests == []


async def test_choices_are_counted_in_what_is_reserved(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            # The scripted provider gives one answer at a time, and says so.
            assert b"'n'" in (await ask(http, COUNTED | {"n": 4, "max_tokens": 100}))[1]
        (row,) = await gateways.settled(1)
    prompt = -(-len(json.dumps(COUNTED | {"n": 4, "max_tokens": 100})) // 3)
    assert row.reserved_tokens == prompt + 400


# Reservations that keep others out.


@pytest.mark.parametrize(
    "budgets",
    [
        [
            {"scope": "everyone", "window": "day", "tokens": 1_000_000},
            {"scope": "user", "window": "day", "tokens": 200_000},
        ],
        [{"scope": "everyone", "window": "day", "tokens": 20_000}],
        [{"scope": "group", "window": "month", "tokens": 300_000, "money": 1}],
    ],
)
async def test_one_request_does_not_reserve_everybodys_budget(
    gateways: Gateways, provider: OpenAIServer, ada: str, bob: str, budgets: Any
) -> None:
    provider.add(Text(*["word "] * 500, delay=0.02), Text("hello", usage=Usage(5, 5)))
    greedy = COUNTED | {"max_tokens": 10**9}
    with gateways.running(budgets=budgets) as gateway:
        async with (
            session(gateway, ada) as http,
            http.post("v1/chat/completions", json=greedy) as answer,
        ):
            assert answer.status == 200
            while b"word" not in await answer.content.readline():
                pass
            async with session(gateway, bob) as other:
                assert (await ask(other, COUNTED | {"max_tokens": 100}))[0] == 200


async def test_a_killed_gateways_requests_are_settled_at_no_more_than_their_bound(
    gateways: Gateways, provider: OpenAIServer, ada: str, bob: str
) -> None:
    provider.add(Text(*["word "] * 500, delay=0.02), Text("hello", usage=Usage(5, 5)))
    values: dict[str, Any] = {
        "budgets": [{"scope": "everyone", "window": "day", "tokens": 1_000_000}],
        "reservations": {"longestAnswers": {"gpt-4*": 32_768}},
    }
    greedy = COUNTED | {"max_tokens": 2**31 - 1}
    with gateways.running(**values) as gateway:
        async with (
            session(gateway, ada) as http,
            http.post("v1/chat/completions", json=greedy) as answer,
        ):
            while b"word" not in await answer.content.readline():
                pass
            gateway.process.send_signal(signal.SIGKILL)
            gateway.process.wait()
    with gateways.running(**values) as gateway:
        async with session(gateway, bob) as http:
            assert (await ask(http))[0] == 200
        lost, _ = await gateways.settled(2)
    assert (lost.error, lost.completion_tokens) == (LOST, 32_768)
    assert lost.nanos == lost.prompt_tokens * 2_000 + 32_768 * 8_000


# Who asks, and where.


async def test_a_revoked_token_is_refused_by_every_gateway(
    gateways: Gateways, hub: BareHub, provider: OpenAIServer
) -> None:
    assert TOKEN_CACHE == 10
    token = hub.make_token("eve", [SCOPE])
    provider.add(Text("hello"), Text("hello"))
    with gateways.running() as one, gateways.running() as two:
        async with session(one, token) as first, session(two, token) as second:
            assert [(await ask(http))[0] for http in (first, second)] == [200, 200]
            hub.revoke("eve", token)
            for http in (first, second):
                async with asyncio.timeout(3 * TOKEN_CACHE):
                    while True:
                        async with http.get("v1/models") as answer:
                            if answer.status != 200:
                                break
                        await asyncio.sleep(0.25)
                assert (answer.status, (await ask(http))[0]) == (401, 401)


@pytest.mark.parametrize(
    "path",
    [
        "v1%2fmodels",
        "v1%2Fchat%2Fcompletions",
        "%76%31/models",
        "v1//models",
        "v1/models/",
        "v1/./models",
        "v1/models;x=1",
        "v1/models%00",
        "v1/models%0d%0aX-Injected:1",
        "../gateway/v1/models",
        "%2e%2e/gateway/v1/models",
        "static/..%2f..%2fpage.html",
        "static/%2e%2e/page.html",
        "v1\\models",
    ],
)
async def test_an_odd_path_leads_nowhere(watched: GatewayProcess, path: str) -> None:
    where = urlsplit(watched.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    head = f"GET {where.path}{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    assert "Traceback" not in watched.log.read_text()
    status = int(answer.split()[1])
    assert status in (400, 404)
    assert b"X-Injected" not in answer.partition(b"\r\n\r\n")[0]


# Calls that hide from the audit.


def finished(delta: dict[str, Any]) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]}


async def test_an_older_call_of_a_function_is_audited_and_counted(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    arguments = json.dumps({"code": "print(1)" * 30})
    delta = {"function_call": {"name": "python_interpreter", "arguments": arguments}}
    provider.add(Raw([finished(delta)]))
    with gateways.running(audit={"text": True}) as gateway:
        async with session(gateway, ada) as http:
            assert (await ask(http))[0] == 200
        (row,) = await gateways.settled(1)
    (record,) = gateways.records()
    assert (record["tool"], record["text"]) == ("python_interpreter", "print(1)" * 30)
    assert (row.calls, row.estimated) == (1, True)
    assert row.completion_tokens >= len(arguments) // 3


async def test_every_outcome_reaches_the_audit_whatever_the_ids_of_the_calls(
    gateways: Gateways, provider: OpenAIServer, ada: str
) -> None:
    long = "x" * 1000
    ids = ["call_0", "call_0", "", long + "1", long + "2"]
    delta = {
        "tool_calls": [
            {"index": index, "id": one, "function": {"name": "f", "arguments": "{}"}}
            for index, one in enumerate(ids)
        ]
    }
    provider.add(Raw([finished(delta)]), Raw([finished(delta)]))
    recorded = []
    with gateways.running() as gateway:
        async with session(gateway, ada) as http:
            for _ in range(2):
                answer, receipt = await ask_with_receipt(http)
                calls = [
                    call["id"]
                    for line in answer.split(b"\n\n")
                    if line.startswith(b"data: {")
                    for choice in json.loads(line[6:])["choices"]
                    for call in choice["delta"].get("tool_calls") or []
                    if call.get("id")
                ]
                assert len(calls) == len(set(calls)) == len(ids)
                ended = {"receipt": receipt, "outcome": "ok", "approval": "auto"}
                outcomes = [ended | {"call": one} for one in calls]
                async with http.post("v1/audit/outcomes", json={"outcomes": outcomes}) as report:
                    recorded.append((await report.json())["recorded"])
    assert recorded == [5, 5]
    kinds = [record["kind"] for record in gateways.records()]
    assert kinds == (["call"] * 5 + ["outcome"] * 5) * 2
