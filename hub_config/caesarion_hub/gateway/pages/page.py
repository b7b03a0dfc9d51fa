"""
The base of all pages: who the viewer is, what a page may load, and its template.

The hub tells the viewer, by OAuth; queries run in a thread. Pages are readable without
JavaScript, in JupyterHub's look.
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
from caesarion_hub.gateway.pages import bar_chart, formatting, spans
from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.store.write_queue import WriteQueue
from caesarion_hub.gateway.upstream.backend import Backend

ADMIN_SCOPE = "admin-ui"
"""The scope of the hub's admin page; it opens the gateway's pages for administrators, too."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

STATIC = Path(__file__).with_name("static")
"""Our style sheet and script; the switch to dark is JupyterHub's own."""

_Read = TypeVar("_Read")

log = logging.getLogger("gateway")


@dataclass(frozen=True)
class PageContext:
    """
    What all pages use.

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


class OAuthCallback(HubOAuthCallbackHandler):  # type: ignore[misc]
    """The address to which the hub sends a viewer who has logged in."""

    def initialize(self, context: PageContext) -> None:
        """Use the pages' OAuth client."""
        self.hub_auth = context.oauth


class Page(HubOAuthenticated, RequestHandler):  # type: ignore[misc]
    """A page for people who may use the gateway; ``for_admins`` for administrators only."""

    for_admins: ClassVar[bool] = False

    def initialize(self, context: PageContext) -> None:
        """Use the pages' OAuth client."""
        self.context = context
        self.hub_auth = context.oauth

    def set_default_headers(self) -> None:
        """Allow nothing from elsewhere, and no copies in caches."""
        self.clear_header("Server")
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    async def prepare(self) -> None:
        """Identify the viewer; redirect anonymous viewers to the hub's login page."""
        self.model = await self.hub_auth.get_user(self, sync=False)
        if self.model is None:
            if self.request.method not in ("GET", "HEAD"):
                raise HTTPError(403, "This form has expired. Reload the page.")
            self.redirect(self.get_login_url())
            return
        if not self.hub_auth.check_scopes(self.hub_auth.access_scopes, self.model):
            raise HTTPError(403, "You may not use the gateway.")
        self.is_admin = bool(self.hub_auth.check_scopes({ADMIN_SCOPE}, self.model))
        if self.for_admins and not self.is_admin:
            raise HTTPError(403, "This page is for administrators of the hub.")

    @property
    def viewer(self) -> str:
        """The name of the user who views the page."""
        return str(self.model["name"])

    async def read(self, query: Callable[[Connection], _Read]) -> _Read:
        """Run ``query`` in a thread."""
        try:
            return await self.context.write_queue.ledger.database.read(query)
        except SQLAlchemyError as error:
            raise HTTPError(503, "The database does not answer. Reload the page.") from error

    def render_page(self, template: str, *, here: str = "", **values: Any) -> None:
        """Answer with a page; ``here`` is its path in the navigation."""
        model = getattr(self, "model", None)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(
            _TEMPLATES.get_template(template).render(
                base_url=self.context.base_url,
                prefix=self.context.prefix,
                static=self._static,
                here=here,
                viewer=model["name"] if model else "",
                is_admin=getattr(self, "is_admin", False),
                **values,
            )
        )

    def _static(self, name: str) -> str:
        return f"{self.context.prefix}static/{name}?v={_VERSIONS[name]}"

    def argument(self, name: str) -> str:
        """Return a field of the query, empty if it is not there; databases take no NUL."""
        return str(self.get_query_argument(name, "")).replace("\0", "")

    def span(self) -> spans.Span:
        """Return the span of time that is asked for."""
        asked = self.argument("span")
        return next((span for span in spans.LABELS if span == asked), "month")

    def number(self, name: str) -> int:
        """Return a whole number of the query, 0 without one."""
        text = self.argument(name)
        return int(text) if text.isdecimal() and len(text) < 16 else 0

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a page that says what is wrong."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        sentence = error.log_message if isinstance(error, HTTPError) else ""
        if status_code < 500:
            sentence = sentence or "This page does not accept that request."
        sentence = sentence or "The gateway failed; its log says why."
        self.render_page("error.html", status=status_code, sentence=sentence)

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log our own defects."""
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
    "allows_nothing": formatting.allows_nothing,
    "approved": formatting.approved,
    "bars": bar_chart.bars,
    "changed": formatting.changed,
    "count": formatting.count,
    "limit": formatting.limit,
    "money": formatting.money,
    "span_labels": spans.LABELS,
    "whose": formatting.whose,
}
_TEMPLATES.filters |= {
    "changed": formatting.changed,
    "count": formatting.count,
    "date": formatting.date_of,
    "day": formatting.day,
    "dollars": formatting.exact,
    "money": formatting.money,
    "percent": formatting.percent,
    "per_window": budgets.per_window,
    "renewal": formatting.renewal,
    "result": formatting.result,
    "short": formatting.short,
    "time": formatting.time,
    "tokens": budgets.tokens,
}
