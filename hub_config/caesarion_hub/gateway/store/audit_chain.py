"""
The audit's chain of records: pure functions.

Called by ``ledger``, which appends, and ``audit``, which verifies. A record is
JSON; its hash is SHA-256 over the hash before it and the record, so that no
record can be changed, left out or put in without breaking all that follow.
What a chain cannot show by itself is that its end was cut off: keep the last
hash elsewhere (the gateway logs it) and compare.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

START = "0" * 64
"""What stands before the first record."""


@dataclass(frozen=True)
class Entry:
    """Something to be recorded: what kind of thing, by whom, where, of which call, and what."""

    kind: str
    user: str
    conversation: str = ""
    call: str = ""
    said: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """A record in the chain, as it lies in the database."""

    number: int
    made: int
    kind: str
    user: str
    conversation: str
    call: str
    record: str
    previous: str
    hash: str


class BrokenError(Exception):
    """The chain is broken; ``str`` of it names the first broken link."""


def link(entry: Entry, number: int, made: int, previous: str) -> Link:
    """Return ``entry`` as the record of this number, after the one whose hash is ``previous``."""
    record = json.dumps(
        {
            **entry.said,
            "number": number,
            "made": made,
            "kind": entry.kind,
            "user": entry.user,
            "conversation": entry.conversation,
            "call": entry.call,
        },
        sort_keys=True,
        separators=(",", ":"),
    )
    return Link(
        *(number, made, entry.kind, entry.user, entry.conversation, entry.call),
        *(record, previous, _hash(previous, record)),
    )


def verified(links: Iterable[Link], cuts: Mapping[int, str]) -> Iterator[Link]:
    """
    Yield ``links``, which come in order, as long as they hold together.

    ``cuts`` are the hashes of the records that retention cuts ended at, by
    number. Raises :class:`BrokenError` for the first link that is broken.
    """
    before: Link | None = None
    for one in links:
        if before is None:
            expected, number = START, 1
            if one.number != 1:
                expected, number = cuts.get(one.number - 1, ""), one.number
        else:
            expected, number = before.hash, before.number + 1
        if one.number != number:
            raise BrokenError(f"Record {number} is missing: record {one.number} follows.")
        if before is None and not expected:
            raise BrokenError(
                f"Record {one.number} is the first, and no retention cut says that the ones "
                "before it were deleted."
            )
        if one.previous != expected:
            raise BrokenError(f"Record {one.number} does not follow the one before it.")
        if one.hash != _hash(one.previous, one.record):
            raise BrokenError(f"Record {one.number} was changed: its hash does not fit.")
        said = json.loads(one.record)
        for name in ("number", "made", "kind", "user", "conversation", "call"):
            if said.get(name) != getattr(one, name):
                raise BrokenError(f"Record {one.number} was changed: its column '{name}' differs.")
        yield one
        before = one


def _hash(previous: str, record: str) -> str:
    return hashlib.sha256(f"{previous}\n{record}".encode()).hexdigest()
