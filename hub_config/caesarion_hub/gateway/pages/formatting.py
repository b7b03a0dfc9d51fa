"""
Numbers, money, times and budgets as people read them: pure functions.

Called by the templates and by all of the pages.
"""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Protocol

from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Budget
from caesarion_hub.gateway.policy.prices import NANOS

_WINDOWS = {"day": "a day", "week": "a week", "month": "a month", "total": "in all"}
_SPANS = {
    "today": "Today",
    "month": "This month",
    "last-month": "Last month",
    "total": "All time",
}


_ENDED = {
    "stop": "answered",
    "tool_calls": "asked for a tool",
    "length": "reached its longest length",
    "content_filter": "stopped by the provider's filter",
}
_RULES = {
    "auto": "by rule: code runs without asking",
    "ask": "by rule: no approval was needed, or none was given",
    "read-only": "by rule: read-only mode",
}
_DECISIONS = {"run": "approved", "refuse": "refused"}


def ended(reason: str) -> str:
    """Return how an answer ended, by its ``finish_reason``; what is none stays as it is."""
    return _ENDED.get(reason, reason)


def approved(approval: str, approver: str) -> str:
    """Return what allowed or refused a call: a person, a program, or a rule."""
    decision, by, name = approval.partition(" by ")
    decided = _DECISIONS.get(decision, decision)
    if approver == "rule" or approval in _RULES:
        return _RULES.get(approval, f"by rule: {approval}")
    if approver == "program":
        return f"{decided} by a program of {name}" if by else f"by a program: {approval}"
    if approver == "person" or not by:
        return f"{decided}{by}{name}"
    return f"{decided} by {name}, or a program of theirs"


def count(number: float) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,.0f}"


def money(nanos: float) -> str:
    """Return an amount of money: to the cent, or to its second digit if that is beyond."""
    amount = Decimal(nanos) / NANOS
    digits = max(2, 1 - amount.adjusted()) if nanos % (NANOS // 100) else 2
    return _dollars(f"{amount:,.{digits}f}")


def exact(nanos: int) -> str:
    """Return an amount of money for a spreadsheet, all of its digits."""
    return format((Decimal(nanos) / NANOS).normalize(), "f")


class Paid(Protocol):
    """What was paid for tokens, and how many of them have no price."""

    @property
    def nanos(self) -> int:
        """Billionths of a dollar."""

    @property
    def unpriced_tokens(self) -> int:
        """Tokens that are not in them."""


def paid(of: Paid) -> str:
    """Return what was paid, for a spreadsheet; nothing where only models without a price were."""
    return exact(of.nanos) if of.nanos or not of.unpriced_tokens else ""


def date_of(milliseconds: int) -> str:
    """Return the day of a moment in UTC."""
    return time(milliseconds)[:10]


def time(milliseconds: int) -> str:
    """Return a moment in UTC."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def midnight(when: datetime | None) -> str:
    """Return when a budget renews."""
    return f"{when:%Y-%m-%d %H:%M}" if when else "never"


def day(name: str) -> str:
    """Return a day in short: ``25 Nov``."""
    return f"{date.fromisoformat(name):%-d %b}"


def percent(part: float) -> str:
    """Return a part of a whole; what is left over is not rounded away."""
    return f"{min(99, round(part * 100)) if part < 1 else 100}%"


def short(text: str, most: int = 12) -> str:
    """Return the beginning of an identifier."""
    return text if len(text) <= most + 2 else f"{text[:most]}…"


def span(name: str) -> str:
    """Return a span of time."""
    return _SPANS[name]


def window(name: str) -> str:
    """Return a budget's window, as it follows an amount."""
    return _WINDOWS[name]


def whose(scope: str, name: str) -> str:
    """Return whose a budget is."""
    if scope == "everyone":
        return "everyone"
    return f"{scope} {name}" if name else f"each {scope}"


def limit(tokens: int | None, nanos: int | None) -> str:
    """Return what a budget allows: ``12,000 tokens or $1.50``, whichever is reached first."""
    if 0 in (tokens, nanos):
        return "nothing"
    parts = [
        *([budgets.tokens(tokens)] if tokens is not None else []),
        *([budgets.dollars(nanos)] if nanos is not None else []),
    ]
    return " or ".join(parts) or "no budget"


def allows(tokens: int | None, nanos: int | None) -> str:
    """Return what a budget allows, as a sentence ends with it."""
    if 0 in (tokens, nanos):
        return "who has it may not ask at all"
    return limit(tokens, nanos)


def is_nothing(budget: Budget) -> bool:
    """Return whether who has this budget may not ask at all."""
    return 0 in (budget.tokens, budget.nanos)


def _dollars(amount: str) -> str:
    """Return an amount without the zeros that say nothing; cents are said in full."""
    whole, _, part = amount.partition(".")
    return f"${whole}.{part.rstrip('0'):0<2}"
