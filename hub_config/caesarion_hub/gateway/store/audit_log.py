"""
The audit log: records in a hash chain, signed, appended and cut.

Called by ``ledger`` within its exclusive transaction, and by the ``audit`` command;
``audit_verification`` verifies. A record is JSON; its hash is SHA-256 over the hash before it
and the record, so a record that is changed, left out or inserted breaks the chain after it.
Its signature is over its hash, by a key that is not in the database.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Row, delete, select

from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.commands import (
    AuditEntry,
    ChangeDecision,
    Outcome,
    OutcomeReport,
    milliseconds,
    plain,
)

if TYPE_CHECKING:
    from caesarion_hub.gateway.store.audit_key import AuditKey

START_HASH = "0" * 64
"""The hash before the first record."""

Head = tuple[int, str]
"""The number of the last record and its hash."""

COLUMNS = ("number", "made", "kind", "user", "conversation", "call")
"""Columns that are repeated inside the signed JSON."""

CALL_LENGTH = 255
"""Characters of a call's id that are kept; of a longer one its beginning and its hash."""

UNVERIFIED = " (unverified)"
"""Follows the name of who decided about a change, where only the server's token says so."""

_SAME_CALLS = 100  # calls of one id, the latest, that an outcome may belong to; made up


@dataclass(frozen=True)
class AuditRecord:
    """A record as it lies in the database; the columns beside ``record`` are for searching."""

    number: int
    made: int
    kind: str
    user: str
    conversation: str
    call: str
    record: str
    previous: str
    hash: str
    call_number: int | None = None
    signature: str | None = None


class AuditLog:
    """The audit of a database; without a ``key`` that signs, new records are not signed."""

    def __init__(self, key: "AuditKey | None" = None) -> None:
        self._key = key if key and key.signs else None

    def append(self, connection: Connection, entries: Iterable[AuditEntry]) -> Head:
        """Append records and return the chain's head."""
        number, previous = head(connection)
        rows: list[dict[str, Any]] = []
        for entry in entries:
            record = self.make_record(entry, number + 1, milliseconds(), previous)
            number, previous = record.number, record.hash
            rows.append(asdict(record))
        if rows:
            connection.execute(tables.audit.insert(), rows)
        return number, previous

    def make_record(self, entry: AuditEntry, number: int, made: int, previous: str) -> AuditRecord:
        """Return the record of ``entry``; ``previous`` is the hash of the record before it."""
        columns = (number, made, entry.kind, entry.user, entry.conversation, call_key(entry.call))
        fields = {**entry.fields, **dict(zip(COLUMNS, columns, strict=True))}
        if entry.call_number is not None:
            fields["call_number"] = entry.call_number
        record = canonical(fields)
        digest = hash_of(previous, record)
        signature = self._key.sign(digest) if self._key else None
        return AuditRecord(*columns, record, previous, digest, entry.call_number, signature)

    def append_outcomes(self, connection: Connection, report: OutcomeReport) -> tuple[Head, int]:
        """
        Append the outcomes of calls that have none yet; return the chain's head, and how many.

        Providers repeat ids of calls, in one answer and in later ones: an outcome belongs to
        the answer whose receipt it names, and in it to the first such call without an outcome.
        """
        waiting: dict[tuple[str, str], list[_Call]] = {}
        entries = []
        for outcome in report.outcomes:
            key = call_key(outcome.call), outcome.receipt_sha256
            if key not in waiting:
                waiting[key] = _calls_without_outcome(connection, report.user, *key)
            if waiting[key]:
                entries.append(_outcome_entry(report, outcome, waiting[key].pop(0)))
        self.append(connection, entries)
        later = [_decision_entry(connection, report, one) for one in report.decisions]
        return self.append(connection, later), len(entries)

    def announce_key(self, connection: Connection) -> None:
        """Append a record with the key, unless the last record is signed with it already."""
        if self._key is None:
            return
        last = last_record(connection)
        if last is None or not self._key.made(last.hash, last.signature or ""):
            fields = {"public_key": self._key.public_pem()}
            self.append(connection, [AuditEntry("key", "gateway", fields=fields)])

    def cut(self, connection: Connection, before: int, by: str) -> int:
        """Delete the records made before a moment, and record that; return the last number."""
        last = last_record(connection, tables.audit.c.made < before)
        if not last:
            return 0
        fields = {"cut_to": last.number, "cut_hash": last.hash}
        self.append(connection, [AuditEntry("cut", by, fields=fields)])
        connection.execute(delete(tables.audit).where(tables.audit.c.number <= last.number))
        return int(last.number)


