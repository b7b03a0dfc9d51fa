"""
Spans of time that the pages show sums and rows of: today, this month, last month, all time.

Called by the pages and their queries. Days are of UTC, as budgets' windows are.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal

from caesarion_hub.gateway.policy.budgets import window_start

Span = Literal["today", "month", "last-month", "total"]

LABELS: dict[Span, str] = {
    "today": "Today",
    "month": "This month",
    "last-month": "Last month",
    "total": "All time",
}
"""What a span is called on the pages, in their order."""


def today() -> date:
    """Return the present day in UTC."""
    return datetime.now(UTC).date()


def days(span: Span) -> tuple[date | None, date]:
    """Return the first day of a span, None for all time, and the first day after it."""
    day = today()
    tomorrow = day + timedelta(days=1)
    this_month = window_start("month", day)
    match span:
        case "today":
            return day, tomorrow
        case "month":
            return this_month, tomorrow
        case "last-month":
            return window_start("month", this_month - timedelta(days=1)), this_month
        case "total":
            return None, tomorrow


def milliseconds(span: Span) -> tuple[int, int]:
    """Return when a span begins, and when it is over."""
    first, end = days(span)
    return midnight(first) if first else 0, midnight(end)


def midnight(day: date) -> int:
    """Return the millisecond at which a day begins."""
    return round(datetime.combine(day, time(), UTC).timestamp() * 1000)
