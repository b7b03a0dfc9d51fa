"""The pure parts of the gateway's pages: formatting, charts, files, forms, audit lines, spans."""

import asyncio
import json
import re
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from caesarion_hub.gateway.authentication import HubClient
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.pages import audit_lines, bar_chart, budget_form, formatting, spans
from caesarion_hub.gateway.pages.download import csv_pieces, json_lines
from caesarion_hub.gateway.policy.budgets import Budget
from hypothesis import given
from hypothesis import strategies as st

DOLLAR = 10**9


@pytest.mark.parametrize(
    ("nanos", "said"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (15_000, "$0.000015"),
        (1_200_000, "$0.0012"),
        (40_396_000, "$0.04"),
        (50_000_000, "$0.05"),
        (DOLLAR // 2, "$0.50"),
        (1_234_567 * DOLLAR + 5_000_000, "$1,234,567.00"),
    ],
)
def test_money_is_said_to_the_cent_or_as_small_as_it_is(nanos: int, said: str) -> None:
    assert formatting.money(nanos) == said


def test_the_limit_of_a_budget_is_said_with_all_of_its_digits() -> None:
    limits = (5_000_000, 1_234_560_000, 20 * DOLLAR, 1_500 * DOLLAR)
    assert [formatting.limit(None, nanos) for nanos in limits] == [
        *("$0.005", "$1.23456", "$20.00", "$1,500.00")
    ]


def test_a_limit_of_0_is_nothing_whatever_the_other_one_is() -> None:
    assert [formatting.limit(*one) for one in ((0, None), (None, 0), (0, DOLLAR))] == [
        "nothing"
    ] * 3


@pytest.mark.parametrize(
    ("approval", "approver", "words"),
    [
        ("run by ada", "person", "approved by ada"),
        ("edited by ada", "person", "edited by ada"),
        ("refuse by ada", "person", "refused by ada"),
        ("run by ada", "program", "approved by a program of ada"),
        ("made up", "program", "by a program: made up"),
        ("auto", "rule", "by rule: made without asking"),
        ("read-only", "", "by rule: read-only mode"),
        ("run and allowed files by ada", "person", "approved and allowed files by ada"),
        ("allowed files by ada", "rule", "by rule: allowed files by ada"),
        ("plan", "rule", "by rule: plan mode"),
        ("accept-edits", "rule", "by rule: changes of notebooks are accepted"),
        ("made up", "rule", "by rule: made up"),
        ("run by ada", "", "approved by ada, or a program of theirs"),
        ("made up", "", "made up"),
    ],
)
def test_an_approval_by_a_person_a_program_and_a_rule_read_differently(
    approval: str, approver: str, words: str
) -> None:
    assert formatting.approved(approval, approver) == words


def test_how_an_answer_ended_is_said_in_words() -> None:
    reasons = ("stop", "tool_calls", "length", "made_up", "")
    assert [formatting.result(reason) for reason in reasons] == [
        *("answered", "called a tool", "reached the length limit", "made_up", "")
    ]


@given(st.integers(1, 10**18))
def test_no_amount_of_money_is_said_to_be_none(nanos: int) -> None:
    assert float(formatting.money(nanos)[1:].replace(",", "")) == pytest.approx(
        nanos / DOLLAR, rel=0.06
    )


@pytest.mark.parametrize(
    ("nanos", "said"), [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (20 * DOLLAR, "20")]
)
def test_money_in_a_file_is_exact(nanos: int, said: str) -> None:
    assert formatting.exact(nanos) == said


@pytest.mark.parametrize(
    ("part", "said"), [(0, "0%"), (0.004, "0%"), (0.5, "50%"), (0.9999, "99%"), (1, "100%")]
)
def test_a_budget_is_said_to_be_used_up_only_when_it_is(part: float, said: str) -> None:
    assert formatting.percent(part) == said


def test_budgets_are_named_by_whose_they_are_and_what_they_allow() -> None:
    assert [formatting.whose(*one) for one in (("user", ""), ("group", "a"), ("everyone", ""))] == [
        *("each user", "group a", "everyone")
    ]
    assert formatting.limit(12_000, 1_500_000_000) == "12,000 tokens or $1.50"
    assert formatting.limit(None, None) == "no budget"


def test_an_identifier_is_shortened_only_where_that_saves_something() -> None:
    assert formatting.short("call_12345678") == "call_12345678"
    assert formatting.short("ab" * 32) == "abababababab…"


@pytest.mark.parametrize(
    ("most", "numbers"),
    [
        (1, [0, 1]),
        (3, [0, 1, 2, 3]),
        (10_768, [0, 5_000, 10_000, 15_000]),
        (100_000, [0, 50_000, 100_000]),
        (88_419, [0, 50_000, 100_000]),
    ],
)
def test_an_axis_has_round_numbers(most: float, numbers: list[float]) -> None:
    assert bar_chart.ticks(most) == numbers


@given(st.integers(1, 10**15))
def test_an_axis_reaches_the_greatest_value_in_few_whole_steps(most: int) -> None:
    numbers = bar_chart.ticks(most)
    assert numbers[-1] >= most * 0.999999
    assert 2 <= len(numbers) <= 5
    assert all(number == int(number) for number in numbers)


def test_a_chart_says_its_highest_value_and_some_days_without_pointing() -> None:
    values = [(f"{day} Nov", day * 100, f"{day * 100} tokens") for day in range(1, 31)]
    svg = bar_chart.bars("Tokens <a day>", values, formatting.count)
    assert "highest: 3,000 on 30 Nov" in svg
    assert "Tokens &lt;a day&gt;" in svg
    assert re.findall(r"<text[^>]*>([^<]+)</text>", svg) == [
        *("30 Nov", "23 Nov", "16 Nov", "9 Nov", "2 Nov"),
    ]
    assert re.findall(r"<span>([\d,]+)</span>", svg) == ["3,000", "2,000", "1,000", "0"]
    assert svg.count("<line") == 4
    assert "<title>7 Nov: 700 tokens</title>" in svg
    assert "style=" not in svg, "which the pages' policy does not let in"


def test_a_chart_of_nothing_is_a_sentence() -> None:
    assert bar_chart.bars("Cost", [("1 Nov", 0, "$0.00")], formatting.money) == (
        '<p class="quiet">Cost: none on these days.</p>'
    )


def test_a_form_is_a_budget() -> None:
    form = {"scope": "user", "name": " ada ", "window": "day", "action": "add", "tokens": "12,000"}
    assert budget_form.read_budget(form) == Budget("user", "ada", "day", 12_000, None)
    money = form | {"tokens": "", "dollars": "$1,000.50"}
    assert budget_form.read_budget(money) == Budget("user", "ada", "day", None, 1_000_500_000_000)
    assert budget_form.read_budget(form | {"action": "delete"}) == Budget(
        "user", "ada", "day", None, None
    )


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"tokens": "1,0,0,0"}, "'1,0,0,0' is not a whole number of tokens. Write it like 1000"),
        ({"tokens": "1.5"}, "'1.5' is not a whole number of tokens. Write it like 1000 or 1,000."),
        ({"tokens": "9" * 5000}, "9' is too large: a limit is at most 9,007,199,254,740,992"),
        ({"dollars": "1,5"}, "'1,5' is not an amount of dollars. Write it like 1.50 or 1,000.50."),
        ({"dollars": "1.234,56"}, "'1.234,56' is not an amount of dollars. Write it like 1.50"),
        ({"dollars": "."}, "'.' is not an amount of dollars."),
        ({"dollars": "-1"}, "'-1' is not an amount of dollars."),
        ({"dollars": "1e3"}, "'1e3' is not an amount of dollars."),
        ({"dollars": "1,000,000,000"}, "'1,000,000,000' is too large: a limit is below $1,000,000"),
        ({"dollars": "0.0000000001"}, "'0.0000000001' is too precise: amounts have at"),
        ({"name": "x" * 300, "tokens": "1"}, "at most 255 characters, and this one has 300."),
    ],
)
def test_what_cannot_be_a_budget_is_refused_and_not_taken_for_another(
    typed: dict[str, str], said: str
) -> None:
    with pytest.raises(GatewayError, match=re.escape(said)):
        budget_form.read_budget({"scope": "user", "window": "day", "action": "add", **typed})


