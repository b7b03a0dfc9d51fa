"""
The page of the budgets: how each stands, and its editing in place; and their file.

``routes`` has their addresses. Each edit is recorded in the audit.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from sqlalchemy import Connection
from tornado.web import HTTPError

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.pages import budget_form, budget_status, formatting, sums
from caesarion_hub.gateway.pages.budget_status import BudgetUsage
from caesarion_hub.gateway.pages.download import Download
from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.policy.budgets import Budget, Key
from caesarion_hub.gateway.store.commands import BudgetEdit
from caesarion_hub.values.gateway import Scope, Window

_BLANK = dict.fromkeys(("scope", "name", "window", "tokens", "dollars"), "")
"""The fields of the form of a budget."""

_BATCH = 100  # budgets that a piece of the file reads; made up

_HEADER = (
    *("for", "name", "window", "limit in tokens", "limit in dollars"),
    *("used by", "tokens", "dollars", "tokens without a price", "renews (UTC)"),
)

log = logging.getLogger("gateway")


class BudgetHandler(Page):
    """A page or a file about budgets."""

    for_admins = True

    @property
    def in_force(self) -> Mapping[Key, Budget]:
        """The budgets in force."""
        return self.context.write_queue.ledger.budgets

    def find(self, key: tuple[str, ...]) -> Budget | None:
        """Return the budget of a scope, a name and a window."""
        return next((budget for budget in self.in_force.values() if budget.key == key), None)


class BudgetsPage(BudgetHandler):
    """The page."""

    async def get(self, problem: str = "", entered: Mapping[str, str] | None = None) -> None:
        """Show it; after an error also the form as it was ``entered``."""
        in_force, prefix = self.in_force, self.argument("prefix")
        form = _BLANK | dict(entered or {})
        named = form if entered else {name: self.argument(name) for name in _BLANK}
        name = budget_form.read_name(named["scope"], named["name"], form.get("action", ""))
        current = (named["scope"], name, named["window"])
        budgets = sorted(
            (one for one in in_force.values() if one.name.lower().startswith(prefix.lower())),
            key=lambda budget: budget.key,
        )
        page = self.number("page")
        if current in (keys := [budget.key for budget in budgets]):
            page = keys.index(current) // sums.PAGE
        shown = budgets[page * sums.PAGE : (page + 1) * sums.PAGE]

        def query(connection: Connection) -> dict[str, Any]:
            keys = [current, *(budget.key for budget in shown)]
            return {
                "rows": [budget_status.status(connection, in_force, one) for one in shown],
                "models": sums.by_model(connection, ("everyone", ""), "month"),
                "edits": budget_status.edits(connection, keys),
            }

        names = [(budget.scope, budget.name) for budget in shown if budget.name]
        values, unknown = await asyncio.gather(self.read(query), self.context.hub.missing(names))
        edit, is_unknown = values["edits"].get(current), current[:2] in unknown
        models, priced = values.pop("models"), self.context.priced
        self.render_page(
            "budgets.html",
            here="admin/budgets",
            problem=problem,
            result="" if entered else self.result(current, edit, is_unknown=is_unknown),
            unknown=unknown,
            blank=_BLANK,
            form=form,
            current=current,
            page=page,
            has_more=len(budgets) > (page + 1) * sums.PAGE,
            name_prefix=prefix,
            has_money=any(budget.nanos is not None for budget in in_force.values()),
            has_prices=bool(priced),
            # A model that has a price may have tokens from the time before it had one.
            unpriced=[one for one in models if one.unpriced_tokens and one.name not in priced],
            xsrf=self.xsrf_token.decode(),
            scopes=get_args(Scope),
            windows=get_args(Window),
            **values,
        )

    async def post(self) -> None:
        """Add, change or delete a budget."""
        arguments = self.request.body_arguments
        form = {name: self.get_body_argument(name).replace("\0", "") for name in arguments}
        try:
            budget = budget_form.read_budget(form)
            result = await self.change(budget, form.get("action", ""))
        except GatewayError as error:
            self.set_status(error.status)
            await self.get(error.message, form)
            return
        query = budget_form.result_query(budget, result, form.get("name", "").strip())
        self.redirect(f"{self.context.prefix}admin/budgets?{query}#current", status=303)

    async def change(self, budget: Budget, action: str) -> str:
        """Put a budget in force, or delete it; return what was done."""
        present = self.in_force.get(budget.key)
        if action == "add" and present:
            raise _exists(present)
        if action == "delete" and not present:
            raise GatewayError(404, "no_budget", "There is no such budget; it was deleted already.")
        if budget == present:
            return "unchanged"
        await self.context.write_queue.edit_budget(BudgetEdit(budget, self.viewer))
        fields = {"user": self.viewer, "budget": " ".join(budget.key)}
        log.info("a budget was edited", extra=fields)
        return {"add": "added", "delete": "deleted"}.get(action, "saved")

    def result(
        self,
        key: tuple[str, str, str],
        edit: budget_status.BudgetEdit | None,
        *,
        is_unknown: bool,
    ) -> str:
        """Return what was done with a budget, in sentences; empty if the query names no result."""
        result, budget = self.argument("result"), self.find(key)
        scope, name, _ = key
        if result == "unchanged" and budget:
            allowance = formatting.allowance(budget.tokens, budget.nanos)
            return f"Nothing has changed in the {formatting.budget_name(*key)}: {allowance}."
        if result not in ("added", "saved", "deleted") or edit is None:
            return ""
        is_deleted = edit.tokens is None and edit.nanos is None
        if is_deleted != (result == "deleted"):
            return ""
        allowed = "" if is_deleted else f": {formatting.allowance(edit.tokens, edit.nanos)}"
        sentences = [f"The {formatting.budget_name(*key)} was {result}{allowed}."]
        if (entered := self.argument("entered")) and entered.lower() == name:
            sentences.append(f"JupyterHub has user names in lower case: '{entered}' is '{name}'.")
        if is_deleted != (budget is None):
            sentences.append("It takes effect here within seconds: reload the page.")
        if is_unknown and not is_deleted:
            sentences.append(f"The hub knows no {scope} named '{name}' yet.")
        return " ".join(sentences)


class DeletionPage(BudgetHandler):
    """The question whether to delete a budget."""

    async def get(self) -> None:
        """Ask it."""
        budget = self.find(tuple(self.argument(name) for name in ("scope", "name", "window")))
        if budget is None:
            raise HTTPError(404, "There is no such budget; it may have been deleted.")
        status = await self.read(
            lambda connection: budget_status.status(connection, self.in_force, budget)
        )
        other = budget.name and self.find((budget.scope, "", budget.window))
        self.render_page(
            "deletion.html",
            here="admin/budgets",
            row=status,
            other=other,
            xsrf=self.xsrf_token.decode(),
        )


class BudgetsCsv(BudgetHandler, Download):
    """What every account has used of every budget that applies to it."""

    async def get(self) -> None:
        """Send the file."""
        await self.send_csv("budgets.csv", _HEADER, self.row_batches())

    def row_batches(self) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield the rows of some budgets at a time."""
        in_force = self.in_force
        budgets = sorted(in_force.values(), key=lambda budget: budget.key)
        for begin in range(0, len(budgets), _BATCH):
            with self.context.write_queue.ledger.database.reading() as connection:
                yield [
                    row
                    for budget in budgets[begin : begin + _BATCH]
                    for row in _rows(budget, budget_status.by_account(connection, in_force, budget))
                ]


def _rows(budget: Budget, usages: Sequence[BudgetUsage]) -> Iterator[Sequence[Any]]:
    tokens = "" if budget.tokens is None else budget.tokens
    dollars = "" if budget.nanos is None else formatting.exact(budget.nanos)
    first = (budget.scope, budget.name, budget.window, tokens, dollars)
    for usage in usages:
        used = (usage.tokens, formatting.paid(usage), usage.unpriced_tokens)
        yield *first, usage.account[1], *used, formatting.renewal(usage.renews)
    if not usages:
        yield *first, "", 0, "0", 0, ""


def _exists(present: Budget) -> GatewayError:
    allowance = formatting.allowance(present.tokens, present.nanos)
    sentence = f"The {formatting.budget_name(*present.key)} exists already: {allowance}."
    remedy = "Nothing was changed. Edit it in its row."
    return GatewayError(409, "budget_exists", f"{sentence} {remedy}")
