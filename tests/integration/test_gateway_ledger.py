"""The ledger in a real SQLite file and a real PostgreSQL: nothing lost, doubled or overspent."""

import hashlib
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.pages import budget_status, rows, spans, sums
from caesarion_hub.gateway.pages.rows import AuditSearch
from caesarion_hub.gateway.policy.budgets import Account, Budget
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.audit_log import START_HASH
from caesarion_hub.gateway.store.audit_verification import Verifier, in_database
from caesarion_hub.gateway.store.commands import (
    AuditEntries,
    AuditEntry,
    BudgetEdit,
    ChangeDecision,
    Deregistration,
    Heartbeat,
    Outcome,
    OutcomeReport,
    RequestRefusal,
    Reservation,
    Settlement,
    milliseconds,
    receipt_hash,
)
from caesarion_hub.gateway.store.database import Database, DatabaseError
from caesarion_hub.gateway.store.ledger import Ledger
from caesarion_hub.gateway.store.settlements import LOST
from sqlalchemy import column, event, func, insert, select, table, text
from sqlalchemy.exc import OperationalError

from tests.fakes.postgres import Postgres

BEAT = Heartbeat(lease=60_000, retention_days=400, audit_retention_days=0)
DAY = 86_400_000


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/gateway.sqlite"
    server: Postgres = request.getfixturevalue("postgres")
    return server.make_database()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with closing(Database(url)) as database:
        database.migrate()
        yield database


def make_ledger(database: Database, *budgets: Budget, replica: str = "one") -> Ledger:
    ledger = Ledger(database, replica, budgets)
    ledger.apply([BEAT])
    return ledger


def make_reservation(user: str = "ada", tokens: int = 100, **changes: object) -> Reservation:
    reservation = Reservation(
        id=uuid4().hex,
        started=milliseconds(),
        user=user,
        server="",
        groups=(),
        model="m",
        conversation="c",
        message="1",
        prompt_tokens=10,
        reserved_tokens=tokens,
        reserved_nanos=tokens * 1000,
        fair_tokens=100,
        fair_nanos=100_000,
    )
    return replace(reservation, **changes)  # type: ignore[arg-type]


def settled(reservation: Reservation, tokens: int = 100) -> Settlement:
    return Settlement(
        reservation,
        milliseconds(),
        prompt_tokens=10,
        completion_tokens=tokens - 10,
        nanos=tokens * 1000,
    )


def let_in(ledger: Ledger, reservation: Reservation) -> bool:
    (result,) = ledger.apply([reservation])
    return isinstance(result, Reservation)


def said(ledger: Ledger, reservation: Reservation) -> str:
    (refusal,) = ledger.apply([reservation])
    assert isinstance(refusal, GatewayError)
    return refusal.message


def spent(database: Database, scope: str, name: str, period: str = "day") -> tuple[int, int]:
    spending = tables.spending.c
    asked = select(
        func.sum(spending.requests), func.sum(spending.prompt_tokens + spending.completion_tokens)
    ).where(spending.scope == scope, spending.name == name, spending.period == period)
    with database.reading() as connection:
        requests, tokens = connection.execute(asked).one()
    return int(requests or 0), int(tokens or 0)


def test_the_migrations_make_the_tables_and_run_once(database: Database) -> None:
    database.migrate()
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_replicas_that_start_together_migrate_once(url: str) -> None:
    def migrate(_: int) -> None:
        with closing(Database(url)) as database:
            database.migrate()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(migrate, range(4))) == [None] * 4


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", r"^gateway\.database\.url is no address of a database\. It must be like sql"),
        ("mysql://me:secret@host/name", r"is no address of a database\. It must be like sqlite"),
        ("sqlite:////nowhere/at/all.sqlite", r"all\.sqlite cannot be used: unable to open data"),
        ("postgresql://me:secret@127.0.0.1:9/name", r"me:\*\*\*@127\.0\.0\.1:9/name cannot be"),
    ],
)
def test_a_database_that_cannot_be_used_is_a_sentence_without_the_password(
    url: str, sentence: str
) -> None:
    with pytest.raises(DatabaseError, match=sentence) as caught:
        Database(url).migrate()
    assert "secret" not in str(caught.value)