@pytest.mark.parametrize(
    ("typed", "nanos"),
    [("1,000.50", 1_000_500_000_000), ("$.5", DOLLAR // 2), ("2.", 2 * DOLLAR), ("0.000000001", 1)],
)
def test_an_amount_of_dollars_is_taken_as_it_is_typed(typed: str, nanos: int) -> None:
    form = {"scope": "everyone", "window": "day", "action": "add", "dollars": typed}
    assert budget_form.read_budget(form).nanos == nanos


def test_a_name_of_a_user_is_one_that_the_hub_can_have_and_a_groups_stays() -> None:
    form = {"name": " Zoe ", "window": "day", "action": "add", "tokens": "1"}
    assert budget_form.read_budget(form | {"scope": "user"}).name == "zoe"
    assert budget_form.read_budget(form | {"scope": "group"}).name == "Zoe"
    given = form | {"scope": "user", "action": "save"}
    assert budget_form.read_budget(given).name == "Zoe", "which the values may say"


@pytest.mark.parametrize("action", ["add", "save", ""])
def test_only_a_budget_to_delete_may_have_no_limit(action: str) -> None:
    with pytest.raises(GatewayError, match="Set a limit in tokens, in dollars, or both"):
        budget_form.read_budget({"scope": "everyone", "window": "day", "action": action})


def test_what_was_done_with_a_budget_is_in_the_next_pages_address() -> None:
    budget = Budget("group", "a&b", "day", 1, None)
    asked = "result=added&scope=group&name=a%26b&window=day"
    assert budget_form.result_query(budget, "added", "a&b") == asked
    assert budget_form.result_query(budget, "added", "A&B") == f"{asked}&entered=A%26B"


def hub_of(answers: dict[str, int], asked: list[str]) -> HubClient:
    """Return a hub that answers with these statuses, silence where it is 0."""
    hub = HubClient.__new__(HubClient)
    hub._known = {}

    async def read(path: str) -> None:
        asked.append(path)
        if not answers[path]:
            await asyncio.Event().wait()
        if answers[path] != 200:
            raise aiohttp.ClientResponseError(Mock(), (), status=answers[path])

    hub._read = read  # type: ignore[method-assign]
    return hub


async def test_the_hub_is_asked_which_names_it_lacks_and_once_a_minute_for_those_it_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    hub = hub_of({"users/ada": 200, "users/a%2Fb": 404, "groups/g": 500}, asked)
    names = [("user", "ada"), ("user", "a/b"), ("group", "g")]
    assert await hub.missing(names) == {("user", "a/b")}
    assert await hub.missing(names) == {("user", "a/b")}
    assert sorted(asked) == [*("groups/g", "groups/g", "users/a%2Fb", "users/a%2Fb", "users/ada")]
    monkeypatch.setattr("caesarion_hub.gateway.authentication.NAMES_CACHE", -1)
    hub._known.clear()
    await hub.missing(names[:1])
    await hub.missing(names[:1])
    assert asked.count("users/ada") == 3


async def test_a_page_does_not_wait_for_a_hub_that_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("caesarion_hub.gateway.authentication.NAMES_TIMEOUT", 0.05)
    hub = hub_of({"users/ada": 0, "users/bob": 404}, [])
    assert await hub.missing([("user", "ada"), ("user", "bob")]) == {("user", "bob")}


def row(number: int, kind: str, said: dict[str, Any], **changes: Any) -> Any:
    given = {"made": 0, "user": "ada", "conversation": "", "call": "", "hash": "h"}
    return SimpleNamespace(number=number, kind=kind, record=json.dumps(said), **given | changes)


def edit(tokens: int | None, nanos: int | None = None, before: Any = None) -> Any:
    said = {"scope": "user", "name": "ada", "window": "day", "tokens": tokens, "nanos": nanos}
    return row(1, "budget", said | {"before": before})


def test_an_edited_budget_says_what_it_was_before() -> None:
    ten, twenty = {"tokens": 10, "nanos": None}, {"tokens": 20, "nanos": DOLLAR}
    edits = [edit(10), edit(20, DOLLAR, before=ten), edit(None, before=twenty)]
    assert [audit_lines.make_line(one).what for one in edits] == [
        "user ada, a day: 10 tokens",
        "user ada, a day: 10 tokens → 20 tokens or $1.00",
        "user ada, a day: 20 tokens or $1.00 → no budget",
    ]


def test_a_cut_and_a_key_are_said_in_words() -> None:
    cut, key = row(1, "cut", {"cut_to": 7, "cut_hash": "ab"}), row(2, "key", {"public_key": "PEM"})
    assert [audit_lines.make_line(one).what for one in (cut, key)] == [
        "the records up to number 7 were deleted",
        "records are signed with this key from here on",
    ]
    assert ("public_key", "PEM") in audit_lines.make_line(key).details


def test_money_in_a_record_is_in_dollars() -> None:
    assert ("dollars", "1.5") in audit_lines.make_line(edit(None, 1_500_000_000)).details


def test_a_call_has_its_outcome_beside_it_and_an_outcome_its_call() -> None:
    call = row(1, "call", {"tool": "python", "sha256": "ab"}, conversation="c", call="call_1")
    ended = {"outcome": "ok", "approval": "run by ada", "approver": "person"}
    outcome = row(2, "outcome", ended, call="call_1")
    line = audit_lines.make_line(call, outcome=outcome)
    assert (line.what, line.outcome) == ("python", "ok")
    assert (line.approval, line.approver) == ("run by ada", "person")
    line = audit_lines.make_line(outcome, call=call)
    assert (line.what, line.conversation, line.outcome) == ("python", "c", "ok")
    assert audit_lines.make_line(outcome).what == "", "of a call that was cut off"


@pytest.mark.parametrize(
    ("today", "month", "last_month"),
    [
        (date(2026, 3, 31), date(2026, 3, 1), date(2026, 2, 1)),
        (date(2026, 1, 1), date(2026, 1, 1), date(2025, 12, 1)),
        (date(2024, 2, 29), date(2024, 2, 1), date(2024, 1, 1)),
    ],
)
def test_a_span_begins_and_ends_with_its_days(
    monkeypatch: pytest.MonkeyPatch, today: date, month: date, last_month: date
) -> None:
    monkeypatch.setattr(spans, "today", lambda: today)
    tomorrow = today + timedelta(days=1)
    assert {span: spans.days(span) for span in spans.LABELS} == {
        "today": (today, tomorrow),
        "month": (month, tomorrow),
        "last-month": (last_month, month),
        "total": (None, tomorrow),
    }
    assert spans.milliseconds("total")[0] == 0
    assert spans.milliseconds("today")[1] == (tomorrow - date(1970, 1, 1)).days * 86_400_000


def test_a_file_holds_no_formula_and_comes_in_pieces() -> None:
    tables: list[list[tuple[object, ...]]] = [[("=1+1", -1)], [("a,b", None)]]
    assert list(csv_pieces(("name", "number"), tables)) == [
        *("name,number\r\n", "'=1+1,-1\r\n", '"a,b",\r\n'),
    ]


def test_lines_of_json_are_one_a_row() -> None:
    assert list(json_lines([[{"a": "ü\n"}, {"b": 1}]])) == ['{"a": "ü\\n"}\n{"b": 1}\n']


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"operation": "edit", "before": "0a", "after": "0b", "decision": "edited", "by": "ada"},
            "a.ipynb · cell c1 · edit 0a → 0b · edited by ada",
        ),
        (
            {"operation": "delete", "before": "0a", "after": "", "decision": "not asked", "by": ""},
            "a.ipynb · cell c1 · delete 0a → nothing · not asked",
        ),
    ],
)
def test_a_change_of_a_cell_is_said_in_a_line(change: dict[str, str], words: str) -> None:
    assert formatting.changed({"path": "a.ipynb", "cell": "c1", **change}) == words
