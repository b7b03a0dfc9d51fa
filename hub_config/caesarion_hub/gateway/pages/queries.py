"""
What the pages show, read from the ledger: each function is one or two indexed queries.

Called by ``views`` in a thread. Sums come from ``spending``, so that a page takes
as long with a million requests as with a hundred; lists come in pages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, func, select

from caesarion_hub.gateway import budgets, tables
from caesarion_hub.gateway.budgets import Budget, Key, Place

PAGE = 50
"""Rows of a page."""

Span = Literal["today", "month", "last-month", "total"]
SPANS: tuple[Span, ...] = ("today", "month", "last-month", "total")

_spending, _request, _audit = tables.spending.c, tables.request.c, tables.audit.c
_SUMS = (
    func.sum(_spending.requests),
    func.sum(_spending.failures),
    func.sum(_spending.prompt_tokens + _spending.completion_tokens),
    func.sum(_spending.nanos),
    func.sum(_spending.unpriced_tokens),
)


@dataclass(frozen=True)
class Sums:
    """What was used under a name: a day's, a model's, somebody's."""

    name: str
    requests: int = 0
    failures: int = 0
    tokens: int = 0
    nanos: int = 0
    unpriced_tokens: int = 0


@dataclass(frozen=True)
class Left:
    """A budget, whose it is here, and what was spent of it in its present window."""

    budget: Budget
    place: Place
    tokens: int
    nanos: int
    renews: datetime | None

    @property
    def part(self) -> float:
        """How much of it is spent, from 0 to 1."""
        parts = [
            min(1.0, spent / limit) if limit else 1.0
            for spent, limit in ((self.tokens, self.budget.tokens), (self.nanos, self.budget.nanos))
            if limit is not None
        ]
        return max(parts, default=0.0)


def today() -> date:
    """Return the day that it is in UTC."""
    return datetime.now(UTC).date()


def by_day(connection: Connection, place: Place, days: int = 30) -> list[Sums]:
    """Return the sums of each of the last ``days``, also of those without any."""
    first = today() - timedelta(days=days - 1)
    rows = connection.execute(
        select(_spending.start, *_SUMS)
        .where(*_at(place), _spending.period == "day", _spending.start >= first.isoformat())
        .group_by(_spending.start)
    )
    found = {row[0]: _sums(row) for row in rows}
    names = [(first + timedelta(days=number)).isoformat() for number in range(days)]
    return [found.get(name, Sums(name)) for name in names]


def by_model(connection: Connection, place: Place, span: Span) -> list[Sums]:
    """Return the sums of each model, the dearest first."""
    rows = connection.execute(
        select(_spending.model, *_SUMS)
        .where(*_at(place), *_within(span))
        .group_by(_spending.model)
        .order_by(_SUMS[3].desc(), _SUMS[2].desc())
    )
    return [_sums(row) for row in rows]


def by_name(
    connection: Connection,
    scope: str,
    span: Span,
    *,
    begins: str = "",
    page: int = 0,
    rows: int | None = PAGE,
) -> list[Sums]:
    """Return the sums of each user or group, the dearest first, one more than a page has."""
    asked = (
        select(_spending.name, *_SUMS)
        .where(_spending.scope == scope, *_within(span))
        .group_by(_spending.name)
        .order_by(_SUMS[3].desc(), _SUMS[2].desc(), _spending.name)
    )
    if begins:
        asked = asked.where(_spending.name >= begins, _spending.name < begins + "\U0010ffff")
    if rows is not None:
        asked = asked.limit(rows + 1).offset(page * rows)
    return [_sums(row) for row in connection.execute(asked)]


def whole(connection: Connection, place: Place, span: Span) -> Sums:
    """Return the sum of a place."""
    row = connection.execute(select(*_SUMS).where(*_at(place), *_within(span))).one()
    return _sums(("", *row))


def requests(
    connection: Connection,
    *,
    user: str = "",
    failed: bool = False,
    under_way: bool = False,
    rows: int = PAGE,
) -> Sequence[Row[Any]]:
    """Return the latest requests."""
    asked = select(tables.request).order_by(_request.started.desc()).limit(rows)
    if user:
        asked = asked.where(_request.user == user)
    if failed:
        asked = asked.where(_request.error != "")
    if under_way:
        asked = asked.where(_request.finished.is_(None))
    return connection.execute(asked).all()


def audit(
    connection: Connection,
    *,
    user: str = "",
    kind: str = "",
    text: str = "",
    before: int = 0,
    rows: int = PAGE,
) -> Sequence[Row[Any]]:
    """Return the audit's latest records, one more than a page has; ``text`` is in the record."""
    asked = select(tables.audit).order_by(_audit.number.desc()).limit(rows + 1)
    if user:
        asked = asked.where(_audit.user == user)
    if kind:
        asked = asked.where(_audit.kind == kind)
    if before:
        asked = asked.where(_audit.number < before)
    if text:
        asked = asked.where(_audit.record.contains(text, autoescape=True))
    return connection.execute(asked).all()


def left(connection: Connection, kept: Mapping[Key, Budget], places: Sequence[Place]) -> list[Left]:
    """Return what is left of the budgets of ``places``."""
    now = today()
    found: list[Left] = []
    for place in places:
        for budget in budgets.applying(kept, place):
            begin = budgets.begins(budget.window, now)
            period = "day" if budget.window in ("day", "week") else "month"
            since = (_spending.start >= begin.isoformat(),) if begin else ()
            row = connection.execute(
                select(_SUMS[2], _SUMS[3]).where(*_at(place), _spending.period == period, *since)
            ).one()
            amounts = (int(row[0] or 0), int(row[1] or 0))
            found.append(Left(budget, place, *amounts, budgets.renews(budget.window, now)))
    return found


def _at(place: Place) -> tuple[ColumnElement[bool], ...]:
    scope, name = place
    return _spending.scope == scope, _spending.name == name


def _within(span: Span) -> tuple[ColumnElement[bool], ...]:
    now = today()
    match span:
        case "today":
            return _spending.period == "day", _spending.start == now.isoformat()
        case "month":
            first = now.replace(day=1)
        case "last-month":
            first = (now.replace(day=1) - timedelta(days=1)).replace(day=1)
        case _:
            return (_spending.period == "month",)
    return _spending.period == "month", _spending.start == first.isoformat()


def _sums(row: Sequence[Any]) -> Sums:
    name, *amounts = row
    return Sums(str(name), *(int(amount or 0) for amount in amounts))
