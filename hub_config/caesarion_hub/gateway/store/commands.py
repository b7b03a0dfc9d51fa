"""
What the ledger is told to do: values, as they travel from ``meter`` and the pages to ``ledger``.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy.budgets import Budget
from caesarion_hub.gateway.store.audit_chain import Entry


@dataclass(frozen=True)
class Opening:
    """
    A request before it is asked: who, what, and what it may spend at most, or nearly so.

    ``reserved_nanos`` is nothing if its model has no price. ``per_minute`` and
    ``at_once`` are the caller's limits on requests.
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
    per_minute: int | None = None
    at_once: int | None = None


@dataclass(frozen=True)
class Closing:
    """A request after its end; ``nanos`` is nothing if its model has no price."""

    opening: Opening
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
    calls: int = 0


@dataclass(frozen=True)
class Refusal:
    """A request that was not let in: when, whose, for which model, and why, also in words."""

    last: int
    user: str
    model: str
    code: str
    message: str


@dataclass(frozen=True)
class Append:
    """Entries for the audit."""

    entries: Sequence[Entry]


@dataclass(frozen=True)
class Edit:
    """A budget put in the place of another; without tokens and nanos, taken away."""

    budget: Budget
    editor: str


@dataclass(frozen=True)
class Beat:
    """
    The replica says that it lives, and looks after what others left behind.

    A replica that was silent for ``lease`` milliseconds is taken for dead.
    """

    lease: int
    retention_days: int
    audit_retention_days: int


@dataclass(frozen=True)
class Leave:
    """The replica says that it ends."""


Job = Opening | Closing | Refusal | Append | Edit | Beat | Leave
Result = GatewayError | None
"""What became of a job: a refusal, or nothing to say."""


def milliseconds() -> int:
    """Return the time as the tables have it."""
    return time.time_ns() // 1_000_000


def day_of(at: int) -> date:
    """Return the day, in UTC, that the millisecond ``at`` is in."""
    return datetime.fromtimestamp(at / 1000, UTC).date()
