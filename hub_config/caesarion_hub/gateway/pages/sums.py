"""
Sums for the pages, read from the ledger: each function is one or two indexed queries.

Called by the pages in a thread. Sums come from ``spending``, so that a page takes
as long with a million requests as with a hundred.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Account, Budget, Key
from caesarion_hub.gateway.store import tables
from caesarion_hub.values.gateway import Window

PAGE = 50
"""Rows of a page."""

_NAMED = 1000  # names that are asked for one by one; made up

Span = Literal["today", "month", "last-month", "total"]
SPANS: tuple[Span, ...] = ("today", "month", "last-month", "total")

_spending = tables.spending.c
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
    place: Account
    tokens: int
    nanos: int
    renews: datetime | None
    unpriced_tokens: int = 0

    @property
    def part(self) -> float:
        """How much of it is spent, from 0 to 1."""
        parts = [
            min(1.0, spent / limit) if limit else 1.0
            for spent, limit in ((self.tokens, self.budget.tokens), (self.nanos, self.budget.nanos))
            if limit is not None
        ]
        return max(parts, default=0.0)


@dataclass(frozen=True)
class Standing:
    """A budget, who has used most of it if anybody has any, and how many have used it up."""

    budget: Budget
    fullest: Left | None
    reached: int
    renews: datetime | None

    @property
    def part(self) -> float:
        """How much of it is spent by who has spent most, from 0 to 1."""
        return self.fullest.part if self.fullest else 0.0


@dataclass(frozen=True)
class Edited:
    """What a budget was made by an edit, by whom, and when in milliseconds."""

    tokens: int | None
    nanos: int | None
    edited: int
    editor: str


def today() -> date:
    """Return the day that it is in UTC."""
    return datetime.now(UTC).date()


def by_day(connection: Connection, place: Account, days: int = 30) -> list[Sums]:
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


def by_model(connection: Connection, place: Account, span: Span) -> list[Sums]:
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
    """
    Return the sums of each user or group, the dearest first, one more than a page has.

    ``begins`` is how their names begin.
    """
    asked = (
        select(_spending.name, *_SUMS)
        .where(_spending.scope == scope, *_within(span))
        .group_by(_spending.name)
        .order_by(_SUMS[3].desc(), _SUMS[2].desc(), _spending.name)
    )
    if begins:
        asked = asked.where(starting(_spending.name, begins))
    if rows is not None:
        asked = asked.limit(rows + 1).offset(page * rows)
    return [_sums(row) for row in connection.execute(asked)]


def starting(column: ColumnElement[str], start: str) -> ColumnElement[bool]:
    """Return the condition that a name begins so, which an index can answer."""
    return and_(column >= start, column < start + "\U0010ffff")


def whole(connection: Connection, place: Account, span: Span) -> Sums:
    """Return the sum of a place."""
    row = connection.execute(select(*_SUMS).where(*_at(place), *_within(span))).one()
    return _sums(("", *row))


def left(
    connection: Connection, kept: Mapping[Key, Budget], places: Sequence[Account]
) -> list[Left]:
    """Return what is left of the budgets of ``places``."""
    return [
        _left(connection, budget, place)
        for place in places
        for budget in budgets.applicable(kept, place)
    ]


def lefts(connection: Connection, kept: Mapping[Key, Budget], budget: Budget) -> list[Left]:
    """Return what is left of ``budget``, one of ``kept``, to each who has it; the fullest first."""
    scope, window = budget.scope, budget.window
    if budget.name or scope == "everyone":
        return [_left(connection, budget, (scope, budget.name))]
    named = {name for its_scope, name, its in kept if (its_scope, its) == (scope, window)}
    rows = connection.execute(
        _spent(window)
        .add_columns(_spending.name)
        .where(_spending.scope == scope)
        .group_by(_spending.name)
    )
    renews = budgets.window_end(window, today())
    found = [
        Left(budget, (scope, name), int(tokens), int(nanos), renews, int(unpriced))
        for tokens, nanos, unpriced, name in rows
        if name not in named
    ]
    return sorted(found, key=lambda one: (-one.part, one.place))


def standings(connection: Connection, kept: Mapping[Key, Budget]) -> list[Standing]:
    """Return how all budgets stand: everyone's first, then the nearest to their limits."""
    found: dict[Key, list[Left]] = {key: [] for key in kept}
    for scope, window in {(scope, window) for scope, _, window in kept}:
        renews = budgets.window_end(window, today())
        names = [name for its_scope, name, its in kept if (its_scope, its) == (scope, window)]
        asked = _spent(window).add_columns(_spending.name).where(_spending.scope == scope)
        if "" not in names and len(names) < _NAMED:
            asked = asked.where(_spending.name.in_(names))
        for tokens, nanos, unpriced, name in connection.execute(asked.group_by(_spending.name)):
            if budget := kept.get((scope, name, window)) or kept.get((scope, "", window)):
                spent = (int(tokens), int(nanos), renews, int(unpriced))
                found[budget.key].append(Left(budget, (scope, name), *spent))
    for key, ones in found.items():
        if not ones and (kept[key].name or kept[key].scope == "everyone"):
            ones.append(Left(kept[key], key[:2], 0, 0, budgets.window_end(key[2], today())))
    stand = [_standing(kept[key], ones) for key, ones in found.items()]
    return sorted(
        stand, key=lambda one: (one.budget.scope != "everyone", -one.part, one.budget.key)
    )


def standing(connection: Connection, kept: Mapping[Key, Budget], budget: Budget) -> Standing:
    """Return how ``budget``, one of ``kept``, stands."""
    return _standing(budget, lefts(connection, kept, budget))


def edits(
    connection: Connection, keys: Sequence[tuple[str, str, str]]
) -> dict[tuple[str, str, str], Edited]:
    """Return the edits of budgets, by their scope, name and window."""
    edit = tables.budget_edit.c
    rows = connection.execute(
        select(edit.scope, edit.name, edit.window)
        .add_columns(edit.tokens, edit.nanos, edit.edited, edit.editor)
        .where(edit.name.in_({name for _, name, _ in keys}))
    )
    found = {(scope, name, window): Edited(*edited) for scope, name, window, *edited in rows}
    return {key: found[key] for key in keys if key in found}


def _standing(budget: Budget, found: Sequence[Left]) -> Standing:
    reached = sum(one.part >= 1 for one in found)
    renews = budgets.window_end(budget.window, today())
    fullest = min(found, key=lambda one: (-one.part, one.place), default=None)
    return Standing(budget, fullest, reached, renews)


def _left(connection: Connection, budget: Budget, place: Account) -> Left:
    row = connection.execute(_spent(budget.window).where(*_at(place))).one()
    tokens, nanos, unpriced = (int(one or 0) for one in row)
    return Left(budget, place, tokens, nanos, budgets.window_end(budget.window, today()), unpriced)


def _spent(window: Window) -> Select[Any]:
    begin = budgets.window_start(window, today())
    period = "day" if window in ("day", "week") else "month"
    since = (_spending.start >= begin.isoformat(),) if begin else ()
    return select(*_SUMS[2:]).where(_spending.period == period, *since)


def _at(place: Account) -> tuple[ColumnElement[bool], ...]:
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
