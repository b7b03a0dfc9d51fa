"""
What the audit records of changes and runs of cells: where, what, hashes, and the decision.

Called by :mod:`caesarion.agent.loop` for calls; by :mod:`caesarion.api.changes` and
:mod:`caesarion.agent.undo` for decisions about changes that were applied before. The
gateway checks the form (``caesarion_hub.gateway.api.outcomes``). Pure.
"""

from collections.abc import Mapping
from typing import Any, Literal

from caesarion.events import ApprovalDecision
from caesarion.notebooks.cells import source_hash
from caesarion.text import without_surrogates

Record = dict[str, str]
Decision = Literal["kept", "undone"]

# Characters that the gateway takes at most. The end of a path names the notebook.
_PATH = 1_024
_CELL = 64
_BY = 255


def record_call(
    change: Mapping[str, Any], decided: ApprovalDecision | None, *, is_done: bool
) -> Record:
    """Return the record of a call; ``change`` is what the chat shows of it."""
    before, after = _hashes(change)
    asked = decided is not None and not decided.rule
    return {
        **_place(change),
        "before": before,
        "after": after if is_done else before,
        "decision": _decision(decided) if decided and asked else "not asked",
        "by": _by(decided.by) if decided and asked else "",
    }


def record_decision(change: Mapping[str, Any], decision: Decision, by: str) -> Record:
    """Return the record of a decision about an applied change."""
    before, after = _hashes(change)
    return {
        **_place(change),
        "before": after,
        "after": before if decision == "undone" else after,
        "decision": decision,
        "by": _by(by),
    }


def _by(name: str) -> str:
    return without_surrogates(name)[:_BY]


def _place(change: Mapping[str, Any]) -> Record:
    return {
        "path": without_surrogates(str(change["path"]))[-_PATH:],
        "cell": without_surrogates(str(change["cell_id"]))[:_CELL],
        "operation": str(change["operation"]),
    }


def _hashes(change: Mapping[str, Any]) -> tuple[str, str]:
    """Return the hashes of the cell's source before and after; empty where there is no cell."""
    before, source = change["before"], change["source"]
    hashes = ["" if text is None else source_hash(text) for text in (before, source)]
    match change["operation"]:
        case "move":
            return hashes[0], hashes[0]
        case "run":
            return hashes[1], hashes[1]
        case _:
            return hashes[0], hashes[1]


def _decision(decided: ApprovalDecision) -> str:
    if decided.decision == "refuse":
        return "rejected"
    return "edited" if decided.arguments else "accepted"
