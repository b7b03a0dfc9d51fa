"""A run's journal: cut off anywhere, it is read up to its last whole line, and ends as failed."""

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from caesarion.activity import SETTING, Activity
from caesarion.config import CaesarionRuns
from caesarion.errors import JournalError, JournalFull
from caesarion.runs.journal import Entry, JournalReader, JournalWriter
from caesarion.runs.recording import Recording
from caesarion.runs.run import Subject
from caesarion.runs.store import Runs
from hypothesis import given
from hypothesis import strategies as st

EVENTS: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": "queued"}),
    ("status", {"status": "in_progress"}),
    ("text", {"delta": "Zürich\n{"}),
    ("output", {"output": {"output_type": "stream", "name": "stdout", "text": "x" * 300}}),
    ("status", {"status": "completed"}),
]


def make_runs(folder: Path, **settings: Any) -> Runs:
    return Runs(CaesarionRuns(**settings), folder, 120)


def read(path: Path) -> list[Entry]:
    with contextlib.closing(JournalReader(path)) as reader:
        found = []
        while entries := reader.read():
            found += entries
        return found


def written(folder: Path) -> bytes:
    """Return a whole journal, whose run is "run_a"."""
    header = {"id": "run_a", "created_at": "2126-11-30T20:00:00+00:00", **vars(Subject("execute"))}
    path = folder / "whole"
    writer = JournalWriter(path, header, 100_000)
    for name, data in EVENTS:
        writer.append(name, data)
    writer.close()
    whole = path.read_bytes()
    path.unlink()
    return whole


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cut")


@given(data=st.data(), rest=st.sampled_from([b"", b"\0" * 40, b'{"n": 3, "at"', b"\xff\n"]))
async def test_a_journal_that_was_cut_off_anywhere_is_read_up_to_its_last_whole_line(
    whole: bytes, folder: Path, data: st.DataObject, rest: bytes
) -> None:
    cut = data.draw(st.integers(0, len(whole)))
    path = folder / "run_a.jsonl"
    path.write_bytes(whole[:cut] + rest)
    before = whole[:cut].count(b"\n") - 1
    runs = make_runs(folder)
    await runs.load()
    run = runs.find("run_a")
    if before < 0:
        assert run is None
        return
    assert run
    entries = read(path)
    assert [(one.name, one.data) for one in entries[:before]] == EVENTS[:before]
    assert [one.number for one in entries] == list(range(1, len(entries) + 1))
    is_whole = before == len(EVENTS)
    assert run.status == entries[-1].data["status"] == ("completed" if is_whole else "failed")
    assert len(entries) == before + (not is_whole)
    assert run.last_sequence_number == len(entries)
    again = make_runs(folder)
    await again.load()
    found = again.find("run_a")
    assert found
    assert found.to_dict() == run.to_dict()


async def test_a_journal_that_another_server_writes_is_left_to_it(tmp_path: Path) -> None:
    ours, theirs = make_runs(tmp_path), make_runs(tmp_path)
    recording = theirs.record(Subject("execute"), lambda: None)
    await ours.load()
    assert ours.find(recording.run.id) is None
    await recording.end("completed")
    later = make_runs(tmp_path)
    await later.load()
    found = later.find(recording.run.id)
    assert found
    assert found.status == "completed"


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


async def end_one(runs: Runs, size: int = 0, key: str = "") -> Recording:
    recording = runs.record(Subject("execute", idempotency_key=key), lambda: None)
    recording.write("text", {"delta": "x" * size})
    await recording.end("completed")
    return recording


async def test_the_oldest_journals_go_first_and_those_of_runs_that_go_on_stay(
    tmp_path: Path,
) -> None:
    runs = make_runs(tmp_path, keep_bytes=25_000)
    live = runs.record(Subject("execute"), lambda: None)
    made = [await end_one(runs, 10_000, key=str(n)) for n in range(4)]
    kept = [live.run.id, *(one.run.id for one in made[2:])]
    assert [run.id for run in runs.newest_first()] == kept[::-1]
    assert [path.stem for path in files(tmp_path)] == sorted(kept)
    assert runs.find_by_key("0") is None
    assert runs.find_by_key("3") is made[3].run
    await live.end("completed")


async def test_journals_are_deleted_after_some_days(tmp_path: Path) -> None:
    await end_one(make_runs(tmp_path))
    [path] = files(tmp_path)
    header, rest = path.read_text().split("\n", 1)
    old = json.dumps({**json.loads(header), "created_at": "2020-01-01T00:00:00+00:00"})
    path.write_text(f"{old}\n{rest}")
    runs = make_runs(tmp_path)
    await runs.load()
    assert list(runs.newest_first()) == []
    assert files(tmp_path) == []


async def test_a_chat_that_is_deleted_takes_its_journals_along(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    ended = runs.record(Subject("chat", chat_id="c"), lambda: None)
    await ended.end("completed")
    live = runs.record(Subject("chat", chat_id="c"), lambda: None)
    runs.forget_chat("c")
    assert list(runs.newest_first()) == [live.run]
    await live.end("completed")
    assert files(tmp_path) == []


async def test_a_full_journal_still_says_that_it_is_full(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, journal_bytes=100_000)
    recording = runs.record(Subject("execute"), lambda: None)
    with pytest.raises(JournalFull, match="has reached 100,000 bytes") as full:
        recording.write("text", {"delta": "x" * 100_000})
    await recording.end_full(full.value)
    assert recording.run.incomplete_details == {
        "reason": "journal_full",
        "message": str(full.value),
    }
    assert read(tmp_path / f"{recording.run.id}.jsonl")[-1].data["status"] == "incomplete"


async def test_a_line_that_did_not_fit_on_the_disk_leaves_no_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path / "run_a.jsonl", {}, 100_000)
    write = os.write

    def half(file: int, raw: bytes) -> int:
        if raw.startswith(b"{"):
            return write(file, raw[: len(raw) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(JournalError, match=r"No space left on device\. Free some space"):
        writer.append("text", {"delta": "lost"})
    monkeypatch.setattr(os, "write", write)
    writer.append("text", {"delta": "kept"})
    writer.close()
    assert [(one.number, one.data) for one in read(tmp_path / "run_a.jsonl")] == [
        (1, {"delta": "kept"})
    ]


async def test_only_the_owner_can_read_a_journal(tmp_path: Path) -> None:
    await end_one(make_runs(tmp_path / "runs"))
    [path] = files(tmp_path / "runs")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


async def test_a_run_is_activity_while_somebody_reads_it_or_until_its_minutes_are_over(
    tmp_path: Path,
) -> None:
    runs = Runs(CaesarionRuns(), tmp_path, 0)
    recording = runs.record(Subject("execute"), lambda: None)
    settings: dict[str, Any] = {}
    with Activity(settings).under_way(recording.is_activity):
        assert settings == {}
    async with runs.events(recording.run):
        with Activity(settings).under_way(recording.is_activity):
            assert SETTING in settings
    assert not recording.is_activity()
    assert Runs(CaesarionRuns(), tmp_path, 1).record(Subject("chat"), lambda: None).is_activity()
