"""When users' servers were last used, as the proxy says, in a database of JupyterHub's."""

import logging
from collections.abc import Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from caesarion_hub import last_activity
from jupyterhub import orm
from sqlalchemy import event

LOG = logging.getLogger("hub")
EARLIER, LATER = datetime(2026, 12, 1, 8), datetime(2026, 12, 1, 9, 30)


@pytest.fixture
def db() -> Iterator[Any]:
    session = orm.new_session_factory("sqlite:///:memory:")()
    yield session
    session.close()
    session.get_bind().dispose()


def add(db: Any, *names: str, ready: bool = True) -> dict[str, Any]:
    """Return users with a server each as the hub has them in memory, last used EARLIER."""
    users = {}
    for name in names:
        user = orm.User(name=name, last_activity=EARLIER)
        server = orm.Spawner(name="", user=user, last_activity=EARLIER)
        db.add_all([user, server])
        spawner = SimpleNamespace(orm_spawner=server, ready=ready, proxy_spec=f"/user/{name}/")
        users[name] = SimpleNamespace(orm_user=user, spawners={"": spawner})
    db.commit()
    return users


def routes(*names: str, time: str) -> dict[str, Any]:
    return {f"/user/{name}/": {"data": {"user": name, "last_activity": time}} for name in names}


def stored(db: Any) -> list[tuple[str, datetime, datetime]]:
    db.expire_all()
    found = db.query(orm.Spawner).order_by(orm.Spawner.id)
    return [(one.user.name, one.user.last_activity, one.last_activity) for one in found]


async def test_a_later_time_is_stored_for_the_user_and_the_server_in_utc(db: Any) -> None:
    users = add(db, "ada", "grace")
    await last_activity.note(db, users, routes("ada", time="2026-12-01T10:30:00+01:00"), LOG)
    assert stored(db) == [("ada", LATER, LATER), ("grace", EARLIER, EARLIER)]


async def test_an_earlier_time_changes_nothing(db: Any) -> None:
    users = add(db, "ada")
    await last_activity.note(db, users, routes("ada", time="2026-12-01T07:00:00Z"), LOG)
    assert stored(db) == [("ada", EARLIER, EARLIER)]


async def test_a_server_that_is_not_ready_has_not_been_used(db: Any) -> None:
    users = add(db, "ada", ready=False)
    await last_activity.note(db, users, routes("ada", time="2026-12-01T09:30:00Z"), LOG)
    assert stored(db) == [("ada", EARLIER, EARLIER)]


async def test_who_was_never_active_is_now(db: Any) -> None:
    users = add(db, "ada")
    user = users["ada"]
    user.orm_user.last_activity = user.spawners[""].orm_spawner.last_activity = None
    await last_activity.note(db, users, routes("ada", time="2026-12-01T09:30:00Z"), LOG)
    assert stored(db) == [("ada", LATER, LATER)]


async def test_no_user_is_looked_up_however_many_there_are(db: Any) -> None:
    names = [f"user-{number}" for number in range(2 * last_activity.AT_A_TIME)]
    users, statements = add(db, *names), list[str]()

    @event.listens_for(db.get_bind(), "before_cursor_execute")
    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(" ".join(statement.split()[:2]))

    await last_activity.note(db, users, routes(*names, time="2026-12-01T09:30:00Z"), LOG)
    ping = "SELECT 1"  # JupyterHub's, before each transaction
    assert statements == [ping, "UPDATE users", "UPDATE spawners"] * 2
    assert [times for _, *times in stored(db)] == [[LATER, LATER]] * len(names)
