"""
The pages: what is at which address, and who may see it.

``__main__`` adds them to the gateway's routes. Who may use the gateway sees
their own usage; who may see the hub's admin page (the scope ``admin-ui``) sees
everybody's, edits budgets and searches the audit.
"""

import asyncio
import logging
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args

from sqlalchemy import Connection
from tornado.web import HTTPError, RequestHandler

from caesarion_hub.gateway import budgets, recording
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.jobs import Edit
from caesarion_hub.gateway.pages import budget_form, machine, queries
from caesarion_hub.gateway.pages.page import Callback, Page, Shared, settings
from caesarion_hub.gateway.usage import NANOS
from caesarion_hub.gateway_values import Scope, Window

__all__ = ["Shared", "routes", "settings"]

log = logging.getLogger("gateway")


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
            raise HTTPError(403, "The usage of others is for administrators of the hub.")
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


_BLANK = dict.fromkeys(("scope", "name", "window", "tokens", "dollars"), "")
"""The fields of the form of a budget."""


class Budgets(Page):
    """The budgets, to be edited in place; each edit is in the audit."""

    for_admins = True

    async def get(self, said: str = "", typed: Mapping[str, str] | None = None) -> None:
        """Show them; after an error also what was ``typed``, so that nobody types it again."""
        kept = self.shared.journal.ledger.budgets
        rows = sorted(kept.values(), key=lambda budget: budget.key)
        self.show(
            "budgets.html",
            rows=rows,
            said=said,
            blank=_BLANK,
            typed=_BLANK | dict(typed or {}),
            xsrf=self.xsrf_token.decode(),
            scopes=get_args(Scope),
            windows=get_args(Window),
        )

    async def post(self) -> None:
        """Change one, or take it away."""
        form = {name: self.get_body_argument(name) for name in self.request.body_arguments}
        try:
            edit = Edit(budget_form.budget(form), self.name)
            await self.shared.journal.edit(edit)
        except GatewayError as error:
            self.set_status(error.status)
            await self.get(error.message, form)
            return
        told = {"user": self.name, "budget": " ".join(edit.budget.key)}
        log.info("a budget was edited", extra={"told": told})
        self.redirect(f"{self.shared.prefix}admin/budgets", status=303)


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
        proof = await self.read(recording.proof) if self.get_query_argument("verify", "") else None
        self.show(
            "audit.html",
            rows=rows[: queries.PAGE],
            more=len(rows) > queries.PAGE,
            asked=asked,
            proof=proof,
        )


_HEADER = ("name", "requests", "failures", "tokens", "dollars", "tokens without a price")


def _row(sums: queries.Sums) -> tuple[Any, ...]:
    money = Decimal(sums.nanos) / NANOS
    return (
        *(sums.name, sums.requests, sums.failures),
        *(sums.tokens, f"{money:.6f}", sums.unpriced_tokens),
    )
