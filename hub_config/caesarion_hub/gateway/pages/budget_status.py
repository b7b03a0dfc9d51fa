"""
How budgets stand: what was used of each in its present window, and by whom.

Called by the pages in a thread; reads sums from the table ``spending``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select

from caesarion_hub.gateway.pages import sums
from caesarion_hub.gateway.pages.spans import today
from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Account, Budget, Key
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.spent import select_spent
from caesarion_hub.values.gateway import Window

_NAMES = 1000  # names that are looked up one by one; made up

_spending = tables.spending.c


@dataclass(frozen=True)
class BudgetUsage:
    """What an account has used of a budget in its present window, which ends when it renews."""

    budget: Budget
    account: Account
    tokens: int
    nanos: int
    renews: datetime | None
    unpriced_tokens: int = 0

    @property
    def fraction(self) -> float:
        """How much of it is used, from 0 to 1."""
        fractions = [
            min(1.0, used / limit) if limit else 1.0
            for used, limit in ((self.tokens, self.budget.tokens), (self.nanos, self.budget.nanos))
            if limit is not None
        ]
        return max(fractions, default=0.0)


@dataclass(frozen=True)
class BudgetStatus:
    """A budget, the account that has used most of it, and how many have used it up."""

    budget: Budget
    highest: BudgetUsage | None
    exhausted: int
    renews: datetime | None

    @property
    def fraction(self) -> float:
        """How much of it the account has used that has used most, from 0 to 1."""
        return self.highest.fraction if self.highest else 0.0


@dataclass(frozen=True)
class BudgetEdit:
    """What an edit made of a budget, whose edit it was, and when in milliseconds."""

    tokens: int | None
    nanos: int | None
    edited: int
    editor: str


def of_accounts(
    connection: Connection, in_force: Mapping[Key, Budget], accounts: Sequence[Account]
) -> list[BudgetUsage]:
    """Return what ``accounts`` have used of each budget that applies to them."""
    return [
        _usage(connection, budget, account)
        for account in accounts
        for budget in budgets.applicable(in_force, account)
    ]


def by_account(
    connection: Connection, in_force: Mapping[Key, Budget], budget: Budget
) -> list[BudgetUsage]:
    """Return what each account has used of a budget, the one nearest to its limit first."""
    scope, window = budget.scope, budget.window
    if budget.name or scope == "everyone":
        return [_usage(connection, budget, (scope, budget.name))]
    named = {name for its_scope, name, its in in_force if (its_scope, its) == (scope, window)}
    rows = connection.execute(_used_by_name(window).where(_spending.scope == scope))
    renews = budgets.window_end(window, today())
    found = [
        BudgetUsage(budget, (scope, name), int(tokens), int(nanos), renews, int(unpriced))
        for tokens, nanos, unpriced, name in rows
        if name not in named
    ]
    return sorted(found, key=_nearest_first)


def status(connection: Connection, in_force: Mapping[Key, Budget], budget: Budget) -> BudgetStatus:
    """Return how a budget stands, which is one of ``in_force``."""
    return _status(budget, by_account(connection, in_force, budget))


def statuses(connection: Connection, in_force: Mapping[Key, Budget]) -> list[BudgetStatus]:
    """Return how all budgets stand: everyone's first, then the nearest to their limits."""
    found: dict[Key, list[BudgetUsage]] = {key: [] for key in in_force}
    for scope, window in {(scope, window) for scope, _, window in in_force}:
        renews = budgets.window_end(window, today())
        names = [name for its_scope, name, its in in_force if (its_scope, its) == (scope, window)]
        query = _used_by_name(window).where(_spending.scope == scope)
        if "" not in names and len(names) < _NAMES:
            query = query.where(_spending.name.in_(names))
        for tokens, nanos, unpriced, name in connection.execute(query):
            if budget := in_force.get((scope, name, window)) or in_force.get((scope, "", window)):
                used = (int(tokens), int(nanos), renews, int(unpriced))
                found[budget.key].append(BudgetUsage(budget, (scope, name), *used))
    for key, usages in found.items():
        if not usages and (in_force[key].name or in_force[key].scope == "everyone"):
            renews = budgets.window_end(key[2], today())
            usages.append(BudgetUsage(in_force[key], key[:2], 0, 0, renews))
    made = [_status(in_force[key], usages) for key, usages in found.items()]
    return sorted(
        made, key=lambda one: (one.budget.scope != "everyone", -one.fraction, one.budget.key)
    )


def edits(
    connection: Connection, keys: Sequence[tuple[str, str, str]]
) -> dict[tuple[str, str, str], BudgetEdit]:
    """Return the latest edits of budgets, by their scope, name and window."""
    edit = tables.budget_edit.c
    rows = connection.execute(
        select(edit.scope, edit.name, edit.window)
        .add_columns(edit.tokens, edit.nanos, edit.edited, edit.editor)
        .where(edit.name.in_({name for _, name, _ in keys}))
    )
    found = {(scope, name, window): BudgetEdit(*edited) for scope, name, window, *edited in rows}
    return {key: found[key] for key in keys if key in found}


def _status(budget: Budget, usages: Sequence[BudgetUsage]) -> BudgetStatus:
    exhausted = sum(one.fraction >= 1 for one in usages)
    renews = budgets.window_end(budget.window, today())
    return BudgetStatus(budget, min(usages, key=_nearest_first, default=None), exhausted, renews)


def _nearest_first(usage: BudgetUsage) -> tuple[float, Account]:
    return -usage.fraction, usage.account


def _usage(connection: Connection, budget: Budget, account: Account) -> BudgetUsage:
    row = connection.execute(select_spent(budget.window, today()).where(*sums.of(account))).one()
    tokens, nanos, unpriced = (int(one or 0) for one in row)
    renews = budgets.window_end(budget.window, today())
    return BudgetUsage(budget, account, tokens, nanos, renews, unpriced)


def _used_by_name(window: Window) -> Select[Any]:
    return select_spent(window, today()).add_columns(_spending.name).group_by(_spending.name)
