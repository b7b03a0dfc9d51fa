"""
Lets the hub ask its database less at each start of a server.

Called by ``application``. Three habits of JupyterHub 6.1 were more than a third of the hub's
CPU for a start (``python -m tests.bench hub``): it opens, pings and returns a connection for
each transaction; it queries a user by name, with roles, groups and shares, at each request;
and it hashes the secret of a server's OAuth client 16384 times.
"""

from collections.abc import Iterable
from typing import Any
from weakref import WeakValueDictionary

from jupyterhub import orm
from jupyterhub.oauth.provider import JupyterHubOAuthServer
from jupyterhub.utils import hash_token
from sqlalchemy.orm import Session


def keep_connection(session: Session) -> Session:
    """
    Return a session of the same SQLite database that keeps one connection; of others, ``session``.

    JupyterHub 6.1, which has one session, takes a connection for each transaction and first sends
    ``SELECT 1`` in one of its own: a server such as PostgreSQL may have closed it. SQLite has none.
    """
    engine: Any = session.get_bind()
    if engine.dialect.name != "sqlite":
        return session
    session.close()
    return Session(engine.connect(), expire_on_commit=False)


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
