"""The write queue while the database is away, slow or picky, and when callers leave."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any, cast

import pytest
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.store import write_queue
from caesarion_hub.gateway.store.commands import (
    AuditEntries,
    AuditEntry,
    Command,
    Deregistration,
    Heartbeat,
    Reservation,
    Result,
    Settlement,
)
from caesarion_hub.gateway.store.ledger import Ledger
from caesarion_hub.gateway.store.write_queue import WriteQueue
from sqlalchemy.exc import DataError, OperationalError

HEARTBEAT = Heartbeat(lease=60_000, retention_days=1, audit_retention_days=0)
AWAY = OperationalError("SELECT what a user sent", None, Exception("the server is away"))


class FakeLedger:
    """A double: keeps the commands that it applied, and fails when it is told to."""

    is_embedded = False

    def __init__(self) -> None:
        self.applied: list[Command] = []
        self.failures: list[Exception] = []
        self.threads: list[str] = []
        self.is_waiting = threading.Event()
        self.rejected: Command | None = None
        self.rejection: Exception = AWAY
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def apply(self, commands: Sequence[Command], *, waits: bool = True) -> list[Result]:
        self.threads.append(threading.current_thread().name)
        if not waits and not self.may_go_on.is_set():
            raise TimeoutError
        self.is_waiting.set()
        self.may_go_on.wait(5)
        if self.failures:
            raise self.failures.pop(0)
        if self.rejected in commands:
            raise self.rejection
        self.applied += commands
        return [one if isinstance(one, Reservation) else None for one in commands]

    def of(self, kind: type[Any]) -> list[Any]:
        return [one for one in self.applied if isinstance(one, kind)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_queue, "RETRY_AFTER", 0.01)


@pytest.fixture
def ledger() -> FakeLedger:
    return FakeLedger()


def make_queue(ledger: FakeLedger) -> WriteQueue:
    return WriteQueue(cast("Ledger", ledger), HEARTBEAT)


def make_reservation(name: str = "a") -> Reservation:
    return Reservation(name, 0, "ada", "", (), "m", "", "", 1, 2, 3)


async def test_settlements_and_audit_entries_wait_for_the_database(
    ledger: FakeLedger, caplog: pytest.LogCaptureFixture
) -> None:
    settlement = Settlement(make_reservation(), 1)
    entries = AuditEntries([AuditEntry("call", "ada")])
    async with make_queue(ledger) as queue:
        ledger.failures = [AWAY, AWAY]
        queue.settle(settlement)
        queue.append_audit_later(entries.entries)
    assert ledger.of(Settlement) == [settlement]
    assert ledger.of(AuditEntries) == [entries]
    assert isinstance(ledger.applied[-1], Deregistration)
    assert "the server is away" in caplog.text
    assert "what a user sent" not in caplog.text


async def test_a_reservation_fails_while_the_database_is_away_and_is_settled_in_case_it_was_made(
    ledger: FakeLedger,
) -> None:
    reservation = make_reservation()
    async with make_queue(ledger) as queue:
        ledger.failures = [AWAY]
        with pytest.raises(GatewayError, match="cannot use its ledger just now") as caught:
            await queue.reserve(reservation)
    assert (caught.value.status, caught.value.code) == (503, "ledger_unavailable")
    (settlement,) = ledger.of(Settlement)
    assert (settlement.reservation, settlement.status) == (reservation, 503)
    assert settlement.prompt_tokens == settlement.completion_tokens == 0


@pytest.mark.parametrize(
    "rejection", [DataError("INSERT", None, Exception("too long")), ValueError("a defect")]
)
async def test_a_command_that_the_ledger_rejects_does_not_hold_up_the_others(
    ledger: FakeLedger, rejection: Exception
) -> None:
    ledger.rejection = rejection
    rejected = Settlement(make_reservation("rejected"), 1)
    others = [Settlement(make_reservation(str(number)), 1) for number in range(3)]
    async with make_queue(ledger) as queue:
        ledger.rejected = rejected
        for settlement in (others[0], rejected, *others[1:]):
            queue.settle(settlement)
    assert ledger.of(Settlement) == others


async def test_a_caller_that_leaves_while_it_waits_leaves_no_request_under_way(
    ledger: FakeLedger,
) -> None:
    reservation = make_reservation()
    async with make_queue(ledger) as queue:
        ledger.may_go_on.clear()
        waiting = asyncio.create_task(queue.reserve(reservation))
        await asyncio.sleep(0.1)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        ledger.may_go_on.set()
    assert ledger.of(Reservation) == [reservation]
    (settlement,) = ledger.of(Settlement)
    assert (settlement.reservation, settlement.status, settlement.error) == (
        reservation,
        499,
        "client_gone",
    )


async def test_a_stop_while_the_database_is_away_leaves_settlements_to_the_next_start(
    ledger: FakeLedger, caplog: pytest.LogCaptureFixture
) -> None:
    queue = make_queue(ledger)
    await queue.__aenter__()
    ledger.failures = [AWAY] * 100
    queue.settle(Settlement(make_reservation(), 1))
    async with asyncio.timeout(60):
        await queue.__aexit__()
    assert "1 requests are not settled: the next start settles them." in caplog.text


async def test_settlements_share_the_transaction_of_a_reservation(ledger: FakeLedger) -> None:
    batches: list[int] = []
    apply = ledger.apply

    def counted(commands: Sequence[Command], *, waits: bool = True) -> list[Result]:
        batches.append(len(commands))
        return apply(commands, waits=waits)

    ledger.apply = counted  # type: ignore[method-assign]
    async with make_queue(ledger) as queue:
        queue.settle(Settlement(make_reservation("a"), 1))
        queue.settle(Settlement(make_reservation("b"), 1))
        await queue.reserve(make_reservation("c"))
    assert batches == [1, 3, 1]


async def test_an_embedded_ledger_is_written_on_the_loop_unless_another_writes(
    ledger: FakeLedger,
) -> None:
    loop = threading.current_thread().name
    ledger.is_embedded = True
    async with make_queue(ledger) as queue:
        ledger.threads.clear()
        queue.settle(Settlement(make_reservation("a"), 1))
        await asyncio.gather(*(queue.reserve(make_reservation(name)) for name in "bc"))
        assert ledger.threads == [loop], "one transaction for all that come at once"
        ledger.may_go_on.clear()
        ledger.is_waiting.clear()
        first = asyncio.create_task(queue.reserve(make_reservation("d")))
        await asyncio.to_thread(ledger.is_waiting.wait, 60)
        second = asyncio.create_task(queue.reserve(make_reservation("e")))
        for _ in range(3):
            await asyncio.sleep(0)
        ledger.may_go_on.set()
        assert [one.id for one in await asyncio.gather(first, second)] == ["d", "e"]
    assert ledger.threads[:4] == [loop, loop, "ledger", "ledger"], "in their order"


async def test_the_loop_leaves_a_slow_disk_to_the_thread(
    ledger: FakeLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_queue, "_SLOW", -1.0)
    ledger.is_embedded = True
    async with make_queue(ledger) as queue:
        ledger.threads.clear()
        for name in "ab":
            await queue.reserve(make_reservation(name))
    assert ledger.threads[:2] == [threading.current_thread().name, "ledger"]
