"""
The write queue: the way to the ledger, in batches, from the event loop or through one thread.

Called by ``api`` (``metering`` reserves, ``response`` settles and appends to the audit,
``outcomes`` reports) and the pages; calls ``ledger``. A request waits for its own reservation
only; settlements that wait meanwhile share its transaction. While the database cannot be used,
reservations fail and settlements wait. Invariant: every caller that waits for a command gets an
answer, and no settlement is lost.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Self

from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.store.admission import Admission
from caesarion_hub.gateway.store.audit_verification import Verifier, in_database
from caesarion_hub.gateway.store.commands import (
    AuditEntries,
    AuditEntry,
    BudgetEdit,
    Command,
    Deregistration,
    Heartbeat,
    OutcomeReport,
    RequestRefusal,
    Reservation,
    Result,
    Settlement,
    milliseconds,
)
from caesarion_hub.gateway.store.ledger import Ledger
from caesarion_hub.gateway.store.spent import everyones
from caesarion_hub.values.gateway import Window

BATCHING_WINDOW = 0.02
"""Seconds that a settlement waits for others to share its transaction; made up."""

RETRY_AFTER = 1.0
"""Seconds between two tries while the database cannot be used; made up."""

LAST_TRIES = 3
"""Tries to settle what is left when the gateway ends; made up."""

_BATCH = 200  # commands in one transaction, or a few more

# Commands of a few statements each, whatever is in the database.
_Brief = Reservation | Settlement | RequestRefusal | AuditEntries

# Commands that are applied on the loop at most, and the seconds that they may take: after a
# slower transaction the thread applies all of them for a while. All three are made up.
_AT_ONCE = 20
_SLOW = 0.25
_RESPITE = 60.0

log = logging.getLogger("gateway")


class WriteQueue:
    """
    The queue, as an async context; leaving it applies all that is left.

    ``heartbeat`` is applied at the start, and then four times within its lease.
    """

    def __init__(self, ledger: Ledger, heartbeat: Heartbeat) -> None:
        self.ledger = ledger
        self._heartbeat = heartbeat
        self._probe: asyncio.Task[bool] | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.ledger.apply, [self._heartbeat])
        self._thread = _LedgerThread(self.ledger, asyncio.get_running_loop())
        self._beating = asyncio.create_task(self._keep_beating())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._beating.cancel()
        await self._thread.close(Deregistration())

    async def reserve(self, reservation: Reservation) -> Reservation:
        """Admit a request and return what it reserves, which may be less; raise its refusal."""
        result = await self._apply(reservation)
        if isinstance(result, GatewayError):
            raise result
        assert isinstance(result, Reservation)
        return result

    async def check(self, reservation: Reservation) -> None:
        """Raise the refusal that a request would get now; reserve nothing."""

        def refusal(connection: Connection) -> GatewayError | None:
            return Admission(connection, self.ledger.budgets, [reservation]).refusal(reservation)

        try:
            refused = await self.ledger.database.read(refusal)
        except SQLAlchemyError as error:
            raise unavailable() from error
        if refused:
            raise refused

    def settle(self, settlement: Settlement) -> None:
        """Settle a request, soon."""
        self._thread.put(settlement)

    def count_refusal(self, refusal: RequestRefusal) -> None:
        """Count a refused request, soon; while the database cannot be used, not at all."""
        self._thread.put(refusal)

    async def append_audit(self, entries: Sequence[AuditEntry]) -> None:
        """Append records to the audit; they are in the database when this returns."""
        await self._apply(AuditEntries(entries))

    def append_audit_later(self, entries: Sequence[AuditEntry]) -> None:
        """Append records to the audit, soon."""
        self._thread.put(AuditEntries(entries))

    async def report_outcomes(self, report: OutcomeReport) -> int:
        """Append outcomes to the audit; return how many were of calls that had none yet."""
        number = await self._apply(report)
        assert isinstance(number, int)
        return number

    async def edit_budget(self, edit: BudgetEdit) -> None:
        """Edit a budget; in force here when this returns, elsewhere after the next heartbeat."""
        await self._apply(edit)

    async def database_answers(self, seconds: float = 2.0) -> bool:
        """Whether the database answers within so many ``seconds``; callers share one probe."""
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(asyncio.to_thread(self.ledger.database.answers))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._probe)
        except TimeoutError:
            return False

    async def everyones_budgets(self) -> dict[Window, float]:
        """Return the used share of everyone's budgets by window; raise SQLAlchemyError."""
        return await self.ledger.database.read(partial(everyones, self.ledger.budgets))

    @property
    def is_writable(self) -> bool:
        """Whether the ledger took a batch within the last lease, in which are four heartbeats."""
        return time.monotonic() - self._thread.applied < self._heartbeat.lease / 1000

    async def verify_audit(self) -> tuple[bool | None, str]:
        """
        Return whether the audit is whole, and that in words; slow for a long audit.

        None if it could not be read.
        """
        try:
            return await self.ledger.database.read(
                lambda connection: Verifier(self.ledger.audit_key).verify(in_database(connection))
            )
        except SQLAlchemyError as error:
            return None, f"The audit could not be read: {reason(error)}"

    async def _apply(self, command: Command) -> Result:
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._thread.put(command, result)
        return await result

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._heartbeat.lease / 4000)
            self._thread.put(self._heartbeat)


