"""
The ledger: requests opened and settled, budgets kept, the audit appended.

Called by ``journal`` in its thread, a batch of jobs at a time; calls ``room``
and ``recording``. Its law: each batch is one exclusive transaction, so a budget
is looked at and drawn on in one step, by however many replicas. What answers
under way may still spend is summed up from their open rows; nothing else has to
be put right after a crash.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from caesarion_hub.gateway.policy import budgets
from caesarion_hub.gateway.policy.budgets import Budget
from caesarion_hub.gateway.store import audit_log, tables
from caesarion_hub.gateway.store.admission import Room
from caesarion_hub.gateway.store.audit_chain import START, Entry
from caesarion_hub.gateway.store.commands import (
    Append,
    Beat,
    Closing,
    Edit,
    Job,
    Leave,
    Opening,
    Refusal,
    Result,
    day_of,
    milliseconds,
)
from caesarion_hub.gateway.store.database import Database
from caesarion_hub.gateway.store.statement import Statement

LOST = "gateway_lost"
"""The error of a request whose gateway ended before it was settled."""

_DAY = 86_400_000

_CLOSED = (
    *("finished", "total_ms", "first_ms", "status", "error", "finish_reason", "upstream"),
    *("prompt_tokens", "completion_tokens", "cached_tokens", "estimated", "nanos", "calls"),
)
_CLOSE = Statement(
    update(tables.request)
    .where(tables.request.c.id == bindparam("closed_id"), tables.request.c.finished.is_(None))
    .values({name: bindparam(name) for name in _CLOSED})
)
_OPEN = Statement(tables.request.insert())


@dataclass
class _Change:
    """What a batch adds to one row of ``spending``."""

    requests: int = 0
    failures: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    nanos: int = 0
    unpriced_tokens: int = 0


class Ledger:
    """
    One replica's hand in the ledger. ``given`` are the operator's budgets.

    ``budgets`` are those with the edits in place, ``head`` is where the audit
    ends; both are as this replica last saw them.
    """

    def __init__(self, database: Database, replica: str, given: Iterable[Budget]) -> None:
        self.database = database
        self._replica = replica
        self._given = {budget.key: budget for budget in given}
        self.budgets = dict(self._given)
        self.head: audit_log.Head = (0, START)
        self._statements = _Statements(sqlite if database.is_sqlite else postgresql)

    def apply(self, jobs: Sequence[Job]) -> list[Result]:
        """Do all jobs or none of them: settle, look after things, record, then open."""
        results: list[Result] = [None] * len(jobs)
        kept, head = self.budgets, self.head
        with self.database.exclusive() as connection:
            self._settle(connection, [job for job in jobs if isinstance(job, Closing)])
            self._refuse(connection, [job for job in jobs if isinstance(job, Refusal)])
            for job in jobs:
                match job:
                    case Append():
                        head = audit_log.append(connection, job.entries)
                    case Edit():
                        head = self._change(connection, job)
                        kept = self._with_edits(connection)
                    case Beat():
                        self._beat(connection, job)
                        kept, head = self._with_edits(connection), audit_log.head(connection)
                    case Leave():
                        gone = tables.replica.c.id == self._replica
                        connection.execute(delete(tables.replica).where(gone))
            openings = [job for job in jobs if isinstance(job, Opening)]
            if openings:
                room = Room(connection, kept, openings)
                results = [room.take(job) if isinstance(job, Opening) else None for job in jobs]
                self._open(
                    connection,
                    [
                        job
                        for job, refusal in zip(jobs, results, strict=True)
                        if isinstance(job, Opening) and refusal is None
                    ],
                )
        self.budgets, self.head = kept, head
        return results

    def _open(self, connection: Connection, openings: Sequence[Opening]) -> None:
        if openings:
            rows = [_opened(opening, self._replica) for opening in openings]
            _OPEN.change_each(connection, rows)

    def _settle(self, connection: Connection, closings: Sequence[Closing]) -> None:
        """Close what is open; what was settled before, such as after a lease ran out, stays."""
        settled = [closing for closing in closings if _CLOSE.change(connection, _closed(closing))]
        if settled:
            self._statements.add.change_each(connection, _spending(settled))

    def _refuse(self, connection: Connection, refusals: Sequence[Refusal]) -> None:
        rows = [
            asdict(one) | {"day": day_of(one.last).isoformat(), "requests": 1} for one in refusals
        ]
        if rows:
            connection.execute(self._statements.refuse, rows)

    def _beat(self, connection: Connection, beat: Beat) -> None:
        now = milliseconds()
        replica, request = tables.replica, tables.request
        connection.execute(self._statements.live, {"id": self._replica, "seen": now})
        connection.execute(delete(replica).where(replica.c.seen < now - beat.lease))
        lost = connection.execute(
            select(request).where(
                request.c.finished.is_(None), request.c.replica.not_in(select(replica.c.id))
            )
        ).all()
        self._settle(connection, [_lost(row, now) for row in lost])
        _forget(connection, beat, now)

    def _change(self, connection: Connection, job: Edit) -> audit_log.Head:
        said = asdict(job.budget)
        row = {**said, "edited": milliseconds(), "editor": job.editor}
        before = self._with_edits(connection).get(job.budget.key)
        connection.execute(self._statements.edit, row)
        said["before"] = before and {"tokens": before.tokens, "nanos": before.nanos}
        return audit_log.append(connection, [Entry("budget", job.editor, said=said)])

    def _with_edits(self, connection: Connection) -> dict[budgets.Key, Budget]:
        edits = tables.budget_edit.c
        kept = dict(self._given)
        for row in connection.execute(
            select(edits.scope, edits.name, edits.window, edits.tokens, edits.nanos)
        ):
            budget = Budget(*row)
            if budget.tokens is None and budget.nanos is None:
                kept.pop(budget.key, None)
            else:
                kept[budget.key] = budget
        return kept


class _Statements:
    """The statements that each kind of database spells in its own way."""

    def __init__(self, dialect: Any) -> None:
        spending = tables.spending
        add = dialect.insert(spending)
        sums = {name: spending.c[name] + add.excluded[name] for name in asdict(_Change())}
        self.add = Statement(
            add.on_conflict_do_update(index_elements=list(spending.primary_key), set_=sums)
        )
        refused = dialect.insert(tables.refusal)
        last = {name: refused.excluded[name] for name in ("last", "model", "message")}
        self.refuse = refused.on_conflict_do_update(
            index_elements=list(tables.refusal.primary_key),
            set_=last | {"requests": tables.refusal.c.requests + refused.excluded.requests},
        )
        live = dialect.insert(tables.replica)
        self.live = live.on_conflict_do_update(
            index_elements=["id"], set_={"seen": live.excluded.seen}
        )
        edit = dialect.insert(tables.budget_edit)
        names = ("tokens", "nanos", "edited", "editor")
        self.edit = edit.on_conflict_do_update(
            index_elements=list(tables.budget_edit.primary_key),
            set_={name: edit.excluded[name] for name in names},
        )


def _forget(connection: Connection, beat: Beat, now: int) -> None:
    """Delete what is older than its retention; months' sums stay, for budgets of all time."""
    request, spending = tables.request, tables.spending
    oldest = now - beat.retention_days * _DAY
    first_day = day_of(oldest).isoformat()
    connection.execute(
        delete(request).where(request.c.started < oldest, request.c.finished.is_not(None))
    )
    connection.execute(
        delete(spending).where(spending.c.period == "day", spending.c.start < first_day)
    )
    connection.execute(delete(tables.refusal).where(tables.refusal.c.day < first_day))
    if beat.audit_retention_days:
        audit_log.cut(connection, now - beat.audit_retention_days * _DAY, "gateway")