def test_a_request_is_counted_for_its_user_its_groups_and_everyone(database: Database) -> None:
    ledger = make_ledger(database)
    reservation = make_reservation(groups=("staff", "students"))
    assert let_in(ledger, reservation)
    ledger.apply([settled(reservation, 70)])
    for scope, name in (
        *(("user", "ada"), ("group", "staff")),
        *(("group", "students"), ("everyone", "")),
    ):
        assert spent(database, scope, name) == (1, 70)
        assert spent(database, scope, name, "month") == (1, 70)


def test_a_request_is_settled_once(database: Database) -> None:
    ledger, other = make_ledger(database), make_ledger(database, replica="two")
    reservation = make_reservation()
    assert let_in(ledger, reservation)
    ledger.apply([settled(reservation, 70), settled(reservation, 70)])
    ledger.apply([settled(reservation, 70)])
    other.apply([settled(reservation, 500)])
    assert spent(database, "everyone", "") == (1, 70)


def test_a_refused_request_is_not_in_the_ledger(database: Database) -> None:
    ledger = make_ledger(database, Budget("user", "ada", "day", 0, None))
    (refusal,) = ledger.apply([make_reservation()])
    assert isinstance(refusal, GatewayError)
    assert (refusal.status, refusal.code, refusal.kind) == (429, "budget_reached", "budget_error")
    with database.reading() as connection:
        assert connection.execute(select(tables.request)).all() == []


def test_what_answers_under_way_may_spend_is_reserved(database: Database) -> None:
    ledger = make_ledger(database, Budget("user", "", "day", 150, None))
    first, second, third = (make_reservation() for _ in range(3))
    assert let_in(ledger, first)
    assert let_in(ledger, second)
    assert said(ledger, third) == (
        "Your budget of 150 tokens a day has no room for one more answer now: 0 are used, and the "
        "answers under way may use the rest. Ask again when they have ended."
    )
    assert let_in(ledger, make_reservation("bob"))
    ledger.apply([settled(first, 40)])
    assert let_in(ledger, third)


def test_a_budget_of_a_name_stands_in_the_place_of_each_ones(database: Database) -> None:
    ledger = make_ledger(
        database, Budget("user", "", "day", 0, None), Budget("user", "ada", "day", 50, None)
    )
    assert let_in(ledger, make_reservation("ada"))
    assert (
        said(ledger, make_reservation("bob"))
        == "Your budget allows nothing; the operator can raise it."
    )


def test_a_groups_budget_is_shared_and_so_is_everybodys_money(database: Database) -> None:
    ledger = make_ledger(
        database,
        Budget("group", "students", "month", 100, None),
        Budget("everyone", "", "total", None, 200_000),
    )
    for user in ("ada", "bob"):
        reservation = make_reservation(user, groups=("students",))
        if user == "ada":
            assert let_in(ledger, reservation)
            ledger.apply([settled(reservation)])
    assert "The budget of the group students of 100 tokens a month is used up: 100 are" in said(
        ledger, make_reservation("bob", groups=("students",))
    )
    reservation = make_reservation("eve")
    assert let_in(ledger, reservation)
    ledger.apply([settled(reservation)])
    assert said(ledger, make_reservation("eve")) == (
        "The budget of everybody here of $0.0002 in total is used up: $0.0002 is used. "
        "It does not renew; the operator can raise it."
    )


