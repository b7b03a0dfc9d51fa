"""What the audit is told of changes of notebooks; no gateway."""

import json
from dataclasses import replace
from typing import Any

import pytest
from caesarion.events import ApprovalDecision
from caesarion.notebooks.cells import source_hash
from caesarion.notebooks.change_record import record_call, record_decision
from caesarion_hub.gateway.api.outcomes import CellChange

OLD, NEW = source_hash("old"), source_hash("new")
PLACE = {"path": "a.ipynb", "cell": "c1"}


def card(operation: str, before: str | None, source: str | None) -> dict[str, Any]:
    return {
        "path": "a.ipynb",
        "cell_id": "c1",
        "operation": operation,
        "before": before,
        "source": source,
        "why": "",
    }


EDIT = card("edit", "old", "new")
RAN = ApprovalDecision("call", "run", "ada", "")


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (EDIT, OLD, NEW),
        (card("insert", None, "new"), "", NEW),
        (card("delete", "old", None), OLD, ""),
        (card("move", "old", None), OLD, OLD),
        (card("run", None, "new"), NEW, NEW),
    ],
)
def test_a_call_is_recorded_with_its_cell_and_hashes_in_the_gateways_form(
    change: dict[str, Any], before: str, after: str
) -> None:
    record = record_call(change, RAN, is_done=True)
    assert record == {
        **PLACE,
        "operation": change["operation"],
        "before": before,
        "after": after,
        "decision": "accepted",
        "by": "ada",
    }
    assert CellChange.model_validate(record).model_dump() == record


def test_what_was_not_done_left_the_cell_as_it_was() -> None:
    refused = ApprovalDecision("call", "refuse", "ada", "")
    record = record_call(EDIT, refused, is_done=False)
    assert (record["before"], record["after"], record["decision"]) == (OLD, OLD, "rejected")
    assert record_call(card("insert", None, "new"), refused, is_done=False)["after"] == ""


@pytest.mark.parametrize(
    ("decided", "decision", "by"),
    [
        (None, "not asked", ""),
        (ApprovalDecision("call", "run", "ada", "", arguments="{}"), "edited", "ada"),
        (ApprovalDecision("call", "run", "ada", "", classes=("files",)), "accepted", "ada"),
        (
            ApprovalDecision("call", "run", "ada", "", classes=("files",), rule=True),
            "not asked",
            "",
        ),
    ],
)
def test_the_record_says_who_decided_and_how(
    decided: ApprovalDecision | None, decision: str, by: str
) -> None:
    record = record_call(EDIT, decided, is_done=True)
    assert (record["decision"], record["by"]) == (decision, by)
    CellChange.model_validate(record)


def test_a_later_decision_keeps_a_change_or_takes_it_back() -> None:
    kept, undone = record_decision(EDIT, "kept", "ada"), record_decision(EDIT, "undone", "ada")
    assert kept == {
        **PLACE,
        "operation": "edit",
        "before": NEW,
        "after": NEW,
        "decision": "kept",
        "by": "ada",
    }
    assert (undone["before"], undone["after"], undone["decision"]) == (NEW, OLD, "undone")
    for record in (kept, undone):
        CellChange.model_validate(record)


def test_what_is_too_long_or_no_text_is_recorded_in_part() -> None:
    change = {**EDIT, "path": "p" * 2_000 + "/\ud800.ipynb", "cell_id": "c" * 100}
    record = record_call(change, replace(RAN, by="ada" * 100), is_done=True)
    assert len(record["path"]) == 1_024
    assert record["path"].endswith(".ipynb")
    assert (record["cell"], len(record["by"])) == ("c" * 64, 255)
    CellChange.model_validate(record)
    json.dumps(record, ensure_ascii=False).encode()
