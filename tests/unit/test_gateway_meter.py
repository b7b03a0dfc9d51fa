"""The gateway's arithmetic: tokens, money, windows, limits, and what a passing answer says."""

import itertools
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import limits
from caesarion_hub.gateway.policy.budgets import (
    Budget,
    Spent,
    dollars,
    from_values,
    refusal,
    window_end,
)
from caesarion_hub.gateway.policy.prices import Usage, cost, prompt_tokens, read_usage, tokens_of
from caesarion_hub.gateway.upstream.stream_reader import LONGEST, Tap
from caesarion_hub.values.gateway import Gateway, Price, check
from hypothesis import given
from hypothesis import strategies as st

NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)  # a Friday


# Tokens and money.


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 0}, Usage(5, 6)),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
            Usage(5, 6, 4),
        ),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 6,
                "prompt_tokens_details": {"cached_tokens": 9},
            },
            Usage(5, 6, 5),
        ),
        ({"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": None}, Usage(5, 6)),
        ({"prompt_tokens": -5, "completion_tokens": 6}, None),
        ({"prompt_tokens": 5.5, "completion_tokens": 6}, None),
        ({"prompt_tokens": True, "completion_tokens": 6}, None),
        ({"prompt_tokens": 2**60, "completion_tokens": 6}, None),
        ({"prompt_tokens": 5}, None),
        (None, None),
        ("many", None),
    ],
)
def test_a_count_is_believed_if_it_is_one(said: Any, usage: Usage | None) -> None:
    assert read_usage(said) == usage


def test_money_is_exact_and_rounded_up() -> None:
    price = Price(prompt=Decimal("2.5"), completion=Decimal(10), cached=Decimal("0.15"))
    assert cost(Usage(1000, 100, cached=400), price) == 600 * 2500 + 400 * 150 + 100 * 10_000
    assert cost(Usage(1, 0), Price(prompt=Decimal("0.0001"), completion=Decimal(0))) == 1
    assert cost(Usage(1, 0), None) is None
    assert cost(Usage(10, 0, cached=10), Price(prompt=Decimal(1), completion=Decimal(1))) == 10_000


def test_what_nobody_counted_is_three_bytes_a_token_and_pictures_are_flat() -> None:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x" * 300}]}
    raw = json.dumps(body).encode()
    assert prompt_tokens(raw, body) == tokens_of(len(raw)) == -(-len(raw) // 3)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 90_000}}
    body["messages"][0]["content"] = [picture, {"type": "text", "text": "what is it?"}]
    raw = json.dumps(body).encode()
    assert 1500 < prompt_tokens(raw, body) < 1600


# Windows and refusals.


@pytest.mark.parametrize(
    ("window", "renewal"),
    [("day", "2026-01-10"), ("week", "2026-01-12"), ("month", "2026-02-01"), ("total", None)],
)
def test_a_window_ends_at_midnight_utc(window: Any, renewal: str | None) -> None:
    end = window_end(window, NOON.date())
    assert (end and f"{end:%Y-%m-%d}") == renewal


def test_a_refusal_says_which_how_much_and_when() -> None:
    budget = Budget("user", "", "day", 2000, None)
    told = refusal(budget, ("user", "ada"), Spent(tokens=2345), NOON)
    assert told is not None
    assert told.message == (
        "Your budget of 2,000 tokens a day is used up: 2,345 are used. "
        "It renews on 2026-01-10 at 00:00 UTC."
    )
    assert told.headers == {"Retry-After": "43201", "X-Should-Retry": "false"}
    assert json.loads(told.body())["error"] == {
        "message": told.message,
        "type": "budget_error",
        "param": None,
        "code": "budget_reached",
    }


def test_below_a_limit_there_is_room() -> None:
    budget = Budget("user", "", "day", 2000, 100)
    nothing = refusal(Budget("user", "", "day", 0, None), ("user", "ada"), Spent(), NOON)
    assert nothing is not None
    assert nothing.message == "Your budget allows nothing; the operator can raise it."
    assert "Retry-After" not in nothing.headers
    assert refusal(budget, ("user", "ada"), Spent(1999, 99), NOON) is None
    assert refusal(budget, ("user", "ada"), Spent(0, 100), NOON) is not None


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (5 * 10**9, "$5.00"),
        (1_234_500_000_000, "$1,234.50"),
        (200_000, "$0.0002"),
        (1, "$0.000000001"),
        (0, "$0.00"),
    ],
)
def test_money_is_told_in_dollars(nanos: int, text: str) -> None:
    assert dollars(nanos) == text


