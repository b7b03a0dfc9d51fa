"""The audit's verification: what was changed, cut off or rewritten is named, whoever did it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from caesarion_hub.gateway.errors import ConfigError
from caesarion_hub.gateway.store.audit_key import AuditKey
from caesarion_hub.gateway.store.audit_log import (
    START_HASH,
    AuditLog,
    AuditRecord,
    Head,
    hash_of,
)
from caesarion_hub.gateway.store.audit_verification import (
    Verifier,
    in_lines,
)
from caesarion_hub.gateway.store.commands import AuditEntry

SECRET = "a" * 64
KEY = AuditKey.from_text(SECRET)
ANOTHER = AuditKey.from_text("b" * 64)


def chain(*keys: AuditKey | None) -> list[AuditRecord]:
    """Return a record signed with each of ``keys``."""
    records: list[AuditRecord] = []
    for number, key in enumerate(keys, 1):
        previous = records[-1].hash if records else START_HASH
        entry = AuditEntry("call", "ada", "c", "", {"n": number})
        records.append(AuditLog(key).make_record(entry, number, 1000, previous))
    return records


def rewritten(records: Sequence[AuditRecord], at: int, log: AuditLog) -> list[AuditRecord]:
    """Return the chain with another record at a place, and all hashes anew."""
    made: list[AuditRecord] = []
    for one in records:
        entry = AuditEntry("call", "eve" if one.number == at else "ada", "c", "", {"n": one.number})
        previous = made[-1].hash if made else START_HASH
        made.append(log.make_record(entry, one.number, 1000, previous))
    return made


def verify(
    records: Sequence[AuditRecord],
    key: AuditKey | None = None,
    head: Head | None = None,
) -> tuple[bool, str]:
    return Verifier(key, head).verify(records)


def broken(*given: Any, **named: Any) -> str:
    whole, sentence = verify(*given, **named)
    assert not whole
    return sentence.removeprefix("The audit is broken. ")


# The chain.


def test_a_whole_chain_is_verified_record_by_record() -> None:
    records = chain(*[None] * 5)
    assert list(Verifier().verified(records)) == records
    assert verify(records) == (
        True,
        f"The audit is whole. Its records: 5; its head: 5:{records[4].hash}. "
        "It is not signed: no key is set.",
    )
    assert verify([]) == (True, "The audit is empty.")
    assert Verifier().verify([], "a file") == (True, "The audit of a file is empty.")


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
    records = chain(*[None] * 5)
    records[2:3] = [replace(records[2], **change)] if change else []
    assert broken(records) == sentence


@pytest.mark.parametrize("record", ["no JSON", "5", '["a"]', "[" * 100_000])
def test_what_somebody_wrote_into_the_database_is_named_whatever_it_is(record: str) -> None:
    first = chain(None)[0]
    forged = replace(first, record=record, hash=hash_of(START_HASH, record))
    assert broken([forged]) == "Record 1 was changed: it is no JSON."


def test_an_outcome_names_the_call_that_its_column_does() -> None:
    entry = AuditEntry("outcome", "ada", "c", "call_1", call_number=7)
    record = AuditLog().make_record(entry, 1, 1000, START_HASH)
    assert verify([record])[0]
    changed = replace(record, call_number=8)
    assert broken([changed]) == "Record 1 was changed: its column 'call_number' differs."


def cut_to(at: int, digest: str | None = None, key: AuditKey | None = None) -> list[AuditRecord]:
    """Return what is left of a chain of five, whose records up to ``at`` were deleted."""
    records = chain(*[key] * 5)
    fields = {"cut_to": at, "cut_hash": digest or records[at - 1].hash}
    entry = AuditEntry("cut", "ada", fields=fields)
    records.append(AuditLog(key).make_record(entry, 6, 1000, records[-1].hash))
    return records[at:]


def test_a_beginning_is_gone_only_by_a_recorded_cut() -> None:
    assert verify(cut_to(2))[0]
    assert verify(cut_to(5))[0], "nothing is left but the cut"
    missing = "It begins after record 2, and no cut says that the records up to it were deleted."
    assert broken(chain(*[None] * 5)[2:]) == missing
    assert broken(cut_to(2, "1" * 64)) == missing
    assert broken(cut_to(1)[1:]) == missing


# Signatures.


def test_signed_records_are_verified_with_the_key_and_with_its_public_half() -> None:
    records = chain(KEY, KEY)
    whole, sentence = verify(records, KEY)
    assert (whole, sentence.partition(". All")[1:]) == (True, (". All", " records are signed."))
    public = AuditKey.from_text(KEY.public_pem())
    assert not public.signs
    assert verify(records, public) == (whole, sentence)
    assert "Its signatures were not checked: no key is set." in verify(records)[1]


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ((None, KEY), "Record 1 is older than the key and not signed; all others are."),
        (
            (None, None, KEY),
            "Records 1 to 2 are older than the key and not signed; all others are.",
        ),
    ],
)
def test_records_older_than_the_key_are_said_to_be_unsigned(
    keys: tuple[AuditKey | None, ...], sentence: str
) -> None:
    whole, said = verify(chain(*keys), KEY)
    assert whole
    assert said.endswith(f". {sentence}")


@pytest.mark.parametrize(
    ("log", "sentence"),
    [
        (AuditLog(), "None of its records is signed, and there is a key: either no gateway has"),
        (AuditLog(ANOTHER), "Record 1's signature does not fit: it was changed, or signed with"),
    ],
)
def test_a_chain_that_was_rewritten_without_the_key_is_broken(log: AuditLog, sentence: str) -> None:
    records = chain(*[KEY] * 4)
    assert broken(rewritten(records, 2, log), KEY).startswith(sentence)


def test_a_rewritten_end_is_broken_whatever_becomes_of_its_signatures() -> None:
    records = chain(*[KEY] * 4)
    unsigned = rewritten(records, 3, AuditLog())
    kept = [
        replace(new, signature=old.signature) for new, old in zip(unsigned, records, strict=True)
    ]
    assert "Record 3's signature does not fit" in broken([*records[:2], *kept[2:]], KEY)
    assert broken([*records[:2], *unsigned[2:]], KEY) == (
        "Record 3 is not signed, and the one before it is."
    )


def test_a_new_key_signs_and_the_earlier_one_behind_it_verifies() -> None:
    records = [*chain(KEY, KEY), *chain(KEY, KEY, ANOTHER)[2:]]
    both = AuditKey.from_text(f"{'b' * 64};{SECRET}")
    assert verify(records, both)[0]
    assert "Record 3's signature does not fit" in broken(records, KEY)
    assert verify(records, AuditKey.from_text(both.public_pem()))[0]


@pytest.mark.parametrize("signature", ["", "no Base64", "AAAA", "\0"])
def test_what_is_no_signature_verifies_nothing(signature: str) -> None:
    assert not KEY.verifies("a" * 64, signature)


@pytest.mark.parametrize("text", ["", " \n", "short", f"{SECRET};short", f"{SECRET} x"])
def test_a_file_without_a_key_is_refused_in_a_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"key holds no key of the audit: it must be a random"):
        AuditKey.read(file)
    with pytest.raises(ConfigError, match=r"gone cannot be read: No such file or directory\. gat"):
        AuditKey.read(tmp_path / "gone")


# An earlier head.


def test_an_earlier_head_is_found_again_in_an_audit_that_has_grown() -> None:
    records = chain(*[KEY] * 4)
    for one in records:
        assert verify(records, KEY, head=(one.number, one.hash))[0]


def test_an_audit_whose_end_was_cut_off_is_broken_for_who_has_an_earlier_head() -> None:
    records = chain(*[KEY] * 4)
    assert verify(records[:3], KEY)[0]
    head = (4, records[3].hash)
    assert broken(records[:3], KEY, head) == (
        "It ends at record 3, before the earlier head's record 4: its end was cut off."
    )
    assert "It ends at record 0" in broken([], KEY, head)


def test_an_audit_that_was_rewritten_with_the_key_is_broken_for_who_has_an_earlier_head() -> None:
    records = chain(*[KEY] * 4)
    forged = rewritten(records, 2, AuditLog(KEY))
    assert verify(forged, KEY)[0]
    assert broken(forged, KEY, (3, records[2].hash)) == (
        "Record 3 is not the one of the earlier head: it or a record before it was rewritten."
    )


def test_an_earlier_head_is_compared_with_the_cut_that_deleted_it() -> None:
    records = chain(*[KEY] * 5)
    left = cut_to(3, key=KEY)
    assert verify(left, KEY, (3, records[2].hash))[0]
    assert "is not the one of the earlier head" in broken(left, KEY, (3, "1" * 64))
    assert broken(left, KEY, (2, records[1].hash)) == (
        "Record 2 of the earlier head was deleted: the audit begins after record 3. "
        "Give a later head."
    )


# An exported audit.


def exported(records: Sequence[AuditRecord]) -> list[str]:
    lines = [asdict(one) | {"record": json.loads(one.record)} for one in records]
    return [json.dumps(line, ensure_ascii=False) for line in lines]


def test_an_exported_audit_is_verified_elsewhere_with_the_public_key() -> None:
    entries = [AuditEntry("call", "ada", "ü", "call_1", {"text": "é\n😀", "n": 1.5})]
    log = AuditLog(KEY)
    records = [log.make_record(entries[0], 1, 1000, START_HASH)]
    cut = AuditEntry("cut", "ada", fields={"cut_to": 1, "cut_hash": records[0].hash})
    records.append(log.make_record(cut, 2, 1001, records[0].hash))
    public = AuditKey.from_text(KEY.public_pem())
    assert list(in_lines(exported(records))) == records
    assert Verifier(public).verify(in_lines(exported(records))) == verify(records, KEY)
    assert Verifier(public).verify(in_lines(exported(records[1:])))[0]


@pytest.mark.parametrize("line", ["", "5", "{}", "[]", "no JSON", '{"record": {}}', "[" * 100_000])
def test_a_line_that_is_no_record_is_named(line: str) -> None:
    records = in_lines([*exported(chain(KEY)), line])
    assert Verifier(KEY).verify(records) == (False, "The audit is broken. Line 2 is no record.")
