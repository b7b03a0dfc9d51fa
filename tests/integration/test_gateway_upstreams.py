"""
The gateway's providers against scripted ones: asked again, turned elsewhere, left alone.

Over real sockets, in this process; no test waits for a clock but its own.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.upstream.backend import Condition
from caesarion_hub.gateway.upstream.errors import UpstreamError
from caesarion_hub.gateway.upstream.router import Router
from caesarion_hub.values.gateway import Breaker, Timeouts

from tests.dialects import HEAD, canonical, event
from tests.fakes.bare_hub import free_port
from tests.fakes.openai_server import Fault, OpenAIServer, Raw, Reply, Text
from tests.fakes.raw_provider import RawAnswer, RawProvider
from tests.upstreams import BODY, Time, ask, content, providers, upstream, words

HASTY = Timeouts(connect=1, firstByte=0.5, silence=0.5)
KEY = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"
PASSING: list[Reply] = [
    *(Fault(status) for status in (408, 409, 429, 500, 502, 503, 504)),
    Fault("reset_before_headers"),
    Fault("reset_before_body"),
]
LASTING: list[Reply] = [
    *(Fault(status) for status in (401, 403, 404)),
    Fault("stall_before_headers"),
    Fault("stall_before_body"),
]
DONE = b"data: [DONE]\n\n"
STREAMED = BODY | {"stream": True}
FIRST_IS_AN_ERROR = Raw([{"error": {"message": "No.", "code": 502}}])


def breaker(failures: int, seconds: float = 30.0) -> Breaker:
    return Breaker(failures=failures, seconds=seconds)


def name_of(reply: Reply) -> str:
    return f"{reply.kind}" if isinstance(reply, Fault) else type(reply).__name__.lower()


# Asked again.


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("reply", PASSING, ids=name_of)
async def test_what_failed_before_it_began_is_asked_again(reply: Reply, streamed: bool) -> None:
    time = Time()
    async with (
        OpenAIServer([reply, Text("at last")]) as server,
        providers(upstream(server, retries=1), time=time) as backend,
    ):
        assert await ask(backend, streamed=streamed) == "at last"
    assert time.pauses == [0.25]


@pytest.mark.parametrize("reply", [*LASTING, Fault(400), Fault(413)], ids=name_of)
async def test_what_would_fail_again_is_asked_once(reply: Reply) -> None:
    time = Time()
    async with (
        OpenAIServer([reply, Text("never")]) as server,
        providers(upstream(server, retries=2, timeouts=HASTY), time=time) as backend,
    ):
        with pytest.raises(GatewayError):
            await ask(backend)
    assert len(server.requests) == 1
    assert time.pauses == []


async def test_an_error_in_place_of_the_first_event_is_asked_again() -> None:
    async with (
        OpenAIServer([FIRST_IS_AN_ERROR, Text("at last")]) as server,
        providers(upstream(server, retries=1)) as backend,
    ):
        assert await ask(backend) == "at last"


async def test_pauses_double_and_the_client_is_told_that_all_was_tried() -> None:
    time = Time()
    async with (
        OpenAIServer([Fault(503)] * 4) as server,
        providers(upstream(server, retries=3), time=time) as backend,
    ):
        with pytest.raises(UpstreamError, match=r"failed \(503\)") as raised:
            await ask(backend)
    assert time.pauses == [0.25, 0.5, 1.0]
    assert len(server.requests) == 4
    assert raised.value.headers == {"X-Should-Retry": "false"}


async def test_the_provider_says_when_to_come_back() -> None:
    time = Time()
    async with (
        OpenAIServer([Fault(429, retry_after=3), Text("at last")]) as server,
        providers(upstream(server, retries=1), time=time) as backend,
    ):
        assert await ask(backend) == "at last"
    assert time.pauses == [3.25]


async def test_who_is_to_come_back_late_is_told_at_once() -> None:
    time = Time()
    async with (
        OpenAIServer([Fault(429, retry_after=30)]) as server,
        providers(upstream(server, retries=2), time=time) as backend,
    ):
        with pytest.raises(UpstreamError, match=r"Ask again in 30 seconds\.") as raised:
            await ask(backend)
    assert time.pauses == []
    assert raised.value.headers == {"Retry-After": "30"}


@pytest.mark.parametrize(
    "kind", ["reset_mid_stream", "cut_mid_stream", "stall_mid_stream", "garbage_sse"]
)
async def test_what_has_begun_is_never_asked_again(kind: Any) -> None:
    async with (
        OpenAIServer([Fault(kind), Text("never")]) as server,
        OpenAIServer([Text("neither")]) as other,
        providers(
            upstream(server, retries=2, timeouts=HASTY), upstream(other, priority=1)
        ) as backend,
    ):
        with pytest.raises(UpstreamError) as raised:
            await ask(backend)
    assert raised.value.status in (502, 504)
    assert (len(server.requests), len(other.requests)) == (1, 0)


async def test_a_reader_that_is_slow_is_no_provider_that_is_silent() -> None:
    async with (
        OpenAIServer([Text("one ", "two", delay=0.1)]) as server,
        providers(upstream(server, timeouts=HASTY)) as backend,
        backend.complete(json.dumps(STREAMED).encode(), STREAMED) as answer,
    ):
        pieces = []
        async for piece in answer.content:
            await asyncio.sleep(0.25)
            pieces.append(piece.data)
    assert words(b"".join(pieces), answer) == "one two"


# Signs of life, and ends.

HELLO = {"role": "assistant", "content": "hello"}


def answer(*pieces: bytes, pause: float = 0.0, stays_open: bool = False) -> RawAnswer:
    return RawAnswer(pieces, pause=pause, stays_open=stays_open)


def chunk(delta: Any, reason: str | None = None) -> bytes:
    return event({**HEAD, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


async def test_comments_are_signs_of_life_and_reach_the_client() -> None:
    thinking = [b": thinking\n\n"] * 6
    slow = answer(*thinking, chunk(HELLO), *thinking, DONE, pause=0.2)
    async with (
        RawProvider(lambda _: slow) as server,
        providers(upstream(server.base_url, timeouts=HASTY)) as backend,
        backend.complete(json.dumps(STREAMED).encode(), STREAMED) as answered,
    ):
        body = await content(answered)
    assert body.count(b": thinking\n\n") == 12
    assert canonical(body)["text"] == "hello"


async def test_a_finished_answer_needs_no_end_of_its_connection() -> None:
    open_end = answer(chunk(HELLO), chunk({}, "stop"), stays_open=True)
    async with (
        RawProvider(lambda _: open_end) as server,
        providers(upstream(server.base_url, timeouts=HASTY)) as backend,
        backend.complete(json.dumps(STREAMED).encode(), STREAMED) as answered,
    ):
        assert canonical(await content(answered))["text"] == "hello"


async def test_an_answer_that_is_not_finished_does() -> None:
    open_end = answer(chunk(HELLO), stays_open=True)
    async with (
        RawProvider(lambda _: open_end) as server,
        providers(upstream(server.base_url, timeouts=HASTY)) as backend,
    ):
        with pytest.raises(UpstreamError, match=r"was silent for 0\.5 seconds"):
            await ask(backend)


async def test_a_model_in_the_path_stays_within_it() -> None:
    async with (
        RawProvider(lambda _: answer(chunk(HELLO), DONE)) as server,
        providers(upstream(f"{server.base_url}/deployments/{{model}}?api-version=1")) as backend,
    ):
        assert await ask(backend, model="org/a b%2e") == "hello"
        for model in ("..", "../../admin", "a/../../b"):
            with pytest.raises(GatewayError, match="There is no model"):
                await ask(backend, model=model)
    asked = [path for path in server.paths if "/models" not in path]
    assert asked == ["/v1/deployments/org%2Fa%20b%252e/chat/completions?api-version=1"]


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[str]:
    """Serve these bytes to each request, close the connection, and yield the base URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_a_stream_ends_with_its_last_event_whatever_becomes_of_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    without_end = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\ne\r\ndata: [DONE]\n\n\r\n"
    )
    async with raw_server(without_end) as url, providers(upstream(url)) as backend:
        assert await ask(backend) == ""
        assert [told.outcomes for told in backend.conditions()] == [{"ok": 1}]
    assert caplog.messages == []


