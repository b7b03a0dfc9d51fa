"""The providers' pure parts: who is asked, who is left alone, what a stream is."""

import itertools
import json
import random
from collections import Counter
from typing import Any

import pytest
from caesarion_hub.gateway.upstream.circuit_breaker import CircuitBreaker
from caesarion_hub.gateway.upstream.connection_errors import left_alone
from caesarion_hub.gateway.upstream.refusals import status_error
from caesarion_hub.gateway.upstream.router import ordered, routes, unknown_model
from caesarion_hub.gateway.upstream.settings import Upstream
from caesarion_hub.gateway.upstream.sse import MAX_EVENT, Events
from caesarion_hub.values.gateway import Breaker, UpstreamOptions
from hypothesis import given
from hypothesis import strategies as st

from tests.upstreams import Time

OPENAI = Upstream(
    "https://api.openai.com/v1", name="openai", options=UpstreamOptions(models=("gpt-*", "o[34]"))
)
OLLAMA = Upstream(
    "http://ollama:11434/v1", name="ollama", options=UpstreamOptions(aliases={"fast": "llama3:8b"})
)
AZURE = Upstream(
    "https://me.openai.azure.com/openai/deployments/{model}?api-version=2024-10-21",
    "0123456789abcdef",
    name="azure",
    options=UpstreamOptions(kind="azure"),
)


# Where a request goes.


@pytest.mark.parametrize(
    ("upstream", "url"),
    [
        (OPENAI, "https://api.openai.com/v1/chat/completions"),
        (
            AZURE,
            "https://me.openai.azure.com/openai/deployments/a%2Fb/chat/completions"
            "?api-version=2024-10-21",
        ),
        (Upstream("http://vllm/v1/?tenant=a"), "http://vllm/v1/chat/completions?tenant=a"),
    ],
)
def test_the_path_goes_before_the_query(upstream: Upstream, url: str) -> None:
    assert upstream.url("/chat/completions", "a/b") == url


def test_azure_takes_its_key_in_a_header_of_its_own() -> None:
    assert AZURE.credentials() == {"api-key": "0123456789abcdef"}
    assert Upstream("http://a/v1", "k").credentials() == {"Authorization": "Bearer k"}
    assert OLLAMA.credentials() == {}
    assert "0123456789abcdef" not in repr(AZURE)


@pytest.mark.parametrize(
    ("model", "taken"),
    [("gpt-4.1", True), ("o3", True), ("o5", False), ("GPT-4.1", False), ("my-gpt-4", False)],
)
def test_patterns_match_whole_names(model: str, taken: bool) -> None:
    assert OPENAI.takes(model) is taken


def test_who_was_named_for_a_model_goes_before_who_takes_any() -> None:
    def found(model: str) -> list[tuple[str, str]]:
        return [(way.upstream.name, way.model) for way in routes([OPENAI, OLLAMA], model)]

    assert found("gpt-4.1") == [("openai", "gpt-4.1")]
    assert found("fast") == [("ollama", "llama3:8b")]
    assert found("other") == [("ollama", "other")]
    assert routes([OPENAI], "other") == []


def test_chance_decides_by_weight_among_equals_and_only_there() -> None:
    def made(name: str, priority: int, weight: float) -> Upstream:
        return Upstream(
            f"http://{name}/v1",
            name=name,
            options=UpstreamOptions(priority=priority, weight=weight),
        )

    ways = routes([made("light", 0, 1), made("heavy", 0, 3), made("later", 1, 100)], "m")
    luck = random.Random(1)
    orders = [
        [way.upstream.name for way in ordered(ways, lambda _: False, luck.random)]
        for _ in range(2000)
    ]
    first = Counter(order[0] for order in orders)
    assert {order[2] for order in orders} == {"later"}
    assert 2.5 < first["heavy"] / first["light"] < 3.6
    resting = ordered(ways, lambda upstream: upstream.options.priority == 0, luck.random)
    assert resting[0].upstream.name == "later"


def test_a_long_list_of_models_is_cut() -> None:
    known = [f"model-{number}" for number in range(30)]
    message = unknown_model("x" * 1000, known).message
    assert message.startswith(f"There is no model '{'x' * 100}' here. The models are: model-0, ")
    assert message.endswith(", model-19 and 10 more.")
    assert unknown_model("a", ["a"]).message == (
        "There is no model 'a' here. The operator can say which there are."
    )


# Who is left alone.


def test_a_circuit_opens_after_failures_in_a_row_only() -> None:
    circuit = CircuitBreaker(Breaker(failures=2, seconds=10), Time())
    for _ in range(3):
        leave = circuit.enter()
        circuit.failed(leave)
        assert circuit.state == "closed"
        circuit.ended()
    circuit.failed(circuit.enter())
    circuit.failed(circuit.enter())
    assert (circuit.state, circuit.seconds_left, circuit.enter()) == ("open", 10.0, None)


def test_a_circuit_is_closed_by_the_request_that_looks_and_by_no_older_one() -> None:
    time = Time()
    circuit = CircuitBreaker(Breaker(failures=1, seconds=10), time)
    old = circuit.enter()
    circuit.failed(circuit.enter())
    circuit.answered(old)
    circuit.ended()
    assert circuit.state == "open"
    time.now += 10
    probe = circuit.enter()
    assert circuit.enter() is None
    circuit.failed(old)
    assert circuit.seconds_left == 0.0
    circuit.answered(probe)
    circuit.returned(probe)
    assert circuit.enter()
    assert circuit.failures == 0