@dataclass
class _Queued:
    """A command, and the future of the caller that waits for it, if one does."""

    command: Command
    result: "asyncio.Future[Result] | None" = None


class _LedgerThread:
    """
    Applies commands in the order in which they come; futures belong to ``loop``.

    A thread and a queue, not an executor: its futures would cost a request two more turns
    of the loop. With SQLite, a few commands are applied on the loop itself, which saves the way
    to the thread and back (measured: a tenth of a request's CPU time). The thread gets whatever
    has to wait for another writer or a slow disk, and whatever fails.
    """

    def __init__(self, ledger: Ledger, loop: asyncio.AbstractEventLoop) -> None:
        self._ledger = ledger
        self._loop = loop
        # Commands that wait for others, on the loop's side: to wake the thread for each of
        # them costs more than to apply it.
        self._waiting: list[_Queued] = []
        self._window: asyncio.TimerHandle | None = None
        self._turn: asyncio.Handle | None = None
        # Batches that the loop gave to the thread, and that the thread took and is done with.
        self._given = self._taken = self._done = 0
        self._is_slow_until = 0.0
        self._queue: SimpleQueue[list[_Queued]] = SimpleQueue()
        self._retries: list[_Queued] = []
        self._closing = False
        self.applied = time.monotonic()
        """When the ledger last took a batch, by the monotonic clock."""
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def put(self, command: Command, result: "asyncio.Future[Result] | None" = None) -> None:
        """Queue a command; with those before it it is applied at once if a caller waits for it."""
        self._waiting.append(_Queued(command, result))
        if result and not self._ledger.is_embedded:
            self._pass_on()
        elif result and self._turn is None:
            self._turn = self._loop.call_soon(self._apply)
        elif self._turn is None and self._window is None:
            apply = self._apply if self._ledger.is_embedded else self._pass_on
            self._window = self._loop.call_later(BATCHING_WINDOW, apply)

    def _apply(self) -> None:
        """Apply the commands that wait: on the loop, or else in the thread."""
        batch, began = self._waiting, time.monotonic()
        is_busy = self._given != self._done or self._closing or began < self._is_slow_until
        is_long = len(batch) > _AT_ONCE or not all(isinstance(one.command, _Brief) for one in batch)
        if is_busy or is_long:
            self._pass_on()
            return
        try:
            results = self._ledger.apply([one.command for one in batch], waits=False)
        except Exception:  # The thread tries again, and logs what is wrong.
            self._pass_on()
            return
        self._waiting = []
        self._stop_waiting()
        self.applied = time.monotonic()
        if self.applied - began > _SLOW:
            self._is_slow_until = self.applied + _RESPITE
        self._deliver(batch, results)

    def _pass_on(self) -> None:
        """Give the thread the commands that wait."""
        self._stop_waiting()
        if self._waiting:
            self._given += 1
            self._queue.put(self._waiting)
            self._waiting = []

    def _stop_waiting(self) -> None:
        if self._window:
            self._window.cancel()
        if self._turn:
            self._turn.cancel()
        self._window = self._turn = None

    async def close(self, last: Command) -> None:
        """Apply all that is left, and the ``last`` command."""
        self._closing = True
        self.put(last)
        self._pass_on()
        await asyncio.to_thread(self._thread.join)
        self._pass_on()  # settlements of callers that left while they waited
        if not self._queue.empty():
            await asyncio.to_thread(self._run)

    def _run(self) -> None:
        tries_left = LAST_TRIES
        while not self._closing or self._retries or not self._queue.empty():
            is_applied = self._try(self._next_batch())
            if not self._retries:
                self._done = self._taken
            if not is_applied and self._closing:
                tries_left -= 1
                if not tries_left:
                    left = sum(isinstance(one.command, Settlement) for one in self._retries)
                    log.error("%d requests are not settled: the next start settles them.", left)
                    return

    def _next_batch(self) -> list[_Queued]:
        """Return the next commands: those to try again, or those that wait; wait for the first."""
        batch, self._retries = self._retries[:_BATCH], self._retries[_BATCH:]
        if not batch:
            batch = self._queue.get()
            self._taken += 1
        while len(batch) < _BATCH:
            try:
                batch += self._queue.get_nowait()
            except Empty:
                break
            self._taken += 1
        return batch

    def _try(self, batch: list[_Queued]) -> bool:
        """Apply a batch; return False, and keep what must not be lost, if the database is away."""
        try:
            results = self._ledger.apply([one.command for one in batch])
        except (OperationalError, InterfaceError) as error:
            log.error("The ledger's database cannot be used: %s", reason(error))
            self._loop.call_soon_threadsafe(_fail, batch)
            self._retries = [again for one in batch if (again := _retry(one))] + self._retries
            time.sleep(RETRY_AFTER)
            return False
        except Exception as error:  # Our own defects, too: the thread must go on.
            if len(batch) > 1:
                for one in batch:
                    self._try([one])
                return True
            kind = type(batch[0].command).__name__
            log.error("The ledger does not take one %s: %s", kind, reason(error))
            self._loop.call_soon_threadsafe(_fail, batch)
            return True
        self.applied = time.monotonic()
        if any(one.result for one in batch):
            self._loop.call_soon_threadsafe(self._deliver, batch, results)
        return True

    def _deliver(self, batch: list[_Queued], results: Sequence[Result]) -> None:
        for one, result in zip(batch, results, strict=True):
            if one.result and not one.result.done():
                one.result.set_result(result)
            elif one.result and isinstance(result, Reservation):
                # The caller left while it waited, so nobody else settles this.
                self.put(_not_asked(result, 499, "client_gone"))


