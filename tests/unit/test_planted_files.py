"""What code in a kernel can put where the server keeps its files stops nothing."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from caesarion.chat import chat_file
from caesarion.chat.provenance import read_key
from caesarion.config import CaesarionRuns
from caesarion.files.tree import FileError, open_to_read
from caesarion.notebooks.checkpoints import Checkpoints
from caesarion.regular_files import open_regular
from caesarion.runs import journal
from caesarion.runs.journal import JournalReader, JournalWriter
from caesarion.runs.recording import Recording
from caesarion.runs.run import Subject
from caesarion.runs.store import Runs

HEADER = {"id": "run_zzz", "created_at": "2126-11-30T20:00:00+00:00", **vars(Subject("execute"))}


def entry(event: str, data: Any) -> bytes:
    line = {"n": 1, "at": HEADER["created_at"], "event": event, "data": data}
    return json.dumps(line).encode() + b"\n"


def header(**fields: Any) -> bytes:
    return json.dumps(HEADER | fields).encode() + b"\n"


def linked(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(header() + entry("status", {"status": "completed"}))
    path.symlink_to(target)


def sparse(path: Path) -> None:
    path.write_bytes(header())
    os.truncate(path, 2**33)


PLANTED: dict[str, Callable[[Path], object]] = {
    "a named pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link": linked,
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a file without line ends": sparse,
    "no time": lambda path: path.write_bytes(header(created_at="yesterday")),
    "no time zone": lambda path: path.write_bytes(header(created_at="2126-11-30")),
    "a field that is no text": lambda path: path.write_bytes(header(idempotency_key=[])),
    "no status": lambda path: path.write_bytes(header() + entry("status", {"status": ["x"]})),
    "no status in the middle": lambda path: path.write_bytes(
        header() + entry("status", {}) + entry("text", {"delta": "x"})
    ),
    "an error that is a text": lambda path: path.write_bytes(
        header() + entry("status", {"status": "failed", "error": "x"})
    ),
}


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
async def test_runs_go_on_whatever_lies_among_their_journals(
    plant: Callable[[Path], object], tmp_path: Path
) -> None:
    before = JournalWriter(tmp_path / "run_a.jsonl", HEADER | {"id": "run_a"}, 100_000)
    before.append("status", {"status": "completed"}, last=True)
    before.close()
    plant(tmp_path / "run_zzz.jsonl")

    runs = Runs(CaesarionRuns(keep_bytes=2**40), tmp_path, 120)
    await runs.load()

    found = runs.find("run_a")
    assert found
    assert found.status == "completed"
    assert runs.cut_off_questions("") == [
        run.subject.message_id
        for run in runs.newest_first()
        if run.error and run.error.get("code") == "server_died"
    ]

    async def work(recording: Recording) -> None:
        recording.write("text", {"delta": "x"})
        await recording.end("completed")

    new = runs.start(Subject("execute"), work)
    async with runs.events(new) as events:
        assert [one.name async for one in events][-1] == "status"
    assert new.status == "completed"


async def test_the_events_of_a_run_whose_journal_became_a_pipe_are_gone(tmp_path: Path) -> None:
    runs = Runs(CaesarionRuns(), tmp_path, 120)
    recording = runs.record(Subject("execute"), lambda: None)
    await recording.end("completed")
    path = tmp_path / f"{recording.run.id}.jsonl"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FileNotFoundError, match="There is no journal of run_"):
        async with runs.events(recording.run):
            pass


def test_a_line_that_does_not_end_is_read_once_and_not_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run_zzz.jsonl"
    path.write_bytes(header() + entry("text", {"delta": "x" * 5_000}) + b"x" * 1_000_000)
    read = []

    class Counting:
        def __init__(self, file: BinaryIO) -> None:
            self._file = file
            self.seek, self.close = file.seek, file.close

        def read(self, size: int) -> bytes:
            read.append(len(found := self._file.read(size)))
            return found

    monkeypatch.setattr(journal, "_CHUNK", 1_000)
    monkeypatch.setattr(journal, "_LONGEST", 20_000)
    monkeypatch.setattr(journal, "open_regular", lambda path: Counting(open_regular(path)))
    reader = JournalReader(path)
    assert [one.data["delta"] for one in reader.read()] == ["x" * 5_000]
    assert reader.read() == reader.read() == []
    assert sum(read) < 30_000
    reader.close()


def test_a_key_that_is_a_pipe_is_one_for_this_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "chat_signatures.key")
    assert len(read_key(tmp_path)) == 32


def test_a_chat_that_is_a_pipe_is_refused_and_a_pipe_beside_one_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.chat"
    os.mkfifo(path)
    with pytest.raises(OSError, match="Not a regular file"):
        chat_file.read(path)
    path.unlink()
    os.mkfifo(tmp_path / ".a.chat.new")
    chat_file.write(path, '{"messages": []}', new=True)
    assert chat_file.read(path) == {"messages": []}


def test_checkpoints_go_on_whatever_lies_among_them(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write("chat", "message", [{"chat": "a.chat"}])
    (first,) = tmp_path.rglob("message*")
    for number, name in enumerate(("a named pipe", "a folder", "a link", "a link to nothing")):
        planted = first.with_name(first.name.replace("message", f"planted{number}"))
        PLANTED[name](planted)
        os.utime(planted, (0, 0), follow_symlinks=False)
        assert checkpoints.read("chat", f"planted{number}") is None
        assert not checkpoints.exists("chat", f"planted{number}")
    checkpoints.write("chat", "another", [{"chat": "a.chat"}])
    assert {"message", "another"} <= checkpoints.turns("chat").keys()
    first.unlink()
    os.mkfifo(first)
    with pytest.raises(OSError):  # noqa: PT011 - the system's own, of a pipe without a reader
        checkpoints.write("chat", "message", [{"chat": "a.chat"}])


def test_a_folder_is_told_from_other_things_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        open_regular(tmp_path)
    with pytest.raises(FileError, match="is a folder, not a file"):
        open_to_read(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError, match="is not a file that can be read"):
        open_to_read(tmp_path / "pipe")
