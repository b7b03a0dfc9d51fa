"""
Records of the audit as lines for people: pure functions.

Called by ``audit``. A call is shown with its outcome, an edited budget with what it was
before.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caesarion_hub.gateway.pages import formatting
from caesarion_hub.gateway.policy.budgets import per_window

Fields = Mapping[str, Any]
"""A record's JSON."""


@dataclass(frozen=True)
class AuditLine:
    """A record as people read it; ``what`` was done by ``user``."""

    number: int
    made: int
    kind: str
    user: str
    what: str
    conversation: str
    call: str
    hash: str
    model: str = ""
    sha256: str = ""
    text: str = ""
    outcome: str = ""
    approval: str = ""
    approver: str = ""
    complete: bool = True
    change: Fields = field(default_factory=dict)
    details: Sequence[tuple[str, str]] = ()


def make_line(row: Any, *, call: Any = None, outcome: Any = None) -> AuditLine:
    """Return a row of the audit as a line, with the call or the outcome that belongs to it."""
    fields = json.loads(row.record)
    of_call = json.loads(call.record) if call else fields
    of_outcome = json.loads(outcome.record) if outcome else fields
    return AuditLine(
        *(row.number, row.made, row.kind, row.user),
        what=_what(row.kind, fields, of_call),
        conversation=row.conversation or (call.conversation if call else ""),
        call=row.call,
        hash=row.hash,
        model=of_call.get("model", ""),
        sha256=of_call.get("sha256", ""),
        text=of_call.get("text", ""),
        outcome=of_outcome.get("outcome", ""),
        approval=of_outcome.get("approval", ""),
        approver=of_outcome.get("approver", ""),
        complete=bool(of_call.get("complete", True)),
        change=of_outcome.get("change", {}),
        details=[*_details(fields), ("hash", row.hash)],
    )


def _what(kind: str, fields: Fields, of_call: Fields) -> str:
    match kind:
        case "budget":
            whose = formatting.whose(fields["scope"], fields["name"])
            return f"{whose}, {per_window(fields['window'])}: {_change(fields)}"
        case "change":
            return f"{fields['change']['operation']} {fields['change']['decision']}"
        case "cut":
            return f"the records up to number {fields['cut_to']} were deleted"
        case "key":
            return "records are signed with this key from here on"
        case _:
            return str(of_call.get("tool", ""))


def _change(fields: Fields) -> str:
    now, before = formatting.limit(fields["tokens"], fields["nanos"]), fields["before"]
    return f"{formatting.limit(before['tokens'], before['nanos'])} → {now}" if before else now


def _details(fields: Fields) -> list[tuple[str, str]]:
    """Return what else a record says; money in dollars."""
    shown_elsewhere = ("number", "made", "kind", "user", "text", "before", "change")
    left_out = ("receipt_sha256",)  # compared by us alone
    return [
        ("dollars", formatting.exact(value)) if name == "nanos" else (name, str(value))
        for name, value in fields.items()
        if name not in (*shown_elsewhere, *left_out) and value not in ("", None)
    ]
