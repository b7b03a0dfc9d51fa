"""
The ledger: requests reserved and settled, budgets edited, the audit appended.

Called by ``write_queue``, a batch of commands at a time and never two at once; calls ``admission``,
``settlements`` and ``audit_log``. Invariant: each batch is one exclusive transaction, so any
number of replicas check a budget and draw on it in one step. What answers under way may
still spend is the sum over their open rows, so a crash leaves nothing else to repair.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Insert, delete, select

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.budgets import Budget, Key
from caesarion_hub.gateway.store import audit_log, tables
from caesarion_hub.gateway.store.admission import Admission
from caesarion_hub.gateway.store.audit_log import START_HASH, AuditLog, Head
from caesarion_hub.gateway.store.commands import (
    AuditEntries,
    AuditEntry,
    BudgetEdit,
    Command,
    Deregistration,
    Heartbeat,
    OutcomeReport,
    RequestRefusal,
    Reservation,
    Result,
    Settlement,
    day_of,
    milliseconds,
)
from caesarion_hub.gateway.store.database import Database
from caesarion_hub.gateway.store.prepared import Prepared
from caesarion_hub.gateway.store.settlements import settle, settle_lost

if TYPE_CHECKING:
    from caesarion_hub.gateway.store.audit_key import AuditKey

_DAY = 86_400_000
_RESERVE = Prepared(
    tables.request.insert(),
    [
        column.name
        for column in tables.request.c
        if column.name not in ("finished", "nanos", "first_ms", "total_ms")
    ],
)


class Ledger:
    """
    The ledger as one replica sees it; ``configured`` are the budgets of the values.

    ``budgets`` are the budgets in force, by key: those of the values, with the edits made on
    the pages. ``head`` is the audit's. Both are as of this replica's last batch.
    """

    def __init__(
        self,
        database: Database,
        replica: str,
        configured: Iterable[Budget],
        audit_key: "AuditKey | None" = None,
    ) -> None:
        self.database = database
        self.audit_key = audit_key
        self._replica = replica
        self._configured = {budget.key: budget for budget in configured}
        self.budgets = dict(self._configured)
        self.head: Head = (0, START_HASH)
        self._audit = AuditLog(audit_key)

    @property
    def is_embedded(self) -> bool:
        """Whether the database is SQLite, whose transactions need not wait for a server."""
        return self.database.is_sqlite

    def apply(self, commands: Sequence[Command], *, waits: bool = True) -> list[Result]:
        """
        Apply all commands or none: settle first, reserve last. Return a result for each.

        Unless it ``waits``, raises TimeoutError or OperationalError while somebody else writes.
        """
        results: list[Result] = [None] * len(commands)
        in_force, head = self.budgets, self.head
        with self.database.exclusive(waits=waits) as connection:
            settle(connection, [one for one in commands if isinstance(one, Settlement)])
            _count_refusals(
                connection, [one for one in commands if isinstance(one, RequestRefusal)]
            )
            for index, command in enumerate(commands):
                match command:
                    case AuditEntries():
                        head = self._audit.append(connection, command.entries)
                    case OutcomeReport():
                        head, results[index] = self._audit.append_outcomes(connection, command)
                    case BudgetEdit():
                        head = self._edit_budget(connection, command)
                        in_force = self._budgets_in_force(connection)
                    case Heartbeat():
                        self._heartbeat(connection, command)
                        in_force = self._budgets_in_force(connection)
                        head = audit_log.head(connection)
                    case Deregistration():
                        mine = tables.replica.c.id == self._replica
                        connection.execute(delete(tables.replica).where(mine))
            reservations = {
                index: one for index, one in enumerate(commands) if isinstance(one, Reservation)
            }
            for index, admitted in self._reserve(connection, in_force, reservations).items():
                results[index] = admitted
        self.budgets, self.head = in_force, head
        return results

    def _reserve(
        self,
        connection: Connection,
        in_force: dict[Key, Budget],
        reservations: Mapping[int, Reservation],
    ) -> dict[int, Reservation | GatewayError]:
        """Reserve what is admitted; return that, and the refusals of the others."""
        if not reservations:
            return {}
        admission = Admission(connection, in_force, list(reservations.values()))
        results = {index: admission.admit(one) for index, one in reservations.items()}
        rows = [
            _reserved(one, self._replica)
            for one in results.values()
            if isinstance(one, Reservation)
        ]
        if rows:
            _RESERVE.run(connection, *rows)
        return results

    def _heartbeat(self, connection: Connection, heartbeat: Heartbeat) -> None:
        now, replica = milliseconds(), tables.replica
        seen = {"id": self._replica, "seen": now}
        connection.execute(_upsert(connection.dialect.name, "replica", "seen"), seen)
        connection.execute(delete(replica).where(replica.c.seen < now - heartbeat.lease))
        settle_lost(connection, now)
        _delete_expired(connection, heartbeat, now)
        if not self.head[0]:  # the first heartbeat
            self._audit.announce_key(connection)
        if heartbeat.audit_retention_days:
            oldest = now - heartbeat.audit_retention_days * _DAY
            self._audit.cut(connection, oldest, "gateway")

    def _edit_budget(self, connection: Connection, edit: BudgetEdit) -> Head:
        fields = asdict(edit.budget)
        before = self._budgets_in_force(connection).get(edit.budget.key)
        columns = ("tokens", "nanos", "edited", "editor")
        connection.execute(
            _upsert(connection.dialect.name, "budget_edit", *columns),
            {**fields, "edited": milliseconds(), "editor": edit.editor},
        )
        fields["before"] = before and {"tokens": before.tokens, "nanos": before.nanos}
        return self._audit.append(connection, [AuditEntry("budget", edit.editor, fields=fields)])

    def _budgets_in_force(self, connection: Connection) -> dict[Key, Budget]:
        edits = tables.budget_edit.c
        in_force = dict(self._configured)
        for row in connection.execute(
            select(edits.scope, edits.name, edits.window, edits.tokens, edits.nanos)
        ):
            budget = Budget(*row)
            if budget.tokens is None and budget.nanos is None:
                in_force.pop(budget.key, None)
            else:
                in_force[budget.key] = budget
        return in_force


@cache
def _upsert(dialect: str, name: str, *columns: str) -> Insert:
    """Return the statement that writes a row, or ``columns`` of the one with its primary key."""
    table = tables.metadata.tables[name]
    insert = tables.insert(dialect, table)
    return insert.on_conflict_do_update(
        index_elements=list(table.primary_key),
        set_={column: insert.excluded[column] for column in columns},
    )


@cache
def _count_refusal(dialect: str) -> Insert:
    refusal = tables.refusal
    insert = tables.insert(dialect, refusal)
    latest = {name: insert.excluded[name] for name in ("last", "model", "message")}
    return insert.on_conflict_do_update(
        index_elements=list(refusal.primary_key),
        set_=latest | {"requests": refusal.c.requests + insert.excluded.requests},
    )


def _count_refusals(connection: Connection, refusals: Sequence[RequestRefusal]) -> None:
    rows = [asdict(one) | {"day": day_of(one.last).isoformat(), "requests": 1} for one in refusals]
    if rows:
        connection.execute(_count_refusal(connection.dialect.name), rows)


def _delete_expired(connection: Connection, heartbeat: Heartbeat, now: int) -> None:
    """Delete what is older than its retention; sums of months stay, for budgets of all time."""
    request, spending = tables.request, tables.spending
    oldest = now - heartbeat.retention_days * _DAY
    first_day = day_of(oldest).isoformat()
    connection.execute(
        delete(request).where(request.c.started < oldest, request.c.finished.is_not(None))
    )
    connection.execute(
        delete(spending).where(spending.c.period == "day", spending.c.start < first_day)
    )
    connection.execute(delete(tables.refusal).where(tables.refusal.c.day < first_day))


def _reserved(reservation: Reservation, replica: str) -> dict[str, Any]:
    return {
        "id": reservation.id,
        "replica": replica,
        "started": reservation.started,
        "user": reservation.user,
        "server": reservation.server,
        "groups": json.dumps(reservation.groups),
        "model": reservation.model,
        "upstream": "",
        "conversation": reservation.conversation,
        "message": reservation.message,
        "reserved_tokens": reservation.reserved_tokens,
        "reserved_nanos": reservation.reserved_nanos,
        "prompt_tokens": reservation.prompt_tokens,
        "completion_tokens": 0,
        "cached_tokens": 0,
        "estimated": True,
        "status": 0,
        "error": "",
        "finish_reason": "",
        "calls": 0,
    }
