"""
Rows for the pages, read from the ledger by its indexes: requests, refusals, the audit.

Called by the pages in a thread. Lists come in pages, and files in batches, each of
which begins after the last row of the one before.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select, tuple_

from caesarion_hub.gateway.pages.queries import PAGE, Span, starting, today
from caesarion_hub.gateway.store import tables

BATCH = 1000
"""Rows of a file that are read at once; made up."""

_request, _refusal, _audit = tables.request.c, tables.refusal.c, tables.audit.c


@dataclass(frozen=True)
class Search:
    """
    What is searched for in the audit; times are milliseconds, 0 for any.

    ``user`` is how the name begins.
    Where no kind is, outcomes are left out unless ``outcomes``: each stands with its call.
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


def requests_after(
    connection: Connection, last: Row[Any] | None, *, user: str, span: Span
) -> Sequence[Row[Any]]:
    """Return a batch of requests in the order in which they came."""
    begin, end = _milliseconds(span)
    asked = select(tables.request).order_by(_request.started, _request.id).limit(BATCH)
    asked = asked.where(_request.started >= begin, _request.started < end)
    if user:
        asked = asked.where(_request.user == user)
    if last:
        asked = asked.where(
            _request.started >= last.started,
            tuple_(_request.started, _request.id) > (last.started, last.id),
        )
    return connection.execute(asked).all()


def refusals(connection: Connection, *, user: str = "", rows: int = PAGE) -> Sequence[Row[Any]]:
    """Return who was not let in, by day and reason, the latest first."""
    asked = select(tables.refusal).order_by(_refusal.last.desc()).limit(rows)
    if user:
        asked = asked.where(_refusal.user == user)
    return connection.execute(asked).all()


def refusals_after(
    connection: Connection, last: Row[Any] | None, *, user: str, span: Span
) -> Sequence[Row[Any]]:
    """Return a batch of who was not let in, by day, name and reason."""
    begin, end = _days(span)
    key = (_refusal.day, _refusal.user, _refusal.code)
    asked = select(tables.refusal).order_by(*key).limit(BATCH).where(_refusal.day < end.isoformat())
    if begin:
        asked = asked.where(_refusal.day >= begin.isoformat())
    if user:
        asked = asked.where(_refusal.user == user)
    if last:
        asked = asked.where(tuple_(*key) > (last.day, last.user, last.code))
    return connection.execute(asked).all()


def refused(connection: Connection, since: date) -> int:
    """Return how many requests were not let in since a day."""
    asked = select(func.sum(_refusal.requests)).where(_refusal.day >= since.isoformat())
    return int(connection.execute(asked).scalar() or 0)


def audit(
    connection: Connection, search: Search, *, before: int = 0, after: int = 0, rows: int = PAGE
) -> Sequence[Row[Any]]:
    """
    Return the audit's latest records, the last one first, one more than a page has.

    Those ``before`` or just ``after`` a number, where one is given.
    """
    asked = select(tables.audit).where(*_found(search)).limit(rows + 1)
    if after:
        asked = asked.where(_audit.number > after).order_by(_audit.number)
        return connection.execute(asked).all()[::-1]
    if before:
        asked = asked.where(_audit.number < before)
    return connection.execute(asked.order_by(_audit.number.desc())).all()


def audit_after(
    connection: Connection, last: Row[Any] | None, search: Search
) -> Sequence[Row[Any]]:
    """Return a batch of the audit in the order of its chain."""
    number = last.number if last else 0
    asked = select(tables.audit).where(*_found(search), _audit.number > number)
    return connection.execute(asked.order_by(_audit.number).limit(BATCH)).all()


def outcomes_of(connection: Connection, calls: Collection[Row[Any]]) -> dict[int, Row[Any]]:
    """Return the records of the outcomes of ``calls``, by the number of the call's record."""
    by_user: dict[str, list[Row[Any]]] = {}
    for row in calls:
        by_user.setdefault(row.user, []).append(row)
    # A user at a time: so SQLite finds the index of users and calls.
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
    """Return the records of the calls that ``outcomes`` are of, by their numbers."""
    numbers = [row.call_number for row in outcomes if row.call_number is not None]
    rows = connection.execute(select(tables.audit).where(_audit.number.in_(numbers)))
    return {row.number: row for row in rows}


def groups_of(connection: Connection, user: str) -> str:
    """Return the groups, as JSON, that somebody was in at their last request."""
    asked = select(_request.groups).where(_request.user == user)
    last = connection.execute(asked.order_by(_request.started.desc()).limit(1)).scalar()
    return last or "[]"


def _found(search: Search) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if search.user:
        found.append(starting(_audit.user, search.user))
    if search.kind:
        found.append(_audit.kind == search.kind)
    elif not search.outcomes:
        found.append(_audit.kind != "outcome")
    if search.conversation:
        found.append(_audit.conversation == search.conversation)
    if search.text:
        found.append(_audit.record.contains(search.text, autoescape=True))
    if search.since:
        found.append(_audit.made >= search.since)
    if search.until:
        found.append(_audit.made < search.until)
    return found


def _milliseconds(span: Span) -> tuple[int, int]:
    """Return when a span begins, and when it is over."""
    begin, end = _days(span)
    return _midnight(begin) if begin else 0, _midnight(end)


def _days(span: Span) -> tuple[date | None, date]:
    """Return the first day of a span, if it has one, and the first one after it."""
    day = today()
    end = day + timedelta(days=1)
    match span:
        case "today":
            return day, end
        case "month":
            return day.replace(day=1), end
        case "last-month":
            end = day.replace(day=1)
            return (end - timedelta(days=1)).replace(day=1), end
        case _:
            return None, end


def _midnight(day: date) -> int:
    return round(datetime.combine(day, time(), UTC).timestamp() * 1000)
