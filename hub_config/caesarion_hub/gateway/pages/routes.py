"""
The pages: what is at which address.

``__main__`` adds them to the gateway's routes. Who may use the gateway sees
their own usage; who may see the hub's admin page (the scope ``admin-ui``) sees
everybody's, edits budgets and searches the audit.
"""

from typing import Any

from tornado.web import HTTPError, RequestHandler, StaticFileHandler

from caesarion_hub.gateway.pages.auditing import Audit, AuditCsv, AuditJson
from caesarion_hub.gateway.pages.budgeting import Budgets, BudgetsCsv, Deletion
from caesarion_hub.gateway.pages.overview import Overview
from caesarion_hub.gateway.pages.page import STATIC, Callback, Page, Shared, settings
from caesarion_hub.gateway.pages.spending import Spending, SpendingCsv
from caesarion_hub.gateway.pages.usage import (
    EverybodysRefusals,
    EverybodysRequests,
    Refusals,
    Requests,
    Usage,
    UsageCsv,
)

__all__ = ["Shared", "routes", "settings"]


def routes(shared: Shared) -> list[tuple[str, type[RequestHandler], dict[str, Any]]]:
    """Return the pages' routes."""
    given = {"shared": shared}
    pages: dict[str, type[RequestHandler]] = {
        "": Front,
        "oauth_callback": Callback,
        "usage": Usage,
        "usage.csv": UsageCsv,
        "usage/requests.csv": Requests,
        "usage/refusals.csv": Refusals,
        "admin": Overview,
        "admin/spending": Spending,
        "admin/spending.csv": SpendingCsv,
        "admin/requests.csv": EverybodysRequests,
        "admin/refusals.csv": EverybodysRefusals,
        "admin/budgets": Budgets,
        "admin/budgets.csv": BudgetsCsv,
        "admin/budgets/delete": Deletion,
        "admin/audit": Audit,
        "admin/audit.csv": AuditCsv,
        "admin/audit.jsonl": AuditJson,
    }
    return [
        (f"{shared.prefix}static/([a-z.]+)", Static, {"path": str(STATIC)}),
        *((f"{shared.prefix}{path}", page, given) for path, page in pages.items()),
        (f"{shared.prefix}((?:admin|usage)[a-z/.]*)/", Slash, given),
        (f"{shared.prefix}(?:admin|usage)[/.].*", Missing, given),
    ]


class Static(StaticFileHandler):
    """Our style and script, for anybody."""

    def set_default_headers(self) -> None:
        """Do not tell which server this is, nor let a browser guess what a file is."""
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")


class Slash(Page):
    """A page's address with a slash too many."""

    def get(self, path: str) -> None:
        """Go to the page."""
        query = f"?{self.request.query}" if self.request.query else ""
        self.redirect(f"{self.shared.prefix}{path.rstrip('/')}{query}")


class Missing(Page):
    """Where there is no page."""

    async def prepare(self) -> None:
        """Say so, to who is somebody."""
        await super().prepare()
        if self.model is not None:
            raise HTTPError(404, "There is no such page.")


class Front(Page):
    """Where the gateway's name leads."""

    def get(self) -> None:
        """Go to one's own usage."""
        self.redirect(f"{self.shared.prefix}usage")