async def test_a_stream_is_one_however_its_headers_are_written() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: 1\r\n\r\n"
    async with (
        raw_server(answer + b"data: [DONE]\n\n") as url,
        providers(upstream(url)) as backend,
        backend.complete(json.dumps(STREAMED).encode(), STREAMED) as answered,
    ):
        assert answered.is_stream
        assert answered.headers == {
            "Content-Type": "text/event-stream; charset=utf-8",
            "X-Request-Id": "1",
        }


@pytest.mark.parametrize(
    "body", [b"", b"<html>Log in</html>", b"[]", b'{"half": ', b"\xff\xfe", b'{"a": 1}']
)
@pytest.mark.parametrize("kind", [b"application/json", b"text/html"])
async def test_an_answer_that_is_something_else_is_said_to_be(kind: bytes, body: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
    async with (
        raw_server(answer % (kind, len(body), body)) as url,
        providers(upstream(url)) as backend,
    ):
        with pytest.raises(UpstreamError, match="no answer of the OpenAI protocol"):
            await ask(backend)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\r\nx",
    ],
)
async def test_what_is_no_http_is_a_provider_that_did_not_answer(answer: bytes) -> None:
    async with raw_server(answer) as url, providers(upstream(url)) as backend:
        with pytest.raises(UpstreamError) as raised:
            await ask(backend)
    assert raised.value.status == 502


