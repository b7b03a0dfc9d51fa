"""Which upstreams are asked for a model, in which order, and when an upstream is not asked."""

import random
from collections import Counter

import pytest
from caesarion_hub.gateway.upstream.circuit_breaker import CircuitBreaker
from caesarion_hub.gateway.upstream.connection_errors import circuit_open
from caesarion_hub.gateway.upstream.refusals import status_error
from caesarion_hub.gateway.upstream.router import ordered, routes, unknown_model
from caesarion_hub.gateway.upstream.settings import Upstream
from caesarion_hub.values.gateway import Breaker, UpstreamOptions

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


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        ("my-deployment", True),
        ("org/model-1.5", True),
        ("a..b", True),
        ("", False),
        (".", False),
        ("..", False),
        ("../../other", False),
        ("a/../b", False),
        ("a//b", False),
        ("a/", False),
        ("..\\other", False),
        ("a\nb", False),
    ],
)
def test_no_name_of_a_model_leads_out_of_its_path(model: str, taken: bool) -> None:
    assert AZURE.takes(model) is taken
    if taken:
        path = AZURE.url("/chat/completions", model).partition("?")[0]
        assert path.count("/") == "https://h/openai/deployments/m/chat/completions".count("/")
    assert OLLAMA.takes(model)


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


# The circuit breaker.


def test_a_circuit_opens_after_failures_in_a_row_only() -> None:
    circuit = CircuitBreaker(Breaker(failures=2, seconds=10), Time())
    for _ in range(3):
        leave = circuit.acquire()
        circuit.failed(leave)
        assert circuit.state == "closed"
        circuit.succeeded()
    circuit.failed(circuit.acquire())
    circuit.failed(circuit.acquire())
    assert (circuit.state, circuit.seconds_left, circuit.acquire()) == ("open", 10.0, None)


def test_a_circuit_is_closed_by_the_request_that_looks_and_by_no_older_one() -> None:
    time = Time()
    circuit = CircuitBreaker(Breaker(failures=1, seconds=10), time)
    old = circuit.acquire()
    circuit.failed(circuit.acquire())
    circuit.responded(old)
    circuit.succeeded()
    assert circuit.state == "open"
    time.now += 10
    probe = circuit.acquire()
    assert circuit.acquire() is None
    circuit.failed(old)
    assert circuit.seconds_left == 0.0
    circuit.responded(probe)
    circuit.release(probe)
    assert circuit.acquire()
    assert circuit.failures == 0


def test_a_late_failure_does_not_prolong_the_time_alone() -> None:
    time = Time()
    circuit = CircuitBreaker(Breaker(failures=1, seconds=10), time)
    old = circuit.acquire()
    circuit.failed(circuit.acquire())
    time.now += 9
    circuit.failed(old)
    assert circuit.seconds_left == 1.0


def test_a_rest_ends_with_its_time() -> None:
    time = Time()
    circuit = CircuitBreaker(Breaker(), time)
    circuit.defer(5)
    circuit.defer(1)
    time.now += 4
    assert circuit.is_deferred
    time.now += 1
    assert not circuit.is_deferred
    assert circuit.acquire()


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
    assert status_error(429, b"", headers, OLLAMA).retry_after == seconds


def test_a_date_to_come_back_is_read() -> None:
    error = status_error(503, b"", {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, OLLAMA)
    assert error.retry_after > 10**8


def test_the_provider_may_say_that_asking_again_is_no_use() -> None:
    assert status_error(500, b"", {}, OLLAMA).retryable
    assert not status_error(500, b"", {"X-Should-Retry": "false"}, OLLAMA).retryable


def test_the_time_alone_is_told_in_whole_seconds() -> None:
    error = circuit_open(OLLAMA, 5, 0.2, "It failed.")
    assert error.headers == {"Retry-After": "1", "X-Should-Retry": "false"}
    assert "is not asked for one more second; ask again then" in error.message
