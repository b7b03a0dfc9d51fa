"""
Decide which requests may start, and what each reserves: by the limits on requests, then by
every budget that applies.

Called by ``ledger`` within its transaction, so no other gateway decides meanwhile; calls
``snapshot`` for what it decides on, and ``policy.budgets`` for each decision.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Account, Budget, Key, Spent
from caesarion_hub.gateway.store import snapshot, tables
from caesarion_hub.gateway.store.commands import Reservation, day_of

_MINUTE = 60_000
_SHORT = 5  # seconds that OpenAI's clients may wait by themselves; made up

_request = tables.request.c
# The request of a user that has to be a minute old before the next one may start.
_LAST_WITHIN_LIMIT = (
    select(_request.started)
    .where(_request.user == bindparam("user"))
    .order_by(_request.started.desc())
    .offset(bindparam("offset"))
    .limit(1)
)


class _Standing(NamedTuple):
    """A budget that a request counts for, and what is spent of it."""

    budget: Budget
    account: Account
    tokens: Spent
    nanos: Spent


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
        # By account, and by account and user.
        self._reserved: dict[Account, tuple[int, int]] = {}
        self._own: dict[tuple[Account, str], tuple[int, int]] = {}
        self._streams: Counter[str] = Counter()
        accounts = {
            account
            for one in reservations
            for account in budgets.accounts(one.user, one.groups)
            if any(budgets.applicable(budgets_in_force, account))
        }
        today = day_of(max(one.started for one in reservations))
        found = snapshot.read(
            connection,
            sorted(accounts),
            sorted({one.user for one in reservations if one.requests_per_minute}),
            monday=budgets.window_start("week", today).isoformat(),
            since=min(one.started for one in reservations) - _MINUTE,
            under_way=bool(accounts) or any(one.concurrent_streams for one in reservations),
        )
        self._spent = found.spent
        self._started = found.started
        for one in found.under_way:
            self._add_stream(one.user, one.groups, one.tokens, one.nanos)

    def admit(self, reservation: Reservation) -> Reservation | GatewayError:
        """Admit a request, and return what it reserves; or return why it is refused."""
        standings = self._standings(reservation)
        if refusal := self._refusal(reservation, standings):
            return refusal
        admitted = _bounded(reservation, standings)
        amounts = (admitted.reserved_tokens, admitted.reserved_nanos or 0)
        self._add_stream(admitted.user, admitted.groups, *amounts)
        self._started[admitted.user] += 1
        return admitted

    def refusal(self, reservation: Reservation) -> GatewayError | None:
        """Return why a request is refused; None if it may start."""
        return self._refusal(reservation, self._standings(reservation))

    def _refusal(
        self, reservation: Reservation, standings: Iterable[_Standing]
    ) -> GatewayError | None:
        user, per_minute = reservation.user, reservation.requests_per_minute
        if per_minute and self._started[user] >= per_minute:
            return _too_many_requests(per_minute, self._milliseconds_to_wait(reservation))
        streams = reservation.concurrent_streams
        if streams and self._streams[user] >= streams:
            return _too_many_streams(streams)
        now = datetime.fromtimestamp(reservation.started / 1000, UTC)
        for standing in standings:
            if refusal := budgets.refusal(*standing, now):
                return refusal
        return None

    def _standings(self, reservation: Reservation) -> list[_Standing]:
        """Return how the budgets stand that a request counts for."""
        today = day_of(reservation.started)
        return [
            _Standing(budget, account, *self._spent_of(budget, account, reservation, today))
            for account in budgets.accounts(reservation.user, reservation.groups)
            for budget in budgets.applicable(self._budgets, account)
        ]

    def _spent_of(
        self, budget: Budget, account: Account, reservation: Reservation, today: date
    ) -> tuple[Spent, Spent]:
        """Return the tokens and the nanos that are spent of a budget."""
        first_day = budgets.window_start(budget.window, today)
        start = first_day.isoformat() if first_day else ""
        period = "day" if budget.window in ("day", "week") else "month"
        tokens = nanos = 0
        for sums in self._spent.get(account, ()):
            if sums.period == period and sums.start >= start:
                tokens += sums.tokens
                nanos += sums.nanos
        reserved = self._reserved.get(account, (0, 0))
        own = self._own.get((account, reservation.user), (0, 0))
        return (
            Spent(tokens, reserved[0], own[0], reservation.fair_tokens),
            Spent(nanos, reserved[1], own[1], reservation.fair_nanos),
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

    def _milliseconds_to_wait(self, reservation: Reservation) -> int:
        """Return the time until this user may start another request."""
        assert reservation.requests_per_minute is not None
        values = {"user": reservation.user, "offset": reservation.requests_per_minute - 1}
        started = self._connection.scalar(_LAST_WITHIN_LIMIT, values)
        return (started or reservation.started) + _MINUTE - reservation.started


def _bounded(reservation: Reservation, standings: Iterable[_Standing]) -> Reservation:
    """Return the reservation, reduced to the room that its budgets have."""
    reserved_tokens, reserved_nanos = reservation.reserved_tokens, reservation.reserved_nanos
    for standing in standings:
        token_room, nano_room = budgets.room(*standing)
        if token_room is not None:
            reserved_tokens = min(reserved_tokens, token_room)
        if nano_room is not None and reserved_nanos is not None:
            reserved_nanos = min(reserved_nanos, nano_room)
    if (reserved_tokens, reserved_nanos) == (
        reservation.reserved_tokens,
        reservation.reserved_nanos,
    ):
        return reservation
    return replace(
        reservation,
        prompt_tokens=min(reservation.prompt_tokens, reserved_tokens),
        reserved_tokens=reserved_tokens,
        reserved_nanos=reserved_nanos,
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
