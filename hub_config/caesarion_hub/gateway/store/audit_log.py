"""
The audit log: records in a hash chain, appended, cut and verified.

Called by ``ledger`` within its exclusive transaction, by the pages, and by the ``audit``
command. A record is JSON; its hash is SHA-256 over the hash before it and the record, so a
record that is changed, left out or inserted breaks the chain after it. A chain does not
show by itself that its end was cut off: keep the last hash elsewhere, and compare.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, select

from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.commands import AuditEntry, OutcomeReport, milliseconds, plain

START_HASH = "0" * 64
"""The hash before the first record."""

Head = tuple[int, str]
"""The number of the last record and its hash."""

CALL_LENGTH = 255
"""Characters of a call's id that are kept; of a longer one its beginning and its hash."""

_COLUMNS = ("number", "made", "kind", "user", "conversation", "call")
_BATCH = 500  # records that a verification holds in memory
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


class BrokenChainError(Exception):
    """The chain is broken; ``str`` of it names the first record where it is."""


def make_record(entry: AuditEntry, number: int, made: int, previous: str) -> AuditRecord:
    """Return the record of ``entry``; ``previous`` is the hash of the record before it."""
    call = call_key(entry.call)
    columns = (number, made, entry.kind, entry.user, entry.conversation, call)
    fields = {**entry.fields, **dict(zip(_COLUMNS, columns, strict=True))}
    if entry.call_number is not None:
        fields["call_number"] = entry.call_number
    record = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return AuditRecord(*columns, record, previous, _hash(previous, record), entry.call_number)


def call_key(call: str) -> str:
    """Return the id of a tool call as the audit keeps it: a long one by its hash."""
    key = plain(call, len(call))
    if len(key) <= CALL_LENGTH:
        return key
    return f"{key[: CALL_LENGTH - 65]}:{hashlib.sha256(key.encode()).hexdigest()}"


def verify_chain(records: Iterable[AuditRecord], cuts: Mapping[int, str]) -> Iterator[AuditRecord]:
    """
    Yield ``records``, which come in order of their numbers, as long as the chain holds.

    ``cuts`` are the hashes of the records that retention cuts ended at, by number. Raises
    :class:`BrokenChainError` for the first record that breaks the chain.
    """
    before: AuditRecord | None = None
    for one in records:
        if before is not None:
            previous, number = before.hash, before.number + 1
        elif one.number == 1:
            previous, number = START_HASH, 1
        else:
            previous, number = cuts.get(one.number - 1, ""), one.number
        if one.number != number:
            raise BrokenChainError(f"Record {number} is missing: record {one.number} follows.")
        if not previous:
            raise BrokenChainError(
                f"Record {one.number} is the first, and no cut says that the records "
                "before it were deleted."
            )
        if one.previous != previous:
            raise BrokenChainError(f"Record {one.number} does not follow the one before it.")
        _check_content(one)
        yield one
        before = one


def head(connection: Connection) -> Head:
    """Return where the chain ends."""
    audit = tables.audit.c
    last = connection.execute(
        select(audit.number, audit.hash).order_by(audit.number.desc()).limit(1)
    ).first()
    return (last[0], last[1]) if last else (0, START_HASH)


def append(connection: Connection, entries: Iterable[AuditEntry]) -> Head:
    """Append records and return where the chain ends now."""
    number, previous = head(connection)
    rows: list[dict[str, Any]] = []
    for entry in entries:
        record = make_record(entry, number + 1, milliseconds(), previous)
        number, previous = record.number, record.hash
        rows.append(asdict(record))
    if rows:
        connection.execute(tables.audit.insert(), rows)
    return number, previous


def cut(connection: Connection, before: int, by: str) -> int:
    """Delete the records made before a moment, and record that; return the last one's number."""
    audit = tables.audit.c
    last = connection.execute(
        select(audit.number, audit.hash)
        .where(audit.made < before)
        .order_by(audit.number.desc())
        .limit(1)
    ).first()
    if not last:
        return 0
    append(connection, [AuditEntry("cut", by, fields={"cut_to": last[0], "cut_hash": last[1]})])
    connection.execute(delete(tables.audit).where(audit.number <= last[0]))
    return int(last[0])


