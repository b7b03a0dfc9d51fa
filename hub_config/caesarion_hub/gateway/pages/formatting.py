"""
Numbers, money, times and budgets as people read them: pure functions.

Called by the templates and by all of the pages. Sentences about money and windows share
``policy.budgets``' words.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Protocol

from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Budget
from caesarion_hub.gateway.policy.prices import NANOS

_RESULTS = {
    "stop": "answered",
    "tool_calls": "called a tool",
    "length": "reached the length limit",
    "content_filter": "stopped by the provider's filter",
}
_RULES = {
    "auto": "by rule: made without asking",
    "ask": "by rule: no approval was needed, or none was given",
    "accept-edits": "by rule: changes of notebooks are accepted",
    "plan": "by rule: plan mode",
    "read-only": "by rule: read-only mode",
}
_ADJECTIVES = {"day": "daily", "week": "weekly", "month": "monthly", "total": "overall"}
_DECISIONS = {"run": "approved", "refuse": "refused"}


def result(finish_reason: str) -> str:
    """Return how an answer ended; an unknown finish reason stays as it is."""
    return _RESULTS.get(finish_reason, finish_reason)


def changed(change: Mapping[str, Any]) -> str:
    """Return what was done to which cell of a notebook, and what was decided about it."""
    hashes = " → ".join(change[name] or "nothing" for name in ("before", "after"))
    decision = f"{change['decision']} by {change['by']}" if change["by"] else change["decision"]
    return f"{change['path']} · cell {change['cell']} · {change['operation']} {hashes} · {decision}"


def approved(approval: str, approver: str) -> str:
    """Return what allowed or refused a call: a person, a program, or a rule."""
    decision, by, name = approval.partition(" by ")
    done, also, classes = decision.partition(" and ")  # such as "run and allowed files"
    decided = f"{_DECISIONS.get(done, done)}{also}{classes}"
    if approver == "rule" or approval in _RULES:
        return _RULES.get(approval, f"by rule: {approval}")
    if approver == "program":
        return f"{decided} by a program of {name}" if by else f"by a program: {approval}"
    if approver == "person" or not by:
        return f"{decided}{by}{name}"
    return f"{decided} by {name}, or a program of theirs"


def count(number: float) -> str:
    """Return a whole number with commas between its thousands."""
    return f"{number:,.0f}"


def money(nanos: float) -> str:
    """Return an amount of money, rounded to the cent, or to two digits if it is smaller."""
    amount = Decimal(nanos) / NANOS
    digits = max(2, 1 - amount.adjusted()) if nanos % (NANOS // 100) else 2
    return budgets.dollars(int(round(amount, digits) * NANOS))


def exact(nanos: int) -> str:
    """Return an amount of money for a spreadsheet, with all of its digits."""
    return format((Decimal(nanos) / NANOS).normalize(), "f")


class Paid(Protocol):
    """What was paid for tokens, and how many of them have no price."""

    @property
    def nanos(self) -> int:
        """Billionths of a dollar."""

    @property
    def unpriced_tokens(self) -> int:
        """Tokens that are not in them."""


def paid(sums: Paid) -> str:
    """Return what was paid, for a spreadsheet; empty if only models without a price were used."""
    return exact(sums.nanos) if sums.nanos or not sums.unpriced_tokens else ""


def date_of(milliseconds: int) -> str:
    """Return the day of a moment in UTC."""
    return time(milliseconds)[:10]


def time(milliseconds: int) -> str:
    """Return a moment in UTC."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def renewal(when: datetime | None) -> str:
    """Return when a budget renews."""
    return f"{when:%Y-%m-%d %H:%M}" if when else "never"


def day(name: str) -> str:
    """Return a day in short: ``25 Nov``."""
    return f"{date.fromisoformat(name):%-d %b}"


def percent(fraction: float) -> str:
    """Return a fraction in percent, 100% only if it is the whole."""
    return f"{min(99, round(fraction * 100)) if fraction < 1 else 100}%"


def short(text: str, most: int = 12) -> str:
    """Return the beginning of an identifier."""
    return text if len(text) <= most + 2 else f"{text[:most]}…"


def whose(scope: str, name: str) -> str:
    """Return whom a budget is for."""
    if scope == "everyone":
        return "everyone"
    return f"{scope} {name}" if name else f"each {scope}"


def budget_name(scope: str, name: str, window: str) -> str:
    """Return what a budget is called in a sentence: ``daily budget for user ada``."""
    return f"{_ADJECTIVES[window]} budget for {whose(scope, name)}"


def limit(tokens: int | None, nanos: int | None) -> str:
    """Return what a budget allows: ``12,000 tokens or $1.50``, whichever is reached first."""
    if 0 in (tokens, nanos):
        return "nothing"
    parts = [
        *([budgets.tokens(tokens)] if tokens is not None else []),
        *([budgets.dollars(nanos)] if nanos is not None else []),
    ]
    return " or ".join(parts) or "no budget"


def allowance(tokens: int | None, nanos: int | None) -> str:
    """Return what a budget allows, at the end of a sentence."""
    return "it allows no requests" if 0 in (tokens, nanos) else limit(tokens, nanos)


def allows_nothing(budget: Budget) -> bool:
    """Return whether a budget allows no request at all."""
    return 0 in (budget.tokens, budget.nanos)
