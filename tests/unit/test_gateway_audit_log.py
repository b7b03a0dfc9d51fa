"""The audit's hash chain: a record that is changed, missing or inserted is named."""

from dataclasses import replace
from typing import Any

import pytest
from caesarion_hub.gateway.store.audit_log import (
    START_HASH,
    AuditRecord,
    BrokenChainError,
    make_record,
    verify_chain,
)
from caesarion_hub.gateway.store.commands import AuditEntry


def chain(length: int) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    for number in range(1, length + 1):
        previous = records[-1].hash if records else START_HASH
        records.append(
            make_record(AuditEntry("call", "ada", "c", "", {"n": number}), number, 1000, previous)
        )
    return records


def test_a_whole_chain_is_verify_chain() -> None:
    assert list(verify_chain(chain(5), {})) == chain(5)
    assert list(verify_chain([], {})) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"record": '{"n":3}'}, "Record 3 was changed: its hash does not fit."),
        ({"user": "bob"}, "Record 3 was changed: its column 'user' differs."),
        ({"previous": "0" * 64}, "Record 3 does not follow the one before it."),
        ({"hash": "1" * 64}, "Record 3 was changed: its hash does not fit."),
        (None, "Record 3 is missing: record 4 follows."),
    ],
)
def test_the_first_record_that_breaks_the_chain_is_named(
    change: dict[str, Any] | None, sentence: str
) -> None:
    records = chain(5)
    records[2:3] = [replace(records[2], **change)] if change else []
    with pytest.raises(BrokenChainError) as caught:
        list(verify_chain(records, {}))
    assert str(caught.value) == sentence


def test_a_beginning_is_gone_only_by_a_recorded_cut() -> None:
    records = chain(5)
    assert list(verify_chain(records[2:], {2: records[1].hash})) == records[2:]
    with pytest.raises(BrokenChainError, match=r"^Record 3 is the first, and no cut says"):
        list(verify_chain(records[2:], {}))
    with pytest.raises(BrokenChainError, match=r"^Record 3 does not follow"):
        list(verify_chain(records[2:], {2: "1" * 64}))