# Turned elsewhere.


@pytest.mark.parametrize("reply", [*PASSING, *LASTING, FIRST_IS_AN_ERROR], ids=name_of)
async def test_another_upstream_answers_at_once(reply: Reply) -> None:
    time = Time()
    async with (
        OpenAIServer([reply]) as server,
        OpenAIServer([Text("here")]) as other,
        providers(
            upstream(server, retries=2, timeouts=HASTY), upstream(other, priority=1), time=time
        ) as backend,
    ):
        assert await ask(backend) == "here"
    assert len(server.requests) == 1
    assert time.pauses == []


async def test_an_upstream_that_is_not_there_is_passed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gone = f"http://127.0.0.1:{free_port()}/v1"
    async with (
        OpenAIServer([Text("here")]) as other,
        providers(upstream(gone), upstream(other, priority=1)) as backend,
    ):
        assert await ask(backend) == "here"
        assert [told.outcomes for told in backend.conditions()] == [
            {"upstream_unreachable": 1},
            {"ok": 1},
        ]
    address = gone.split("/")[2]
    assert caplog.messages == [
        f"Upstream a: The model provider at {address} cannot be reached. The operator should check "
        "that it runs, OPENAI_BASE_URL or gateway.baseUrl and, on Kubernetes, "
        "gateway.networkPolicy.egress."
    ]


@pytest.mark.parametrize("status", [400, 413])
async def test_a_request_that_is_wrong_is_wrong_everywhere(status: int) -> None:
    async with (
        OpenAIServer([Fault(status)]) as server,
        OpenAIServer([Text("never")]) as other,
        providers(upstream(server), upstream(other, priority=1)) as backend,
    ):
        with pytest.raises(UpstreamError) as raised:
            await ask(backend)
    assert raised.value.status == status
    assert other.requests == []


async def test_when_all_fail_the_first_ones_failure_is_told() -> None:
    async with (
        OpenAIServer([Fault(503), Fault(503)]) as server,
        OpenAIServer([Fault(401)]) as other,
        providers(upstream(server, retries=1), upstream(other, priority=1)) as backend,
    ):
        with pytest.raises(UpstreamError, match=r"failed \(503\)"):
            await ask(backend)
    # The one whose key is refused is not asked again.
    assert (len(server.requests), len(other.requests)) == (2, 1)


async def test_who_wants_to_be_left_alone_is_asked_last() -> None:
    time = Time()
    async with (
        OpenAIServer([Fault(429, retry_after=20), Text("first again")]) as server,
        OpenAIServer([Text("second"), Text("second")]) as other,
        providers(upstream(server), upstream(other, priority=1), time=time) as backend,
    ):
        assert [await ask(backend), await ask(backend)] == ["second", "second"]
        assert len(server.requests) == 1
        time.now += 20
        assert await ask(backend) == "first again"


# Left alone.


