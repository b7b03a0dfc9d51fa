"""
Rows for the pages, read by the tables' indexes: requests, refusals, records of the audit.

Called by the pages in a thread. Tables on pages come in pages, and files in batches, each
of which begins after the last row of the one before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, tuple_

from caesarion_hub.gateway.pages import spans
from caesarion_hub.gateway.pages.spans import Span
from caesarion_hub.gateway.pages.sums import PAGE, starts_with
from caesarion_hub.gateway.store import tables

BATCH = 1000
"""Rows of a file that are read at once; made up."""

_request, _refusal, _audit = tables.request.c, tables.refusal.c, tables.audit.c


@dataclass(frozen=True)
class AuditSearch:
    """
    Which records of the audit to find; times are milliseconds, 0 for any.

    ``user`` is the beginning of a name. Without a ``kind`` outcomes are left out unless
    ``outcomes`` is set: the pages show each beside its call.
    """

    user: str = ""
    kind: str = ""
    outcomes: bool = False
    conversation: str = ""
    text: str = ""
    since: int = 0
    until: int = 0


def requests(
    connection: Connection,
    *,
    user: str = "",
    failed: bool = False,
    in_progress: bool = False,
    rows: int = PAGE,
) -> Sequence[Row[Any]]:
    """Return the latest requests."""
    query = select(tables.request).order_by(_request.started.desc()).limit(rows)
    if user:
        query = query.where(_request.user == user)
    if failed:
        query = query.where(_request.error != "")
    if in_progress:
        query = query.where(_request.finished.is_(None))
    return connection.execute(query).all()


def requests_after(
    connection: Connection, last: Row[Any] | None, *, user: str, span: Span
) -> Sequence[Row[Any]]:
    """Return the batch of requests after ``last``, the earliest first."""
    begin, end = spans.milliseconds(span)
    query = select(tables.request).order_by(_request.started, _request.id).limit(BATCH)
    query = query.where(_request.started >= begin, _request.started < end)
    if user:
        query = query.where(_request.user == user)
    if last:
        query = query.where(
            _request.started >= last.started,
            tuple_(_request.started, _request.id) > (last.started, last.id),
        )
    return connection.execute(query).all()


def refusals(connection: Connection, *, user: str = "", rows: int = PAGE) -> Sequence[Row[Any]]:
    """Return refused requests by day, user and reason, the latest first."""
    query = select(tables.refusal).order_by(_refusal.last.desc()).limit(rows)
    if user:
        query = query.where(_refusal.user == user)
    return connection.execute(query).all()


def refusals_after(
    connection: Connection, last: Row[Any] | None, *, user: str, span: Span
) -> Sequence[Row[Any]]:
    """Return the batch of refused requests after ``last``, by day, user and reason."""
    first, end = spans.days(span)
    key = (_refusal.day, _refusal.user, _refusal.code)
    query = select(tables.refusal).order_by(*key).limit(BATCH)
    query = query.where(_refusal.day < end.isoformat())
    if first:
        query = query.where(_refusal.day >= first.isoformat())
    if user:
        query = query.where(_refusal.user == user)
    if last:
        query = query.where(tuple_(*key) > (last.day, last.user, last.code))
    return connection.execute(query).all()


def number_refused(connection: Connection, since: date) -> int:
    """Return how many requests were refused since a day."""
    query = select(func.sum(_refusal.requests)).where(_refusal.day >= since.isoformat())
    return int(connection.execute(query).scalar() or 0)


def audit(
    connection: Connection, search: AuditSearch, *, before: int = 0, after: int = 0
) -> Sequence[Row[Any]]:
    """
    Return the latest records of the audit, the last one first: one more than a page has.

    With ``before`` those before that number, with ``after`` those just after it.
    """
    query = select(tables.audit).where(*_matches(search)).limit(PAGE + 1)
    if after:
        query = query.where(_audit.number > after).order_by(_audit.number)
        return connection.execute(query).all()[::-1]
    if before:
        query = query.where(_audit.number < before)
    return connection.execute(query.order_by(_audit.number.desc())).all()


def audit_after(
    connection: Connection, last: Row[Any] | None, search: AuditSearch
) -> Sequence[Row[Any]]:
    """Return the batch of records after ``last``, in the order of the chain."""
    number = last.number if last else 0
    query = select(tables.audit).where(*_matches(search), _audit.number > number)
    return connection.execute(query.order_by(_audit.number).limit(BATCH)).all()


def outcomes_of(connection: Connection, calls: Collection[Row[Any]]) -> dict[int, Row[Any]]:
    """Return the records of the outcomes of ``calls``, by the number of the call's record."""
    by_user: dict[str, list[Row[Any]]] = {}
    for row in calls:
        by_user.setdefault(row.user, []).append(row)
    # One user at a time: with several SQLite does not use the index of users and calls.
    return {
        row.call_number: row
        for user, rows in by_user.items()
        for row in connection.execute(
            select(tables.audit).where(
                _audit.user == user,
                _audit.call.in_({row.call for row in rows}),
                _audit.kind == "outcome",
                _audit.call_number.in_([row.number for row in rows]),
            )
        )
    }


def calls_of(connection: Connection, outcomes: Collection[Row[Any]]) -> dict[int, Row[Any]]:
    """Return the records of the calls that ``outcomes`` belong to, by their numbers."""
    numbers = [row.call_number for row in outcomes if row.call_number is not None]
    rows = connection.execute(select(tables.audit).where(_audit.number.in_(numbers)))
    return {row.number: row for row in rows}


def groups_of(connection: Connection, user: str) -> str:
    """Return the groups, as JSON, that a user was in at their last request."""
    query = select(_request.groups).where(_request.user == user)
    last = connection.execute(query.order_by(_request.started.desc()).limit(1)).scalar()
    return last or "[]"


def _matches(search: AuditSearch) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if search.user:
        conditions.append(starts_with(_audit.user, search.user))
    if search.kind:
        conditions.append(_audit.kind == search.kind)
    elif not search.outcomes:
        conditions.append(_audit.kind != "outcome")
    if search.conversation:
        conditions.append(_audit.conversation == search.conversation)
    if search.text:
        conditions.append(_audit.record.contains(search.text, autoescape=True))
    if search.since:
        conditions.append(_audit.made >= search.since)
    if search.until:
        conditions.append(_audit.made < search.until)
    return conditions
