"""
Is there room for one more request? What was spent and is reserved, and the limits.

Called by ``ledger`` within its transaction.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from sqlalchemy import Connection, bindparam, func, select

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Account, Budget, Key, Spent
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.commands import Opening, day_of
from caesarion_hub.gateway.store.statement import Statement

_MINUTE = 60_000
_SHORT = 5  # seconds that OpenAI's clients may wait by themselves; made up

_request, _spending = tables.request.c, tables.spending.c
_SPENT = Statement(
    select(
        _spending.period,
        _spending.start,
        func.sum(_spending.prompt_tokens + _spending.completion_tokens),
        func.sum(_spending.nanos),
    )
    .where(
        _spending.scope == bindparam("scope"),
        _spending.name == bindparam("name"),
        (_spending.period == "month")
        | ((_spending.period == "day") & (_spending.start >= bindparam("monday"))),
    )
    .group_by(_spending.period, _spending.start)
)
_OPEN = Statement(
    select(_request.user, _request.groups, _request.reserved_tokens, _request.reserved_nanos).where(
        _request.finished.is_(None)
    )
)
_LATELY = Statement(
    select(func.count()).where(
        _request.user == bindparam("user"), _request.started > bindparam("since")
    )
)
# The one of somebody's requests whose minute must be over before the next one.
_BEFORE = (
    select(_request.started)
    .where(_request.user == bindparam("user"))
    .order_by(_request.started.desc())
    .offset(bindparam("offset"))
    .limit(1)
)


class Room:
    """What some openings find, read at once; those that are let in take from it."""

    def __init__(
        self, connection: Connection, kept: Mapping[Key, Budget], openings: Sequence[Opening]
    ) -> None:
        self._budgets = kept
        self._spent: dict[tuple[Account, str, str], tuple[int, int]] = {}
        self._open: list[tuple[str, tuple[str, ...], int, int]] = []
        self._lately: dict[str, int] = {}
        self._connection = connection
        accounts = {
            account
            for opening in openings
            for account in budgets.accounts(opening.user, opening.groups)
            if any(budgets.applicable(kept, account))
        }
        if accounts:
            self._read_spent(accounts, day_of(max(one.started for one in openings)))
        if accounts or any(opening.at_once for opening in openings):
            self._read_open()
        if any(opening.per_minute for opening in openings):
            self._read_lately(openings)

    def take(self, opening: Opening) -> GatewayError | None:
        """Let a request in, or return why not."""
        refusal = self._refusal(opening)
        if refusal is None:
            reserved = (opening.reserved_tokens, opening.reserved_nanos or 0)
            self._open.append((opening.user, opening.groups, *reserved))
            self._lately[opening.user] = self._lately.get(opening.user, 0) + 1
        return refusal

    def _refusal(self, opening: Opening) -> GatewayError | None:
        if opening.per_minute and self._lately.get(opening.user, 0) >= opening.per_minute:
            return _too_often(opening.per_minute, self._wait(opening))
        mine = sum(user == opening.user for user, _, _, _ in self._open)
        if opening.at_once and mine >= opening.at_once:
            return _too_many(opening.at_once)
        now = datetime.fromtimestamp(opening.started / 1000, UTC)
        for account in budgets.accounts(opening.user, opening.groups):
            for budget in budgets.applicable(self._budgets, account):
                spent = self._spent_of(account, budget, now.date())
                if refusal := budgets.refusal(budget, account, spent, now):
                    return refusal
        return None

    def _spent_of(self, account: Account, budget: Budget, today: date) -> Spent:
        begin = budgets.window_start(budget.window, today)
        period = "day" if budget.window in ("day", "week") else "month"
        spent = [
            amounts
            for (whose, its_period, start), amounts in self._spent.items()
            if (whose, its_period) == (account, period)
            and (begin is None or start >= begin.isoformat())
        ]
        reserved = [
            (tokens, nanos)
            for user, groups, tokens, nanos in self._open
            if account in budgets.accounts(user, groups)
        ]
        return Spent(*_sums(spent), *_sums(reserved))

    def _read_spent(self, accounts: set[Account], today: date) -> None:
        monday = budgets.window_start("week", today)
        assert monday is not None
        for account in accounts:
            asked = {"scope": account[0], "name": account[1], "monday": monday.isoformat()}
            for period, start, tokens, nanos in _SPENT.rows(self._connection, **asked):
                self._spent[account, period, start] = (int(tokens), int(nanos))

    def _read_open(self) -> None:
        for user, groups, tokens, nanos in _OPEN.rows(self._connection):
            self._open.append((user, tuple(json.loads(groups)), tokens, nanos or 0))

    def _read_lately(self, openings: Sequence[Opening]) -> None:
        since = min(opening.started for opening in openings) - _MINUTE
        for user in {opening.user for opening in openings if opening.per_minute}:
            ((self._lately[user],),) = _LATELY.rows(self._connection, user=user, since=since)

    def _wait(self, opening: Opening) -> int:
        """Return the milliseconds until this user may ask again."""
        assert opening.per_minute is not None
        asked = {"user": opening.user, "offset": opening.per_minute - 1}
        before = self._connection.scalar(_BEFORE, asked)
        return (before or opening.started) + _MINUTE - opening.started


def _sums(amounts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(tokens for tokens, _ in amounts), sum(nanos for _, nanos in amounts)


def _too_often(limit: int, wait: int) -> GatewayError:
    seconds = max(1, -(-wait // 1000))
    return GatewayError(
        429,
        "too_many_requests",
        f"You asked {limit} times within a minute, which is your limit. "
        f"Ask again in {seconds} seconds.",
        "rate_limit_error",
        # A client that waits longer by itself leaves its user without a word.
        {"Retry-After": str(seconds), "X-Should-Retry": "true" if seconds <= _SHORT else "false"},
    )


def _too_many(limit: int) -> GatewayError:
    return GatewayError(
        429,
        "too_many_streams",
        f"{limit} of your answers are under way, which is your limit. "
        "Ask again when one has ended.",
        "rate_limit_error",
        {"Retry-After": "2"},
    )
