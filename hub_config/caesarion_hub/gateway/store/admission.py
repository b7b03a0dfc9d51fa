"""
Decide which requests may start: the limits on requests, then every budget that applies.

Called by ``ledger`` within its transaction, so no other gateway decides meanwhile; calls
``policy.budgets`` for each decision.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from sqlalchemy import Connection, and_, bindparam, func, or_, select

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Account, Budget, Key, Spent
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.commands import Reservation, day_of

_MINUTE = 60_000
_SHORT = 5  # seconds that OpenAI's clients may wait by themselves; made up

_request, _spending = tables.request.c, tables.spending.c
_SPENT = (
    select(
        _spending.period,
        _spending.start,
        func.sum(_spending.prompt_tokens + _spending.completion_tokens),
        func.sum(_spending.nanos),
    )
    .where(
        _spending.scope == bindparam("scope"),
        _spending.name == bindparam("name"),
        or_(
            _spending.period == "month",
            and_(_spending.period == "day", _spending.start >= bindparam("monday")),
        ),
    )
    .group_by(_spending.period, _spending.start)
)
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
        self._spent: dict[tuple[Account, str, str], tuple[int, int]] = {}
        self._under_way: list[tuple[str, tuple[str, ...], int, int]] = []
        self._started: dict[str, int] = {}
        accounts = {
            account
            for one in reservations
            for account in budgets.accounts(one.user, one.groups)
            if any(budgets.applicable(budgets_in_force, account))
        }
        if accounts:
            self._read_spent(accounts, day_of(max(one.started for one in reservations)))
        if accounts or any(one.concurrent_streams for one in reservations):
            self._read_under_way()
        if any(one.requests_per_minute for one in reservations):
            self._read_started(reservations)

    def admit(self, reservation: Reservation) -> GatewayError | None:
        """Admit a request, or return why not."""
        refusal = self._refusal(reservation)
        if refusal is None:
            user, groups = reservation.user, reservation.groups
            amounts = (reservation.reserved_tokens, reservation.reserved_nanos or 0)
            self._under_way.append((user, groups, *amounts))
            self._started[user] = self._started.get(user, 0) + 1
        return refusal

    def _refusal(self, reservation: Reservation) -> GatewayError | None:
        user, per_minute = reservation.user, reservation.requests_per_minute
        if per_minute and self._started.get(user, 0) >= per_minute:
            return _too_many_requests(per_minute, self._milliseconds_to_wait(reservation))
        streams = reservation.concurrent_streams
        if streams and sum(whose == user for whose, *_ in self._under_way) >= streams:
            return _too_many_streams(streams)
        now = datetime.fromtimestamp(reservation.started / 1000, UTC)
        for account in budgets.accounts(user, reservation.groups):
            for budget in budgets.applicable(self._budgets, account):
                spent = self._spent_by(account, budget, now.date())
                if refusal := budgets.refusal(budget, account, spent, now):
                    return refusal
        return None

    def _spent_by(self, account: Account, budget: Budget, today: date) -> Spent:
        first_day = budgets.window_start(budget.window, today)
        period = "day" if budget.window in ("day", "week") else "month"
        spent = [
            amounts
            for (whose, its_period, start), amounts in self._spent.items()
            if (whose, its_period) == (account, period)
            and (first_day is None or start >= first_day.isoformat())
        ]
        reserved = [
            (tokens, nanos)
            for user, groups, tokens, nanos in self._under_way
            if account in budgets.accounts(user, groups)
        ]
        return Spent(*_sums(spent), *_sums(reserved))

    def _read_spent(self, accounts: set[Account], today: date) -> None:
        monday = budgets.window_start("week", today)
        assert monday is not None
        for account in accounts:
            values = {"scope": account[0], "name": account[1], "monday": monday.isoformat()}
            for period, start, tokens, nanos in self._connection.execute(_SPENT, values):
                self._spent[account, period, start] = (int(tokens), int(nanos))

    def _read_under_way(self) -> None:
        for user, groups, tokens, nanos in self._connection.execute(_UNDER_WAY):
            self._under_way.append((user, tuple(json.loads(groups)), tokens, nanos or 0))

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


def _sums(amounts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(tokens for tokens, _ in amounts), sum(nanos for _, nanos in amounts)


def _too_many_requests(limit: int, milliseconds: int) -> GatewayError:
    seconds = max(1, -(-milliseconds // 1000))
    return GatewayError(
        429,
        "too_many_requests",
        f"You asked {limit} times within a minute, which is your limit. "
        f"Ask again in {seconds} seconds.",
        "rate_limit_error",
        # OpenAI's clients (2.x) obey Retry-After silently, so a long wait looks like a hang.
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
