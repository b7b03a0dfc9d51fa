"""
The addresses of the pages.

Called by ``__main__``, which adds them to the gateway's routes. Users of the gateway see
their own usage; administrators, who have the scope ``admin-ui``, see everybody's, edit
budgets and search the audit.
"""

from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from caesarion_hub.gateway.pages.audit import AuditCsv, AuditJson, AuditPage
from caesarion_hub.gateway.pages.budgets import BudgetsCsv, BudgetsPage, DeletionPage
from caesarion_hub.gateway.pages.overview import OverviewPage
from caesarion_hub.gateway.pages.page import STATIC, OAuthCallback, Page, PageContext
from caesarion_hub.gateway.pages.spending import SpendingCsv, SpendingPage
from caesarion_hub.gateway.pages.usage import (
    AllRefusalsCsv,
    AllRequestsCsv,
    RefusalsCsv,
    RequestsCsv,
    UsageCsv,
    UsagePage,
)

Route = tuple[str, type[RequestHandler], dict[str, Any]]
"""A pattern of paths, and the handler with its arguments, as Tornado has them."""


def routes(context: PageContext) -> list[Route]:
    """Return the pages' routes."""
    given = {"context": context}
    pages: dict[str, type[RequestHandler]] = {
        "": Index,
        "oauth_callback": OAuthCallback,
        "usage": UsagePage,
        "usage.csv": UsageCsv,
        "usage/requests.csv": RequestsCsv,
        "usage/refusals.csv": RefusalsCsv,
        "admin": OverviewPage,
        "admin/spending": SpendingPage,
        "admin/spending.csv": SpendingCsv,
        "admin/requests.csv": AllRequestsCsv,
        "admin/refusals.csv": AllRefusalsCsv,
        "admin/budgets": BudgetsPage,
        "admin/budgets.csv": BudgetsCsv,
        "admin/budgets/delete": DeletionPage,
        "admin/audit": AuditPage,
        "admin/audit.csv": AuditCsv,
        "admin/audit.jsonl": AuditJson,
    }
    return [
        (f"{context.prefix}static/([a-z.]+)", Static, {"path": str(STATIC)}),
        *((f"{context.prefix}{path}", page, given) for path, page in pages.items()),
        (f"{context.prefix}((?:admin|usage)[a-z/.]*)/", TrailingSlash, given),
        (f"{context.prefix}(?:admin|usage)[/.].*", NotFound, given),
    ]


class Static(StaticFileHandler):
    """Our style sheet and script, for everybody."""

    def set_default_headers(self) -> None:
        """Hide the server's version, and let browsers guess no content type."""
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")


class TrailingSlash(Page):
    """A page's address with a trailing slash."""

    def get(self, path: str) -> None:
        """Redirect to the page."""
        query = f"?{self.request.query}" if self.request.query else ""
        self.redirect(f"{self.context.prefix}{path.rstrip('/')}{query}")


class NotFound(Page):
    """Any other address below the pages'."""

    async def prepare(self) -> None:
        """Return 404 to an authenticated user."""
        await super().prepare()
        if self.model is not None:
            raise HTTPError(404, "There is no such page.")


class Index(Page):
    """The gateway's own address."""

    def get(self) -> None:
        """Redirect to the viewer's own usage."""
        self.redirect(f"{self.context.prefix}usage")