def append_outcomes(connection: Connection, report: OutcomeReport) -> tuple[Head, int]:
    """
    Append the outcomes of calls that have none yet; return the chain's head, and how many.

    Providers repeat ids of calls, in one answer and in later ones: an outcome belongs to the
    latest answer with such a call, and in it to the first call without an outcome.
    """
    waiting: dict[str, list[_Call]] = {}
    entries = []
    for one in report.outcomes:
        key = call_key(one.call)
        if key not in waiting:
            waiting[key] = _calls_without_outcome(connection, report.user, key)
        if waiting[key]:
            call = waiting[key].pop(0)
            fields = {
                "server": report.server,
                "reported_by": "the user's server",
                "outcome": one.outcome,
                "approval": one.approval,
                "approver": one.approver,
            }
            entries.append(
                AuditEntry("outcome", report.user, call.conversation, key, fields, call.number)
            )
    return append(connection, entries), len(entries)


@dataclass(frozen=True)
class _Call:
    """A recorded call, and the answer that asked for it."""

    number: int
    conversation: str
    answer: str


def _calls_without_outcome(connection: Connection, user: str, call: str) -> list[_Call]:
    """Return the calls of this id without an outcome: the latest answer's first, in order."""
    audit = tables.audit.c
    mine = (audit.user == user, audit.call == call)
    rows = connection.execute(
        select(audit.number, audit.conversation, audit.record)
        .where(*mine, audit.kind == "call", audit.call_number.is_(None))
        .order_by(audit.number.desc())
        .limit(_SAME_CALLS)
    ).all()
    outcomes = (audit.kind == "outcome", audit.call_number.in_([row.number for row in rows]))
    done = set(connection.scalars(select(audit.call_number).where(*mine, *outcomes)))
    answers: dict[str, list[_Call]] = {}
    for row in rows:
        if row.number not in done:
            answer = str(json.loads(row.record).get("request", ""))
            found = _Call(row.number, row.conversation, answer)
            answers.setdefault(answer, []).insert(0, found)
    return [found for calls in answers.values() for found in calls]


def verify(connection: Connection) -> Iterator[AuditRecord]:
    """Yield the records in order; raise BrokenChainError at the first that breaks the chain."""
    audit = tables.audit
    cuts: dict[int, str] = {}
    for record in connection.scalars(select(audit.c.record).where(audit.c.kind == "cut")):
        fields = json.loads(record)
        cuts[fields["cut_to"]] = fields["cut_hash"]
    rows = connection.execution_options(yield_per=_BATCH).execute(
        select(audit).order_by(audit.c.number)
    )
    yield from verify_chain((AuditRecord(**row._mapping) for row in rows), cuts)


def verification(connection: Connection) -> tuple[bool, str]:
    """Verify the chain; return whether it is whole, and that in words."""
    count, last = 0, (0, START_HASH)
    try:
        for one in verify(connection):
            count, last = count + 1, (one.number, one.hash)
    except BrokenChainError as error:
        return False, f"The audit is broken. {error}"
    if not count:
        return True, "The audit is empty."
    return True, f"The audit is whole. Its records: {count}; number {last[0]}'s hash: {last[1]}"


def _check_content(one: AuditRecord) -> None:
    if one.hash != _hash(one.previous, one.record):
        raise BrokenChainError(f"Record {one.number} was changed: its hash does not fit.")
    fields = json.loads(one.record)
    # Outcomes of before version 0004 of the tables do not name their call: the migration did.
    names = (*_COLUMNS, "call_number") if "call_number" in fields else _COLUMNS
    for name in names:
        if fields.get(name) != getattr(one, name):
            raise BrokenChainError(f"Record {one.number} was changed: its column '{name}' differs.")


def _hash(previous: str, record: str) -> str:
    return hashlib.sha256(f"{previous}\n{record}".encode()).hexdigest()
