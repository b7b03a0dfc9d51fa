"""
What all pages have in common: who looks, what may be loaded, a template.

Built upon by all of them. The hub says who it is, by OAuth; reading takes place in
a thread.
"""

import hashlib
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from tornado.web import HTTPError, RequestHandler

from caesarion_hub.gateway.authentication import HubClient
from caesarion_hub.gateway.pages import formatting, plots, queries
from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.store.write_queue import WriteQueue
from caesarion_hub.gateway.upstream.backend import Backend

ADMIN_SCOPE = "admin-ui"
"""Who may see the hub's admin page may see the gateway's."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

STATIC = Path(__file__).with_name("static")
"""Our style, and what keeps a page up to date; the switch to dark is JupyterHub's own."""

_Read = TypeVar("_Read")

log = logging.getLogger("gateway")


@dataclass(frozen=True)
class Shared:
    """
    What all pages share.

    ``base_url`` is the hub's, such as ``/hub/``; ``priced`` are the models that
    have a price.
    """

    write_queue: WriteQueue
    hub: HubClient
    backend: Backend
    priced: Collection[str]
    oauth: HubOAuth
    prefix: str
    base_url: str


def settings(token: str) -> dict[str, Any]:
    """Return the application's settings that the pages need; replicas share the token."""
    return {"cookie_secret": hashlib.sha256(b"cookies of " + token.encode()).digest()}


class Callback(HubOAuthCallbackHandler):  # type: ignore[misc]
    """Where the hub sends somebody who has logged in."""

    def initialize(self, shared: Shared) -> None:
        """Begin."""
        self.hub_auth = shared.oauth


class Page(HubOAuthenticated, RequestHandler):  # type: ignore[misc]
    """A page for those who may use the gateway; ``for_admins`` for those only."""

    for_admins: ClassVar[bool] = False

    def initialize(self, shared: Shared) -> None:
        """Begin."""
        self.shared = shared
        self.hub_auth = shared.oauth

    def set_default_headers(self) -> None:
        """Let nothing in that is not ours."""
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    async def prepare(self) -> None:
        """Find out who it is; send who is nobody yet to the hub."""
        self.model = await self.hub_auth.get_user(self, sync=False)
        if self.model is None:
            if self.request.method not in ("GET", "HEAD"):
                raise HTTPError(403, "This form is too old. Load the page again.")
            self.redirect(self.get_login_url())
            return
        if not self.hub_auth.check_scopes(self.hub_auth.access_scopes, self.model):
            raise HTTPError(403, "You may not use the gateway.")
        self.is_admin = bool(self.hub_auth.check_scopes({ADMIN_SCOPE}, self.model))
        if self.for_admins and not self.is_admin:
            raise HTTPError(403, "This page is for administrators of the hub.")

    @property
    def name(self) -> str:
        """Who looks at the page."""
        return str(self.model["name"])

    async def read(self, query: Callable[[Connection], _Read]) -> _Read:
        """Run ``query`` in a thread."""
        try:
            return await self.shared.write_queue.ledger.database.read(query)
        except SQLAlchemyError as error:
            raise HTTPError(503, "The database does not answer. Load the page again.") from error

    def show(self, template: str, *, here: str = "", **told: Any) -> None:
        """Answer with a page; ``here`` is what the navigation calls it, by its path."""
        model = getattr(self, "model", None)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(
            _TEMPLATES.get_template(template).render(
                base_url=self.shared.base_url,
                prefix=self.shared.prefix,
                static=self._static,
                here=here,
                user=model["name"] if model else "",
                is_admin=getattr(self, "is_admin", False),
                **told,
            )
        )

    def _static(self, name: str) -> str:
        return f"{self.shared.prefix}static/{name}?v={_VERSIONS[name]}"

    def argument(self, name: str) -> str:
        """Return what the query says, nothing if it says nothing."""
        return str(self.get_query_argument(name, ""))

    def span(self) -> queries.Span:
        """Return the span of time that is asked for."""
        said = self.argument("span")
        return next((span for span in queries.SPANS if span == said), "month")

    def number(self, name: str) -> int:
        """Return a whole number of the query, 0 without one."""
        said = self.argument(name)
        return int(said) if said.isdecimal() and len(said) < 16 else 0

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a page that says what is wrong."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        said = error.log_message if isinstance(error, HTTPError) else ""
        if status_code < 500:
            said = said or "This page takes no such request."
        said = said or "The gateway failed; its log says why."
        self.show("error.html", status=status_code, said=said)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is our fault."""
        if not isinstance(value, HTTPError):
            log.error("%s failed", self.request.path, exc_info=(typ, value, tb))


_VERSIONS = {
    file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:8] for file in STATIC.iterdir()
}

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.globals |= {
    "approved": formatting.approved,
    "bars": plots.bars,
    "count": formatting.count,
    "is_nothing": formatting.is_nothing,
    "limit": formatting.limit,
    "money": formatting.money,
    "whose": formatting.whose,
}
_TEMPLATES.filters |= {
    "count": formatting.count,
    "date": formatting.date_of,
    "day": formatting.day,
    "ended": formatting.ended,
    "dollars": formatting.exact,
    "midnight": formatting.midnight,
    "money": formatting.money,
    "percent": formatting.percent,
    "short": formatting.short,
    "span": formatting.span,
    "tokens": budgets.tokens,
    "time": formatting.time,
    "window": formatting.window,
}
