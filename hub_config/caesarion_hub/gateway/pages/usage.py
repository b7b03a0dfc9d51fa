"""
Somebody's usage and budgets: one's own, or for administrators anybody's.

``views`` says where it is.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row
from tornado.web import HTTPError

from caesarion_hub.gateway.pages import formatting, lists, queries
from caesarion_hub.gateway.pages.download import Download, Rows, cut
from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.policy import budgets

SUMS = ("requests", "failures", "tokens", "dollars", "tokens without a price")
"""The header of a file of sums, after what they are of."""

_REQUESTS = (
    *("started (UTC)", "user", "server", "model", "upstream", "status", "error", "ended"),
    *("prompt tokens", "completion tokens", "cached tokens", "counted by us", "dollars"),
    *("first word ms", "whole ms", "tool calls", "conversation", "request"),
)
_REFUSALS = ("day", "user", "times", "last (UTC)", "model of the last", "code", "message")


class Whose(Page):
    """A page or file about one user."""

    def whose(self) -> str:
        """Return the user that is asked for; refuse it to who may not see them."""
        asked = self.argument("user") or self.name
        if asked != self.name and not self.is_admin:
            raise HTTPError(403, "The usage of others is for administrators of the hub.")
        return asked


class Usage(Whose):
    """The page."""

    async def get(self) -> None:
        """Show it."""
        user, span = self.whose(), self.span()
        kept = self.shared.write_queue.ledger.budgets

        def query(connection: Connection) -> dict[str, Any]:
            place: budgets.Account = ("user", user)
            groups = self.groups(connection, user)
            return {
                "days": queries.by_day(connection, place),
                "models": queries.by_model(connection, place, span),
                "whole": queries.whole(connection, place, span),
                "left": queries.left(connection, kept, budgets.accounts(user, groups)),
                "refused": lists.refusals(connection, user=user, rows=10),
                "requests": lists.requests(connection, user=user, rows=20),
            }

        told = await self.read(query)
        here = "usage" if user == self.name else "admin/spending"
        self.show("usage.html", here=here, whose_page=user, span=span, **told)

    def groups(self, connection: Connection, user: str) -> tuple[str, ...]:
        """Return the groups of a user: of another one, those that the last request came with."""
        if user == self.name:
            return tuple(self.model.get("groups", ()))
        return tuple(json.loads(lists.groups_of(connection, user)))


class UsageCsv(Whose, Download):
    """The sums of one's days."""

    async def get(self) -> None:
        """Send it."""
        user = self.whose()
        days = await self.read(lambda connection: queries.by_day(connection, ("user", user), 400))
        await self.send_csv(
            "usage.csv", ("day", *SUMS), cut([sums(day) for day in days if day.requests])
        )


class Listed(Whose, Download):
    """What happened, row by row, in the span that is asked for."""

    async def send_requests(self, name: str, user: str = "") -> None:
        """Send the requests of a user, or of everybody."""
        await self._send(name, user, _REQUESTS, lists.requests_after, _request)

    async def send_refusals(self, name: str, user: str = "") -> None:
        """Send what was refused to a user, or to everybody."""
        await self._send(name, user, _REFUSALS, lists.refusals_after, _refusal)

    async def _send(
        self,
        name: str,
        user: str,
        header: Sequence[str],
        after: Callable[..., Rows],
        row: Callable[[Row[Any]], Sequence[Any]],
    ) -> None:
        span = self.span()

        def query(connection: Connection, last: Row[Any] | None) -> Rows:
            return after(connection, last, user=user, span=span)

        found = self.batches(query, lambda _, rows: [row(one) for one in rows])
        await self.send_csv(name, header, found)


class Requests(Listed):
    """One's requests, one by one."""

    async def get(self) -> None:
        """Send them."""
        await self.send_requests("requests.csv", self.whose())


class Refusals(Listed):
    """What was refused to one."""

    async def get(self) -> None:
        """Send it."""
        await self.send_refusals("refusals.csv", self.whose())


class EverybodysRequests(Listed):
    """Everybody's requests, one by one."""

    for_admins = True

    async def get(self) -> None:
        """Send them."""
        await self.send_requests(f"requests-{self.span()}.csv")


class EverybodysRefusals(Listed):
    """What was refused to everybody."""

    for_admins = True

    async def get(self) -> None:
        """Send it."""
        await self.send_refusals(f"refusals-{self.span()}.csv")


def sums(of: queries.Sums) -> Sequence[Any]:
    """Return sums as a row of a file."""
    return (
        *(of.name, of.requests, of.failures, of.tokens),
        *(formatting.paid(of), of.unpriced_tokens),
    )


def _refusal(row: Row[Any]) -> Sequence[Any]:
    last = formatting.time(row.last)
    return row.day, row.user, row.requests, last, row.model, row.code, row.message


def _request(row: Row[Any]) -> Sequence[Any]:
    started = datetime.fromtimestamp(row.started / 1000, UTC)
    return (
        *(f"{started:%Y-%m-%d %H:%M:%S.%f}"[:-3], row.user, row.server, row.model, row.upstream),
        *(row.status or "under way", row.error, row.finish_reason),
        *(row.prompt_tokens, row.completion_tokens, row.cached_tokens),
        "yes" if row.estimated else "",
        formatting.exact(row.nanos) if row.nanos is not None else "",
        *(row.first_ms, row.total_ms, row.calls, row.conversation, row.id),
    )
