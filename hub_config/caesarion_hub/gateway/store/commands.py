"""
Commands to the ledger: plain values, from ``metering`` and the pages through the write queue.

Times are whole milliseconds since 1970, money is whole billionths of a dollar ("nanos").
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.budgets import Budget


@dataclass(frozen=True)
class Reservation:
    """
    Admit a request and reserve what it may spend, before the model is asked.

    ``prompt_tokens`` is our estimate, ``reserved_tokens`` adds the longest answer; what is
    admitted may have less of both, where a budget has no more room. ``reserved_nanos`` is None
    if the model has no price. ``fair_tokens`` and ``fair_nanos`` are what a request may reserve
    of a shared budget, however little is left of it. ``requests_per_minute`` and
    ``concurrent_streams`` are the caller's limits, None for no limit.
    """

    id: str
    started: int
    user: str
    server: str
    groups: tuple[str, ...]
    model: str
    conversation: str
    message: str
    prompt_tokens: int
    reserved_tokens: int
    reserved_nanos: int | None
    fair_tokens: int = 0
    fair_nanos: int = 0
    requests_per_minute: int | None = None
    concurrent_streams: int | None = None


class Called(NamedTuple):
    """A tool call that a model asked for: its id, which may repeat, and the tool's name."""

    id: str
    tool: str


@dataclass(frozen=True)
class Settlement:
    """Replace a reservation by what the request used; ``nanos`` is None without a price."""

    reservation: Reservation
    finished: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    nanos: int | None = 0
    first_ms: int | None = None
    status: int = 200
    error: str = ""
    finish_reason: str = ""
    upstream: str = ""
    calls: tuple[Called, ...] = ()


@dataclass(frozen=True)
class RequestRefusal:
    """Count a request that was refused at the moment ``last``; ``message`` is what its user saw."""

    last: int
    user: str
    model: str
    code: str
    message: str


@dataclass(frozen=True)
class AuditEntry:
    """
    What a new record of the audit says.

    ``kind`` is ``call``, ``outcome``, ``change``, ``budget``, ``cut`` or ``key`` (which announces
    the public key of the signatures); ``call`` is the id of the tool call that it is about, if
    any, and ``call_number`` for an outcome the number of the call's record; ``fields`` is the
    rest, in values that JSON has.
    """

    kind: str
    user: str
    conversation: str = ""
    call: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    call_number: int | None = None


@dataclass(frozen=True)
class AuditEntries:
    """Append records to the audit."""

    entries: Sequence[AuditEntry]


Approver = Literal["person", "program", "rule"]


@dataclass(frozen=True)
class Outcome:
    """
    How a tool call ended, as the user's server reports it.

    ``approval`` says what allowed or refused the call, ``approver`` what kind of decision that
    was: of a person, of a program with a token, or by a rule; empty if the server does not say.
    ``change`` is what the call did to a cell of a notebook, in values that JSON has, if it did.
    ``receipt_sha256`` is the hash of the receipt that came with the answer that has the call.
    """

    call: str
    outcome: str
    approval: str
    approver: Approver | Literal[""] = ""
    change: Mapping[str, Any] | None = None
    receipt_sha256: str = ""


@dataclass(frozen=True)
class ChangeDecision:
    """
    A decision, in ``conversation``, about a change that was applied before: ``change``.

    ``call`` made the change, and ``receipt_sha256`` is as for an outcome; both are empty where
    the user's server was restarted since.
    """

    conversation: str
    change: Mapping[str, Any]
    call: str = ""
    receipt_sha256: str = ""


@dataclass(frozen=True)
class OutcomeReport:
    """
    Append the outcomes of a user's tool calls, each beside the call that it belongs to.

    The result is how many belong to a call with their receipt that had none yet; the others are
    dropped. All decisions about changes are appended; one without the receipt of the call that
    made the change is marked as not verified.
    """

    user: str
    server: str
    outcomes: Sequence[Outcome]
    decisions: Sequence[ChangeDecision] = ()


@dataclass(frozen=True)
class BudgetEdit:
    """Put a budget in force in place of the one with its key; one without limits deletes it."""

    budget: Budget
    editor: str


@dataclass(frozen=True)
class Heartbeat:
    """
    Register the replica as alive; settle what dead ones left, and delete what has expired.

    A replica that was silent for ``lease`` milliseconds is taken for dead.
    """

    lease: int
    retention_days: int
    audit_retention_days: int


@dataclass(frozen=True)
class Deregistration:
    """Remove the replica, which ends."""


Command = (
    Reservation
    | Settlement
    | RequestRefusal
    | AuditEntries
    | OutcomeReport
    | BudgetEdit
    | Heartbeat
    | Deregistration
)
Result = Reservation | GatewayError | int | None
"""What a command came to: what was reserved or its refusal, the number of outcomes, else None."""


def plain(text: str, most: int = 255) -> str:
    """Return ``text`` as every database takes it: not too long, no NUL, no half characters."""
    return text[:most].replace("\0", "").encode("utf-8", "replace").decode()


def receipt_hash(receipt: str) -> str:
    """Return what is stored of a receipt, which is random: its SHA-256, in hex."""
    return hashlib.sha256(receipt.encode("utf-8", "replace")).hexdigest()


def milliseconds() -> int:
    """Return the present time as the tables have it."""
    return time.time_ns() // 1_000_000


def day_of(at: int) -> date:
    """Return the day in UTC of the millisecond ``at``."""
    return _day(at // 86_400_000)


@lru_cache(64)
def _day(number: int) -> date:
    return date(1970, 1, 1) + timedelta(number)
