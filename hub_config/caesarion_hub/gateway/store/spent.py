"""
What was spent in the window of a budget, from the table ``spending``.

Called by ``write_queue`` for the metrics, and by the pages.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, Select, func, select

from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Account, Budget, Key
from caesarion_hub.gateway.store import tables
from caesarion_hub.values.gateway import Window

EVERYONE: Account = ("everyone", "")

_spending = tables.spending.c


def select_spent(window: Window, today: date) -> Select[Any]:
    """Return the query for the tokens, nanos and tokens without a price of all accounts."""
    first = budgets.window_start(window, today)
    period = "day" if window in ("day", "week") else "month"
    since = (_spending.start >= first.isoformat(),) if first else ()
    return select(
        func.sum(_spending.prompt_tokens + _spending.completion_tokens),
        func.sum(_spending.nanos),
        func.sum(_spending.unpriced_tokens),
    ).where(_spending.period == period, *since)


def everyones(in_force: Mapping[Key, Budget], connection: Connection) -> dict[Window, float]:
    """Return the used share of each budget of everyone, by its window; above 1 if overspent."""
    scope, name = EVERYONE
    found = {}
    for budget in budgets.applicable(in_force, EVERYONE):
        query = select_spent(budget.window, datetime.now(UTC).date())
        tokens, nanos, _ = connection.execute(
            query.where(_spending.scope == scope, _spending.name == name)
        ).one()
        found[budget.window] = max(
            int(used or 0) / limit if limit else 1.0
            for used, limit in ((tokens, budget.tokens), (nanos, budget.nanos))
            if limit is not None
        )
    return found
