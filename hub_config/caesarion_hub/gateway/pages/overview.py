"""
The administrators' overview: the gateway's state, answers in progress, spending, refusals.

``routes`` has its address. The page updates itself (``static/live.js``).
"""

import asyncio
from typing import Any

from sqlalchemy import Connection

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.pages import budget_status, process_stats, rows, spans, sums
from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.store.commands import milliseconds

_BUDGETS = 10  # those nearest to their limits


class OverviewPage(Page):
    """The page."""

    for_admins = True

    async def get(self) -> None:
        """Show it."""
        everyone: budgets.Account = ("everyone", "")
        in_force, today = self.context.write_queue.ledger.budgets, spans.today()
        first_of_month = budgets.window_start("month", today)

        def query(connection: Connection) -> dict[str, Any]:
            return {
                "days": sums.by_day(connection, everyone),
                "today": sums.total(connection, everyone, "today"),
                "month": sums.total(connection, everyone, "month"),
                "models": sums.by_model(connection, everyone, "month"),
                "users": sums.by_name(connection, "user", "month", rows=10)[:10],
                "groups": sums.by_name(connection, "group", "month", rows=10)[:10],
                "statuses": budget_status.statuses(connection, in_force),
                "in_progress": rows.requests(connection, in_progress=True),
                "refused": rows.refusals(connection, rows=10),
                "refused_today": rows.number_refused(connection, today),
                "refused_this_month": rows.number_refused(connection, first_of_month),
                "failed": rows.requests(connection, failed=True, rows=10),
            }

        servers, stats, values = await asyncio.gather(
            self.servers(), asyncio.to_thread(process_stats.of_servers), self.read(query)
        )
        statuses: list[budget_status.BudgetStatus] = values.pop("statuses")
        self.render_page(
            "overview.html",
            here="admin",
            now=milliseconds(),
            xsrf=self.xsrf_token.decode(),
            servers=servers,
            stats=stats,
            problem=self.context.backend.problem(),
            conditions=list(self.context.backend.conditions()),
            statuses=statuses[:_BUDGETS],
            has_more=len(statuses) > _BUDGETS,
            everyones=[
                one.highest for one in statuses if one.budget.scope == "everyone" and one.highest
            ],
            **values,
        )

    async def servers(self) -> list[dict[str, Any]] | None:
        """Return the servers that run; None if the hub does not say."""
        try:
            return await self.context.hub.servers()
        except GatewayError:
            return None