def test_the_operators_budgets_are_read() -> None:
    values = check({"budgets": [{"scope": "group", "window": "week", "money": 2.5}]})
    assert from_values(values.budgets) == [Budget("group", "", "week", None, 2_500_000_000)]


# Limits.


def settings(**changes: Any) -> Gateway:
    return check(
        {
            "limits": {"models": ["small"], "requestsPerMinute": 5, "maxOutputTokens": 100},
            "groups": {
                "staff": {"models": ["big"], "requestsPerMinute": 50, "defaultModel": "big"},
                "guests": {"models": [], "concurrentStreams": 1},
            },
            "aliases": {"fast": "small"},
            **changes,
        }
    )


def test_who_is_in_no_group_has_everybodys_limits() -> None:
    terms = limits.caller_limits(settings(), ["unheard-of"])
    assert (terms.models, terms.default_model) == (frozenset({"small"}), "gpt-4.1")
    assert (terms.requests_per_minute, terms.concurrent_streams) == (5, None)


def test_who_is_in_several_groups_has_the_most_generous_limit() -> None:
    terms = limits.caller_limits(settings(), ["guests", "staff"])
    assert (terms.models, terms.default_model) == (frozenset({"big"}), "big")
    assert (terms.requests_per_minute, terms.concurrent_streams) == (50, None)
    assert limits.caller_limits(settings(), ["guests"]).concurrent_streams == 1


def test_a_model_is_found_by_its_other_names() -> None:
    values = settings()
    staff, others = limits.caller_limits(values, ["staff"]), limits.caller_limits(values, [])
    assert limits.model_for("default", staff, values) == "big"
    assert limits.model_for("fast", others, values) == "small"
    with pytest.raises(
        GatewayError, match=r"'big' is not for you\. The models are: small\."
    ) as caught:
        limits.model_for("big", others, values)
    assert (caught.value.status, caught.value.code) == (403, "model_not_allowed")


