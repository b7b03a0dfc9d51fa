"""
Records of the audit in words: pure functions.

Called by ``auditing``. A call stands with its outcome, an edited budget with what it
was before.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caesarion_hub.gateway.pages import formatting

Said = Mapping[str, Any]
"""What a record says, as JSON has it."""


@dataclass(frozen=True)
class Line:
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
    details: Sequence[tuple[str, str]] = ()


def line(row: Any, *, call: Any = None, outcome: Any = None) -> Line:
    """Return a row of the audit as a line, with the call or the outcome that belongs to it."""
    said = json.loads(row.record)
    about = json.loads(call.record) if call else said
    ended = json.loads(outcome.record) if outcome else said
    return Line(
        *(row.number, row.made, row.kind, row.user),
        what=_what(row.kind, said, about),
        conversation=row.conversation or (call.conversation if call else ""),
        call=row.call,
        hash=row.hash,
        model=about.get("model", ""),
        sha256=about.get("sha256", ""),
        text=about.get("text", ""),
        outcome=ended.get("outcome", ""),
        approval=ended.get("approval", ""),
        approver=ended.get("approver", ""),
        complete=bool(about.get("complete", True)),
        details=[*_details(said), ("hash", row.hash)],
    )


def _what(kind: str, said: Said, about: Said) -> str:
    match kind:
        case "budget":
            whose = formatting.whose(said["scope"], said["name"])
            name = f"{whose}, {formatting.window(said['window'])}"
            return f"{name}: {_change(said)}"
        case "cut":
            return f"the records up to number {said['cut_to']} were deleted"
        case "key":
            return "records are signed with this key from here on"
        case _:
            return str(about.get("tool", ""))


def _change(said: Said) -> str:
    now, before = formatting.limit(said["tokens"], said["nanos"]), said["before"]
    return f"{formatting.limit(before['tokens'], before['nanos'])} → {now}" if before else now


def _details(said: Said) -> list[tuple[str, str]]:
    """Return what else a record says; money as money, and the code apart."""
    apart = ("number", "made", "kind", "user", "text", "before")
    shown = [(name, value) for name, value in said.items() if name not in apart]
    return [
        ("dollars", formatting.exact(value)) if name == "nanos" else (name, str(value))
        for name, value in shown
        if value not in ("", None)
    ]
