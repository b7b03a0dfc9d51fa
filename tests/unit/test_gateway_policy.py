"""The gateway's arithmetic: tokens, money, windows and limits."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from unittest.mock import Mock, call

import pytest
from caesarion_dialects.usage import tokens_of
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import limits
from caesarion_hub.gateway.policy.budgets import (
    Budget,
    Spent,
    dollars,
    from_values,
    refusal,
    room,
    window_end,
)
from caesarion_hub.gateway.policy.prices import Usage, cost, prompt_tokens
from caesarion_hub.values.gateway import Gateway, Price, check

NOON = datetime(2026, 1, 9, 12, tzinfo=UTC)  # a Friday


# Tokens and money.


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


def test_a_text_beside_a_picture_is_counted() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}, "text": "x" * 90_000}
    sound = {"type": "input_audio", "input_audio": {"data": "A" * 9_000}, "more": ["x" * 90_000]}
    body = {"messages": [{"role": "user", "content": [picture, sound]}]}
    raw = json.dumps(body).encode()
    assert prompt_tokens(raw, body) > 60_000


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
    told = refusal(budget, ("user", "ada"), Spent(2345), Spent(), NOON)
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
    nothing = refusal(Budget("user", "", "day", 0, None), ("user", "ada"), Spent(), Spent(), NOON)
    assert nothing is not None
    assert nothing.message == "Your budget allows nothing; the operator can raise it."
    assert "Retry-After" not in nothing.headers
    assert refusal(budget, ("user", "ada"), Spent(1999), Spent(99), NOON) is None
    assert refusal(budget, ("user", "ada"), Spent(0), Spent(100), NOON) is not None


@pytest.mark.parametrize(
    ("account", "spent", "tokens"),
    [
        (("user", "ada"), Spent(500, 300, own=300), 1200),
        (("everyone", ""), Spent(500, 300, own=100), 650),  # of half of 1,500
        (("everyone", ""), Spent(500, 1400, own=100), 100),
        (("everyone", ""), Spent(500, 300, own=100, fair=900), 800),
        (("group", "staff"), Spent(1999, 0), 1),
    ],
)
def test_a_request_may_reserve_its_own_budget_and_half_of_one_that_is_shared(
    account: tuple[Any, str], spent: Spent, tokens: int
) -> None:
    assert room(Budget("user", "", "day", 2000, None), account, spent, Spent()) == (tokens, None)
    assert room(Budget("user", "", "day", None, 2000), account, Spent(), spent) == (None, tokens)


def test_a_user_whose_answers_hold_half_of_a_shared_budget_waits_for_one_of_them() -> None:
    budget = Budget("everyone", "", "month", None, 10 * 10**9)
    spent = Spent(2 * 10**9, 5 * 10**9, own=4 * 10**9)
    told = refusal(budget, ("everyone", ""), Spent(), spent, NOON)
    assert told is not None
    assert (told.code, told.message) == (
        "budget_reserved",
        "The budget of everybody here of $10.00 a month has no room for one more answer of yours "
        "now: $2.00 is used, and your answers under way may use half of the rest. Ask again when "
        "one has ended.",
    )
    assert refusal(budget, ("everyone", ""), Spent(), replace(spent, own=0), NOON) is None


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


@pytest.mark.parametrize("asked", ["GPT-4.1", " gpt-4.1", "gpt-4.1\n", "g\u200bpt-4.1\0"])
def test_another_spelling_of_a_model_has_its_name_and_price(asked: str) -> None:
    """Providers that ignore case and blanks would answer it, and no budget would count it."""
    values = settings(limits={"models": None}, prices={"gpt-4.1": {"prompt": 2, "completion": 8}})
    anyone = limits.caller_limits(values, [])
    assert limits.model_for(asked, anyone, values) == "gpt-4.1"
    assert limits.model_for("gpt-4.1-mini", anyone, values) == "gpt-4.1-mini"


def test_the_name_that_was_asked_for_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fold = Mock(side_effect=limits._folded)
    monkeypatch.setattr(limits, "_folded", fold)
    prices = {f"model-{number}": {"prompt": 2, "completion": 8} for number in range(20)}
    values = settings(limits={"models": None}, prices=prices)
    limits.model_for("another", limits.caller_limits(values, []), values)
    assert fold.mock_calls.count(call("another")) == 1


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
        ({"max_tokens": None}, {"max_tokens": 100}),
        (
            {"max_tokens": 9, "max_completion_tokens": 700},
            {"max_tokens": 9, "max_completion_tokens": 9},
        ),
        ({"n_predict": 700, "max_tokens": 800}, {"n_predict": 100, "max_tokens": 100}),
        ({"max_output_tokens": 700}, {"max_output_tokens": 100}),
    ],
)
def test_an_answer_is_no_longer_than_the_limit(asked: dict[str, Any], sent: dict[str, Any]) -> None:
    body = dict(asked)
    assert limits.limit_output(body, limits.caller_limits(settings(), [])) == min(sent.values())
    assert body == sent


def test_without_a_limit_nothing_is_written_into_the_request() -> None:
    body: dict[str, Any] = {"max_tokens": 7}
    assert limits.limit_output(body, limits.caller_limits(Gateway(), [])) == 7
    assert limits.limit_output({}, limits.caller_limits(Gateway(), [])) is None
    assert body == {"max_tokens": 7}


def test_how_many_answers_a_request_may_ask_for_is_a_limit() -> None:
    everybody = limits.caller_limits(Gateway(), [])
    some = limits.caller_limits(check({"limits": {"maxChoices": 2}}), [])
    assert limits.choices({}, everybody) == limits.choices({"n": None}, some) == 1
    assert limits.choices({"n": 8}, everybody) == 8
    for number, mine in ((9, everybody), (3, some)):
        with pytest.raises(GatewayError, match=rf"^The request asks for {number} answers at once"):
            limits.choices({"n": number}, mine)


@pytest.mark.parametrize(
    ("prompt", "output", "choices", "usage"),
    [
        (10, None, 1, Usage(10, 1000)),
        (10, 50, 3, Usage(10, 150)),
        (10, 10**9, 1, Usage(10, 8192)),
        (10, 10**9, 128, Usage(10, 49_990)),
        (10**7, 10**9, 1, Usage(50_000, 0)),
    ],
)
def test_what_is_reserved_is_bounded_by_the_model_and_by_a_value(
    prompt: int, output: int | None, choices: int, usage: Usage
) -> None:
    given = {"output": 1000, "longestAnswers": {"gpt-4*": 8192}, "max": 50_000}
    values = check({"reservations": given}).reservations
    assert limits.reservation("gpt-4.1", prompt, output, choices, values) == usage
