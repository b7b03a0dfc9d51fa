"""
The spending of each user or group.

``views`` says where it is.
"""

from caesarion_hub.gateway.pages import queries
from caesarion_hub.gateway.pages.download import Download, cut
from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.pages.usage import SUMS, sums


class Spending(Page):
    """The page: the dearest first, in pages."""

    for_admins = True

    async def get(self) -> None:
        """Show it."""
        span, page, scope = self.span(), self.number("page"), self.scope()
        begins = self.argument("begins")
        name = begins.lower() if scope == "user" else begins  # as the hub has users' names
        rows = await self.read(
            lambda connection: queries.by_name(connection, scope, span, begins=name, page=page)
        )
        self.show(
            "spending.html",
            here="admin/spending",
            rows=rows[: queries.PAGE],
            more=len(rows) > queries.PAGE,
            page=page,
            span=span,
            begins=begins,
            scope=scope,
        )

    def scope(self) -> str:
        """Return whether users or groups are asked for."""
        return "group" if self.argument("scope") == "group" else "user"


class SpendingCsv(Spending, Download):
    """The file."""

    async def get(self) -> None:
        """Send it."""
        span, scope = self.span(), self.scope()
        rows = await self.read(
            lambda connection: queries.by_name(connection, scope, span, rows=None)
        )
        await self.send_csv(
            f"spending-{scope}-{span}.csv",
            ("name", *SUMS),
            ([sums(row) for row in rows] for rows in cut(rows)),
        )