def head(connection: Connection) -> Head:
    """Return where the chain ends."""
    last = last_record(connection)
    return (last.number, last.hash) if last else (0, START_HASH)


def last_record(
    connection: Connection, *where: ColumnElement[bool]
) -> Row[int, str, str | None] | None:
    """Return number, hash and signature of the last record, of those ``where`` it holds."""
    audit = tables.audit.c
    columns = select(audit.number, audit.hash, audit.signature).where(*where)
    return connection.execute(columns.order_by(audit.number.desc()).limit(1)).first()


def canonical(fields: Any) -> str:
    """Return a record's JSON in the one form that is hashed: ASCII, sorted keys, no blanks."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def hash_of(previous: str, record: str) -> str:
    """Return the hash of a record after the one whose hash is ``previous``."""
    return hashlib.sha256(f"{previous}\n{record}".encode()).hexdigest()


def call_key(call: str) -> str:
    """Return the id of a tool call as the audit keeps it: a long one by its hash."""
    key = plain(call, len(call))
    if len(key) <= CALL_LENGTH:
        return key
    return f"{key[: CALL_LENGTH - 65]}:{hashlib.sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True)
class _Call:
    """A recorded call."""

    number: int
    conversation: str


def _calls(connection: Connection, user: str, call: str, receipt_sha256: str) -> list[_Call]:
    """Return the calls of this id in the answer whose receipt has this hash, in order."""
    audit = tables.audit.c
    rows = connection.execute(
        select(audit.number, audit.conversation, audit.record)
        .where(audit.user == user, audit.call == call)
        .where(audit.kind == "call", audit.call_number.is_(None))
        .order_by(audit.number.desc())
        .limit(_SAME_CALLS)
    ).all()
    return [
        _Call(row.number, row.conversation)
        for row in reversed(rows)
        if json.loads(row.record).get("receipt_sha256") == receipt_sha256
    ]


def _calls_without_outcome(
    connection: Connection, user: str, call: str, receipt_sha256: str
) -> list[_Call]:
    audit = tables.audit.c
    calls = _calls(connection, user, call, receipt_sha256)
    outcomes = (audit.kind == "outcome", audit.call_number.in_([one.number for one in calls]))
    mine = (audit.user == user, audit.call == call)
    done = set(connection.scalars(select(audit.call_number).where(*mine, *outcomes)))
    return [one for one in calls if one.number not in done]


def _outcome_entry(report: OutcomeReport, outcome: Outcome, call: _Call) -> AuditEntry:
    fields: dict[str, Any] = {
        "server": report.server,
        "reported_by": "the user's server",
        "outcome": outcome.outcome,
        "approval": outcome.approval,
        "approver": outcome.approver,
    }
    if outcome.change is not None:
        fields["change"] = outcome.change
    return AuditEntry("outcome", report.user, call.conversation, outcome.call, fields, call.number)


def _decision_entry(
    connection: Connection, report: OutcomeReport, decision: ChangeDecision
) -> AuditEntry:
    key = call_key(decision.call)
    is_verified = _changed(connection, report.user, key, decision)
    change = dict(decision.change)
    if change["by"] and not is_verified:
        change["by"] += UNVERIFIED
    fields = {
        "server": report.server,
        "reported_by": "the user's server" if is_verified else "the user's server, or its kernels",
        "change": change,
    }
    call = key if is_verified else ""
    return AuditEntry("change", report.user, decision.conversation, call, fields)


def _changed(connection: Connection, user: str, call: str, decision: ChangeDecision) -> bool:
    """Return whether a call with the decision's receipt is on record to have changed its cell."""
    calls = _calls(connection, user, call, decision.receipt_sha256)
    audit = tables.audit.c
    outcomes = connection.scalars(
        select(audit.record)
        .where(audit.user == user, audit.call == call, audit.kind == "outcome")
        .where(audit.call_number.in_([one.number for one in calls]))
    )
    changes = [json.loads(record).get("change") or {} for record in outcomes]
    return any(
        all(one.get(name) == decision.change[name] for name in ("path", "cell")) for one in changes
    )
