"""
The audit's chain in the database: appended to, cut, read.

Called by ``ledger`` within its transaction, which no other runs beside, and by
``audit``.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict

from sqlalchemy import Connection, delete, select

from caesarion_hub.gateway.store import tables
from caesarion_hub.gateway.store.audit_chain import START, BrokenError, Entry, Link, link, verified
from caesarion_hub.gateway.store.commands import milliseconds

Head = tuple[int, str]
"""The number of the last record and its hash."""

_AT_ONCE = 500


def head(connection: Connection) -> Head:
    """Return where the chain ends."""
    audit = tables.audit.c
    last = connection.execute(
        select(audit.number, audit.hash).order_by(audit.number.desc()).limit(1)
    ).first()
    return (last[0], last[1]) if last else (0, START)


def append(connection: Connection, entries: Iterable[Entry]) -> Head:
    """Add records and return where the chain ends now."""
    number, previous = head(connection)
    links = []
    for entry in entries:
        one = link(entry, number + 1, milliseconds(), previous)
        number, previous = one.number, one.hash
        links.append(asdict(one))
    if links:
        connection.execute(tables.audit.insert(), links)
    return number, previous


def cut(connection: Connection, before: int, by: str) -> int:
    """Delete the records made before the millisecond ``before``; record that. Return the last."""
    audit = tables.audit.c
    last = connection.execute(
        select(audit.number, audit.hash)
        .where(audit.made < before)
        .order_by(audit.number.desc())
        .limit(1)
    ).first()
    if not last:
        return 0
    append(connection, [Entry("cut", by, said={"cut_to": last[0], "cut_hash": last[1]})])
    connection.execute(delete(tables.audit).where(audit.number <= last[0]))
    return int(last[0])


def unreported(connection: Connection, user: str, calls: Iterable[str]) -> set[str]:
    """Return which of ``calls`` the model asked this user's server for, and no outcome is of."""
    audit = tables.audit.c
    named = (audit.user == user, audit.call.in_([call for call in calls if call]))
    rows = connection.execute(select(audit.call, audit.kind).where(*named)).all()
    asked = {call for call, kind in rows if kind == "call"}
    return asked - {call for call, kind in rows if kind == "outcome"}


def verify(connection: Connection) -> Iterator[Link]:
    """Yield the chain's links in order; raise BrokenError at the first broken one."""
    audit = tables.audit
    cuts: dict[int, str] = {}
    for record in connection.scalars(select(audit.c.record).where(audit.c.kind == "cut")):
        said = json.loads(record)
        cuts[said["cut_to"]] = said["cut_hash"]
    rows = connection.execution_options(yield_per=_AT_ONCE).execute(
        select(audit).order_by(audit.c.number)
    )
    yield from verified((Link(*row) for row in rows), cuts)


def proof(connection: Connection) -> tuple[bool, str]:
    """Return whether the chain is whole, and that in words."""
    number, last = 0, 0
    end = START
    try:
        for one in verify(connection):
            number, last, end = number + 1, one.number, one.hash
    except BrokenError as error:
        return False, f"The audit is broken. {error}"
    if not number:
        return True, "The audit is empty."
    return True, f"The audit is whole. Its records: {number}; number {last}'s hash: {end}"
