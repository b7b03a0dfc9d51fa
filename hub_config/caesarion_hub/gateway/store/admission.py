"""
Decide which requests may start, and what each reserves: by the limits on requests, then by
every budget that applies.

Called by ``ledger`` within its transaction, so no other gateway decides meanwhile; calls
``policy.budgets`` for each decision.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    CompoundSelect,
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

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Account, Budget, Key, Spent
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.commands import Reservation, day_of

_MINUTE = 60_000
_SHORT = 5  # seconds that OpenAI's clients may wait by themselves; made up

_ACCOUNTS = 10  # in one statement; made up

_request = tables.request.c
_UNDER_WAY = select(
    _request.user, _request.groups, _request.reserved_tokens, _request.reserved_nanos
).where(_request.finished.is_(None))
_STARTED_SINCE = select(func.count()).where(
    _request.user == bindparam("user"), _request.started > bindparam("since")
)
# The request of a user that has to be a minute old before the next one may start.
_LAST_WITHIN_LIMIT = (
    select(_request.started)
    .where(_request.user == bindparam("user"))
    .order_by(_request.started.desc())
    .offset(bindparam("offset"))
    .limit(1)
)


class Admission:
    """
    The state that a batch of reservations is decided on, read once for all of them.

    ``budgets_in_force`` are all budgets by their keys. Each admitted reservation counts
    for those after it.
    """

    def __init__(
        self,
        connection: Connection,
        budgets_in_force: Mapping[Key, Budget],
        reservations: Sequence[Reservation],
    ) -> None:
        self._connection = connection
        self._budgets = budgets_in_force
        self._spent: dict[Account, list[tuple[str, str, int, int]]] = {}
        # By account, and by account and user.
        self._reserved: dict[Account, tuple[int, int]] = {}
        self._own: dict[tuple[Account, str], tuple[int, int]] = {}
        self._streams: Counter[str] = Counter()
        self._started: Counter[str] = Counter()
        accounts = {
            account
            for one in reservations
            for account in budgets.accounts(one.user, one.groups)
            if any(budgets.applicable(budgets_in_force, account))
        }
        if accounts:
            self._read_spent(sorted(accounts), day_of(max(one.started for one in reservations)))
        if accounts or any(one.concurrent_streams for one in reservations):
            self._read_under_way()
        if any(one.requests_per_minute for one in reservations):
            self._read_started(reservations)

    def admit(self, reservation: Reservation) -> Reservation | GatewayError:
        """Admit a request, and return what it reserves; or return why it is refused."""
        if refusal := self.refusal(reservation):
            return refusal
        admitted = self._bounded(reservation)
        amounts = (admitted.reserved_tokens, admitted.reserved_nanos or 0)
        self._add_stream(admitted.user, admitted.groups, *amounts)
        self._started[admitted.user] += 1
        return admitted

    def refusal(self, reservation: Reservation) -> GatewayError | None:
        """Return why a request is refused; None if it may start."""
        user, per_minute = reservation.user, reservation.requests_per_minute
        if per_minute and self._started[user] >= per_minute:
            return _too_many_requests(per_minute, self._milliseconds_to_wait(reservation))
        streams = reservation.concurrent_streams
        if streams and self._streams[user] >= streams:
            return _too_many_streams(streams)
        now = datetime.fromtimestamp(reservation.started / 1000, UTC)
        for account, budget in self._applicable(reservation):
            tokens, nanos = self._spent_of(budget, account, reservation)
            if refusal := budgets.refusal(budget, account, tokens, nanos, now):
                return refusal
        return None

    def _bounded(self, reservation: Reservation) -> Reservation:
        """Return the reservation, reduced to the room that its budgets have."""
        reserved_tokens, reserved_nanos = reservation.reserved_tokens, reservation.reserved_nanos
        for account, budget in self._applicable(reservation):
            tokens, nanos = self._spent_of(budget, account, reservation)
            token_room, nano_room = budgets.room(budget, account, tokens, nanos)
            if token_room is not None:
                reserved_tokens = min(reserved_tokens, token_room)
            if nano_room is not None and reserved_nanos is not None:
                reserved_nanos = min(reserved_nanos, nano_room)
        return replace(
            reservation,
            prompt_tokens=min(reservation.prompt_tokens, reserved_tokens),
            reserved_tokens=reserved_tokens,
            reserved_nanos=reserved_nanos,
        )

    def _applicable(self, reservation: Reservation) -> Iterator[tuple[Account, Budget]]:
        """Yield the budgets that a request counts for."""
        for account in budgets.accounts(reservation.user, reservation.groups):
            for budget in budgets.applicable(self._budgets, account):
                yield account, budget

    def _spent_of(
        self, budget: Budget, account: Account, reservation: Reservation
    ) -> tuple[Spent, Spent]:
        """Return the tokens and the nanos that are spent of a budget."""
        first_day = budgets.window_start(budget.window, day_of(reservation.started))
        period = "day" if budget.window in ("day", "week") else "month"
        used = [
            (tokens, nanos)
            for its_period, start, tokens, nanos in self._spent.get(account, ())
            if its_period == period and (first_day is None or start >= first_day.isoformat())
        ]
        reserved = self._reserved.get(account, (0, 0))
        own = self._own.get((account, reservation.user), (0, 0))
        return (
            Spent(sum(tokens for tokens, _ in used), reserved[0], own[0], reservation.fair_tokens),
            Spent(sum(nanos for _, nanos in used), reserved[1], own[1], reservation.fair_nanos),
        )

    def _add_stream(self, user: str, groups: Iterable[str], tokens: int, nanos: int) -> None:
        self._streams[user] += 1
        for account in budgets.accounts(user, groups):
            reserved, own = (
                self._reserved.get(account, (0, 0)),
                self._own.get((account, user), (0, 0)),
            )
            self._reserved[account] = (reserved[0] + tokens, reserved[1] + nanos)
            self._own[account, user] = (own[0] + tokens, own[1] + nanos)

    def _read_spent(self, accounts: Sequence[Account], today: date) -> None:
        monday = budgets.window_start("week", today)
        for begin in range(0, len(accounts), _ACCOUNTS):
            some = accounts[begin : begin + _ACCOUNTS]
            values = {"monday": monday.isoformat()}
            for number, (scope, name) in enumerate(some):
                values |= {f"scope{number}": scope, f"name{number}": name}
            rows = self._connection.execute(_spent_by(len(some)), values)
            for number, period, start, tokens, nanos in rows:
                sums = (period, start, int(tokens), int(nanos))
                self._spent.setdefault(some[number], []).append(sums)

    def _read_under_way(self) -> None:
        for user, groups, tokens, nanos in self._connection.execute(_UNDER_WAY):
            self._add_stream(user, json.loads(groups), tokens, nanos or 0)

    def _read_started(self, reservations: Sequence[Reservation]) -> None:
        since = min(one.started for one in reservations) - _MINUTE
        for user in {one.user for one in reservations if one.requests_per_minute}:
            values = {"user": user, "since": since}
            self._started[user] = self._connection.scalar(_STARTED_SINCE, values) or 0

    def _milliseconds_to_wait(self, reservation: Reservation) -> int:
        """Return the time until this user may start another request."""
        assert reservation.requests_per_minute is not None
        values = {"user": reservation.user, "offset": reservation.requests_per_minute - 1}
        started = self._connection.scalar(_LAST_WITHIN_LIMIT, values)
        return (started or reservation.started) + _MINUTE - reservation.started


@cache
def _spent_by(accounts: int) -> CompoundSelect[Any]:
    """
    Return the statement for what so many accounts spent, each day since Monday and each month.

    One statement, because SQLAlchemy takes longer to run one than SQLite to answer it; a
    union, because SQLite looks up an OR of accounts by the wrong index.
    """
    return union_all(*(_spent_by_one(number) for number in range(accounts)))


def _spent_by_one(number: int) -> Select[Any]:
    spending = tables.spending.c
    is_day = and_(spending.period == "day", spending.start >= bindparam("monday"))
    return (
        select(
            literal_column(str(number)),
            spending.period,
            spending.start,
            func.sum(spending.prompt_tokens + spending.completion_tokens),
            func.sum(spending.nanos),
        )
        .where(spending.scope == bindparam(f"scope{number}"))
        .where(spending.name == bindparam(f"name{number}"))
        .where(or_(spending.period == "month", is_day))
        .group_by(spending.period, spending.start)
    )


def _too_many_requests(limit: int, milliseconds: int) -> GatewayError:
    seconds = max(1, -(-milliseconds // 1000))
    return GatewayError(
        429,
        "too_many_requests",
        f"You asked {limit} times within a minute, which is your limit. "
        f"Ask again in {seconds} seconds.",
        "rate_limit_error",
        # OpenAI's clients (3.x) sleep for as long without telling their user.
        {"Retry-After": str(seconds), "X-Should-Retry": "true" if seconds <= _SHORT else "false"},
    )


def _too_many_streams(limit: int) -> GatewayError:
    return GatewayError(
        429,
        "too_many_streams",
        f"{limit} of your answers are under way, which is your limit. "
        "Ask again when one has ended.",
        "rate_limit_error",
        {"Retry-After": "2"},
    )
