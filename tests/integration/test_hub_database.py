"""The hub's session on a real PostgreSQL, as JupyterHub made it."""

from caesarion_hub.database import keep_connection
from jupyterhub import orm
from sqlalchemy import select

from tests.fakes.postgres import Postgres


def test_a_connection_that_the_server_cut_is_replaced(postgres: Postgres) -> None:
    address = postgres.make_database()
    url = address.replace("postgresql:", "postgresql+psycopg:")
    session = orm.new_session_factory(url)()
    db = keep_connection(session)
    assert db is session
    db.add(orm.User(name="ada"))
    db.commit()
    with postgres.away(address):
        pass
    assert db.scalars(select(orm.User.name)).all() == ["ada"]
    db.close()
    session.get_bind().dispose()  # type: ignore[union-attr]