def _retry(one: _Queued) -> _Queued | None:
    """Return what to apply again of a command that failed, whose outcome may be unknown."""
    if isinstance(one.command, Reservation):
        # In case it was reserved after all: nobody else would settle it.
        return _Queued(_not_asked(one.command, 503, "ledger_unavailable"))
    is_kept = isinstance(one.command, Settlement | Deregistration) or (
        isinstance(one.command, AuditEntries) and not one.result
    )
    return one if is_kept else None


def _not_asked(reservation: Reservation, status: int, error: str) -> Settlement:
    return Settlement(reservation, milliseconds(), status=status, error=error)


def _fail(batch: list[_Queued]) -> None:
    for one in batch:
        if one.result and not one.result.done():
            one.result.set_exception(unavailable())


def unavailable() -> GatewayError:
    """Return the error for requests while the database cannot be used."""
    return GatewayError(
        503,
        "ledger_unavailable",
        "The gateway cannot use its ledger just now. Ask again in a moment; if it stays so, the "
        "operator should look at its database.",
        "server_error",
        {"Retry-After": "2"},
    )


def reason(error: Exception) -> str:
    """Return the database's message without the statement, which holds what users sent."""
    message = str(getattr(error, "orig", None) or type(error).__name__).strip()
    return message.splitlines()[0] if message else type(error).__name__
