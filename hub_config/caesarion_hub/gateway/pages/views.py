"""
The pages: what is at which address, and who may see it.

``__main__`` adds them to the gateway's routes. Who may use the gateway sees
their own usage; who may see the hub's admin page (the scope ``admin-ui``) sees
everybody's, edits budgets and searches the audit. The hub says who it is, by OAuth.
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
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast, get_args

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from tornado.web import HTTPError, RequestHandler

from caesarion_hub.gateway import budgets, recording
from caesarion_hub.gateway.backend import Backend
from caesarion_hub.gateway.budgets import Budget, dollars
from caesarion_hub.gateway.chain import BrokenError
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.hub import Hub
from caesarion_hub.gateway.jobs import Edit
from caesarion_hub.gateway.journal import Journal
from caesarion_hub.gateway.pages import machine, plots, queries
from caesarion_hub.gateway.usage import NANOS
from caesarion_hub.gateway_values import Scope, Window

ADMIN_SCOPE = "admin-ui"
"""Who may see the hub's admin page may see the gateway's."""

POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_Read = TypeVar("_Read")
_MOST_TOKENS = 2**53
_MOST_DOLLARS = 10**9

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


def routes(shared: Shared) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """Return the pages' routes."""
    given = {"shared": shared}
    pages: dict[str, type[RequestHandler]] = {
        "": Front,
        "oauth_callback": Callback,
        "usage": Usage,
        "usage.csv": UsageCsv,
        "admin": Overview,
        "admin/spending": Spending,
        "admin/spending.csv": SpendingCsv,
        "admin/budgets": Budgets,
        "admin/audit": Audit,
    }
    return [(f"{shared.prefix}{path}", page, given) for path, page in pages.items()]


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
            raise HTTPError(403, f"This page is for who may administer: it wants {ADMIN_SCOPE}.")

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


class Front(Page):
    """Where the hub's menu leads."""

    def get(self) -> None:
        """Go to one's own usage."""
        self.redirect(f"{self.shared.prefix}usage")


class Usage(Page):
    """Somebody's usage and budgets: one's own, or for administrators anybody's."""

    async def get(self) -> None:
        """Show it."""
        user, groups = self.whose()
        kept = self.shared.journal.ledger.budgets
        span = self.span()

        def query(connection: Connection) -> dict[str, Any]:
            place: budgets.Place = ("user", user)
            return {
                "days": queries.by_day(connection, place),
                "models": queries.by_model(connection, place, span),
                "whole": queries.whole(connection, place, span),
                "left": queries.left(connection, kept, budgets.places(user, groups)),
                "requests": queries.requests(connection, user=user, rows=20),
            }

        told = await self.read(query)
        self.show("usage.html", whose=user, span=span, spans=queries.SPANS, **told)

    def whose(self) -> tuple[str, tuple[str, ...]]:
        """Return the user that is asked for, with groups if known."""
        asked = self.get_query_argument("user", self.name)
        if asked == self.name:
            return asked, tuple(self.model.get("groups", ()))
        if not self.is_admin:
            raise HTTPError(403, "The usage of others is for who may administer.")
        return asked, ()


class UsageCsv(Usage):
    """The same, as a table of days and models."""

    async def get(self) -> None:
        """Send it."""
        user, _ = self.whose()
        days = await self.read(lambda connection: queries.by_day(connection, ("user", user), 400))
        self.show_table("usage.csv", _HEADER, (_row(day) for day in days if day.requests))


class Overview(Page):
    """What happens now, and who spends most."""

    for_admins = True

    async def get(self) -> None:
        """Show it."""
        everyone: budgets.Place = ("everyone", "")
        kept = self.shared.journal.ledger.budgets

        def query(connection: Connection) -> dict[str, Any]:
            return {
                "days": queries.by_day(connection, everyone),
                "today": queries.whole(connection, everyone, "today"),
                "month": queries.whole(connection, everyone, "month"),
                "models": queries.by_model(connection, everyone, "month"),
                "users": queries.by_name(connection, "user", "month", rows=10)[:10],
                "groups": queries.by_name(connection, "group", "month", rows=10)[:10],
                "left": queries.left(connection, kept, [everyone]),
                "under_way": queries.requests(connection, under_way=True),
                "failed": queries.requests(connection, failed=True, rows=10),
            }

        servers, loads, told = await asyncio.gather(
            self.servers(), asyncio.to_thread(machine.loads), self.read(query)
        )
        health = self.shared.backend.health()
        self.show("overview.html", servers=servers, loads=loads, health=health, **told)

    async def servers(self) -> list[dict[str, Any]] | None:
        """Return the servers that run; nothing if the hub does not tell."""
        try:
            return await self.shared.hub.servers()
        except GatewayError:
            return None


