"""
Budgets: which apply, when they renew, and what to say when one is reached. Pure.

Called by ``ledger`` under its lock. A window is a span of UTC: a day, a week
from Monday, a month, or all time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.prices import NANOS
from caesarion_hub.values.gateway import Budget as BudgetValues
from caesarion_hub.values.gateway import Scope, Window

Key = tuple[Scope, str, Window]
"""What there is one budget of; an empty name means each user, each group, or everyone."""

Account = tuple[Scope, str]
"""Whose spending: ``("user", "ada")``, ``("group", "students")``, ``("everyone", "")``."""


@dataclass(frozen=True)
class Budget:
    """
    What may be spent in a window; ``nanos`` are billionths of a dollar.

    An empty ``name`` means each user, each group, or everyone.
    """

    scope: Scope
    name: str
    window: Window
    tokens: int | None
    nanos: int | None

    @property
    def key(self) -> Key:
        """What there is one budget of."""
        return self.scope, self.name, self.window


@dataclass(frozen=True)
class Spent:
    """What was spent, and what answers under way may still spend."""

    tokens: int = 0
    nanos: int = 0
    reserved_tokens: int = 0
    reserved_nanos: int = 0


def from_values(budgets: Iterable[BudgetValues]) -> list[Budget]:
    """Return the operator's budgets."""
    return [
        Budget(
            *(budget.scope, budget.name or "", budget.window, budget.tokens),
            None if budget.money is None else int(budget.money * NANOS),
        )
        for budget in budgets
    ]


def accounts(user: str, groups: Iterable[str]) -> list[Account]:
    """Return whose spending a request of ``user`` is."""
    return [("user", user), *(("group", group) for group in sorted(set(groups))), ("everyone", "")]


def applicable(budgets: Mapping[Key, Budget], account: Account) -> Iterator[Budget]:
    """Yield the budgets of ``account``: one by its name, else the one for each."""
    scope, name = account
    windows: tuple[Window, ...] = ("day", "week", "month", "total")
    for window in windows:
        if budget := budgets.get((scope, name, window)) or budgets.get((scope, "", window)):
            yield budget


def window_start(window: Window, today: date) -> date | None:
    """Return the first day of the window that ``today`` is in; all time has none."""
    match window:
        case "day":
            return today
        case "week":
            return today - timedelta(days=today.weekday())
        case "month":
            return today.replace(day=1)
        case "total":
            return None


def window_end(window: Window, today: date) -> datetime | None:
    """Return when the window that ``today`` is in ends."""
    begin = window_start(window, today)
    if begin is None:
        return None
    match window:
        case "day":
            end = begin + timedelta(days=1)
        case "week":
            end = begin + timedelta(days=7)
        case _:
            end = (begin + timedelta(days=32)).replace(day=1)
    return datetime.combine(end, time(), UTC)


def refusal(budget: Budget, account: Account, spent: Spent, now: datetime) -> GatewayError | None:
    """Return what to say to a request that ``budget`` has no room for; nothing if it has."""
    over_tokens = _reached(budget.tokens, spent.tokens + spent.reserved_tokens)
    over_nanos = _reached(budget.nanos, spent.nanos + spent.reserved_nanos)
    if not over_tokens and not over_nanos:
        return None
    if budget.tokens == 0 or budget.nanos == 0:
        told = f"{_whose(account)} allows nothing; the operator can raise it."
        return GatewayError(
            429, "budget_reached", told, "budget_error", {"X-Should-Retry": "false"}
        )
    if over_tokens:
        limit, used, unit = tokens(budget.tokens or 0), f"{spent.tokens:,}", "are"
        waits = not _reached(budget.tokens, spent.tokens)
    else:
        limit, used, unit = dollars(budget.nanos or 0), dollars(spent.nanos), "is"
        waits = not _reached(budget.nanos, spent.nanos)
    whose = f"{_whose(account)} of {limit} {_EACH[budget.window]}"
    if waits:
        return GatewayError(
            429,
            "budget_reserved",
            f"{whose} has no room for one more answer now: {used} {unit} used, and the answers "
            "under way may use the rest. Ask again when they have ended.",
            "budget_error",
            {"Retry-After": "5", "X-Should-Retry": "false"},
        )
    when = window_end(budget.window, now.date())
    told = (
        f"It renews on {when:%Y-%m-%d} at 00:00 UTC."
        if when
        else "It does not renew; the operator can raise it."
    )
    wait = {"Retry-After": str(int((when - now).total_seconds()) + 1)} if when else {}
    return GatewayError(
        429,
        "budget_reached",
        f"{whose} is used up: {used} {unit} used. {told}",
        "budget_error",
        # OpenAI's clients would wait and ask again by themselves otherwise.
        {**wait, "X-Should-Retry": "false"},
    )


def tokens(number: int) -> str:
    """Return a number of tokens as people read it."""
    return f"{number:,} {'token' if number == 1 else 'tokens'}"


def dollars(nanos: int) -> str:
    """Return an amount of money with all of its digits, and cents in full."""
    whole, part = divmod(nanos, NANOS)
    digits = f"{part:09d}".rstrip("0")
    return f"${whole:,}.{digits:0<2}"


_EACH = {"day": "a day", "week": "a week", "month": "a month", "total": "in all"}


def _whose(account: Account) -> str:
    match account[0]:
        case "user":
            return "Your budget"
        case "group":
            return f"The budget of the group {account[1]}"
        case "everyone":
            return "The budget of everybody here"


def _reached(limit: int | None, spent: int) -> bool:
    return limit is not None and spent >= limit
