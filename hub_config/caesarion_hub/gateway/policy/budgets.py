"""
Budgets: which apply, what a request may reserve of them, and the sentence for a refusal. Pure.

Called by ``store.admission`` and the pages. A window is a span of UTC: a day, a week from
Monday, a month, or all time. Invariant: whatever a user asks for, their answers under way
reserve no more than what is left of their own budget, and no more than half of what is left
of a shared one, so nobody is kept out by somebody else's reservations. (At the end of a
shared budget they may reserve a usual answer, its ``fair`` share, so that it is not overspent
by one answer of each user.)
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, overload

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.prices import NANOS
from caesarion_hub.values.gateway import Budget as BudgetValues
from caesarion_hub.values.gateway import Scope, Window

Key = tuple[Scope, str, Window]
"""Identifies a budget; an empty name means each user, each group, or everyone."""

Account = tuple[Scope, str]
"""What spending is summed for: ``("user", "ada")``, ``("group", "students")``, everyone."""


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
        """What identifies it among the others."""
        return self.scope, self.name, self.window


@dataclass(frozen=True)
class Spent:
    """
    What was used of a budget in its window, in tokens or in nanos.

    ``reserved`` is what answers under way may still use, and ``own`` is the part of that
    which is for the user who asks. A user may reserve ``fair`` of a shared budget in any case.
    """

    used: int = 0
    reserved: int = 0
    own: int = 0
    fair: int = 0


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
    """Return the accounts that a request of ``user`` counts for."""
    return [("user", user), *(("group", group) for group in sorted(set(groups))), ("everyone", "")]


def applicable(budgets: Mapping[Key, Budget], account: Account) -> Iterator[Budget]:
    """Yield the budgets of ``account``: one by its name, else the one for each."""
    scope, name = account
    windows: tuple[Window, ...] = ("day", "week", "month", "total")
    for window in windows:
        if budget := budgets.get((scope, name, window)) or budgets.get((scope, "", window)):
            yield budget


@overload
def window_start(window: Literal["day", "week", "month"], today: date) -> date: ...
@overload
def window_start(window: Window, today: date) -> date | None: ...
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


def refusal(
    budget: Budget, account: Account, tokens: Spent, nanos: Spent, now: datetime
) -> GatewayError | None:
    """Return the error for a request that ``budget`` does not admit; None if it does."""
    for limit, spent, amounts in (
        (budget.tokens, tokens, _token_amounts),
        (budget.nanos, nanos, _dollar_amounts),
    ):
        if limit is None:
            continue
        if limit == 0:
            return _error("budget_reached", f"{_whose(account)} allows nothing; {_REMEDY}.")
        if spent.used + spent.reserved < limit and (
            not spent.own or _room(limit, account, spent) > 0
        ):
            continue
        shown_limit, used = amounts(limit, spent.used)
        whose = f"{_whose(account)} of {shown_limit} {per_window(budget.window)}"
        if spent.used >= limit:
            return _used_up(f"{whose} is used up: {used} used.", budget.window, now)
        if spent.used + spent.reserved >= limit:
            return _reserved(
                f"{whose} has no room for one more answer now: {used} used, and the answers "
                "under way may use the rest. Ask again when they have ended."
            )
        return _reserved(
            f"{whose} has no room for one more answer of yours now: {used} used, and your "
            "answers under way may use half of the rest. Ask again when one has ended."
        )
    return None


def room(
    budget: Budget, account: Account, tokens: Spent, nanos: Spent
) -> tuple[int | None, int | None]:
    """
    Return the tokens and the nanos that one more request may reserve; None without a limit.

    Both are at least 1 if ``budget`` does not refuse the request.
    """
    return (
        None if budget.tokens is None else _room(budget.tokens, account, tokens),
        None if budget.nanos is None else _room(budget.nanos, account, nanos),
    )


def _room(limit: int, account: Account, spent: Spent) -> int:
    left = limit - spent.used
    share = left if account[0] == "user" else max(-(-left // 2), spent.fair)
    return min(left - spent.reserved, share - spent.own)


def per_window(window: Window) -> str:
    """Return a window in words as they follow an amount: ``100 tokens a day``."""
    return "in total" if window == "total" else f"a {window}"


def tokens(number: int) -> str:
    """Return a number of tokens as people read it."""
    return f"{number:,} {'token' if number == 1 else 'tokens'}"


def dollars(nanos: int) -> str:
    """Return an amount of money with all of its digits, and cents in full."""
    whole, part = divmod(nanos, NANOS)
    digits = f"{part:09d}".rstrip("0")
    return f"${whole:,}.{digits:0<2}"


_REMEDY = "the operator can raise it"


def _token_amounts(limit: int, used: int) -> tuple[str, str]:
    return tokens(limit), f"{used:,} are"


def _dollar_amounts(limit: int, used: int) -> tuple[str, str]:
    return dollars(limit), f"{dollars(used)} is"


def _used_up(message: str, window: Window, now: datetime) -> GatewayError:
    renewal = window_end(window, now.date())
    if not renewal:
        return _error("budget_reached", f"{message} It does not renew; {_REMEDY}.")
    seconds = int((renewal - now).total_seconds()) + 1
    sentence = f"{message} It renews on {renewal:%Y-%m-%d} at 00:00 UTC."
    return _error("budget_reached", sentence, {"Retry-After": str(seconds)})


def _reserved(message: str) -> GatewayError:
    return _error("budget_reserved", message, {"Retry-After": "5"})


def _error(code: str, message: str, wait: Mapping[str, str] = {}) -> GatewayError:
    # OpenAI's clients (2.x) would otherwise wait, and ask again by themselves.
    return GatewayError(429, code, message, "budget_error", {**wait, "X-Should-Retry": "false"})


def _whose(account: Account) -> str:
    match account[0]:
        case "user":
            return "Your budget"
        case "group":
            return f"The budget of the group {account[1]}"
        case "everyone":
            return "The budget of everybody here"
