"""
The page of one user's usage and budgets, and its files.

For users their own, for administrators anybody's. ``routes`` has the addresses.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row
from tornado.web import HTTPError

from caesarion_hub.gateway.pages import budget_status, formatting, rows, sums
from caesarion_hub.gateway.pages.download import Download, Rows, in_batches
from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.policy import budgets

SUMS_HEADER = ("requests", "failures", "tokens", "dollars", "tokens without a price")
"""The header of a file of sums, after the name of what they are of."""

_REQUESTS_HEADER = (
    *("started (UTC)", "user", "server", "model", "upstream", "status", "error", "finish reason"),
    *("prompt tokens", "completion tokens", "cached tokens", "estimated", "dollars"),
    *("first token ms", "total ms", "tool calls", "conversation", "request"),
)
_REFUSALS_HEADER = ("day", "user", "requests", "last (UTC)", "last model", "code", "message")


class UserPage(Page):
    """A page or a file about one user."""

    def user(self) -> str:
        """Return the user that is asked for; raise 403 if the viewer may not see them."""
        asked = self.argument("user") or self.viewer
        if asked != self.viewer and not self.is_admin:
            raise HTTPError(403, "Only administrators of the hub see the usage of others.")
        return asked


class UsagePage(UserPage):
    """The page."""

    async def get(self) -> None:
        """Show it."""
        user, span = self.user(), self.span()
        in_force = self.context.write_queue.ledger.budgets

        def query(connection: Connection) -> dict[str, Any]:
            account: budgets.Account = ("user", user)
            accounts = budgets.accounts(user, self.groups(connection, user))
            return {
                "days": sums.by_day(connection, account),
                "models": sums.by_model(connection, account, span),
                "total": sums.total(connection, account, span),
                "budget_usages": budget_status.of_accounts(connection, in_force, accounts),
                "refused": rows.refusals(connection, user=user, rows=10),
                "requests": rows.requests(connection, user=user, rows=20),
            }

        values = await self.read(query)
        here = "usage" if user == self.viewer else "admin/spending"
        self.render_page("usage.html", here=here, user=user, span=span, **values)

    def groups(self, connection: Connection, user: str) -> tuple[str, ...]:
        """Return the viewer's groups, or those that another user's last request came with."""
        if user == self.viewer:
            return tuple(self.model.get("groups", ()))
        return tuple(json.loads(rows.groups_of(connection, user)))


class UsageCsv(UserPage, Download):
    """The sums of the user's days."""

    async def get(self) -> None:
        """Send the file."""
        user = self.user()
        days = await self.read(lambda connection: sums.by_day(connection, ("user", user), 400))
        used = [sums_row(day) for day in days if day.requests]
        await self.send_csv("usage.csv", ("day", *SUMS_HEADER), in_batches(used))


class RowsDownload(UserPage, Download):
    """A file of single rows, in the span that is asked for."""

    async def send_requests(self, name: str, user: str = "") -> None:
        """Send the requests of a user, or of everybody."""
        await self._send_rows(name, user, _REQUESTS_HEADER, rows.requests_after, _request_row)

    async def send_refusals(self, name: str, user: str = "") -> None:
        """Send the refused requests of a user, or of everybody."""
        await self._send_rows(name, user, _REFUSALS_HEADER, rows.refusals_after, _refusal_row)

    async def _send_rows(
        self,
        name: str,
        user: str,
        header: Sequence[str],
        rows_after: Callable[..., Rows],
        convert: Callable[[Row[Any]], Sequence[Any]],
    ) -> None:
        span = self.span()

        def query(connection: Connection, last: Row[Any] | None) -> Rows:
            return rows_after(connection, last, user=user, span=span)

        found = self.batches(query, lambda _, batch: [convert(row) for row in batch])
        await self.send_csv(name, header, found)


class RequestsCsv(RowsDownload):
    """The user's requests."""

    async def get(self) -> None:
        """Send the file."""
        await self.send_requests("requests.csv", self.user())


class RefusalsCsv(RowsDownload):
    """The user's refused requests."""

    async def get(self) -> None:
        """Send the file."""
        await self.send_refusals("refusals.csv", self.user())


class AllRequestsCsv(RowsDownload):
    """Everybody's requests."""

    for_admins = True

    async def get(self) -> None:
        """Send the file."""
        await self.send_requests(f"requests-{self.span()}.csv")


class AllRefusalsCsv(RowsDownload):
    """Everybody's refused requests."""

    for_admins = True

    async def get(self) -> None:
        """Send the file."""
        await self.send_refusals(f"refusals-{self.span()}.csv")


def sums_row(of: sums.Sums) -> Sequence[Any]:
    """Return sums as a row of a file."""
    amounts = (of.requests, of.failures, of.tokens, formatting.paid(of), of.unpriced_tokens)
    return of.name, *amounts


def _refusal_row(row: Row[Any]) -> Sequence[Any]:
    last = formatting.time(row.last)
    return row.day, row.user, row.requests, last, row.model, row.code, row.message


def _request_row(row: Row[Any]) -> Sequence[Any]:
    started = datetime.fromtimestamp(row.started / 1000, UTC)
    return (
        *(f"{started:%Y-%m-%d %H:%M:%S.%f}"[:-3], row.user, row.server, row.model, row.upstream),
        *(row.status or "in progress", row.error, row.finish_reason),
        *(row.prompt_tokens, row.completion_tokens, row.cached_tokens),
        "yes" if row.estimated else "",
        formatting.exact(row.nanos) if row.nanos is not None else "",
        *(row.first_ms, row.total_ms, row.calls, row.conversation, row.id),
    )
