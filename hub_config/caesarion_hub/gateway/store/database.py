"""
The gateway's database: connections, transactions, and migrations.

Called by ``ledger``, ``write_queue``, the pages and ``audit``. Transactions run in threads
(the write queue's short ones of SQLite on the event loop), not by SQLAlchemy's asyncio
extension: each statement would be a turn of the loop and, with SQLite, a hop between threads
(measured for three statements: 1.9 ms against 0.35 ms).
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import alembic.command
import alembic.config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from caesarion_hub.gateway.store.prepared import Prepared

# PostgreSQL's advisory locks are numbers; this one is ours, made up.
_LOCK = Prepared(text("SELECT pg_advisory_xact_lock(7226134016)"))
_BEGIN, _BEGIN_EXCLUSIVE = "BEGIN", Prepared(text("BEGIN IMMEDIATE"))
_TIMEOUT = 10
"""Seconds that a statement waits for a locked or silent database; made up."""

_Read = TypeVar("_Read")


class DatabaseError(Exception):
    """The database cannot be used; ``str`` of it is a sentence for the operator."""


class Database:
    """
    One database; end its use with :meth:`close`.

    ``exclusive`` transactions come one after the other, across all replicas; ``reading``
    ones wait for nobody.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url: URL = make_url(url)
            if self.url.drivername in ("postgres", "postgresql"):
                self.url = self.url.set(drivername="postgresql+psycopg")
            self.is_sqlite = self.url.get_backend_name() == "sqlite"
            self.engine = _sqlite(self.url) if self.is_sqlite else _server(self.url)
            self._lock = threading.Lock()  # protects the exclusive connections
            self._exclusive: dict[bool, Connection] = {}
        except (ArgumentError, ImportError) as error:
            # Not quoted: the address holds a password.
            raise DatabaseError(
                "gateway.database.url is no address of a database. It must be like "
                "sqlite:////folder/gateway.sqlite or postgresql://user:word@host/name."
            ) from error

    @property
    def name(self) -> str:
        """The address, without a password."""
        return self.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close all connections."""
        for waits in (True, False):
            self._close_exclusive(waits)
        self.engine.dispose()

    @contextlib.contextmanager
    def exclusive(self, *, waits: bool = True) -> Iterator[Connection]:
        """
        Provide a transaction that runs while no other exclusive one does.

        One that never ``waits`` is for SQLite only: it raises TimeoutError or OperationalError
        while another one runs, and does not write SQLite's log back into the database, for which
        SQLite would wait for the disk; those that wait do that.
        """
        if not self._lock.acquire(blocking=waits):
            raise TimeoutError
        try:
            connection = self._exclusive_connection(waits)
            with connection.begin():
                (_BEGIN_EXCLUSIVE if self.is_sqlite else _LOCK).run(connection, {})
                yield connection
        except BaseException:
            self._close_exclusive(waits)
            raise
        finally:
            self._lock.release()

    def _exclusive_connection(self, waits: bool) -> Connection:
        """
        Return a connection for exclusive transactions.

        It is kept open: to check one out of the pool and in again takes as long as a request's
        whole transaction.
        """
        if waits not in self._exclusive:
            connection = self.engine.connect()
            self._exclusive[waits] = connection
            if not waits:
                connection.detach()  # from the pool, for it stays as it is set up here
                connection.exec_driver_sql("PRAGMA busy_timeout = 0")
                connection.exec_driver_sql("PRAGMA wal_autocheckpoint = 0")
                connection.rollback()
        return self._exclusive[waits]

    def _close_exclusive(self, waits: bool) -> None:
        if connection := self._exclusive.pop(waits, None):
            connection.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Provide a transaction for reading, which sees the database as it was at its start."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                if self.is_sqlite:
                    connection.exec_driver_sql(_BEGIN)
                yield connection

    async def read(self, query: Callable[[Connection], _Read]) -> _Read:
        """Run ``query`` in a thread, in a transaction for reading."""

        def run() -> _Read:
            with self.reading() as connection:
                return query(connection)

        return await asyncio.to_thread(run)

    def answers(self) -> bool:
        """Whether the database answers."""
        try:
            with self.reading() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def migrate(self, version: str = "head") -> None:
        """Bring the tables up to a version; replicas that start together do it once."""
        config = alembic.config.Config()
        config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
        try:
            with self.exclusive() as connection:
                config.attributes["connection"] = connection
                alembic.command.upgrade(config, version)
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines()
            raise DatabaseError(
                f"The gateway's database at {self.name} cannot be used: "
                f"{said[0] if said else type(error).__name__}. "
                "Check gateway.database.url."
            ) from error


def _server(url: URL) -> Engine:
    return create_engine(
        url,
        pool_size=4,
        max_overflow=4,
        pool_pre_ping=False,  # the write queue tries again, and pages name the failure
        pool_recycle=1800,
        connect_args={
            "connect_timeout": _TIMEOUT,
            "options": f"-c statement_timeout={2 * _TIMEOUT * 1000}",
        },
    )


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _TIMEOUT, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _set_up(connection: object, _: object) -> None:
        # Python's sqlite3 begins a transaction at the first write only: we begin them.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing; a machine without power may lose the last moment.
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    return engine
