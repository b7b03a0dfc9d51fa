"""
Settle requests: complete their rows, and add what they used to the sums in ``spending``.

Called by ``ledger`` within its transaction. A request is settled once: what comes later,
such as from a gateway that was taken for dead and was not, changes nothing.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from operator import add
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.commands import Reservation, Settlement, day_of
from caesarion_hub.gateway.store.prepared import Prepared

LOST = "gateway_lost"
"""The error of a request whose gateway ended before it was settled."""

_SETTLED_COLUMNS = (
    *("finished", "total_ms", "first_ms", "status", "error", "finish_reason", "upstream"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "estimated", "nanos", "calls"),
)
_KEY = tuple(column.name for column in tables.spending.primary_key)
_AMOUNTS = tuple(column.name for column in tables.spending.c if column.name not in _KEY)
_COMPLETE = Prepared(
    update(tables.request)
    .where(tables.request.c.id == bindparam("settled_id"), tables.request.c.finished.is_(None))
    .values({name: bindparam(name) for name in _SETTLED_COLUMNS})
)


def settle(connection: Connection, settlements: Iterable[Settlement]) -> None:
    """Settle the requests that are still under way."""
    settled = [one for one in settlements if _COMPLETE.run(connection, _completed(one))]
    if settled:
        _add_to_sums(connection.dialect.name).run(connection, *_sums(settled))


def settle_lost(connection: Connection, now: int) -> None:
    """Settle requests of gateways that are gone, as if each had used all that it reserved."""
    request = tables.request.c
    lost = connection.execute(
        select(tables.request).where(
            request.finished.is_(None), request.replica.not_in(select(tables.replica.c.id))
        )
    )
    settle(connection, [_lost(row, now) for row in lost.all()])


@cache
def _add_to_sums(dialect: str) -> Prepared:
    spending = tables.spending
    insert = tables.insert(dialect, spending)
    return Prepared(
        insert.on_conflict_do_update(
            index_elements=list(spending.primary_key),
            set_={name: spending.c[name] + insert.excluded[name] for name in _AMOUNTS},
        )
    )


def _completed(settlement: Settlement) -> dict[str, Any]:
    return {
        "settled_id": settlement.reservation.id,
        "finished": settlement.finished,
        # The clock may have been set meanwhile, by any amount.
        "total_ms": min(max(0, settlement.finished - settlement.reservation.started), 2**31 - 1),
        "first_ms": settlement.first_ms,
        "prompt_tokens": settlement.prompt_tokens,
        "completion_tokens": settlement.completion_tokens,
        "cached_tokens": settlement.cached_tokens,
        "estimated": settlement.estimated,
        "nanos": settlement.nanos,
        "status": settlement.status,
        "error": settlement.error,
        "finish_reason": settlement.finish_reason,
        "upstream": settlement.upstream,
        "calls": len(settlement.calls),
    }


def _sums(settlements: Sequence[Settlement]) -> list[dict[str, Any]]:
    """Return rows for ``spending``, sorted: in another order two gateways could deadlock."""
    sums: dict[tuple[str, ...], list[int]] = {}
    for settlement in settlements:
        reservation, amounts = settlement.reservation, _amounts(settlement)
        day = day_of(reservation.started)
        month = budgets.window_start("month", day)
        for scope, name in budgets.accounts(reservation.user, reservation.groups):
            for period, start in (("day", day), ("month", month)):
                key = (period, start.isoformat(), scope, name, reservation.model)
                sums[key] = list(map(add, sums[key], amounts)) if key in sums else amounts
    names = _KEY + _AMOUNTS
    return [dict(zip(names, (*key, *sums[key]), strict=True)) for key in sorted(sums)]


def _amounts(settlement: Settlement) -> list[int]:
    """Return what a request adds to a row of ``spending``, in the order of its columns."""
    prompt, completion = settlement.prompt_tokens, settlement.completion_tokens
    has_price = settlement.nanos is not None
    return [
        *(1, int(settlement.status >= 400)),
        *(prompt, completion, settlement.cached_tokens),
        *(settlement.nanos or 0, 0 if has_price else prompt + completion),
    ]


def _lost(row: Row[Any], now: int) -> Settlement:
    reservation = Reservation(
        *(row.id, row.started, row.user, row.server, tuple(json.loads(row.groups)), row.model),
        *(row.conversation, row.message, row.prompt_tokens),
        *(row.reserved_tokens, row.reserved_nanos),
    )
    return Settlement(
        reservation,
        now,
        prompt_tokens=min(row.prompt_tokens, row.reserved_tokens),
        completion_tokens=max(0, row.reserved_tokens - row.prompt_tokens),
        estimated=True,
        nanos=row.reserved_nanos,
        status=500,
        error=LOST,
    )
