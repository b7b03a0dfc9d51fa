"""
The way into the ledger: jobs are collected, and done in batches by one thread.

Called by ``meter`` and the pages; calls ``ledger`` by way of ``writer``. A request
waits for its own opening only, and what is settled meanwhile goes with it in one
transaction. While the database is away no request is opened, and what is to be
settled waits.
"""

import asyncio
from collections.abc import Sequence
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from caesarion_hub.gateway.store import audit_log
from caesarion_hub.gateway.store.audit_chain import Entry
from caesarion_hub.gateway.store.commands import (
    Append,
    Beat,
    Closing,
    Edit,
    Job,
    Leave,
    Opening,
    Refusal,
    Result,
)
from caesarion_hub.gateway.store.ledger import Ledger
from caesarion_hub.gateway.store.writer import Writer, away, reason


class Journal:
    """
    The ledger's only door, as an async context; leaving it settles all.

    ``beat`` is done at the start and then four times within its lease.
    """

    def __init__(self, ledger: Ledger, beat: Beat) -> None:
        self.ledger = ledger
        self._beat = beat
        self._asking: asyncio.Task[bool] | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.ledger.apply, [self._beat])
        self._writer = Writer(self.ledger, asyncio.get_running_loop())
        self._beating = asyncio.create_task(self._keep_beating())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._beating.cancel()
        await self._writer.close(Leave())

    async def open(self, opening: Opening) -> None:
        """Let a request in; raise the refusal."""
        if refusal := await self._do(opening):
            raise refusal

    def refuse(self, refusal: Refusal) -> None:
        """Count a request that was not let in, soon; while the database is away, not at all."""
        self._writer.put(refusal)

    def close(self, closing: Closing) -> None:
        """Settle a request, soon."""
        self._writer.put(closing)

    async def append(self, entries: Sequence[Entry]) -> None:
        """Record ``entries`` in the audit; they are in it when this returns."""
        await self._do(Append(entries))

    def append_later(self, entries: Sequence[Entry]) -> None:
        """Record ``entries`` in the audit, soon."""
        self._writer.put(Append(entries))

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
                return audit_log.proof(connection)

        try:
            return await asyncio.to_thread(read)
        except SQLAlchemyError as error:
            return False, f"The audit could not be read: {reason(error)}"

    async def unreported(self, user: str, calls: Sequence[str]) -> set[str]:
        """Return which of ``calls`` the audit has from this user, without an outcome."""

        def read() -> set[str]:
            with self.ledger.database.reading() as connection:
                return audit_log.unreported(connection, user, calls)

        try:
            return await asyncio.to_thread(read)
        except SQLAlchemyError as error:
            raise away() from error

    async def edit(self, edit: Edit) -> None:
        """Change a budget; it holds here when this returns, and elsewhere at the next beat."""
        await self._do(edit)

    async def _do(self, job: Job) -> Result:
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._writer.put(job, done)
        return await done

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self._beat.lease / 4000)
            self._writer.put(self._beat)