def test_yesterday_counts_for_the_month_and_not_for_the_day(database: Database) -> None:
    noon = 1_767_960_000_000  # 2026-01-09 12:00 UTC, a Friday
    budgets = [Budget("user", "", "day", 100, None), Budget("user", "", "week", 150, None)]
    ledger = make_ledger(database, *budgets)
    reservation = make_reservation(started=noon)
    assert let_in(ledger, reservation)
    ledger.apply([settled(reservation)])
    assert said(ledger, make_reservation(started=noon + DAY - 1 - DAY // 2)) == (
        "Your budget of 100 tokens a day is used up: 100 are used. "
        "It renews on 2026-01-10 at 00:00 UTC."
    )
    reservation = make_reservation(started=noon + DAY)
    assert let_in(ledger, reservation)
    ledger.apply([settled(reservation)])
    assert said(ledger, make_reservation(started=noon + 2 * DAY)).endswith(
        "on 2026-01-12 at 00:00 UTC."
    )
    assert let_in(ledger, make_reservation(started=noon + 3 * DAY))


def test_a_budget_edited_in_place_holds_for_all_replicas_and_is_recorded(
    database: Database,
) -> None:
    given = Budget("user", "ada", "day", 100, None)
    ledger, other = make_ledger(database, given), make_ledger(database, given, replica="two")
    ledger.apply([BudgetEdit(replace(given, tokens=0), "root")])
    assert not let_in(ledger, make_reservation())
    other.apply([BEAT])
    assert not let_in(other, make_reservation())
    ledger.apply([BudgetEdit(replace(given, tokens=None), "root")])
    assert let_in(ledger, make_reservation())
    with database.reading() as connection:
        links = list(Verifier().verified(in_database(connection)))
    assert [(link.kind, link.user) for link in links] == [("budget", "root")] * 2
    assert '"scope":"user","tokens":0,"user":"root","window":"day"' in links[0].record


def test_requests_in_a_minute_and_at_once_are_limited(database: Database) -> None:
    ledger = make_ledger(database)
    now = milliseconds()
    often = [
        make_reservation(requests_per_minute=2, started=now - 50_000 + number)
        for number in range(3)
    ]
    assert ledger.apply(often)[:2] == often[:2]
    assert said(ledger, replace(often[2], started=now)) == (
        "You asked 2 times within a minute, which is your limit. Ask again in 10 seconds."
    )
    assert let_in(ledger, replace(often[2], started=now + 11_000))
    assert said(ledger, make_reservation(concurrent_streams=3)) == (
        "3 of your answers are under way, which is your limit. Ask again when one has ended."
    )
    ledger.apply([settled(often[0])])
    assert let_in(ledger, make_reservation(concurrent_streams=3))


def test_each_of_many_users_in_a_batch_is_admitted_by_their_own_spending(
    database: Database,
) -> None:
    ledger = make_ledger(database, Budget("user", "", "day", 1000, None))
    users = range(25)
    earlier = [make_reservation(f"user-{n}", 1000 if n % 2 else 100) for n in users]
    ledger.apply(earlier)
    ledger.apply([settled(one, one.reserved_tokens) for one in earlier])
    asked = [
        make_reservation(f"user-{n}", requests_per_minute=2 if n % 5 else 1, groups=("all",))
        for n in users
    ]
    refusals = [getattr(result, "code", "") for result in ledger.apply(asked)]
    assert refusals == [
        "too_many_requests" if n % 5 == 0 else "budget_reached" if n % 2 else "" for n in users
    ]


def test_what_a_dead_replica_left_is_settled_by_another_as_reserved(database: Database) -> None:
    dead, alive = make_ledger(database, replica="dead"), make_ledger(database, replica="alive")
    done, left = make_reservation(), make_reservation(tokens=300)
    free = make_reservation(reserved_nanos=None)
    dead.apply([done, left, free])
    dead.apply([settled(done, 70)])
    alive.apply([BEAT])
    assert spent(database, "everyone", "") == (1, 70)
    with database.exclusive() as connection:
        connection.execute(tables.replica.update().values(seen=milliseconds() - 120_000))
    alive.apply([BEAT])
    assert spent(database, "everyone", "") == (3, 470)
    request = tables.request.c
    asked = select(request.error, request.nanos, request.estimated).where(request.error == LOST)
    with database.reading() as connection:
        rows = connection.execute(asked.order_by(request.nanos.is_(None))).all()
    assert [tuple(row) for row in rows] == [(LOST, 300_000, True), (LOST, None, True)]
    dead.apply([settled(left, 20)])
    assert spent(database, "everyone", "") == (3, 470)


def test_a_replica_that_leaves_is_not_waited_for(database: Database) -> None:
    leaving, staying = make_ledger(database, replica="leaving"), make_ledger(database)
    leaving.apply([make_reservation()])
    leaving.apply([Deregistration()])
    staying.apply([BEAT])
    assert spent(database, "everyone", "") == (1, 100)


def test_what_is_older_than_its_retention_is_deleted_and_months_stay(database: Database) -> None:
    ledger = make_ledger(database)
    old = make_reservation(started=milliseconds() - 12 * DAY)
    ledger.apply([old])
    ledger.apply([settled(old)])
    ledger.apply([replace(BEAT, retention_days=10)])
    with database.reading() as connection:
        assert connection.execute(select(tables.request)).all() == []
    assert spent(database, "everyone", "") == (0, 0)
    assert spent(database, "everyone", "", "month") == (1, 100)


def test_the_audit_grows_from_all_replicas_as_one_chain(database: Database) -> None:
    ledgers = [make_ledger(database, replica=str(number)) for number in range(4)]

    def record(ledger: Ledger) -> None:
        for number in range(10):
            ledger.apply([AuditEntries([AuditEntry("call", "ada", "c", "", {"n": number})] * 2)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(record, ledgers))
    with database.reading() as connection:
        assert [link.number for link in Verifier().verified(in_database(connection))] == list(
            range(1, 81)
        )


def record_calls(database: Database, ledger: Ledger, answer: str, *calls: str) -> list[int]:
    """Record the calls of an answer; return their records' numbers."""
    fields = {"receipt_sha256": receipt_hash(answer), "tool": "python_interpreter"}
    entries = [AuditEntry("call", "ada", "c", call, fields) for call in calls]
    before = ledger.head[0]
    ledger.apply([AuditEntries(entries)])
    return list(range(before + 1, ledger.head[0] + 1))


def report(ledger: Ledger, answer: str, *outcomes: tuple[str, str], user: str = "ada") -> int:
    receipt = receipt_hash(answer)
    ended = [
        Outcome(call, outcome, "auto", "rule", receipt_sha256=receipt) for call, outcome in outcomes
    ]
    (number,) = ledger.apply([OutcomeReport(user, "", ended)])
    assert isinstance(number, int)
    return number


def outcomes_by_call(database: Database) -> dict[int, str]:
    with database.reading() as connection:
        records = [
            json.loads(one.record)
            for one in Verifier().verified(in_database(connection))
            if one.kind == "outcome"
        ]
    numbers = [record["call_number"] for record in records]
    assert len(set(numbers)) == len(numbers)
    return {record["call_number"]: record["outcome"] for record in records}


LONG = "call_" + "x" * 995


@pytest.mark.parametrize("call", ["call_1", "", LONG, "a\0b", "\ud800"])
def test_the_outcomes_of_calls_with_one_id_belong_to_a_call_each(
    database: Database, call: str
) -> None:
    ledger = make_ledger(database)
    first = record_calls(database, ledger, "answer 1", call, call)
    assert report(ledger, "answer 1", (call, "ok")) == 1
    assert report(ledger, "answer 1", (call, "error")) == 1
    second = record_calls(database, ledger, "answer 2", call, "another", call)
    ended = ((call, "refused"), (call, "interrupted"), ("another", "ok"))
    assert report(ledger, "answer 2", *ended) == 3
    assert report(ledger, "answer 2", (call, "ok"), ("another", "ok"), ("unknown", "ok")) == 0
    assert report(ledger, "answer 2", (call, "ok"), user="eve") == 0
    expected = ["ok", "error", "refused", "ok", "interrupted"]
    assert outcomes_by_call(database) == dict(zip(first + second, expected, strict=True))


def test_an_outcome_belongs_to_the_answer_whose_receipt_it_names(
    database: Database,
) -> None:
    ledger = make_ledger(database)
    (left,) = record_calls(database, ledger, "answer 1", "call_1")
    (latest,) = record_calls(database, ledger, "answer 2", "call_1")
    assert report(ledger, "", ("call_1", "ok")) == 0
    assert report(ledger, "answer 3", ("call_1", "ok")) == 0
    assert report(ledger, "answer 1", ("call_1", "error")) == 1
    assert outcomes_by_call(database) == {left: "error"}
    assert report(ledger, "answer 2", ("call_1", "ok")) == 1
    assert outcomes_by_call(database) == {left: "error", latest: "ok"}


def test_changes_of_notebooks_are_in_the_chain_behind_records_of_before_there_were_any(
    database: Database,
) -> None:
    ledger = make_ledger(database)
    first, second = record_calls(database, ledger, "answer 1", "call_1", "call_2")
    assert report(ledger, "answer 1", ("call_1", "ok")) == 1
    change = {"path": "a.ipynb", "cell": "1a2b", "operation": "edit", "by": "ada"}
    receipt = receipt_hash("answer 1")
    outcome = Outcome("call_2", "ok", "run by ada", "person", change, receipt)
    undone = change | {"decision": "undone"}
    decision = ChangeDecision("c", undone, "call_2", receipt)
    assert ledger.apply([OutcomeReport("ada", "", [outcome], [decision])]) == [1]
    with database.reading() as connection:
        records = list(Verifier().verified(in_database(connection)))
    said = [json.loads(record.record) for record in records]
    assert ["change" in one for one in said] == [False, False, False, True, True]
    assert (said[3]["call_number"], said[3]["change"]) == (second, change)
    assert (said[4]["kind"], said[4]["conversation"]) == ("change", "c")
    assert (said[4]["call"], said[4]["change"]) == ("call_2", undone)
    assert first == 1


def test_long_ids_with_one_beginning_are_different_calls(database: Database) -> None:
    ledger = make_ledger(database)
    first, second = record_calls(database, ledger, "answer", f"{LONG}1", f"{LONG}2")
    assert report(ledger, "answer", (f"{LONG}2", "error"), (f"{LONG}1", "ok")) == 2
    assert outcomes_by_call(database) == {first: "ok", second: "error"}


def test_two_reports_at_once_record_one_outcome(database: Database) -> None:
    ledgers = [make_ledger(database, replica=str(number)) for number in range(4)]
    record_calls(database, ledgers[0], "answer", "call_1")
    with ThreadPoolExecutor(4) as threads:
        numbers = list(
            threads.map(lambda ledger: report(ledger, "answer", ("call_1", "ok")), ledgers)
        )
    assert sorted(numbers) == [0, 0, 0, 1]


def test_an_outcome_of_before_it_named_its_call_is_beside_it_after_the_migration(url: str) -> None:
    columns = ("made", "kind", "user", "conversation", "call")
    rows = [
        (1, "call", "ada", "c", "call_1"),
        (2, "call", "ada", "c", "call_1"),
        (3, "outcome", "ada", "", "call_1"),
        (4, "call", "ada", "c", "call_1"),
        (5, "outcome", "ada", "", "call_2"),
    ]
    previous = START_HASH
    with closing(Database(url)) as database:
        database.migrate("0003")
        with database.exclusive() as connection:
            for number, row in enumerate(rows, 1):
                fields = dict(zip(columns, row, strict=True)) | {"number": number}
                record = json.dumps(fields, sort_keys=True, separators=(",", ":"))
                digest = hashlib.sha256(f"{previous}\n{record}".encode()).hexdigest()
                values = fields | {"record": record, "previous": previous, "hash": digest}
                connection.execute(insert(table("audit", *map(column, values))), values)
                previous = digest
        database.migrate()
        with database.reading() as connection:
            assert [one.call_number for one in Verifier().verified(in_database(connection))] == [
                None,
                None,
                2,
                None,
                None,
            ]


def test_many_at_once_overspend_by_no_more_than_one_answer(database: Database) -> None:
    budget = Budget("everyone", "", "day", 1000, None)
    ledgers = [make_ledger(database, budget, replica=str(number)) for number in range(4)]

    def ask(ledger: Ledger) -> None:
        for _ in range(15):
            reservation = make_reservation(uuid4().hex)
            if let_in(ledger, reservation):
                ledger.apply([settled(reservation)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, ledgers))
    assert spent(database, "everyone", "") == (10, 1000)


def test_what_the_pages_ask_is_answered(database: Database) -> None:
    budgets = [Budget("user", "", "week", 1000, None), Budget("everyone", "", "total", None, 10**9)]
    ledger = make_ledger(database, *budgets)
    done, failed = make_reservation(), make_reservation("bob")
    under_way = make_reservation(groups=("staff",))
    receipt = receipt_hash("r")
    audited = {"tool": "100%_sure", "receipt_sha256": receipt}
    ledger.apply([done, failed, under_way])
    ledger.apply(
        [
            settled(done, 70),
            replace(settled(failed, 30), status=502, error="upstream_error", nanos=None),
            AuditEntries([AuditEntry("call", "ada", "c", "call_1", audited)]),
            OutcomeReport(
                "ada", "", [Outcome("call_1", "ok", "auto", "rule", receipt_sha256=receipt)]
            ),
            *[
                RequestRefusal(milliseconds(), "bob", "m", "budget_reached", words)
                for words in ("a", "b")
            ],
        ]
    )
    with database.reading() as connection:
        *_, today = sums.by_day(connection, ("everyone", ""), 7)
        (model,) = sums.by_model(connection, ("user", "ada"), "month")
        users = sums.by_name(connection, "user", "total", prefix="b")
        both = sums.by_name(connection, "user", "today", rows=1)
        nothing = sums.total(connection, ("user", "eve"), "last-month")
        latest = rows.requests(connection, user="ada")
        failures = rows.requests(connection, failed=True)
        open_ones = rows.requests(connection, in_progress=True)
        first = rows.requests_after(connection, None, user="", span="month")
        others = rows.requests_after(connection, first[0], user="", span="total")
        refused = rows.refusals(connection, user="bob")
        refused_today = rows.number_refused(connection, spans.today())
        records = rows.audit(connection, AuditSearch("ada", "call", text="0%_s"), before=2)
        unlike = rows.audit(connection, AuditSearch(text="0x_s"))
        newer = rows.audit(connection, AuditSearch(outcomes=True), after=1)
        whole = rows.audit_after(connection, None, AuditSearch(outcomes=True))
        ended = rows.outcomes_of(connection, records)
        groups = rows.groups_of(connection, "bob")
        left = budget_status.of_accounts(
            connection, ledger.budgets, [("user", "ada"), ("everyone", "")]
        )
        standing = budget_status.status(connection, ledger.budgets, budgets[0])
    assert (today.requests, today.failures, today.tokens) == (2, 1, 100)
    assert (today.nanos, today.unpriced_tokens) == (70_000, 30)
    assert (model.name, model.tokens) == ("m", 70)
    assert [row.name for row in users] == ["bob"]
    assert [row.name for row in both] == ["ada", "bob"]
    assert nothing == sums.Sums("")
    assert {row.id for row in latest} == {done.id, under_way.id}
    assert [row.id for row in failures] == [failed.id]
    assert [row.id for row in open_ones] == [under_way.id]
    assert [*map(len, (first, others))] == [3, 2]
    assert {row.id for row in first} == {done.id, failed.id, under_way.id}
    assert [(row.requests, row.message) for row in refused] == [(2, "b")]
    assert refused_today == 2
    assert [row.call for row in records] == ["call_1"]
    assert list(unlike) == []
    assert [row.number for row in newer] == [2]
    assert [row.kind for row in whole] == ["call", "outcome"]
    assert [json.loads(row.record)["outcome"] for row in ended.values()] == ["ok"]
    assert groups == "[]"
    assert standing.highest == left[0]
    assert standing.exhausted == 0
    assert [(one.account, one.tokens, one.nanos) for one in left] == [
        (("user", "ada"), 70, 70_000),
        (("everyone", ""), 100, 70_000),
    ]
    assert [round(one.fraction, 3) for one in left] == [0.07, 0.0]


def test_no_page_reads_a_table_without_an_index(tmp_path: Path) -> None:
    statements: list[tuple[str, Any]] = []
    everyone: Account = ("everyone", "")
    search = AuditSearch(user="a", kind="call")
    with closing(Database(f"sqlite:///{tmp_path}/gateway.sqlite")) as database:
        database.migrate()
        in_force = make_ledger(database, Budget("user", "", "week", 1000, None)).budgets
        with database.reading() as connection:

            @event.listens_for(connection, "before_cursor_execute")
            def _keep(_: Any, __: Any, sql: str, values: Any, *___: Any) -> None:
                statements.append((sql, values))

            for span in spans.LABELS:
                sums.by_model(connection, everyone, span)
                sums.by_name(connection, "user", span, prefix="a")
                sums.total(connection, everyone, span)
                rows.requests_after(connection, None, user="", span=span)
                rows.refusals_after(connection, None, user="ada", span=span)
            sums.by_day(connection, everyone)
            budget_status.statuses(connection, in_force)
            budget_status.of_accounts(connection, in_force, [("user", "ada")])
            for user in ("", "ada"):
                rows.requests(connection, user=user)
                rows.refusals(connection, user=user)
            rows.requests(connection, failed=True)
            rows.requests(connection, in_progress=True)
            rows.number_refused(connection, spans.today())
            rows.audit(connection, search)
            rows.audit_after(connection, None, search)
            rows.groups_of(connection, "ada")
            event.remove(connection, "before_cursor_execute", _keep)
            steps = [
                str(step.detail)
                for sql, values in statements
                for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
            ]
    assert len(statements) >= 25
    assert [step for step in steps if re.match(r"SCAN \w+$", step)] == []


def test_names_are_found_by_their_beginning_and_listed_in_the_order_of_code_points(
    database: Database,
) -> None:
    names = ["Ada", "a", "ad", "ad a", "ad-a", "ada", "adé", "ad😀", "ae", "b", "åd"]
    ledger = make_ledger(database)
    for name in names:
        reservation = make_reservation(name)
        ledger.apply([reservation, AuditEntries([AuditEntry("call", name)])])
        ledger.apply([settled(reservation)])
    expected = ["ad", "ad a", "ad-a", "ada", "adé", "ad😀"]
    with database.reading() as connection:
        spenders = sums.by_name(connection, "user", "total", prefix="ad")
        everybody = sums.by_name(connection, "user", "total")
        records = rows.audit(connection, AuditSearch(user="ad"))
        nobody = sums.by_name(connection, "user", "total", prefix="ada ")
    assert [row.name for row in spenders] == expected
    assert [row.name for row in everybody] == sorted(names)
    assert {row.user for row in records} == set(expected)
    assert nobody == []


def test_a_connection_that_the_server_cut_fails_one_batch_and_no_more(postgres: Postgres) -> None:
    with closing(Database(postgres.make_database())) as database:
        database.migrate()
        ledger = make_ledger(database, Budget("user", "", "day", 1000, None))
        with database.exclusive() as connection:
            process = connection.scalar(text("SELECT pg_backend_pid()"))
        with database.reading() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:process)"), {"process": process})
        with pytest.raises(OperationalError):
            ledger.apply([make_reservation()])
        assert let_in(ledger, make_reservation())
        with database.reading() as connection:
            assert connection.scalar(select(func.count()).select_from(tables.request)) == 1
