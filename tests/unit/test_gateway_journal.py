"""The way into the ledger while the database is away, slow or picky, and when nobody waits."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.store import writer
from caesarion_hub.gateway.store.audit_chain import Entry
from caesarion_hub.gateway.store.commands import Append, Beat, Closing, Job, Leave, Opening, Result
from caesarion_hub.gateway.store.ledger import Ledger
from caesarion_hub.gateway.store.write_queue import Journal
from sqlalchemy.exc import DataError, OperationalError

BEAT = Beat(lease=60_000, retention_days=1, audit_retention_days=0)
AWAY = OperationalError("SELECT what a user sent", None, Exception("the server is away"))


class FakeLedger:
    """A double: keeps the jobs that it has done, and fails as it is told to."""

    def __init__(self) -> None:
        self.done: list[Job] = []
        self.failures: list[Exception] = []
        self.picky: Job | None = None
        self.trouble: Exception = AWAY
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def apply(self, jobs: Sequence[Job]) -> list[Result]:
        self.may_go_on.wait(5)
        if self.failures:
            raise self.failures.pop(0)
        if self.picky in jobs:
            raise self.trouble
        self.done += jobs
        return [None] * len(jobs)

    def of(self, kind: type[Any]) -> list[Any]:
        return [job for job in self.done if isinstance(job, kind)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "AGAIN", 0.01)


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


def make_journal(ledger: FakeLedger) -> Journal:
    return Journal(cast("Ledger", ledger), BEAT)


def make_opening(name: str = "a") -> Opening:
    return Opening(name, 0, "ada", "", (), "m", "", "", 1, 2, 3)


async def test_what_is_to_be_settled_waits_for_the_database(
    ledger: FakeLedger, caplog: pytest.LogCaptureFixture
) -> None:
    closing = Closing(make_opening(), 1)
    entry = Append([Entry("call", "ada")])
    async with make_journal(ledger) as journal:
        ledger.failures = [AWAY, AWAY]
        journal.close(closing)
        journal.append_later(entry.entries)
    assert ledger.of(Closing) == [closing]
    assert ledger.of(Append) == [entry]
    assert isinstance(ledger.done[-1], Leave)
    assert "the server is away" in caplog.text
    assert "what a user sent" not in caplog.text


async def test_a_request_is_refused_meanwhile_and_settled_in_case_it_was_opened(
    ledger: FakeLedger,
) -> None:
    opening = make_opening()
    async with make_journal(ledger) as journal:
        ledger.failures = [AWAY]
        with pytest.raises(GatewayError, match="cannot use its ledger just now") as caught:
            await journal.open(opening)
    assert (caught.value.status, caught.value.code) == (503, "ledger_unavailable")
    (closing,) = ledger.of(Closing)
    assert (closing.opening, closing.status) == (opening, 503)
    assert closing.prompt_tokens == closing.completion_tokens == 0


@pytest.mark.parametrize(
    "trouble", [DataError("INSERT", None, Exception("too long")), ValueError("a defect")]
)
async def test_one_job_that_is_not_taken_does_not_hold_up_the_others(
    ledger: FakeLedger, trouble: Exception
) -> None:
    ledger.trouble = trouble
    picky = Closing(make_opening("picky"), 1)
    others = [Closing(make_opening(str(number)), 1) for number in range(3)]
    async with make_journal(ledger) as journal:
        ledger.picky = picky
        for closing in (others[0], picky, *others[1:]):
            journal.close(closing)
    assert ledger.of(Closing) == others


async def test_who_goes_away_while_being_let_in_leaves_nothing_open(ledger: FakeLedger) -> None:
    opening = make_opening()
    async with make_journal(ledger) as journal:
        ledger.may_go_on.clear()
        asking = asyncio.create_task(journal.open(opening))
        await asyncio.sleep(0.1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        ledger.may_go_on.set()
    assert ledger.of(Opening) == [opening]
    (closing,) = ledger.of(Closing)
    assert (closing.opening, closing.status, closing.error) == (opening, 499, "client_gone")


async def test_a_stop_while_the_database_is_away_leaves_the_rest_to_the_next_start(
    ledger: FakeLedger, caplog: pytest.LogCaptureFixture
) -> None:
    journal = make_journal(ledger)
    await journal.__aenter__()
    ledger.failures = [AWAY] * 100
    journal.close(Closing(make_opening(), 1))
    async with asyncio.timeout(5):
        await journal.__aexit__()
    assert "1 requests are not settled: a later start does it." in caplog.text


async def test_settlements_go_along_with_an_opening_in_one_transaction(ledger: FakeLedger) -> None:
    batches: list[int] = []
    apply = ledger.apply

    def counted(jobs: Sequence[Job]) -> list[Result]:
        batches.append(len(jobs))
        return apply(jobs)

    ledger.apply = counted  # type: ignore[method-assign]
    async with make_journal(ledger) as journal:
        journal.close(Closing(make_opening("a"), 1))
        journal.close(Closing(make_opening("b"), 1))
        await journal.open(make_opening("c"))
    assert batches == [1, 3, 1]