async def test_an_upstream_that_keeps_failing_is_left_alone_and_looked_after() -> None:
    time = Time()
    async with (
        OpenAIServer([Fault(500), Fault(500), Fault(500), Text("back"), Text("well")]) as server,
        providers(upstream(server, breaker=breaker(2, 30.0)), time=time) as backend,
    ):
        for _ in range(2):
            with pytest.raises(UpstreamError, match=r"failed \(500\)"):
                await ask(backend)
        host = server.base_url.split("/")[2]
        with pytest.raises(UpstreamError) as raised:
            await ask(backend)
        assert raised.value.message == (
            f"The model provider at {host} failed 2 times in a row and is not asked for 30 more "
            f"seconds; ask again then. The last failure: The model provider at {host} failed "
            "(500). Ask again in a moment."
        )
        assert (raised.value.status, raised.value.headers) == (
            503,
            {"Retry-After": "30", "X-Should-Retry": "false"},
        )
        assert [told.state for told in backend.conditions()] == ["open"]
        assert backend.problem().endswith("failed (500). Ask again in a moment.")
        time.now += 30
        assert [told.state for told in backend.conditions()] == ["half-open"]
        assert backend.problem() == ""
        with pytest.raises(UpstreamError, match=r"failed \(500\)"):
            await ask(backend)
        with pytest.raises(UpstreamError, match="failed 3 times in a row"):
            await ask(backend)
        time.now += 30
        assert [await ask(backend), await ask(backend)] == ["back", "well"]
        assert list(backend.conditions()) == [
            Condition("a", "closed", 0, "", {"upstream_error": 3, "ok": 2})
        ]
    assert len(server.requests) == 5


async def test_only_one_request_looks_whether_it_is_back() -> None:
    time = Time()
    async with (
        OpenAIServer([Fault(500), Text("slow", delay=0.1), Text("next")]) as server,
        providers(upstream(server, breaker=breaker(1, 30.0)), time=time) as backend,
    ):
        with pytest.raises(UpstreamError):
            await ask(backend)
        time.now += 30
        looking = asyncio.create_task(ask(backend))
        await server.request(1)
        with pytest.raises(UpstreamError, match="is not asked for one more second; ask again then"):
            await ask(backend)
        assert await looking == "slow"
        assert await ask(backend) == "next"


async def test_a_look_that_is_given_up_leaves_the_next_request_to_look() -> None:
    time = Time()
    async with (
        OpenAIServer([Fault(500), Fault("stall_before_headers"), Text("back")]) as server,
        providers(upstream(server, breaker=breaker(1, 30.0)), time=time) as backend,
    ):
        with pytest.raises(UpstreamError):
            await ask(backend)
        time.now += 30
        looking = asyncio.create_task(ask(backend))
        await server.request(1)
        looking.cancel()
        await asyncio.wait([looking])
        assert await ask(backend) == "back"
        (told,) = backend.conditions()
        assert told.outcomes == {"upstream_error": 1, "given_up": 1, "ok": 1}


async def test_answers_that_break_off_count_as_failures() -> None:
    async with (
        OpenAIServer([Fault("cut_mid_stream")] * 2) as server,
        providers(upstream(server, breaker=breaker(2, 30.0))) as backend,
    ):
        for _ in range(2):
            with pytest.raises(UpstreamError, match="broke before the answer was complete"):
                await ask(backend)
        assert [told.state for told in backend.conditions()] == ["open"]


async def test_while_one_is_left_alone_another_answers() -> None:
    async with (
        OpenAIServer([Fault(500)]) as server,
        OpenAIServer([Text("1"), Text("2")]) as other,
        providers(
            upstream(server, breaker=breaker(1, 30.0)), upstream(other, priority=1)
        ) as backend,
    ):
        assert [await ask(backend), await ask(backend)] == ["1", "2"]
        assert [told.state for told in backend.conditions()] == ["open", "closed"]
        assert backend.problem() == ""
    assert len(server.requests) == 1


async def test_what_users_do_wrong_is_no_failure_of_the_upstream() -> None:
    faults = [Fault(status) for status in (400, 403, 404, 408, 413, 429)]
    async with (
        OpenAIServer(faults) as server,
        providers(upstream(server, breaker=breaker(1, 30.0))) as backend,
    ):
        for _ in faults:
            with pytest.raises(GatewayError):
                await ask(backend)
        assert [told.state for told in backend.conditions()] == ["closed"]
    assert len(server.requests) == len(faults)


