"""What the hub asks its database, and what its OAuth clients' secrets are stored as."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from caesarion_hub.database import HubSession, OAuthServer, OneCommit, UsersByName, make_session
from jupyterhub import orm
from jupyterhub.utils import compare_token
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[HubSession]:
    """The hub's session on an SQLite file."""
    session = make_session(orm.new_session_factory(f"sqlite:///{tmp_path}/hub.sqlite")())
    yield session
    session.close()
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


async def add_users(db: Session, wait: asyncio.Event, *names: str) -> str:
    """Add users, each with a commit, wait, add another one, and return."""
    for name in names:
        add_user(db, name)
    await wait.wait()
    add_user(db, "late")
    return "done"


def names_on_disk(db: Session) -> list[str]:
    """Return the users' names as another connection sees them."""
    file = db.get_bind().engine.url.database
    with closing(sqlite3.connect(str(file))) as other:
        return [name for (name,) in other.execute("SELECT name FROM users ORDER BY id")]


@pytest.fixture
def commits(db: HubSession) -> list[list[str]]:
    """The users' names on the disk after each commit from now on."""
    made: list[list[str]] = []
    event.listen(db, "after_commit", lambda _: made.append(names_on_disk(db)))
    return made


async def test_a_start_commits_once_before_it_waits(
    db: HubSession, commits: list[list[str]]
) -> None:
    wait = asyncio.Event()
    task = asyncio.ensure_future(OneCommit(add_users(db, wait, "ada", "bo"), db))
    await asyncio.sleep(0)
    assert commits == [["ada", "bo"]]
    wait.set()
    assert await task == "done"
    assert commits == [["ada", "bo"], ["ada", "bo", "late"]]


async def test_a_start_that_does_not_wait_is_committed_too(db: HubSession) -> None:
    wait = asyncio.Event()
    wait.set()
    assert await OneCommit(add_users(db, wait, "ada"), db) == "done"
    assert names_on_disk(db) == ["ada", "late"]


async def test_a_start_that_fails_before_it_waits_keeps_what_it_committed(db: HubSession) -> None:
    async def fail() -> None:
        add_user(db)
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        await OneCommit(fail(), db)
    assert names_on_disk(db) == ["ada"]
    assert db.autoflush


async def test_a_start_is_told_that_its_commit_has_failed(db: HubSession) -> None:
    add_user(db)

    async def start() -> str:
        try:
            await add_users(db, asyncio.Event(), "ada")  # there is one already
        except IntegrityError:
            db.rollback()
        return "cleaned up"

    assert await OneCommit(start(), db) == "cleaned up"
    assert names_on_disk(db) == ["ada"]


async def test_a_start_that_is_cancelled_is_told(db: HubSession) -> None:
    task = asyncio.ensure_future(OneCommit(add_users(db, asyncio.Event(), "ada"), db))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert names_on_disk(db) == ["ada"]


def test_a_new_server_has_its_defaults_while_commits_are_merged(db: HubSession) -> None:
    with db.merged_commits():
        db.add(server := orm.Server(base_url="/user/ada/"))
        db.commit()
        assert (server.proto, server.ip) == ("http", "")


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
