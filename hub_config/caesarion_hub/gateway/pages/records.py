"""
Records of the audit in words: pure functions.

Called by ``auditing``. A call stands with its outcome, an edited budget with what it
was before, as the budget's last record says.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caesarion_hub.gateway.pages import words

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
    details: Sequence[tuple[str, str]] = ()


def line(row: Any, *, call: Any = None, outcome: Any = None, before: Said | None = None) -> Line:
    """Return a row of the audit as a line, with the call or the outcome that belongs to it."""
    said = json.loads(row.record)
    about = json.loads(call.record) if call else said
    ended = json.loads(outcome.record) if outcome else said
    return Line(
        *(row.number, row.made, row.kind, row.user),
        what=_what(row.kind, said, about, before),
        conversation=row.conversation or (call.conversation if call else ""),
        call=row.call,
        hash=row.hash,
        model=about.get("model", ""),
        sha256=about.get("sha256", ""),
        text=about.get("text", ""),
        outcome=ended.get("outcome", ""),
        approval=ended.get("approval", ""),
        details=[*_details(said), ("hash", row.hash)],
    )


def before(edits: Iterable[Any]) -> dict[int, Said]:
    """Return what each edited budget was before, by number; ``edits`` begin with the last one."""
    found: dict[int, Said] = {}
    later: dict[tuple[str, ...], int] = {}
    for row in edits:
        said = json.loads(row.record)
        key = (said["scope"], said["name"], said["window"])
        if key in later:
            found[later[key]] = said
        later[key] = row.number
    return found


def _what(kind: str, said: Said, about: Said, before: Said | None) -> str:
    match kind:
        case "budget":
            name = f"{words.whose(said['scope'], said['name'])}, {words.window(said['window'])}"
            return f"{name}: {_change(said, before)}"
        case "cut":
            return f"the records up to number {said['cut_to']} were deleted"
        case _:
            return str(about.get("tool", ""))


def _change(said: Said, before: Said | None) -> str:
    now = words.limit(said["tokens"], said["nanos"])
    return f"{words.limit(before['tokens'], before['nanos'])} → {now}" if before else now


def _details(said: Said) -> list[tuple[str, str]]:
    """Return what else a record says; money as money, and the code apart."""
    apart = ("number", "made", "kind", "user", "text")
    shown = [(name, value) for name, value in said.items() if name not in apart]
    return [
        ("dollars", words.exact(value)) if name == "nanos" else (name, str(value))
        for name, value in shown
        if value not in ("", None)
    ]
