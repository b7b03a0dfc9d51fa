"""
Lets the hub ask its database less at each start of a server.

Called by ``application``. Four habits of JupyterHub 6.1 were more than a third of the hub's CPU
for a start (``python -m tests.bench hub``): it opens, pings and returns a connection for each
transaction; it commits six times before it calls the spawner; it queries a user by name, with
roles, groups and shares, at each request; and it hashes the secret of a server's OAuth client
16384 times.
"""

from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from jupyterhub import orm
from jupyterhub.oauth.provider import JupyterHubOAuthServer
from jupyterhub.utils import hash_token
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

T = TypeVar("T")


class HubSession(Session):
    """A database session that can make one commit of several."""

    _merges = False

    def commit(self) -> None:
        """Commit, unless commits are being merged."""
        if not self._merges:
            super().commit()
        elif any(isinstance(each, orm.Server) for each in self.new):
            self.flush()  # JupyterHub goes on with the defaults of its columns

    @contextmanager
    def merged_commits(self) -> Iterator[None]:
        """Leave the commits of the block, which waits for nothing, to one after it."""
        self._merges, self.autoflush = True, False
        try:
            yield
        finally:
            self._merges, self.autoflush = False, True


def make_session(session: Session) -> HubSession:
    """
    Return a session of the database of ``session``, which ends; it keeps a connection to SQLite.

    JupyterHub 6.1, which has one session, takes a connection for each transaction and first sends
    ``SELECT 1`` in one of its own: a server such as PostgreSQL may have closed it. SQLite has none.
    """
    engine: Any = session.get_bind()
    session.close()
    bind = engine.connect() if engine.dialect.name == "sqlite" else engine
    return HubSession(bind, expire_on_commit=False)


class OneCommit(Generator[Any, Any, T]):
    """
    An awaitable: a coroutine that commits once what it commits until it first waits.

    Nobody else runs until then, so nobody sees the database between these commits. Each is a
    flush, which costs as much as three queries.
    """

    def __init__(self, work: Coroutine[Any, Any, T], session: HubSession) -> None:
        self._work, self._session = work, session
        self._has_started = False

    def __await__(self) -> "OneCommit[T]":
        return self

    def send(self, value: Any) -> Any:
        """Let the coroutine run until it waits or ends."""
        if self._has_started:
            return self._work.send(value)
        self._has_started = True
        try:
            with self._session.merged_commits():
                waits_for = self._work.send(value)
        except BaseException:  # StopIteration, too: it has ended
            self._session.commit()
            raise
        try:
            self._session.commit()
        except SQLAlchemyError as problem:
            return self._work.throw(problem)  # as if its own commit had failed
        return waits_for

    def throw(self, *problem: Any) -> Any:
        """Raise an exception where the coroutine waits."""
        return self._work.throw(*problem)


def in_one_commit(spawn: Callable[..., Coroutine[Any, Any, T]]) -> Callable[..., OneCommit[T]]:
    """Return ``User.spawn`` as :class:`OneCommit`; it first waits for the spawner to start."""

    @wraps(spawn)
    def call(user: Any, *args: Any, **kwargs: Any) -> OneCommit[T]:
        return OneCommit(spawn(user, *args, **kwargs), user.db)

    return call


class UsersByName:
    """
    Finds a user that JupyterHub has loaded already without a query.

    JupyterHub 6.1 keeps all users that it has met, and relies on being the only one that writes
    to its database: what it holds is what a query would return.
    """

    def __init__(self) -> None:
        self._known: WeakValueDictionary[str, orm.User] = WeakValueDictionary()

    def find(self, db: Session, name: str) -> orm.User | None:
        """Return the user of a name, or None; as ``orm.User.find``, which this replaces."""
        user = self._known.get(name)
        if user is None or user not in db or user.name != name:  # deleted, or renamed
            user = db.query(orm.User).filter(orm.User.name == name).first()
            if user is not None:
                self._known[name] = user
        return user


class OAuthServer(JupyterHubOAuthServer):  # type: ignore[misc]
    """JupyterHub's OAuth provider, which hashes the secret of a server once."""

    def add_client(
        self,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        allowed_scopes: Iterable[str] | None = None,
        description: str = "",
    ) -> Any:
        """
        Add or update a client; that of a server without a commit, since ``User.spawn`` commits.

        The secret of a server's client is the server's API token, 122 random bits that JupyterHub
        has just generated and hashes once in its table of tokens: nobody can guess it, and more
        rounds here would protect nothing. JupyterHub 6.1 calls this without scopes for a token
        that a spawner has brought; that one and those of services may be chosen by people, and
        keep their 16384 rounds.
        """
        if not client_id.startswith("jupyterhub-user-") or allowed_scopes is None:
            return super().add_client(
                client_id, client_secret, redirect_uri, allowed_scopes, description
            )
        client = self.db.query(orm.OAuthClient).filter_by(identifier=client_id).one_or_none()
        if client is None:
            client = orm.OAuthClient(identifier=client_id)
            self.db.add(client)
        client.secret = hash_token(client_secret, rounds=1)
        client.redirect_uri = redirect_uri
        client.description = description or client_id
        client.allowed_scopes = list(allowed_scopes)
        return client