async def test_whatever_fails_each_request_ends_in_one_answer_or_one_error() -> None:
    luck, time = random.Random(7), Time()
    # Twenty at once may keep a busy machine from hearing a request for a fifth of a second.
    patience = Timeouts(connect=2, firstByte=2, silence=2)
    replies: list[Reply] = [
        *([Text("all ", "of ", "it")] * 20),
        *(*PASSING, *LASTING, FIRST_IS_AN_ERROR, Fault(400), Fault(429, retry_after=1)),
        *(Fault(kind) for kind in ("reset_mid_stream", "cut_mid_stream", "garbage_sse")),
        *(Fault(kind) for kind in ("error_mid_stream", "stall_mid_stream")),
    ]
    ends: Counter[str] = Counter()

    async def user(backend: Router) -> None:
        for _ in range(20):
            try:
                said = await ask(backend, streamed=luck.random() < 0.8)
            except GatewayError as error:
                ends["error" if error.message.endswith(".") else "no sentence"] += 1
            else:
                assert said == "all of it"
                ends["answer"] += 1
            time.now += 1

    async with (
        OpenAIServer(lambda _: luck.choice(replies)) as server,
        OpenAIServer(lambda _: luck.choice(replies)) as other,
        providers(
            upstream(server, retries=2, timeouts=patience, breaker=breaker(3, 5.0)),
            upstream(
                other,
                retries=1,
                timeouts=patience,
                priority=1,
                breaker=breaker(1000, 1.0),
            ),
            time=time,
        ) as backend,
    ):
        await asyncio.gather(*(user(backend) for _ in range(20)))
        told = list(backend.conditions())
    assert ends["answer"] + ends["error"] == 400
    assert ends["answer"] > 200
    attempts = [sum(condition.outcomes.values()) for condition in told]
    assert attempts == [len(server.requests), len(other.requests)]
    assert sum(condition.outcomes["ok"] for condition in told) == ends["answer"]


# Who has which model.


async def test_models_are_routed_by_their_names() -> None:
    async with (
        OpenAIServer([Text("open")], models=["gpt-4.1"]) as openai,
        OpenAIServer([Text("local")] * 2, models=["llama3:8b"]) as ollama,
        providers(
            upstream(openai, models=("gpt-*",)),
            upstream(ollama, models=("llama*",), aliases={"fast": "llama3:8b"}),
        ) as backend,
    ):
        assert await ask(backend, model="gpt-4.1") == "open"
        assert await ask(backend, model="llama3:8b") == "local"
        assert await ask(backend, model="fast") == "local"
    # Only the name is another one, and the tokens are counted.
    counted = {"stream": True, "stream_options": {"include_usage": True}}
    assert ollama.requests[1].body == BODY | counted | {"model": "llama3:8b"}
    assert json.loads(ollama.requests[1].raw) == ollama.requests[1].body


async def test_an_answer_names_the_upstream_that_gave_it() -> None:
    async with (
        OpenAIServer([Text("hello")], models=["mine"]) as server,
        providers(upstream(server, name="azure", aliases={"gpt-4.1": "mine"})) as backend,
        backend.complete(json.dumps(BODY).encode(), BODY) as answer,
    ):
        assert answer.upstream == "azure"
    assert [request.body["model"] for request in server.requests] == ["mine"]


async def test_a_model_that_nobody_has_is_a_sentence_with_those_there_are() -> None:
    async with (
        OpenAIServer(models=["gpt-4.1", "gpt-4.1-mini", "whisper"]) as server,
        providers(upstream(server, models=("gpt-*",), aliases={"fast": "gpt-4.1"})) as backend,
    ):
        with pytest.raises(GatewayError) as raised:
            await ask(backend, model="gtp-4.1")
    assert (raised.value.status, raised.value.code) == (404, "model_not_found")
    assert raised.value.message == (
        "There is no model 'gtp-4.1' here. Did you mean 'gpt-4.1'? "
        "The models are: fast, gpt-4.1, gpt-4.1-mini."
    )
    assert server.requests == []


async def test_a_model_that_the_provider_does_not_know_is_the_same_sentence() -> None:
    async with OpenAIServer() as server, providers(upstream(server)) as backend:
        with pytest.raises(GatewayError) as raised:
            await ask(backend, model="o9")
    assert raised.value.message == "There is no model 'o9' here. The models are: gpt-4.1."