class Spending(Page):
    """The spending of each user or group, in pages."""

    for_admins = True

    async def get(self) -> None:
        """Show it."""
        span, page = self.span(), self.number("page")
        begins = self.get_query_argument("begins", "")
        scope = self.scope()
        rows = await self.read(
            lambda connection: queries.by_name(connection, scope, span, begins=begins, page=page)
        )
        self.show(
            "spending.html",
            rows=rows[: queries.PAGE],
            more=len(rows) > queries.PAGE,
            page=page,
            span=span,
            spans=queries.SPANS,
            begins=begins,
            scope=scope,
        )

    def scope(self) -> str:
        """Return whether users or groups are asked for."""
        return "group" if self.get_query_argument("scope", "user") == "group" else "user"


class SpendingCsv(Spending):
    """The same, as a table."""

    async def get(self) -> None:
        """Send it."""
        span, scope = self.span(), self.scope()
        rows = await self.read(
            lambda connection: queries.by_name(connection, scope, span, rows=None)
        )
        self.show_table(f"spending-{scope}-{span}.csv", _HEADER, map(_row, rows))


class Budgets(Page):
    """The budgets, to be edited in place; each edit is in the audit."""

    for_admins = True

    async def get(self, said: str = "") -> None:
        """Show them."""
        kept = self.shared.journal.ledger.budgets
        rows = sorted(kept.values(), key=lambda budget: budget.key)
        self.show(
            "budgets.html",
            rows=rows,
            said=said,
            xsrf=self.xsrf_token.decode(),
            scopes=get_args(Scope),
            windows=get_args(Window),
        )

    async def post(self) -> None:
        """Change one, or take it away."""
        try:
            edit = Edit(self.edited(), self.name)
            await self.shared.journal.edit(edit)
        except GatewayError as error:
            self.set_status(error.status)
            await self.get(error.message)
            return
        told = {"user": self.name, "budget": " ".join(edit.budget.key)}
        log.info("a budget was edited", extra={"told": told})
        self.redirect(f"{self.shared.prefix}admin/budgets", status=303)

    def edited(self) -> Budget:
        """Return the budget that the form says; raise GatewayError if it says none."""
        scope, window = self.get_body_argument("scope", ""), self.get_body_argument("window", "")
        name = self.get_body_argument("name", "").strip()
        if scope not in get_args(Scope) or window not in get_args(Window):
            raise _unusable("A budget is for a user, a group or everyone, and for a window.")
        if scope == "everyone" and name:
            raise _unusable(f"The budget of everyone has no name, and '{name}' is one.")
        tokens = nanos = None
        if self.get_body_argument("deed", "save") == "save":
            tokens = _tokens(self.get_body_argument("tokens", ""))
            nanos = _nanos(self.get_body_argument("dollars", ""))
            if tokens is None and nanos is None:
                raise _unusable("A budget limits tokens or dollars: one of them must be there.")
        return Budget(cast(Scope, scope), name[:255], cast(Window, window), tokens, nanos)


class Audit(Page):
    """The audit: search, and proof."""

    for_admins = True

    async def get(self) -> None:
        """Show its latest records, or those that are searched for."""
        asked = {name: self.get_query_argument(name, "") for name in ("user", "kind", "text")}
        before = self.number("before")
        rows = await self.read(
            lambda connection: queries.audit(
                connection,
                before=before,
                user=asked["user"],
                kind=asked["kind"],
                text=asked["text"],
            )
        )
        proof = await self.read(_proof) if self.get_query_argument("verify", "") else None
        self.show(
            "audit.html",
            rows=rows[: queries.PAGE],
            more=len(rows) > queries.PAGE,
            asked=asked,
            proof=proof,
        )


def _proof(connection: Connection) -> tuple[bool, str]:
    """Return whether the audit is whole, and that in words."""
    number, last = 0, ""
    try:
        for link in recording.verify(connection):
            number, last = number + 1, link.hash
    except BrokenError as error:
        return False, f"The audit is broken. {error}"
    if not number:
        return True, "The audit is empty."
    return True, f"The audit is whole. Its records: {number}; the last one's hash: {last}"


_HEADER = ("name", "requests", "failures", "tokens", "dollars", "tokens without a price")


def _row(sums: queries.Sums) -> tuple[Any, ...]:
    money = Decimal(sums.nanos) / NANOS
    return (
        *(sums.name, sums.requests, sums.failures),
        *(sums.tokens, f"{money:.6f}", sums.unpriced_tokens),
    )


def _cell(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value


def _tokens(said: str) -> int | None:
    text = said.strip().replace(",", "").replace(" ", "")
    if not text:
        return None
    if not text.isdecimal() or int(text) > _MOST_TOKENS:
        raise _unusable(f"'{said}' is no whole number of tokens.")
    return int(text)


def _nanos(said: str) -> int | None:
    text = said.strip().removeprefix("$").replace(",", "")
    if not text:
        return None
    try:
        money = Decimal(text)
        usable = money.is_finite() and 0 <= money < _MOST_DOLLARS
    except InvalidOperation:
        usable = False
    if not usable:
        raise _unusable(f"'{said}' is no amount of dollars.")
    return int(money * NANOS)


def _unusable(message: str) -> GatewayError:
    return GatewayError(400, "invalid_budget", message)


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
