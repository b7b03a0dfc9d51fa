"""
Verify the audit: its chain of hashes, its signatures, and an earlier head of it.

Called by ``write_queue`` for the page and at the start, and by the ``audit`` command; reads
records from the database or from an exported file. Without the key nobody can change or
insert a record unseen. That the end was cut off shows by an earlier head, kept elsewhere.
"""

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, select

from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.audit_log import (
    COLUMNS,
    START_HASH,
    AuditRecord,
    Head,
    canonical,
    hash_of,
)

if TYPE_CHECKING:
    from caesarion_hub.gateway.store.audit_key import AuditKey

_BATCH = 500  # records that a verification holds in memory
_RECORD = TypeAdapter(AuditRecord)


class BrokenAuditError(Exception):
    """The audit is broken; ``str`` of it names the first record where it is."""


class Verifier:
    """
    One verification of an audit.

    Without a ``key`` signatures are not checked; ``earlier`` is a head that the audit had.
    """

    def __init__(self, key: "AuditKey | None" = None, earlier: Head | None = None) -> None:
        self._key = key
        self._earlier = earlier
        self._count = 0
        self._head: Head = (0, START_HASH)
        self._begin: Head | None = None  # the last record that a cut must have deleted
        self._unsigned = (0, 0)  # the first and the last record older than the key
        self._is_signed = False

    def verify(self, records: Iterable[AuditRecord], of: str = "") -> tuple[bool, str]:
        """Return whether the audit is whole, and that in sentences that name what it is ``of``."""
        name = f"The audit of {of}" if of else "The audit"
        try:
            for _ in self.verified(records):
                pass
        except BrokenAuditError as error:
            return False, f"{name} is broken. {error}"
        if not self._count:
            return True, f"{name} is empty."
        number, digest = self._head
        return True, (
            f"{name} is whole. Its records: {self._count}; its head: {number}:{digest}. "
            f"{self._signed()}"
        )

    def verified(self, records: Iterable[AuditRecord]) -> Iterator[AuditRecord]:
        """
        Yield ``records``, which come in order.

        Raises :class:`BrokenAuditError` at the first that breaks the audit.
        """
        for record in records:
            if not self._count and record.number != 1:
                self._begin = self._head = (record.number - 1, record.previous)
                self._compare(self._begin)
            self._check_place(record)
            said = _content(record)
            self._check_signature(record)
            self._head = (record.number, record.hash)
            self._compare(self._head)
            if (said.get("cut_to"), said.get("cut_hash")) == self._begin and record.kind == "cut":
                self._begin = None
            self._count += 1
            yield record
        self._check_end()

    def _signed(self) -> str:
        first, last = self._unsigned
        if self._key is None:
            if self._is_signed:
                return "Its signatures were not checked: no key is set."
            return "It is not signed: no key is set."
        if not last:
            return "All records are signed."
        which = f"Record {first} is" if first == last else f"Records {first} to {last} are"
        return f"{which} older than the key and not signed; all others are."

    def _check_place(self, record: AuditRecord) -> None:
        number, previous = self._head
        if record.number != number + 1:
            raise BrokenAuditError(
                f"Record {number + 1} is missing: record {record.number} follows."
            )
        if record.previous != previous:
            raise BrokenAuditError(f"Record {record.number} does not follow the one before it.")

    def _check_signature(self, record: AuditRecord) -> None:
        number = record.number
        if record.signature:
            self._is_signed = True
            if self._key and not self._key.verifies(record.hash, record.signature):
                raise BrokenAuditError(
                    f"Record {number}'s signature does not fit: it was changed, or signed with "
                    "another key. Earlier keys belong in the key's file, after the present one."
                )
        elif self._is_signed:
            raise BrokenAuditError(f"Record {number} is not signed, and the one before it is.")
        else:
            self._unsigned = (self._unsigned[0] or number, number)

    def _compare(self, head: Head) -> None:
        """Compare a record with the earlier head, if it is its."""
        if self._earlier is None:
            return
        number, digest = self._earlier
        if number == head[0] and digest != head[1]:
            raise BrokenAuditError(
                f"Record {number} is not the one of the earlier head: it or a record before it was "
                "rewritten."
            )
        if self._begin and number < self._begin[0]:
            raise BrokenAuditError(
                f"Record {number} of the earlier head was deleted: the audit begins after record "
                f"{self._begin[0]}. Give a later head."
            )

    def _check_end(self) -> None:
        if self._begin:
            raise BrokenAuditError(
                f"It begins after record {self._begin[0]}, and no cut says that the records up to "
                "it were deleted."
            )
        if self._earlier and self._head[0] < self._earlier[0]:
            raise BrokenAuditError(
                f"It ends at record {self._head[0]}, before the earlier head's record "
                f"{self._earlier[0]}: its end was cut off."
            )
        if self._key and self._count and not self._is_signed:
            raise BrokenAuditError(
                "None of its records is signed, and there is a key: either no gateway has used "
                "the key yet, or the audit was rewritten."
            )


def in_database(connection: Connection) -> Iterator[AuditRecord]:
    """Yield the records of a database, read piece by piece."""
    rows = connection.execution_options(yield_per=_BATCH).execute(
        select(tables.audit).order_by(tables.audit.c.number)
    )
    for row in rows:
        yield AuditRecord(**row._mapping)


def in_lines(lines: Iterable[str]) -> Iterator[AuditRecord]:
    """Yield the records of exported lines of JSON; raise BrokenAuditError for what is none."""
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            values["record"] = canonical(values["record"])
            record = _RECORD.validate_python(values)
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise BrokenAuditError(f"Line {number} is no record.") from error
        yield record


def _content(record: AuditRecord) -> dict[str, Any]:
    """Return what a record says, if it is what its hash and its columns are of."""
    if record.hash != hash_of(record.previous, record.record):
        raise BrokenAuditError(f"Record {record.number} was changed: its hash does not fit.")
    try:
        said = dict(json.loads(record.record))
    except (ValueError, RecursionError, TypeError) as error:
        raise BrokenAuditError(f"Record {record.number} was changed: it is no JSON.") from error
    # Outcomes older than migration 0004 do not name their call: the migration filled the column.
    names = (*COLUMNS, "call_number") if "call_number" in said else COLUMNS
    for name in names:
        if said.get(name) != getattr(record, name):
            raise BrokenAuditError(
                f"Record {record.number} was changed: its column '{name}' differs."
            )
    return said
