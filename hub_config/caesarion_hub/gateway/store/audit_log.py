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

from sqlalchemy import Connection, delete, select

from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.commands import AuditEntry, milliseconds

START_HASH = "0" * 64
"""The hash before the first record."""

Head = tuple[int, str]
"""The number of the last record and its hash."""

_COLUMNS = ("number", "made", "kind", "user", "conversation", "call")
_BATCH = 500  # records that a verification holds in memory


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


class BrokenChainError(Exception):
    """The chain is broken; ``str`` of it names the first record where it is."""


def make_record(entry: AuditEntry, number: int, made: int, previous: str) -> AuditRecord:
    """Return the record of ``entry``; ``previous`` is the hash of the record before it."""
    columns = (number, made, entry.kind, entry.user, entry.conversation, entry.call)
    record = json.dumps(
        {**entry.fields, **dict(zip(_COLUMNS, columns, strict=True))},
        sort_keys=True,
        separators=(",", ":"),
    )
    return AuditRecord(*columns, record, previous, _hash(previous, record))


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
    rows = []
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


def calls_without_outcome(connection: Connection, user: str, calls: Iterable[str]) -> set[str]:
    """Return those of ``calls`` that a model asked this user's server for, without an outcome."""
    audit = tables.audit.c
    named = (audit.user == user, audit.call.in_([call for call in calls if call]))
    rows = connection.execute(select(audit.call, audit.kind).where(*named)).all()
    asked = {call for call, kind in rows if kind == "call"}
    return asked - {call for call, kind in rows if kind == "outcome"}


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
    yield from verify_chain((AuditRecord(*row) for row in rows), cuts)


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
    for name in _COLUMNS:
        if fields.get(name) != getattr(one, name):
            raise BrokenChainError(f"Record {one.number} was changed: its column '{name}' differs.")


def _hash(previous: str, record: str) -> str:
    return hashlib.sha256(f"{previous}\n{record}".encode()).hexdigest()
