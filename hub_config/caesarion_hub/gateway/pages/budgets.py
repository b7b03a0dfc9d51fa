"""
The budgets: how each stands, and edited in place; each edit is in the audit.

``views`` says where they are.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from sqlalchemy import Connection
from tornado.web import HTTPError

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.pages import budget_form, formatting, queries
from caesarion_hub.gateway.pages.download import Download
from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.policy.budgets import Budget, Key
from caesarion_hub.gateway.store.commands import BudgetEdit
from caesarion_hub.values.gateway import Scope, Window

_BLANK = dict.fromkeys(("scope", "name", "window", "tokens", "dollars"), "")
"""The fields of the form of a budget."""

_AT_ONCE = 100  # budgets that a piece of the file reads; made up

_HEADER = (
    *("for", "name", "window", "limit in tokens", "limit in dollars"),
    *("used by", "tokens", "dollars", "tokens without a price", "renews (UTC)"),
)

log = logging.getLogger("gateway")


class Kept(Page):
    """A page or file about budgets."""

    for_admins = True

    @property
    def kept(self) -> Mapping[Key, Budget]:
        """The budgets that hold."""
        return self.shared.write_queue.ledger.budgets

    def named(self, key: tuple[str, ...]) -> Budget | None:
        """Return a budget by its scope, name and window."""
        return next((budget for budget in self.kept.values() if budget.key == key), None)


class Budgets(Kept):
    """The page."""

    async def get(self, said: str = "", typed: Mapping[str, str] | None = None) -> None:
        """Show them; after an error also what was ``typed``, so that nobody types it again."""
        kept, begins = self.kept, self.argument("begins")
        form = _BLANK | dict(typed or {})
        one = form if typed else {name: self.argument(name) for name in _BLANK}
        name = budget_form.name_of(one["scope"], one["name"], form.get("deed", ""))
        mine = (one["scope"], name, one["window"])
        start = begins.lower()
        found = [budget for budget in kept.values() if budget.name.lower().startswith(start)]
        found.sort(key=lambda budget: budget.key)
        page = self.number("page")
        if mine in (keys := [budget.key for budget in found]):
            # Where the one is that was edited, or that is there already.
            page = keys.index(mine) // queries.PAGE
        here = found[page * queries.PAGE : (page + 1) * queries.PAGE]

        def query(connection: Connection) -> dict[str, Any]:
            return {
                "rows": [queries.standing(connection, kept, budget) for budget in here],
                "models": queries.by_model(connection, ("everyone", ""), "month"),
                "edits": queries.edits(connection, [mine, *(budget.key for budget in here)]),
            }

        named = [(budget.scope, budget.name) for budget in here if budget.name]
        told, unknown = await asyncio.gather(self.read(query), self.shared.hub.missing(named))
        models = told.pop("models")
        done = self.done(mine, told["edits"].get(mine), is_unknown=mine[:2] in unknown)
        self.show(
            "budgets.html",
            here="admin/budgets",
            said=said,
            done="" if typed else done,
            unknown=unknown,
            blank=_BLANK,
            typed=form,
            mine=mine,
            page=page,
            more=len(found) > (page + 1) * queries.PAGE,
            begins=begins,
            has_money=any(budget.nanos is not None for budget in kept.values()),
            has_prices=bool(self.shared.priced),
            unpriced=[
                model
                for model in models
                # Else its tokens are of before it had a price.
                if model.unpriced_tokens and model.name not in self.shared.priced
            ],
            xsrf=self.xsrf_token.decode(),
            scopes=get_args(Scope),
            windows=get_args(Window),
            **told,
        )

    async def post(self) -> None:
        """Add one, change one, or take it away."""
        form = {name: self.get_body_argument(name) for name in self.request.body_arguments}
        try:
            budget = budget_form.budget(form)
            done = await self.change(budget, form.get("deed", ""))
        except GatewayError as error:
            self.set_status(error.status)
            await self.get(error.message, form)
            return
        query = budget_form.query(budget, done, form.get("name", "").strip())
        self.redirect(f"{self.shared.prefix}admin/budgets?{query}#mine", status=303)

    async def change(self, budget: Budget, deed: str) -> str:
        """Put a budget in force, or end it; return what that has done."""
        there = self.kept.get(budget.key)
        if deed == "add" and there:
            raise _exists(there)
        if deed == "delete" and not there:
            raise GatewayError(404, "no_budget", "There is no such budget: it is deleted already.")
        if budget == there:
            return "unchanged"
        await self.shared.write_queue.edit_budget(BudgetEdit(budget, self.name))
        fields = {"user": self.name, "budget": " ".join(budget.key)}
        log.info("a budget was edited", extra={"fields": fields})
        return {"add": "added", "delete": "deleted"}.get(deed, "saved")

    def done(
        self, key: tuple[str, str, str], edit: queries.Edited | None, *, is_unknown: bool
    ) -> str:
        """Return what has become of a budget that was just edited, in sentences; it may be none."""
        deed, budget = self.argument("done"), self.named(key)
        scope, name, window = key
        if deed == "unchanged" and budget:
            which = (
                f"the budget of {formatting.whose(scope, name)}, {formatting.window(window)}, is"
            )
            return f"Nothing has changed: {which} {formatting.limit(budget.tokens, budget.nanos)}."
        if deed not in ("added", "saved", "deleted") or edit is None:
            return ""
        gone = edit.tokens is None and edit.nanos is None
        if gone != (deed == "deleted"):
            return ""
        told = (
            f"The budget of {formatting.whose(scope, name)}, {formatting.window(window)}, is {deed}"
        )
        told += "." if gone else f": {formatting.allows(edit.tokens, edit.nanos)}."
        if (typed := self.argument("typed")) and typed.lower() == name:
            told += f" The hub has names of users in small letters: '{typed}' is '{name}'."
        if gone != (budget is None):
            told += " It holds here within seconds: load the page again."
        if gone:
            return told
        if is_unknown:
            told += f" The hub knows no {scope} named '{name}' yet: it holds once there is one."
        return told


class Deletion(Kept):
    """The question whether a budget is to be deleted."""

    async def get(self) -> None:
        """Ask."""
        budget = self.named(tuple(self.argument(name) for name in ("scope", "name", "window")))
        if budget is None:
            raise HTTPError(404, "There is no such budget: it may be deleted already.")
        standing = await self.read(
            lambda connection: queries.standing(connection, self.kept, budget)
        )
        other = budget.name and self.named((budget.scope, "", budget.window))
        self.show(
            "deletion.html",
            here="admin/budgets",
            row=standing,
            other=other,
            xsrf=self.xsrf_token.decode(),
        )


class BudgetsCsv(Kept, Download):
    """The file: how much of each budget everybody has used that has it."""

    async def get(self) -> None:
        """Send it."""
        await self.send_csv("budgets.csv", _HEADER, self.tables())

    def tables(self) -> Iterator[Sequence[Sequence[Any]]]:
        """Yield its rows, some budgets' at a time."""
        kept = self.kept
        rows = sorted(kept.values(), key=lambda budget: budget.key)
        for begin in range(0, len(rows), _AT_ONCE):
            with self.shared.write_queue.ledger.database.reading() as connection:
                yield [
                    row
                    for budget in rows[begin : begin + _AT_ONCE]
                    for row in _rows(budget, queries.lefts(connection, kept, budget))
                ]


def _rows(budget: Budget, lefts: Sequence[queries.Left]) -> Iterator[Sequence[Any]]:
    tokens = "" if budget.tokens is None else budget.tokens
    nanos = "" if budget.nanos is None else formatting.exact(budget.nanos)
    first = (budget.scope, budget.name, budget.window, tokens, nanos)
    for left in lefts:
        spent = (left.tokens, formatting.paid(left), left.unpriced_tokens)
        yield *first, left.place[1], *spent, formatting.midnight(left.renews)
    if not lefts:
        yield *first, "", 0, "0", 0, ""


def _exists(there: Budget) -> GatewayError:
    return GatewayError(
        409,
        "budget_exists",
        f"A budget of {formatting.whose(there.scope, there.name)}, "
        f"{formatting.window(there.window)}, is there already: "
        f"{formatting.limit(there.tokens, there.nanos)}. "
        "Nothing was changed; edit it in its row.",
    )
