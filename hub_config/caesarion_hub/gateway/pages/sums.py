"""
Sums of what was used, for the pages: by day, by model, by user or group.

Called by the pages in a thread. Sums come from the table ``spending``, so a page takes as
long with a million requests as with a hundred.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, select

from caesarion_hub.gateway.pages.spans import Span, days, today
from caesarion_hub.gateway.policy.budgets import Account
from caesarion_hub.gateway.store import tables

PAGE = 50
"""Rows of a table on a page."""

_spending = tables.spending.c
_TOKENS = func.sum(_spending.prompt_tokens + _spending.completion_tokens)
_NANOS = func.sum(_spending.nanos)
_SUMS = (
    func.sum(_spending.requests),
    func.sum(_spending.failures),
    *(_TOKENS, _NANOS, func.sum(_spending.unpriced_tokens)),
)


@dataclass(frozen=True)
class Sums:
    """What was used under a name: of a day, a model, a user or a group."""

    name: str
    requests: int = 0
    failures: int = 0
    tokens: int = 0
    nanos: int = 0
    unpriced_tokens: int = 0


def by_day(connection: Connection, account: Account, number: int = 30) -> list[Sums]:
    """Return the sums of each of the last days, also of those without any."""
    first = today() - timedelta(days=number - 1)
    rows = connection.execute(
        select(_spending.start, *_SUMS)
        .where(*of(account), _spending.period == "day", _spending.start >= first.isoformat())
        .group_by(_spending.start)
    )
    found = {row[0]: _sums(row) for row in rows}
    names = [(first + timedelta(days=day)).isoformat() for day in range(number)]
    return [found.get(name, Sums(name)) for name in names]


def by_model(connection: Connection, account: Account, span: Span) -> list[Sums]:
    """Return the sums of each model, the most expensive first."""
    rows = connection.execute(
        select(_spending.model, *_SUMS)
        .where(*of(account), *_within(span))
        .group_by(_spending.model)
        .order_by(_NANOS.desc(), _TOKENS.desc())
    )
    return [_sums(row) for row in rows]


def by_name(
    connection: Connection,
    scope: str,
    span: Span,
    *,
    prefix: str = "",
    page: int = 0,
    rows: int | None = PAGE,
) -> list[Sums]:
    """
    Return the sums of users or groups, the most expensive first: one more than a page has.

    ``prefix`` selects names that start with it; ``rows`` is None for all.
    """
    query = (
        select(_spending.name, *_SUMS)
        .where(_spending.scope == scope, *_within(span))
        .group_by(_spending.name)
        .order_by(_NANOS.desc(), _TOKENS.desc(), _spending.name)
    )
    if prefix:
        query = query.where(starts_with(_spending.name, prefix))
    if rows is not None:
        query = query.limit(rows + 1).offset(page * rows)
    return [_sums(row) for row in connection.execute(query)]


def total(connection: Connection, account: Account, span: Span) -> Sums:
    """Return the sums of an account."""
    row = connection.execute(select(*_SUMS).where(*of(account), *_within(span))).one()
    return _sums(("", *row))


def of(account: Account) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for the rows of an account."""
    scope, name = account
    return _spending.scope == scope, _spending.name == name


def starts_with(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Return the condition that a name starts with ``prefix``: a range, which an index has."""
    return and_(column >= prefix, column < prefix + "\U0010ffff")


def _within(span: Span) -> tuple[ColumnElement[bool], ...]:
    first, _ = days(span)
    period = _spending.period == ("day" if span == "today" else "month")
    return (period, _spending.start == first.isoformat()) if first else (period,)


def _sums(row: Sequence[Any]) -> Sums:
    name, *amounts = row
    return Sums(str(name), *(int(amount or 0) for amount in amounts))
