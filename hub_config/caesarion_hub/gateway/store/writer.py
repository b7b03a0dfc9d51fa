"""
The thread that does the ledger's jobs, those that wait together in one transaction.

Called by ``journal``; calls ``ledger``. Its law: who waits for a job is told in any
case, and what was used gets lost in none.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from sqlalchemy.exc import InterfaceError, OperationalError

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.store.commands import (
    Append,
    Closing,
    Job,
    Leave,
    Opening,
    Result,
    milliseconds,
)
from caesarion_hub.gateway.store.ledger import Ledger

COMPANY = 0.02
"""Seconds that a settlement waits for others to go along; made up."""

AGAIN = 1.0
"""Seconds between two tries while the database is away; made up."""

LAST_TRIES = 3
"""Tries to settle what is left when the gateway ends; made up."""

_AT_ONCE = 200  # jobs in a batch

log = logging.getLogger("gateway")


@dataclass
class _Waiting:
    """A job, and who waits for it, if anybody."""

    job: Job
    done: "asyncio.Future[Result] | None" = None


class Writer:
    """
    Does jobs in the order in which they come. Those who wait are of ``loop``.

    A thread and a queue of its own, not an executor, whose futures would cost a request
    some more turns of the loop.
    """

    def __init__(self, ledger: Ledger, loop: asyncio.AbstractEventLoop) -> None:
        self._ledger = ledger
        self._loop = loop
        self._queue: SimpleQueue[_Waiting] = SimpleQueue()
        self._kept: list[_Waiting] = []  # what is to be tried again
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._thread.start()

    def put(self, job: Job, done: "asyncio.Future[Result] | None" = None) -> None:
        """Have a job done; at once if somebody waits for it."""
        self._queue.put(_Waiting(job, done))

    async def close(self, last: Job) -> None:
        """Do all that is left, and the ``last`` job."""
        self._closing = True
        self.put(last)
        await asyncio.to_thread(self._thread.join)
        if not self._queue.empty():  # Somebody went away while being let in.
            await asyncio.to_thread(self._write)

    def _write(self) -> None:
        tries_left = LAST_TRIES
        while not self._closing or self._kept or not self._queue.empty():
            if not self._tried(self._batch()) and self._closing:
                tries_left -= 1
                if not tries_left:
                    kept = sum(isinstance(one.job, Closing) for one in self._kept)
                    log.error("%d requests are not settled: a later start does it.", kept)
                    return

    def _batch(self) -> list[_Waiting]:
        """Return the next jobs; wait for the first one, and for others if nobody is in a hurry."""
        batch, self._kept = self._kept[:_AT_ONCE], self._kept[_AT_ONCE:]
        batch = batch or [self._queue.get()]
        end = time.monotonic() + COMPANY
        patience = 0.0 if any(one.done for one in batch) else COMPANY
        while len(batch) < _AT_ONCE:
            try:
                one = self._queue.get(timeout=patience) if patience else self._queue.get_nowait()
            except Empty:
                break
            batch.append(one)
            patience = max(0.0, end - time.monotonic()) if patience and not one.done else 0.0
        return batch

    def _tried(self, batch: list[_Waiting]) -> bool:
        """Do a batch; what must not get lost is kept while the database is away."""
        try:
            results = self._ledger.apply([one.job for one in batch])
        except (OperationalError, InterfaceError) as error:
            log.error("The ledger's database cannot be used: %s", reason(error))
            self._loop.call_soon_threadsafe(_fail, batch)
            self._kept = [again for one in batch if (again := _to_be_kept(one))] + self._kept
            time.sleep(AGAIN)
            return False
        except Exception as error:  # A defect of ours, too: the writer must go on.
            if len(batch) > 1:
                for one in batch:
                    self._tried([one])
                return True
            kind = type(batch[0].job).__name__
            log.error("The ledger does not take one %s: %s", kind, reason(error))
            self._loop.call_soon_threadsafe(_fail, batch)
            return True
        self._loop.call_soon_threadsafe(self._tell, batch, results)
        return True

    def _tell(self, batch: list[_Waiting], results: Sequence[Result]) -> None:
        for one, result in zip(batch, results, strict=True):
            if one.done and not one.done.done():
                one.done.set_result(result)
            elif one.done and isinstance(one.job, Opening) and result is None:
                # Whoever asked went away meanwhile.
                self.put(Closing(one.job, milliseconds(), status=499, error="client_gone"))


def _to_be_kept(one: _Waiting) -> _Waiting | None:
    """Return what to do again of a job that failed: the outcome may be unknown, too."""
    if isinstance(one.job, Opening):
        # If it was opened after all, nobody would ever settle it.
        return _Waiting(Closing(one.job, milliseconds(), status=503, error="ledger_unavailable"))
    if isinstance(one.job, Closing | Leave) or (isinstance(one.job, Append) and not one.done):
        return one
    return None


def _fail(batch: list[_Waiting]) -> None:
    for one in batch:
        if one.done and not one.done.done():
            one.done.set_exception(away())


def away() -> GatewayError:
    """Return what is told while the database is away."""
    return GatewayError(
        503,
        "ledger_unavailable",
        "The gateway cannot use its ledger just now. Ask again in a moment; if it stays so, the "
        "operator should look at its database.",
        "server_error",
        {"Retry-After": "2"},
    )


def reason(error: Exception) -> str:
    """Return the database's words without the statement, which holds what users sent."""
    said = str(getattr(error, "orig", None) or type(error).__name__).strip()
    return said.splitlines()[0] if said else type(error).__name__