async def test_an_upstream_without_a_list_of_names_is_asked_where_no_other_was_named() -> None:
    async with (
        OpenAIServer([Text("any")], models=["gpt-4.1", "llama"]) as anything,
        OpenAIServer([Text("named")], models=["llama"]) as ollama,
        providers(upstream(anything), upstream(ollama, models=("llama",))) as backend,
    ):
        assert await ask(backend, model="llama") == "named"
        assert await ask(backend, model="gpt-4.1") == "any"


async def test_connections_are_used_again() -> None:
    async with OpenAIServer([Text("hello")] * 5) as server, providers(upstream(server)) as backend:
        for _ in range(5):
            await ask(backend)
    assert len({request.peer for request in server.requests}) == 1


async def test_azure_wants_its_key_in_a_header_and_the_deployment_in_the_path() -> None:
    async with (
        OpenAIServer([Text("hello"), Text("whole")], key=KEY, models=["my-gpt"]) as azure,
        providers(
            upstream(azure.azure_url, key=KEY, kind="azure", aliases={"gpt-4.1": "my-gpt"})
        ) as backend,
    ):
        assert await ask(backend) == "hello"
        assert await ask(backend, streamed=False) == "whole"
        async with backend.models() as answer:
            said = json.loads(await content(answer))
    assert [model["id"] for model in said["data"]] == ["gpt-4.1"]
    request = azure.requests[0]
    assert request.path == "/openai/deployments/my-gpt/chat/completions"
    assert dict(request.query) == {"api-version": "2024-10-21"}
    assert "Authorization" not in request.headers


async def test_a_deployment_that_is_not_there_is_a_model_that_is_not_there() -> None:
    async with (
        OpenAIServer(models=["my-gpt"]) as azure,
        providers(
            upstream(azure.azure_url, kind="azure", aliases={"gpt-4.1": "my-gpt"})
        ) as backend,
    ):
        with pytest.raises(GatewayError) as raised:
            await ask(backend, model="gpt-5")
    assert raised.value.message == (
        "There is no model 'gpt-5' here. Did you mean 'gpt-4.1'? The models are: gpt-4.1."
    )


# The list of models.


async def listed(backend: Any) -> list[tuple[str, str]]:
    async with backend.models() as answer:
        said = json.loads(await content(answer))
    return [(model["id"], model["owned_by"]) for model in said["data"]]


async def test_the_lists_are_one_and_kept_for_a_minute() -> None:
    time = Time()
    async with (
        OpenAIServer(models=["gpt-4.1", "whisper"]) as openai,
        OpenAIServer(models=["llama3:8b", "gpt-4.1"]) as ollama,
        providers(
            upstream(openai, models=("gpt-*", "o3")), upstream(ollama, priority=1), time=time
        ) as backend,
    ):
        lists = await asyncio.gather(*(listed(backend) for _ in range(20)))
        assert lists == [[("gpt-4.1", "a"), ("o3", "a"), ("llama3:8b", "b")]] * 20
        time.now += 59
        await listed(backend)
        assert (len(openai.looks), len(ollama.looks)) == (1, 1)
        time.now += 1
        await listed(backend)
        assert (len(openai.looks), len(ollama.looks)) == (2, 2)


async def test_an_upstream_that_gives_no_list_is_left_out_and_soon_asked_again() -> None:
    time = Time()
    async with (
        OpenAIServer(key=KEY) as refusing,
        OpenAIServer(models=["llama"]) as ollama,
        providers(upstream(refusing, key="wrong-key"), upstream(ollama), time=time) as backend,
    ):
        assert await listed(backend) == [("llama", "b")]
        time.now += 5
        await listed(backend)
    assert len(refusing.looks) == 2


async def test_without_any_list_the_failure_is_told_and_soon_asked_again() -> None:
    time = Time()
    port = free_port()
    gone = f"http://127.0.0.1:{port}/v1"
    async with providers(upstream(gone), time=time) as backend:
        with pytest.raises(UpstreamError, match="cannot be reached"):
            await listed(backend)
        async with OpenAIServer(port=port) as server:
            with pytest.raises(UpstreamError, match="cannot be reached"):
                await listed(backend)
            assert server.looks == []
            time.now += 5
            assert await listed(backend) == [("gpt-4.1", "a")]