def test_who_may_not_have_the_deployments_model_gets_their_own_default() -> None:
    values = settings()
    assert limits.model_for("gpt-4.1", limits.caller_limits(values, ["staff"]), values) == "big"
    with pytest.raises(GatewayError, match=r"^The model 'gpt-4\.1' is not for you\. There is no"):
        limits.model_for("gpt-4.1", limits.caller_limits(values, ["guests"]), values)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, {"max_tokens": 100}),
        ({"max_tokens": 7}, {"max_tokens": 7}),
        ({"max_completion_tokens": 700}, {"max_completion_tokens": 100}),
        ({"max_tokens": -1}, {"max_tokens": 100}),
        ({"max_tokens": None}, {"max_tokens": 100}),
    ],
)
def test_an_answer_is_no_longer_than_the_limit(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    body = dict(asked)
    assert limits.output_limit(body, limits.caller_limits(settings(), [])) == min(
        *sent.values(), 100
    )
    assert body == sent


def test_without_a_limit_nothing_is_written_into_the_request() -> None:
    body: dict[str, Any] = {"max_tokens": 7}
    assert limits.output_limit(body, limits.caller_limits(Gateway(), [])) == 7
    assert limits.output_limit({}, limits.caller_limits(Gateway(), [])) is None
    assert body == {"max_tokens": 7}


# What a passing answer says.


def event(**chunk: Any) -> bytes:
    return f"data: {json.dumps(chunk)}\n\n".encode()


def spoken(text: str, finish: str | None = None) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": finish}])


USAGE = event(choices=[], usage={"prompt_tokens": 3, "completion_tokens": 4})
DONE = b"data: [DONE]\n\n"
ANSWER = spoken("Hel") + spoken("lo 🙂", "stop") + USAGE + DONE


def piece(index: int | None, call: str | None, name: str | None, arguments: str) -> bytes:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    told: dict[str, Any] = {"function": function} | ({} if index is None else {"index": index})
    told |= {"id": call} if call else {}
    return event(choices=[{"index": 0, "delta": {"tool_calls": [told]}, "finish_reason": None}])


@given(st.lists(st.integers(0, len(ANSWER))), st.booleans())
def test_however_the_bytes_come_the_answer_is_read(cuts: list[int], strip: bool) -> None:
    tap = Tap(is_stream=True, strip=strip)
    places = [0, *sorted(cuts), len(ANSWER)]
    passed = b"".join(tap.feed(ANSWER[a:b]) for a, b in itertools.pairwise(places))
    passed += tap.finish()
    assert passed == (ANSWER.replace(USAGE, b"") if strip else ANSWER)
    assert tap.usage == Usage(3, 4)
    assert (tap.finish_reason, tap.ended, tap.spoke, tap.calls) == ("stop", True, True, [])
    assert tap.counted() == 4  # eleven bytes


@given(st.binary(max_size=300), st.booleans(), st.booleans())
def test_whatever_bytes_come_they_go_on(data: bytes, strip: bool, is_stream: bool) -> None:
    tap = Tap(is_stream=is_stream, strip=strip)
    assert tap.feed(data) + tap.finish() == data


def test_calls_are_put_together_from_their_pieces() -> None:
    tap = Tap(is_stream=True, strip=False)
    tap.feed(piece(0, "a", "python", '{"co') + piece(1, "b", "weather", "{}"))
    tap.feed(
        piece(0, None, None, 'de": 1}') + piece(0, "c", "python", "x") + piece(None, "d", "", "")
    )
    assert [(call.id, call.name, call.arguments) for call in tap.calls] == [
        ("a", "python", '{"code": 1}'),
        ("b", "weather", "{}"),
        ("c", "python", "x"),
        ("d", "", ""),
    ]
    assert not tap.ended
    tap.feed(DONE)
    assert tap.ended


def test_with_several_choices_the_last_finish_is_the_end() -> None:
    tap = Tap(is_stream=True, strip=False, choices=2)
    tap.feed(spoken("a", "stop"))
    assert not tap.ended
    tap.feed(spoken("b", "stop"))
    assert tap.ended


def test_a_whole_answer_is_read_at_its_end() -> None:
    message = {
        "content": "é",
        "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}],
    }
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})
    tap = Tap(is_stream=False, strip=True)
    assert tap.feed(body.encode()) == b""
    assert tap.finish() == body.encode()
    assert (tap.usage, tap.finish_reason, tap.calls[0].name) == (Usage(1, 2), "tool_calls", "f")


def test_a_line_without_end_is_not_kept() -> None:
    tap = Tap(is_stream=True, strip=True)
    line = b"data: " + b"x" * LONGEST
    assert tap.feed(line) == line
    assert tap.counted() == tokens_of(len(line))


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": None},
        {"choices": ["a"]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": {"content": 5, "tool_calls": "many"}}]},
        {"choices": [{"delta": {"tool_calls": [None, {"function": None}]}}]},
        {"usage": "many"},
        ["a"],
    ],
)
def test_odd_chunks_pass(odd: Any) -> None:
    tap = Tap(is_stream=True, strip=True)
    data = f"data: {json.dumps(odd)}\n\n".encode()
    assert tap.feed(data) + tap.finish() == data