def _opened(opening: Opening, replica: str) -> dict[str, Any]:
    return {
        "id": opening.id,
        "replica": replica,
        "started": opening.started,
        "user": opening.user,
        "server": opening.server,
        "groups": json.dumps(opening.groups),
        "model": opening.model,
        "upstream": "",
        "conversation": opening.conversation,
        "message": opening.message,
        "reserved_tokens": opening.reserved_tokens,
        "reserved_nanos": opening.reserved_nanos,
        "prompt_tokens": opening.prompt_tokens,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "estimated": True,
        "status": 0,
        "error": "",
        "finish_reason": "",
        "calls": 0,
    }


def _closed(closing: Closing) -> dict[str, Any]:
    return {
        "closed_id": closing.opening.id,
        "finished": closing.finished,
        # The clock may have been put right meanwhile, by any amount.
        "total_ms": min(max(0, closing.finished - closing.opening.started), 2**31 - 1),
        "first_ms": closing.first_ms,
        "prompt_tokens": closing.prompt_tokens,
        "completion_tokens": closing.completion_tokens,
        "cached_tokens": closing.cached_tokens,
        "estimated": closing.estimated,
        "nanos": closing.nanos,
        "status": closing.status,
        "error": closing.error,
        "finish_reason": closing.finish_reason,
        "upstream": closing.upstream,
        "calls": closing.calls,
    }


def _spending(closings: Iterable[Closing]) -> list[dict[str, Any]]:
    """Return what ``closings`` add to the sums, in an order that all replicas share."""
    changes: dict[tuple[str, ...], _Change] = {}
    for closing in closings:
        opening = closing.opening
        day = day_of(opening.started)
        for scope, name in budgets.accounts(opening.user, opening.groups):
            for period, start in (("day", day), ("month", day.replace(day=1))):
                key = (period, start.isoformat(), scope, name, opening.model)
                _count(changes.setdefault(key, _Change()), closing)
    names = [column.name for column in tables.spending.primary_key]
    return [
        {**dict(zip(names, key, strict=True)), **vars(change)}
        for key, change in sorted(changes.items())
    ]


def _count(change: _Change, closing: Closing) -> None:
    change.requests += 1
    change.failures += closing.status >= 400
    change.prompt_tokens += closing.prompt_tokens
    change.completion_tokens += closing.completion_tokens
    change.cached_tokens += closing.cached_tokens
    change.nanos += closing.nanos or 0
    if closing.nanos is None:
        change.unpriced_tokens += closing.prompt_tokens + closing.completion_tokens


def _lost(row: Row[Any], now: int) -> Closing:
    """Settle a request of a gateway that is gone, as if it had spent all that it reserved."""
    opening = Opening(
        *(row.id, row.started, row.user, row.server, tuple(json.loads(row.groups)), row.model),
        *(row.conversation, row.message, row.prompt_tokens),
        *(row.reserved_tokens, row.reserved_nanos),
    )
    return Closing(
        opening,
        now,
        prompt_tokens=row.prompt_tokens,
        completion_tokens=max(0, row.reserved_tokens - row.prompt_tokens),
        estimated=True,
        nanos=row.reserved_nanos,
        status=500,
        error=LOST,
    )
