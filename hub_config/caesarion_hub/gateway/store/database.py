"""
The gateway's database: its connections, its lock, and its tables brought up to date.

Called by ``journal``, the pages and ``audit``. SQLAlchemy is used as it is, in
threads, not by its asyncio extension: a transaction of the hot path has half a
dozen steps, each of which would be a turn of the loop and, with SQLite, a hop
between threads (measured: 1.9 ms against 0.35 ms for three statements).
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import alembic.command
import alembic.config
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from caesarion_hub.gateway.store.statement import Statement

# PostgreSQL's advisory locks are numbers; this one is ours, made up.
_LOCK = text("SELECT pg_advisory_xact_lock(7226134016)")
_BEGIN, _BEGIN_EXCLUSIVE = Statement(text("BEGIN")), Statement(text("BEGIN IMMEDIATE"))
_PATIENCE = 10
"""Seconds that a locked or silent database gets before a statement fails; made up."""


class DatabaseError(Exception):
    """The database cannot be used; ``str`` of it is a sentence for the operator."""


class Database:
    """
    One database. Give it back with :meth:`close`.

    ``exclusive`` transactions come one after the other, whichever process of
    however many replicas they are of; ``reading`` ones wait for nobody.
    """

    def __init__(self, url: str) -> None:
        try:
            self.url: URL = make_url(url)
            if self.url.drivername in ("postgres", "postgresql"):
                self.url = self.url.set(drivername="postgresql+psycopg")
            self.is_sqlite = self.url.get_backend_name() == "sqlite"
            self.engine = _sqlite(self.url) if self.is_sqlite else _server(self.url)
            self._in_turn = threading.Lock()
            self._kept: Connection | None = None
        except (ArgumentError, ImportError) as error:
            # Not quoted: the address holds a password.
            raise DatabaseError(
                "gateway.database.url is no address of a database. It must be like "
                "sqlite:////folder/gateway.sqlite or postgresql://user:word@host/name."
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self._give_back()
        self.engine.dispose()

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Connection]:
        """Provide a transaction that no other exclusive one runs beside."""
        with self._in_turn:
            # Kept: to take one out of the pool and to give it back takes as long as a request's
            # whole transaction.
            if self._kept is None:
                self._kept = self.engine.connect().execution_options(exclusive=True)
            try:
                with self._kept.begin():
                    if not self.is_sqlite:
                        self._kept.execute(_LOCK)
                    yield self._kept
            except BaseException:
                self._give_back()
                raise

    def _give_back(self) -> None:
        if self._kept:
            self._kept.close()
            self._kept = None

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Provide a transaction for reading, which sees one moment however long it takes."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def answers(self) -> bool:
        """Whether the database answers."""
        try:
            with self.reading() as connection:
                connection.execute(text("SELECT 1"))
        except SQLAlchemyError:
            return False
        return True

    def migrate(self) -> None:
        """Bring the tables up to date; replicas that start together do it once."""
        config = alembic.config.Config()
        config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations"))
        try:
            with self.exclusive() as connection:
                config.attributes["connection"] = connection
                alembic.command.upgrade(config, "head")
        except SQLAlchemyError as error:
            said = str(getattr(error, "orig", None) or error).strip().splitlines()
            raise DatabaseError(
                f"The gateway's database at {self.url.render_as_string(hide_password=True)} "
                f"cannot be used: {said[0] if said else type(error).__name__}. "
                "Check gateway.database.url."
            ) from error


def _server(url: URL) -> Engine:
    return create_engine(
        url,
        pool_size=4,
        max_overflow=4,
        pool_pre_ping=False,  # the journal tries again by itself, pages say so
        pool_recycle=1800,
        connect_args={
            "connect_timeout": _PATIENCE,
            "options": f"-c statement_timeout={2 * _PATIENCE * 1000}",
        },
    )


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _PATIENCE, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _set_up(connection: object, _: object) -> None:
        # We begin transactions ourselves; the driver would begin them late.
        connection.isolation_level = None  # type: ignore[attr-defined]
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute("PRAGMA journal_mode = WAL")
        # A killed process loses nothing; a machine without power may lose the last moment.
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        exclusive = connection.get_execution_options().get("exclusive")
        (_BEGIN_EXCLUSIVE if exclusive else _BEGIN).change(connection, {})

    return engine
