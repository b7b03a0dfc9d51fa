"""
Warns users before the hub takes them to another user's server on the same host name.

Called by ``application``. Without ``hub.subdomainHost`` all servers share the
hub's origin, and a page of a server can act with the rights of whoever opens it:
an ordinary user's page with an administrator's. So the hub's ways to a server of
somebody else lead through a page first: the admin panel's links, the spawn pages,
accepted shares, and the OAuth authorization of the server itself.

Invariant: only subdomains separate users. A link straight to ``/user/NAME/...`` does
not pass the hub. A server that runs our image then asks the hub who the visitor is, which
shows the warning; a server that its owner has replaced need not ask.
"""

import posixpath
from typing import Any
from urllib.parse import unquote, urlsplit

from jupyterhub.apihandlers.auth import OAuthAuthorizeHandler
from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.pages import AcceptShareHandler, SpawnHandler, SpawnPendingHandler
from jupyterhub.utils import url_path_join
from tornado.httputil import url_concat
from tornado.web import HTTPError, authenticated

from caesarion_hub.sandbox_rules import NamedServerRules

COOKIE = "caesarion-entered"
"""Holds who has agreed to open whose server."""

AGREED_FOR = 5 * 60
"""Seconds for which that holds: enough to start the server and to authorize it."""


class SharedOriginHandler(BaseHandler):  # type: ignore[misc]
    """What the handlers here know about a URL."""

    def owner_of(self, url: str) -> str | None:
        """Return the name of the other user whose server on our own origin ``url`` leads to."""
        if self.subdomain_host:
            return None
        # As a browser resolves it: a path may hold escapes and dots.
        path = posixpath.normpath(unquote(urlsplit(url).path))
        prefix = url_path_join(self.base_url, "user/")
        if not path.startswith(prefix):
            return None
        name = path.removeprefix(prefix).split("/")[0]
        return None if name == self.current_user.name else name

    def has_agreed(self, owner: str) -> bool:
        """Return whether the current user has just agreed to open the server of ``owner``."""
        agreed = self.get_signed_cookie(COOKIE, max_age_days=AGREED_FOR / 86400)
        return agreed is not None and agreed.decode() == self._consent_to(owner)

    def _consent_to(self, owner: str) -> str:
        return f"{self.current_user.id} {owner}"

    def redirect(self, url: str, *args: Any, **kwargs: Any) -> None:
        """Redirect, but to the warning first if ``url`` is another user's server."""
        if self.current_user and (owner := self.owner_of(url)) and not self.has_agreed(owner):
            url = url_concat(url_path_join(self.hub.base_url, "enter"), {"next": url})
        super().redirect(url, *args, **kwargs)


class EnterHandler(SharedOriginHandler):
    """The warning: GET shows it, POST goes on to the server."""

    @authenticated
    async def get(self) -> None:
        """Show the page, or go on at once if there is nothing to warn of."""
        owner, url = self._target()
        if owner is None:
            self.redirect(url)
            return
        page = "enter_server.html"
        self.finish(await self.render_template(page, owner=owner, next_url=url))

    @authenticated
    def post(self) -> None:
        """Remember the consent for a while, and go to the server."""
        owner, url = self._target()
        if owner is not None:
            consent = self._consent_to(owner)
            self._set_cookie(COOKIE, consent, path=self.hub.base_url, expires_days=None)
        super(SharedOriginHandler, self).redirect(url)

    def _target(self) -> tuple[str | None, str]:
        """Return the other user and the URL in the query; refuse any that is no user's server."""
        url = self.get_argument("next", "")
        if not url.startswith(url_path_join(self.base_url, "user/")):
            raise HTTPError(400, "The address after 'next' must be a user's server on this hub.")
        return self.owner_of(url), url


class Spawn(SharedOriginHandler, NamedServerRules, SpawnHandler):  # type: ignore[misc]
    """JupyterHub's spawn page."""


class SpawnPending(SharedOriginHandler, SpawnPendingHandler):  # type: ignore[misc]
    """JupyterHub's page of a start, which leads to the server when it is ready."""


class AcceptShare(SharedOriginHandler, AcceptShareHandler):  # type: ignore[misc]
    """JupyterHub's page that accepts access to a server."""


class OAuthAuthorize(SharedOriginHandler, OAuthAuthorizeHandler):  # type: ignore[misc]
    """JupyterHub's authorization of servers and services."""

    _owner: str | None = None

    def needs_oauth_confirm(self, user: Any, oauth_client: Any, requested_scopes: Any) -> bool:
        """Ask each time for another user's server, even if it was authorized before."""
        spawner = oauth_client.spawner
        if spawner is None or self.subdomain_host or spawner.user.name == user.name:
            confirm: bool = super().needs_oauth_confirm(user, oauth_client, requested_scopes)
            return confirm
        self._owner = spawner.user.name
        return not self.has_agreed(spawner.user.name)

    @property
    def template_namespace(self) -> dict[str, Any]:
        """Tell the template whose server asks, if it shares the hub's origin."""
        return {**super().template_namespace, "owner": self._owner}


HANDLERS = [
    (r"/enter", EnterHandler),
    (r"/spawn", Spawn),
    (r"/spawn/([^/]+)", Spawn),
    (r"/spawn/([^/]+)/([^/]+)", Spawn),
    (r"/spawn-pending/([^/]+)", SpawnPending),
    (r"/spawn-pending/([^/]+)/([^/]+)", SpawnPending),
    (r"/accept-share", AcceptShare),
    (r"/api/oauth2/authorize", OAuthAuthorize),
]
