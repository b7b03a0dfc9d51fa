"""What the hub asks its database, and what its OAuth clients' secrets are stored as."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from caesarion_hub.database import OAuthServer, UsersByName, keep_connection
from jupyterhub import orm
from jupyterhub.utils import compare_token
from sqlalchemy import event, select
from sqlalchemy.orm import Session

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Session]:
    """The hub's session on an SQLite file."""
    session = keep_connection(orm.new_session_factory(f"sqlite:///{tmp_path}/hub.sqlite")())
    yield session
    session.get_bind().close()  # type: ignore[union-attr]


@pytest.fixture
def statements(db: Session) -> list[str]:
    """All that is sent to the database from now on."""
    sent: list[str] = []
    event.listen(db.get_bind(), "before_cursor_execute", lambda *call: sent.append(call[2]))
    return sent


def add_user(db: Session, name: str = "ada") -> orm.User:
    user = orm.User(name=name)
    db.add(user)
    db.commit()
    return user


def test_a_transaction_in_a_file_sends_nothing_of_its_own(
    db: Session, statements: list[str]
) -> None:
    for _ in range(2):
        db.scalar(select(orm.User.id))
        db.commit()
    assert [sent.splitlines()[0] for sent in statements] == ["SELECT users.id "] * 2


def test_what_is_committed_is_there_for_another_connection(db: Session, tmp_path: Path) -> None:
    add_user(db)
    with orm.new_session_factory(f"sqlite:///{tmp_path}/hub.sqlite")() as other:
        assert other.scalars(select(orm.User.name)).all() == ["ada"]
        other.get_bind().dispose()


def test_what_is_rolled_back_is_gone_and_foreign_keys_are_kept(db: Session) -> None:
    add_user(db)
    db.add(orm.User(name="bo"))
    db.flush()
    db.rollback()
    assert db.scalars(select(orm.User.name)).all() == ["ada"]
    assert db.connection().exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_known_user_is_found_without_a_question(db: Session, statements: list[str]) -> None:
    ada, users = add_user(db), UsersByName()
    assert users.find(db, "ada") is ada
    statements.clear()
    assert users.find(db, name="ada") is ada
    assert statements == []


def test_a_user_who_is_not_there_yet_is_found_later(db: Session) -> None:
    users = UsersByName()
    assert users.find(db, "ada") is None
    ada = add_user(db)
    assert users.find(db, "ada") is ada


def test_a_renamed_user_is_found_by_the_new_name_only(db: Session) -> None:
    ada, users = add_user(db), UsersByName()
    users.find(db, "ada")
    ada.name = "grace"
    db.commit()
    assert users.find(db, "ada") is None
    assert users.find(db, "grace") is ada
    another = add_user(db)
    assert users.find(db, "ada") is another


def test_a_deleted_user_is_not_found_and_a_namesake_is(db: Session) -> None:
    ada, users = add_user(db), UsersByName()
    users.find(db, "ada")
    db.delete(ada)
    db.commit()
    assert users.find(db, "ada") is None
    namesake = add_user(db)
    assert users.find(db, "ada") is namesake


@pytest.mark.parametrize(
    ("client_id", "scopes", "rounds"),
    [
        ("jupyterhub-user-ada", [], 1),
        ("jupyterhub-user-ada-sandbox-abcdef", ["self"], 1),
        ("jupyterhub-user-ada", None, 16384),  # a token that the spawner has brought
        ("service-gateway", [], 16384),  # an operator may have chosen it
    ],
)
def test_only_the_generated_secret_of_a_server_is_hashed_once(
    db: Session, client_id: str, scopes: list[str] | None, rounds: int
) -> None:
    provider = OAuthServer(db, None)
    for secret in ("another", SECRET):  # added, then updated
        provider.add_client(client_id, secret, "/callback", allowed_scopes=scopes)
        db.commit()
    client = provider.fetch_by_client_id(client_id)
    assert client.secret.split(":")[:2] == ["sha512", str(rounds)]
    assert compare_token(client.secret, SECRET)
    assert not compare_token(client.secret, SECRET[::-1])
    assert (client.redirect_uri, client.description) == ("/callback", client_id)
    assert client.allowed_scopes == (scopes or [])
