"""The hub's session on a real PostgreSQL."""

import asyncio

from caesarion_hub.database import OneCommit, make_session
from jupyterhub import orm
from sqlalchemy import select
from sqlalchemy.orm import Session

from tests.fakes.postgres import Postgres


async def add_users(db: Session) -> None:
    """Add users, each with a commit, then wait for nothing in particular."""
    for name in ("ada", "bo"):
        db.add(orm.User(name=name))
        db.commit()
    await asyncio.sleep(0)


async def test_a_connection_that_the_server_cut_is_replaced(postgres: Postgres) -> None:
    address = postgres.make_database()
    factory = orm.new_session_factory(address.replace("postgresql:", "postgresql+psycopg:"))
    db = make_session(factory())
    await OneCommit(add_users(db), db)
    with postgres.away(address):
        pass
    assert db.scalars(select(orm.User.name).order_by(orm.User.id)).all() == ["ada", "bo"]
    db.close()
    db.get_bind().dispose()  # type: ignore[union-attr]
