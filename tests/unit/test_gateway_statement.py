"""SQL that the driver runs, on a real SQLite: what comes back, and errors as SQLAlchemy's."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from caesarion_hub.gateway.store.database import Database
from caesarion_hub.gateway.store.statement import Statement
from sqlalchemy import Connection, bindparam, column, insert, select, table, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

THINGS = table("things", column("name"), column("number"))
ADD = Statement(insert(THINGS))
FIND = Statement(
    select(THINGS.c.number).where(THINGS.c.name == bindparam("asked")).order_by(THINGS.c.number)
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    with closing(Database("sqlite://")) as database, database.exclusive() as connection:
        connection.execute(text("CREATE TABLE things (name TEXT, number INTEGER UNIQUE)"))
        yield connection


def test_rows_are_added_found_and_changed(connection: Connection) -> None:
    ADD.change_each(connection, [{"name": "a", "number": 1}, {"number": 2, "name": "a"}])
    assert ADD.change(connection, {"name": "b", "number": 3}) == 1
    assert FIND.rows(connection, asked="a") == [(1,), (2,)]
    rename = Statement(update(THINGS).where(THINGS.c.name == "a").values(name=bindparam("new")))
    assert rename.change(connection, {"new": "c"}) == 2
    assert FIND.rows(connection, asked="a") == []


def test_its_errors_are_sqlalchemys_and_do_not_tell_what_was_sent(connection: Connection) -> None:
    ADD.change(connection, {"name": "a", "number": 1})
    with pytest.raises(IntegrityError, match="UNIQUE constraint failed") as caught:
        ADD.change_each(connection, [{"name": "what a user sent", "number": 1}])
    assert "what a user sent" not in str(caught.value)
    with pytest.raises(OperationalError, match="no such table"):
        Statement(text("SELECT 1 FROM elsewhere")).rows(connection)
