"""
What all pages have in common: who looks, what may be loaded, a template or a table.

Built upon by ``views``. The hub says who it is, by OAuth; reading takes place in
a thread.
"""

import asyncio
import csv
import hashlib
import io
import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from tornado.web import HTTPError, RequestHandler

from caesarion_hub.gateway.backend import Backend
from caesarion_hub.gateway.budgets import dollars
from caesarion_hub.gateway.hub import Hub
from caesarion_hub.gateway.journal import Journal
from caesarion_hub.gateway.pages import plots, queries

ADMIN_SCOPE = "admin-ui"
"""Who may see the hub's admin page may see the gateway's."""

POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_Read = TypeVar("_Read")

log = logging.getLogger("gateway")


@dataclass(frozen=True)
class Shared:
    """What all pages share; ``base_url`` is the hub's, such as ``/hub/``."""

    journal: Journal
    hub: Hub
    backend: Backend
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

        def run() -> _Read:
            with self.shared.journal.ledger.database.reading() as connection:
                return query(connection)

        try:
            return await asyncio.to_thread(run)
        except SQLAlchemyError as error:
            raise HTTPError(503, "The database does not answer. Load the page again.") from error

    def show(self, template: str, **told: Any) -> None:
        """Answer with a page."""
        model = getattr(self, "model", None)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(
            _TEMPLATES.get_template(template).render(
                base_url=self.shared.base_url,
                prefix=self.shared.prefix,
                path=self.request.path.removeprefix(self.shared.prefix),
                user=model["name"] if model else "",
                is_admin=getattr(self, "is_admin", False),
                **told,
            )
        )

    def show_table(self, name: str, header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        """Answer with a file of comma-separated values."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(header)
        writer.writerows([_cell(value) for value in row] for row in rows)
        self.set_header("Content-Type", "text/csv; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        self.finish(text.getvalue())

    def span(self) -> queries.Span:
        """Return the span of time that is asked for."""
        said = self.get_query_argument("span", "month")
        return next((span for span in queries.SPANS if span == said), "month")

    def number(self, name: str) -> int:
        """Return a whole number of the query, 0 without one."""
        said = self.get_query_argument(name, "0")
        return int(said) if said.isdecimal() and len(said) < 16 else 0

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer with a page that says what is wrong."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        said = error.log_message if isinstance(error, HTTPError) else ""
        self.show(
            "error.html", status=status_code, said=said or "The gateway failed; its log says why."
        )

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Log what is our fault."""
        if not isinstance(value, HTTPError):
            log.error("%s failed", self.request.path, exc_info=(typ, value, tb))


def _cell(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def _time(milliseconds: int) -> str:
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _record(text: str) -> dict[str, Any]:
    shown = ("number", "made", "kind", "user", "conversation", "call")
    return {name: said for name, said in json.loads(text).items() if name not in shown}


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"dollars": dollars, "time": _time, "record": _record}
_TEMPLATES.globals["bars"] = plots.bars
