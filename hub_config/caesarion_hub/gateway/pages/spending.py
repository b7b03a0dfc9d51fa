"""
The page of what each user or group has spent, and its file.

``routes`` has their addresses.
"""

from caesarion_hub.gateway.pages import sums
from caesarion_hub.gateway.pages.download import Download, in_batches
from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.pages.usage import SUMS_HEADER, sums_row


class SpendingPage(Page):
    """Users or groups, the most expensive first, in pages."""

    for_admins = True

    async def get(self) -> None:
        """Show a page of them."""
        span, page, scope = self.span(), self.number("page"), self.scope()
        prefix = self.argument("prefix")
        names = prefix.lower() if scope == "user" else prefix  # as JupyterHub has users' names
        rows = await self.read(
            lambda connection: sums.by_name(connection, scope, span, prefix=names, page=page)
        )
        self.render_page(
            "spending.html",
            here="admin/spending",
            rows=rows[: sums.PAGE],
            has_more=len(rows) > sums.PAGE,
            page=page,
            span=span,
            name_prefix=prefix,
            scope=scope,
        )

    def scope(self) -> str:
        """Return whether users or groups are asked for."""
        return "group" if self.argument("scope") == "group" else "user"


class SpendingCsv(SpendingPage, Download):
    """All users or all groups."""

    async def get(self) -> None:
        """Send the file."""
        span, scope = self.span(), self.scope()
        rows = await self.read(lambda connection: sums.by_name(connection, scope, span, rows=None))
        await self.send_csv(
            f"spending-{scope}-{span}.csv",
            ("name", *SUMS_HEADER),
            ([sums_row(row) for row in batch] for batch in in_batches(rows)),
        )
