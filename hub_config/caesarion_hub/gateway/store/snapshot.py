"""
What a batch of reservations is decided on: what was spent, what is under way, what began lately.

Called by ``admission`` within the ledger's transaction. One statement reads it all (of a large
batch a few), because a statement costs more than the rows that it finds.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    union_all,
)

from caesarion_hub.gateway.policy.budgets import Account
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.prepared import Prepared

_AT_ONCE = 10  # accounts, and users, that one statement reads; made up

# What one request of a user without groups needs. Statements are of these two sizes only,
# because SQLAlchemy keeps each that it has compiled.
_ACCOUNTS, _USERS = 2, 1

_UNDER_WAY, _STARTED, _SPENT = range(3)


class Sums(NamedTuple):
    """What an account spent in a day or a month, which begins at the date ``start``."""

    period: str
    start: str
    tokens: int
    nanos: int


class UnderWay(NamedTuple):
    """What a request under way has reserved."""

    user: str
    groups: tuple[str, ...]
    tokens: int
    nanos: int


@dataclass
class Snapshot:
    """The days since Monday and the months of accounts, and the number of users' requests."""

    spent: dict[Account, list[Sums]] = field(default_factory=dict)
    under_way: list[UnderWay] = field(default_factory=list)
    started: Counter[str] = field(default_factory=Counter)


def read(
    connection: Connection,
    accounts: Sequence[Account],
    users: Sequence[str],
    *,
    monday: str,
    since: int,
    under_way: bool,
) -> Snapshot:
    """
    Return what ``accounts`` spent and how many requests ``users`` began.

    Spending counts by the days from ``monday`` on and by all months, requests from the moment
    ``since`` on. ``under_way`` says whether the requests under way are read.
    """
    snapshot = Snapshot()
    batches = zip_longest(_batches(accounts), _batches(users), fillvalue=())
    for some, askers in batches if accounts or users else [((), ())]:
        if some or askers or under_way:
            values: dict[str, Any] = {"monday": monday, "since": since}
            padded = _padded(some, _ACCOUNTS), _padded(askers, _USERS)
            for number, (scope, name) in enumerate(padded[0]):
                values[f"scope{number}"], values[f"name{number}"] = scope, name
            for number, user in enumerate(padded[1]):
                values[f"user{number}"] = user
            statement = _statement(len(padded[0]), len(padded[1]), under_way)
            for row in statement.read(connection, values):
                _add(snapshot, row, some, askers)
            under_way = False  # read once
    return snapshot


def _batches(names: Sequence[Any]) -> list[Sequence[Any]]:
    return [names[begin : begin + _AT_ONCE] for begin in range(0, len(names), _AT_ONCE)]


def _padded(names: Sequence[Any], usual: int) -> list[Any]:
    """Return ``names``, none or ``usual`` or ``_AT_ONCE`` many, by repeating the last one."""
    size = usual if len(names) <= usual else _AT_ONCE
    return [*names, *list(names[-1:]) * (size - len(names))]


def _add(snapshot: Snapshot, row: Any, accounts: Sequence[Account], users: Sequence[str]) -> None:
    kind, number, text, other, amount, nanos = row
    if kind == _UNDER_WAY:
        groups = tuple(json.loads(other))
        snapshot.under_way.append(UnderWay(text, groups, int(amount), int(nanos or 0)))
    elif kind == _STARTED and number < len(users):
        snapshot.started[users[number]] = int(amount)
    elif kind == _SPENT and number < len(accounts):
        sums = Sums(text, other, int(amount), int(nanos))
        snapshot.spent.setdefault(accounts[number], []).append(sums)


@cache
def _statement(accounts: int, users: int, under_way: bool) -> Prepared:
    """
    Return the statement for so many accounts and users.

    It is a union, because SQLite looks up an OR of accounts by the wrong index.
    """
    return Prepared(
        union_all(
            *([_under_way()] if under_way else []),
            *(_started_by(number) for number in range(users)),
            *(_spent_by(number) for number in range(accounts)),
        )
    )


def _under_way() -> Select[Any]:
    request = tables.request.c
    return select(
        *(_number(_UNDER_WAY), _number(0)),
        *(request.user, request.groups, request.reserved_tokens, request.reserved_nanos),
    ).where(request.finished.is_(None))


def _started_by(number: int) -> Select[Any]:
    request = tables.request.c
    nothing: Any = literal_column("''")
    return select(
        *(_number(_STARTED), _number(number), nothing, nothing, func.count(), _number(0))
    ).where(request.user == bindparam(f"user{number}"), request.started > bindparam("since"))


def _spent_by(number: int) -> Select[Any]:
    spending = tables.spending.c
    is_day = and_(spending.period == "day", spending.start >= bindparam("monday"))
    return (
        select(
            *(_number(_SPENT), _number(number), spending.period, spending.start),
            func.sum(spending.prompt_tokens + spending.completion_tokens),
            func.sum(spending.nanos),
        )
        .where(spending.scope == bindparam(f"scope{number}"))
        .where(spending.name == bindparam(f"name{number}"))
        .where(or_(spending.period == "month", is_day))
        .group_by(spending.period, spending.start)
    )


def _number(number: int) -> Any:
    return literal_column(str(number))