def test_a_late_failure_does_not_prolong_the_time_alone() -> None:
    time = Time()
    circuit = CircuitBreaker(Breaker(failures=1, seconds=10), time)
    old = circuit.enter()
    circuit.failed(circuit.enter())
    time.now += 9
    circuit.failed(old)
    assert circuit.seconds_left == 1.0


def test_a_rest_ends_with_its_time() -> None:
    time = Time()
    circuit = CircuitBreaker(Breaker(), time)
    circuit.rest(5)
    circuit.rest(1)
    time.now += 4
    assert circuit.is_resting
    time.now += 1
    assert not circuit.is_resting
    assert circuit.enter()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After-Ms": "1500", "Retry-After": "7"}, 1.5),
        ({"Retry-After": "soon"}, 0.0),
        ({"Retry-After": "-7"}, 0.0),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
        ({"Retry-After": "Fri, 31 Dec 99999999999 23:59:59 GMT"}, 0.0),
    ],
)
def test_the_time_to_wait_is_read(headers: dict[str, str], seconds: float) -> None:
    assert status_error(429, b"", headers, OLLAMA).wait == seconds


def test_a_date_to_come_back_is_read() -> None:
    error = status_error(503, b"", {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, OLLAMA)
    assert error.wait > 10**8


def test_the_provider_may_say_that_asking_again_is_no_use() -> None:
    assert status_error(500, b"", {}, OLLAMA).again
    assert not status_error(500, b"", {"X-Should-Retry": "false"}, OLLAMA).again


def test_the_time_alone_is_told_in_whole_seconds() -> None:
    error = left_alone(OLLAMA, 5, 0.2, "It failed.")
    assert error.headers == {"Retry-After": "1", "X-Should-Retry": "false"}
    assert "is left alone for one more second; ask again then" in error.message


# What a stream is.

CHUNK = {"choices": [{"index": 0, "delta": {"content": "naïve 🙂\u2028"}, "finish_reason": None}]}
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}


def event(said: Any) -> bytes:
    return f"data: {json.dumps(said, ensure_ascii=False)}\n\n".encode()


STREAM = (
    b": a comment\n\n"
    + event(CHUNK)
    + event(CHUNK).replace(b"\n", b"\r\n")
    + event(CHUNK).replace(b"\n", b"\r")
    + b'event: chunk\ndata: {"choices":\ndata: []}\n\n'
    + event(END)
    + b"data: [DONE]\n\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=40))
def test_however_a_stream_is_cut_its_bytes_pass_as_whole_events(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    events, passed = Events(), b""
    for begin, end in itertools.pairwise(places):
        piece = events.feed(STREAM[begin:end])
        assert not piece or piece.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))
        passed += piece
    assert passed == STREAM
    assert events.is_complete
    assert not events.is_garbled
    assert events.end() == b""


def test_a_reason_to_finish_or_done_completes_a_stream() -> None:
    for last, complete in ((event(END), True), (b"data:[DONE]\n\n", True), (event(CHUNK), False)):
        events = Events()
        events.feed(event(CHUNK) + last)
        assert events.is_complete is complete


@pytest.mark.parametrize(
    "garbage",
    [
        b"data: {not json\n\n",
        b"data: 1\n\n",
        b'data: {"half": "\xc3"}\n\n',
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
)
def test_what_is_no_event_is_kept_back_and_what_came_before_is_not(garbage: bytes) -> None:
    events = Events()
    assert events.feed(event(CHUNK) + garbage + event(CHUNK)) == event(CHUNK)
    assert events.is_garbled


def test_an_error_is_kept_back() -> None:
    events = Events()
    error = {"error": {"message": "The engine broke."}}
    assert events.feed(event(CHUNK) + event(error) + b"data: [DONE]\n\n") == event(CHUNK)
    assert events.error == error


@pytest.mark.parametrize(
    ("rest", "last"),
    [
        (b"data: [DONE]", b"data: [DONE]\n\n"),
        (b"data: [DONE]\r\n", b"data: [DONE]\n\n"),
        (b'data: {"half', b""),
        (b'data: {"error": {"message": "No."}}', b""),
        (b"\r\n", b""),
    ],
)
def test_the_last_event_needs_no_empty_line(rest: bytes, last: bytes) -> None:
    events = Events()
    assert events.feed(event(CHUNK) + rest) == event(CHUNK)
    assert events.end() == last


def test_an_event_without_an_end_is_garbled() -> None:
    events = Events()
    for _ in range(MAX_EVENT // 2**20):
        assert events.feed(b"x" * 2**20) == b""
        assert not events.is_garbled
    assert events.feed(b"x") == b""
    assert events.is_garbled


@pytest.mark.parametrize(
    "said", [{}, {"choices": None}, {"choices": [None, 1, {}]}, {"error": None, "choices": []}]
)
def test_odd_chunks_are_events(said: dict[str, Any]) -> None:
    events = Events()
    assert events.feed(event(said)) == event(said)
    assert (events.is_garbled, events.error, events.is_complete) == (False, None, False)
