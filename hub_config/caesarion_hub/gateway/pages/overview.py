"""
What happens now, who spends most, who was refused, and whether anybody can ask.

``views`` says where it is. The page brings itself up to date.
"""

import asyncio
from typing import Any

from sqlalchemy import Connection

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.pages import lists, process_stats, queries
from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.store.commands import milliseconds

_BUDGETS = 10  # those nearest to their limits


class Overview(Page):
    """The page."""

    for_admins = True

    async def get(self) -> None:
        """Show it."""
        everyone: budgets.Account = ("everyone", "")
        kept, day = self.shared.write_queue.ledger.budgets, queries.today()

        def query(connection: Connection) -> dict[str, Any]:
            return {
                "days": queries.by_day(connection, everyone),
                "today": queries.whole(connection, everyone, "today"),
                "month": queries.whole(connection, everyone, "month"),
                "models": queries.by_model(connection, everyone, "month"),
                "users": queries.by_name(connection, "user", "month", rows=10)[:10],
                "groups": queries.by_name(connection, "group", "month", rows=10)[:10],
                "standings": queries.standings(connection, kept),
                "under_way": lists.requests(connection, under_way=True),
                "refused": lists.refusals(connection, rows=10),
                "refused_today": lists.refused(connection, day),
                "refused_this_month": lists.refused(connection, day.replace(day=1)),
                "failed": lists.requests(connection, failed=True, rows=10),
            }

        servers, loads, told = await asyncio.gather(
            self.servers(), asyncio.to_thread(process_stats.loads), self.read(query)
        )
        standings = told.pop("standings")
        self.show(
            "overview.html",
            here="admin",
            now=milliseconds(),
            xsrf=self.xsrf_token.decode(),
            servers=servers,
            loads=loads,
            trouble=self.shared.backend.problem(),
            conditions=list(self.shared.backend.conditions()),
            standings=standings[:_BUDGETS],
            has_more=len(standings) > _BUDGETS,
            left=[
                one.fullest for one in standings if one.budget.scope == "everyone" and one.fullest
            ],
            **told,
        )

    async def servers(self) -> list[dict[str, Any]] | None:
        """Return the servers that run; nothing if the hub does not tell."""
        try:
            return await self.shared.hub.servers()
        except GatewayError:
            return None
