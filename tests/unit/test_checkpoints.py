"""Checkpoints of turns: what is written comes back, and only the newest stay."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from caesarion.errors import ToolError
from caesarion.notebooks.cells import (
    DeleteCell,
    EditCell,
    InsertCell,
    MoveCell,
    inverse,
    source_hash,
)
from caesarion.notebooks.checkpoints import CellRun, ChangeMade, Checkpoints
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output


def notebook() -> NotebookNode:
    made: NotebookNode = new_notebook(
        cells=[
            new_markdown_cell("# Rain", id="title", metadata={"tags": ["top"]}),
            new_code_cell(
                "x = 1",
                id="one",
                execution_count=3,
                outputs=[new_output("stream", name="stdout", text="seen\n")],
            ),
        ]
    )
    return made


EDIT = EditCell("e1", "one", "x = 2", source_hash("x = 1"))
INSERT = InsertCell("i1", "new", "code", "y = 1", "one")
DELETE = DeleteCell("d1", "one", source_hash("x = 1"))
MOVE = MoveCell("m1", "one", None)
RUN = CellRun("r1", "a.ipynb", "one", source_hash("x = 1"), 4, ({"output_type": "x"},), None)


def made(operation: Any, path: str = "a.ipynb") -> ChangeMade:
    return ChangeMade(path, operation, inverse(notebook(), operation))


async def test_what_a_turn_did_is_read_back_in_its_order(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    turn = checkpoints.turn("c0ffee", "chats/rain.chat", "m1")
    assert not turn.has("a.ipynb")
    await turn.keep("a.ipynb", notebook())
    assert turn.has("a.ipynb")
    steps: list[ChangeMade | CellRun] = [made(EDIT), made(INSERT), RUN, made(DELETE), made(MOVE)]
    for step in steps:
        turn.note(step)
    read = Checkpoints(tmp_path).read("c0ffee", "m1")
    assert read
    assert (read.chat_path, list(read.steps)) == ("chats/rain.chat", steps)
    assert read.order == {"a.ipynb": ["title", "one"]}
    [_, kept, *_] = (tmp_path / ".caesarion/checkpoints/c0ffee/m1.jsonl").read_text().splitlines()
    assert json.loads(kept)["content"] == notebook()


async def test_a_deleted_cell_is_kept_with_its_outputs(tmp_path: Path) -> None:
    turn = Checkpoints(tmp_path).turn("c0ffee", "", "m1")
    await turn.keep("a.ipynb", notebook())
    turn.note(made(DELETE))
    read = Checkpoints(tmp_path).read("c0ffee", "m1")
    assert read
    [step] = read.steps
    assert isinstance(step, ChangeMade)
    assert isinstance(step.undo, InsertCell)
    assert (step.undo.source, step.undo.after) == ("x = 1", "title")
    assert step.undo.cell
    assert step.undo.cell["execution_count"] == 3
    assert step.undo.cell["outputs"][0]["text"] == "seen\n"


async def test_a_line_that_was_cut_off_costs_no_other(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    turn = checkpoints.turn("c0ffee", "", "m1")
    await turn.keep("a.ipynb", notebook())
    turn.note(made(EDIT))
    file = tmp_path / ".caesarion/checkpoints/c0ffee/m1.jsonl"
    with file.open("a") as out:
        out.write('{"change": {"path": "a.ip')
    turn.note(made(INSERT))
    read = checkpoints.read("c0ffee", "m1")
    assert read
    assert [step.id for step in read.steps] == ["e1", "i1"]


async def test_what_is_undone_is_not_undone_again(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    turn = checkpoints.turn("c0ffee", "", "m1")
    await turn.keep("a.ipynb", notebook())
    turn.note(made(EDIT))
    turn.note(made(INSERT))
    checkpoints.note_undone("c0ffee", "m1", {"i1"})
    read = checkpoints.read("c0ffee", "m1")
    assert read
    assert [step.id for step in read.steps] == ["e1"]
    assert checkpoints.turns("c0ffee") == {"m1": "changed"}
    checkpoints.end("c0ffee", "m1")
    assert checkpoints.read("c0ffee", "m1") is None
    assert checkpoints.turns("c0ffee") == {"m1": "undone"}


async def test_a_chat_keeps_its_twenty_newest_turns(tmp_path: Path) -> None:
    checkpoints, now = Checkpoints(tmp_path), time.time()
    for number in range(23):
        await checkpoints.turn("c0ffee", "", f"m{number}").keep("a.ipynb", notebook())
        file = tmp_path / f".caesarion/checkpoints/c0ffee/m{number}.jsonl"
        os.utime(file, (now - 100 + number, now - 100 + number))
    await checkpoints.turn("0ther", "", "m0").keep("a.ipynb", notebook())
    assert [*checkpoints.turns("c0ffee")] == [f"m{number}" for number in range(3, 23)]
    assert [*checkpoints.turns("0ther")] == ["m0"]


async def test_a_turn_that_changed_nothing_cannot_be_undone(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    turn = checkpoints.turn("c0ffee", "", "m1")
    assert not checkpoints.exists("c0ffee", "m1")
    await turn.keep("a.ipynb", notebook())
    assert not checkpoints.exists("c0ffee", "m1")
    turn.note(RUN)
    assert checkpoints.exists("c0ffee", "m1")


async def test_each_notebook_is_kept_once_as_it_was_first(tmp_path: Path) -> None:
    turn = Checkpoints(tmp_path).turn("c0ffee", "", "m1")
    await turn.keep("a.ipynb", notebook())
    await turn.keep("b.ipynb", notebook())
    await turn.keep("a.ipynb", new_notebook())
    lines = (tmp_path / ".caesarion/checkpoints/c0ffee/m1.jsonl").read_text().split("\n")
    kept = [json.loads(line) for line in lines if line]
    assert [line.get("notebook") for line in kept] == [None, "a.ipynb", "b.ipynb"]
    assert kept[1]["content"] == notebook()


async def test_calls_of_one_answer_keep_a_notebook_before_the_first_changes_it(
    tmp_path: Path,
) -> None:
    turn = Checkpoints(tmp_path).turn("c0ffee", "", "m1")
    await asyncio.gather(*(turn.keep("a.ipynb", notebook()) for _ in range(3)))
    lines = (tmp_path / ".caesarion/checkpoints/c0ffee/m1.jsonl").read_text().splitlines()
    assert len(lines) == 2


async def test_a_very_large_notebook_is_kept_without_its_outputs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caesarion.notebooks.checkpoints._WITH_OUTPUTS", 100)
    turn = Checkpoints(tmp_path).turn("c0ffee", "", "m1")
    await turn.keep("a.ipynb", notebook())
    [_, kept] = (tmp_path / ".caesarion/checkpoints/c0ffee/m1.jsonl").read_text().splitlines()
    title, one = json.loads(kept)["content"]["cells"]
    assert "outputs" not in title
    assert (one["source"], one["outputs"]) == ("x = 1", [])


async def test_checkpoints_of_a_month_ago_go_in_every_chat(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for chat in ("0ld", "recent"):
        await checkpoints.turn(chat, "", "m1").keep("a.ipynb", notebook())
    then = time.time() - 31 * 24 * 3600
    os.utime(tmp_path / ".caesarion/checkpoints/0ld/m1.jsonl", (then, then))
    await checkpoints.turn("c0ffee", "", "m1").keep("a.ipynb", notebook())
    assert (checkpoints.turns("0ld"), checkpoints.turns("recent")) == ({}, {"m1": "changed"})


async def test_without_a_chat_nothing_is_kept(tmp_path: Path) -> None:
    for chat, message in (("", ""), ("session x", ""), ("", "m1")):
        turn = Checkpoints(tmp_path).turn(chat, "", message)
        assert turn.has("a.ipynb")
        await turn.keep("a.ipynb", notebook())
        turn.note(RUN)
    assert not (tmp_path / ".caesarion").exists()


async def test_nothing_changes_where_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / ".caesarion").write_text("in the way")
    turn = Checkpoints(tmp_path).turn("c0ffee", "", "m1")
    with pytest.raises(ToolError, match=r"Nothing was changed in 'a\.ipynb', as it could not be"):
        await turn.keep("a.ipynb", notebook())


@pytest.mark.parametrize("id", ["..", "../m1", "a/b", "", "a b", "x" * 81])
def test_ids_that_are_no_names_of_files_name_nothing(tmp_path: Path, id: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.read(id, "m1") is None
    assert checkpoints.read("c0ffee", id) is None
    assert not checkpoints.exists("c0ffee", id)
    assert checkpoints.turns(id) == {}
