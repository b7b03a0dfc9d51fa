"""
The way into the ledger: jobs are collected, and done in batches by one thread.

Called by ``meter`` and the pages; calls ``ledger``. A request waits for its own
opening only, and what is settled meanwhile goes with it in one transaction.
While the database is away no request is opened, and what is to be settled waits.
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from caesarion_hub.gateway import recording
from caesarion_hub.gateway.chain import Entry
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.jobs import (
    Append,
    Beat,
    Closing,
    Edit,
    Job,
    Leave,
    Opening,
    Refusal,
    Result,
    milliseconds,
)
from caesarion_hub.gateway.ledger import Ledger

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


class Journal:
    """
    The ledger's only door, as an async context; leaving it settles all.

    ``beat`` is done at the start and then four times within its lease.
    """

    def __init__(self, ledger: Ledger, beat: Beat) -> None:
        self.ledger = ledger
        self._beat = beat
        self._waiting: list[_Waiting] = []
        self._come = asyncio.Event()
        self._urgent = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "ledger")
        self._closing = False
        self._asking: asyncio.Task[bool] | None = None

    async def __aenter__(self) -> Self:
        await self._apply([_Waiting(self._beat)])
        self._writing = asyncio.create_task(self._write())
        self._beating = asyncio.create_task(self._keep_beating())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._beating.cancel()
        self._closing = True
        self._put(Leave())
        self._urgent.set()
        await self._writing
        self._thread.shutdown()

    async def open(self, opening: Opening) -> None:
        """Let a request in; raise the refusal."""
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._put(opening, done)
        if refusal := await done:
            raise refusal

    def refuse(self, refusal: Refusal) -> None:
        """Count a request that was not let in, soon; while the database is away, not at all."""
        self._put(refusal)

    def close(self, closing: Closing) -> None:
        """Settle a request, soon."""
        self._put(closing)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Record ``entries`` in the audit; they are in it when this returns."""
        await self._do(Append(entries))

    def append_later(self, entries: Sequence[Entry]) -> None:
        """Record ``entries`` in the audit, soon."""
        self._put(Append(entries))

    async def answers(self, seconds: float = 2.0) -> bool:
        """Whether the database answers within so many ``seconds``; many askers share one look."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(self.ledger.database.answers))
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.shield(self._asking)
        except TimeoutError:
            return False

    async def proof(self) -> tuple[bool, str]:
        """Return whether the audit is whole, and that in words; takes long for a long one."""

        def read() -> tuple[bool, str]:
            with self.ledger.database.reading() as connection:
                return recording.proof(connection)

        try:
            return await asyncio.to_thread(read)
        except SQLAlchemyError as error:
            return False, f"The audit could not be read: {_reason(error)}"

    async def unreported(self, user: str, calls: Sequence[str]) -> set[str]:
        """Return which of ``calls`` the audit has from this user, without an outcome."""

        def read() -> set[str]:
            with self.ledger.database.reading() as connection:
                return recording.unreported(connection, user, calls)

        try:
            return await asyncio.to_thread(read)
        except SQLAlchemyError as error:
            raise _away() from error

    async def edit(self, edit: Edit) -> None:
        """Change a budget; it holds here when this returns, and elsewhere at the next beat."""
        await self._do(edit)

    async def _do(self, job: Job) -> None:
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._put(job, done)
        await done

    def _put(self, job: Job, done: "asyncio.Future[Result] | None" = None) -> None:
        self._waiting.append(_Waiting(job, done))
        self._come.set()
        if done:
            self._urgent.set()

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._beat.lease / 4000)
            self._put(self._beat)

    async def _write(self) -> None:
        tries_left = LAST_TRIES
        while self._waiting or not self._closing:
            await self._come.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMPANY):
                    await self._urgent.wait()
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            if not self._waiting:
                self._come.clear()
                self._urgent.clear()
            if not await self._tried(batch) and self._closing:
                tries_left -= 1
                if not tries_left:
                    kept = sum(isinstance(one.job, Closing) for one in self._waiting)
                    log.error("%d requests are not settled: a later start does it.", kept)
                    return

    async def _tried(self, batch: list[_Waiting]) -> bool:
        """Do a batch; what must not get lost is put back while the database is away."""
        try:
            await self._apply(batch)
        except (OperationalError, InterfaceError) as error:
            log.error("The ledger's database cannot be used: %s", _reason(error))
            _fail(batch)
            kept = [again for one in batch if (again := _to_be_kept(one))]
            self._waiting = kept + self._waiting
            self._come.set()
            await asyncio.sleep(AGAIN)
            return False
        except Exception as error:  # A defect of ours, too: the writer must go on.
            if len(batch) > 1:
                for one in batch:
                    await self._tried([one])
                return True
            kind = type(batch[0].job).__name__
            log.error("The ledger does not take one %s: %s", kind, _reason(error))
            _fail(batch)
        return True

    async def _apply(self, batch: list[_Waiting]) -> None:
        loop = asyncio.get_running_loop()
        jobs = [one.job for one in batch]
        results = await loop.run_in_executor(self._thread, self.ledger.apply, jobs)
        for one, result in zip(batch, results, strict=True):
            if one.done and not one.done.done():
                one.done.set_result(result)
            elif one.done and isinstance(one.job, Opening) and result is None:
                # Whoever asked went away meanwhile.
                gone = Closing(one.job, milliseconds(), status=499, error="client_gone")
                self._put(gone)


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
            one.done.set_exception(_away())


def _away() -> GatewayError:
    return GatewayError(
        503,
        "ledger_unavailable",
        "The gateway cannot use its ledger just now. Ask again in a moment; if it stays so, the "
        "operator should look at its database.",
        "server_error",
        {"Retry-After": "2"},
    )


def _reason(error: Exception) -> str:
    """Return the database's words without the statement, which holds what users sent."""
    said = str(getattr(error, "orig", None) or type(error).__name__).strip()
    return said.splitlines()[0] if said else type(error).__name__
