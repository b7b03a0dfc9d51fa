"""A notebook is read and changed where it is: in the page that has it open, else in its file."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from caesarion.errors import PageGone, StaleCell, ToolError, UnknownCell
from caesarion.notebooks import pages
from caesarion.notebooks.cells import (
    Applied,
    DeleteCell,
    EditCell,
    InsertCell,
    MoveCell,
    Operation,
    source_hash,
)
from nbformat import v4
from tornado.web import HTTPError

from tests.notebooks import LocalPage, Notebooks

PATH = "a.ipynb"
MARK = {"chat": "c", "message": "m", "at": "2026-01-01T00:00:00+00:00"}


def edit(source: str = "x = 2", base: str = "x = 1", id: str = "op") -> EditCell:
    return EditCell(id, "c1", source, source_hash(base))


EVERY = {
    "edit": (edit(), ["x = 2", "y"]),
    "insert": (InsertCell("op", "new", "code", "z", "c1"), ["x = 1", "z", "y"]),
    "delete": (DeleteCell("op", "c1", source_hash("x = 1")), ["y"]),
    "move": (MoveCell("op", "c2", None), ["y", "x = 1"]),
}
every = pytest.mark.parametrize(("operation", "after"), EVERY.values(), ids=EVERY)


@pytest.fixture
def place(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Notebooks:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path_factory.mktemp("data")))
    monkeypatch.setattr(pages, "BACK_WITHIN", 0.0)
    place = Notebooks(tmp_path)
    place.write(PATH, "x = 1", "y")
    return place


@every
async def test_a_file_is_changed_and_marked(
    place: Notebooks, operation: Operation, after: list[str]
) -> None:
    await place.documents.document(PATH).apply(operation, MARK)
    assert place.sources(PATH) == after
    marks = [cell.metadata.get("caesarion") for cell in place.read(PATH).cells]
    assert [mark for mark in marks if mark] == ([] if operation.kind == "delete" else [MARK])


@every
async def test_a_notebook_that_is_open_is_changed_in_its_page_alone(
    place: Notebooks, operation: Operation, after: list[str]
) -> None:
    page = await place.open(PATH)
    await place.documents.document(PATH).apply(operation, MARK)
    assert page.sources(PATH) == after
    assert place.sources(PATH) == ["x = 1", "y"]


@every
@pytest.mark.parametrize("vanishes", ["before", "after", "saved"])
async def test_a_page_that_goes_away_in_the_middle_neither_loses_nor_repeats_a_change(
    place: Notebooks,
    vanishes: Literal["before", "after", "saved"],
    operation: Operation,
    after: list[str],
) -> None:
    page = await place.open(PATH)
    page.vanishes = vanishes
    applied = await place.documents.document(PATH).apply(operation, MARK)
    assert place.sources(PATH) == after
    source = next((c.source for c in place.read(PATH).cells if c.id == operation.cell_id), None)
    assert applied == Applied(operation.cell_id, "" if source is None else source_hash(source))


@every
async def test_a_page_that_comes_back_is_asked_again_before_the_file_is_touched(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch, operation: Operation, after: list[str]
) -> None:
    monkeypatch.setattr(pages, "BACK_WITHIN", 60.0)
    page = await place.open(PATH)
    page.models[PATH].cells[1].metadata["unsaved"] = True
    page.vanishes = "after"
    applying = asyncio.ensure_future(place.documents.document(PATH).apply(operation, MARK))
    while not page.requests:  # noqa: ASYNC110
        await asyncio.sleep(0)
    # The connection was lost, not the page: it has its model, and the change in it.
    again = LocalPage(place)
    again.models, again.front = page.models, PATH
    await again.tell()
    await applying
    assert again.sources(PATH) == after
    assert place.sources(PATH) == ["x = 1", "y"]
    assert [request["method"] for request in again.requests] == ["read"]


async def test_a_page_that_asked_is_waited_for_after_a_restart_of_the_server(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "BACK_WITHIN", 60.0)
    page = LocalPage(place)
    page.load(PATH)
    applying = asyncio.ensure_future(place.documents.document(PATH, page.id).apply(edit(), MARK))
    await asyncio.sleep(0)
    assert not applying.done()
    await page.tell()
    await applying
    assert (page.sources(PATH)[0], place.sources(PATH)[0]) == ("x = 2", "x = 1")


async def test_a_page_that_asked_and_does_not_come_is_waited_for_once(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = place.documents.document(PATH, "of a page that is gone")
    await document.read()
    monkeypatch.setattr(pages, "BACK_WITHIN", 60.0)
    await document.apply(edit(), MARK)
    assert place.sources(PATH) == ["x = 2", "y"]


async def test_a_page_that_asked_from_elsewhere_is_not_waited_for(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "BACK_WITHIN", 60.0)
    place.write("b.ipynb", "b")
    page = await place.open("b.ipynb")
    await place.documents.document(PATH, page.id).apply(edit(), MARK)
    assert place.sources(PATH) == ["x = 2", "y"]


async def test_what_a_person_has_not_saved_is_read_from_the_page(place: Notebooks) -> None:
    page = await place.open(PATH)
    page.models[PATH].cells[0].source = "x = 5"
    reading = await place.documents.document(PATH).read()
    assert reading.notebook.cells[0].source == "x = 5"
    assert (reading.page, reading.dirty) == (page.id, True)


@pytest.mark.parametrize("is_open", [False, True], ids=["in its file", "in a page"])
async def test_a_cell_that_was_changed_meanwhile_is_refused_with_its_source(
    place: Notebooks, is_open: bool
) -> None:
    if is_open:
        page = await place.open(PATH)
        page.models[PATH].cells[0].source = "x = 5"
    else:
        place.write(PATH, "x = 5")
    with pytest.raises(StaleCell, match=r"\| x = 5$") as refused:
        await place.documents.document(PATH).apply(edit(), MARK)
    assert refused.value.source == "x = 5"


@pytest.mark.parametrize("is_open", [False, True], ids=["in its file", "in a page"])
async def test_a_cell_that_is_gone_is_refused(place: Notebooks, is_open: bool) -> None:
    place.write(PATH, "only")
    if is_open:
        page = await place.open(PATH)
        page.models[PATH].cells[0]["id"] = "other"
    else:
        place.write(PATH)
    with pytest.raises(UnknownCell, match="There is no cell of the id 'c1'"):
        await place.documents.document(PATH).apply(edit(), MARK)


async def test_an_edit_of_the_person_during_the_write_is_kept(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    interfere(place, monkeypatch, lambda: place.write(PATH, "x = 1", "the person's"))
    await place.documents.document(PATH).apply(edit(), MARK)
    assert place.sources(PATH) == ["x = 2", "the person's"]


async def test_an_edit_of_the_same_cell_during_the_write_makes_the_change_stale(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    interfere(place, monkeypatch, lambda: place.write(PATH, "x = the person's"))
    with pytest.raises(StaleCell, match="x = the person's"):
        await place.documents.document(PATH).apply(edit(), MARK)
    assert place.sources(PATH) == ["x = the person's"]


async def test_a_file_that_is_written_all_the_time_is_given_up_in_a_sentence(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(100))
    write: Callable[[], None] = lambda: place.write(PATH, "x = 1", str(next(numbers)))  # noqa: E731
    interfere(place, monkeypatch, write, times=100)
    with pytest.raises(ToolError, match="something else writes it all the time"):
        await place.documents.document(PATH).apply(edit(), MARK)
    assert place.sources(PATH)[0] == "x = 1"


def interfere(
    place: Notebooks,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[], None],
    times: int = 1,
) -> None:
    """Let ``write`` happen between the reading of a file and its writing."""
    get = place.contents.get
    left = [write] * times

    async def get_after_a_write(path: str, content: bool = True, **more: Any) -> Any:
        if not content and left:
            left.pop()()
        return await get(path, content=content, **more)

    monkeypatch.setattr(place.contents, "get", get_after_a_write)


async def test_a_contents_manager_that_refuses_is_a_sentence_and_nothing_is_lost(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise HTTPError(403, "This folder is read-only")

    monkeypatch.setattr(place.contents, "save", refuse)
    with pytest.raises(ToolError, match=r"could not be saved as 'a.ipynb': .*read-only"):
        await place.documents.document(PATH).apply(edit(), MARK)
    assert place.sources(PATH) == ["x = 1", "y"]


async def test_a_page_that_refuses_is_a_sentence(place: Notebooks) -> None:
    page = await place.open(PATH)
    page.refuses = "The notebook is read-only."
    with pytest.raises(ToolError, match=r"has not done this: The notebook is read-only\.$"):
        await place.documents.document(PATH).apply(edit(), MARK)
    assert place.sources(PATH) == ["x = 1", "y"]


async def test_a_page_that_does_not_answer_is_not_waited_for_for_ever(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "ANSWERED_WITHIN", 0.01)
    silent = pages.Page(lambda _: None)
    await place.pages.describe(silent, "silent", (PATH,), PATH)
    with pytest.raises(ToolError, match=r"did not answer within 0.01 seconds; whether it has"):
        await place.documents.document(PATH).apply(edit(), MARK)
    assert place.sources(PATH) == ["x = 1", "y"]


async def test_a_page_that_is_reloaded_again_and_again_is_a_sentence(
    place: Notebooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(_: Any) -> None:
        raise PageGone("gone")

    await place.pages.describe(pages.Page(vanish), "p", (PATH,), PATH)
    with pytest.raises(ToolError, match="closed or reloaded 3 times"):
        await place.documents.document(PATH).read()


async def test_a_notebook_that_its_page_has_just_closed_is_changed_in_its_file(
    place: Notebooks,
) -> None:
    page = await place.open(PATH)
    del page.models[PATH]
    await place.documents.document(PATH).apply(edit(), MARK)
    assert place.sources(PATH) == ["x = 2", "y"]


async def test_of_two_pages_the_one_that_asked_is_changed(place: Notebooks) -> None:
    first, second = await place.open(PATH), await place.open(PATH)
    await place.documents.document(PATH, second.id).apply(edit(), MARK)
    assert (first.sources(PATH)[0], second.sources(PATH)[0]) == ("x = 1", "x = 2")


async def test_of_two_other_pages_the_one_that_shows_the_notebook_is_changed(
    place: Notebooks,
) -> None:
    place.write("b.ipynb", "b")
    behind, front = await place.open(PATH, "b.ipynb"), await place.open("b.ipynb", PATH)
    await place.documents.document(PATH, "of a page that is gone").apply(edit(), MARK)
    assert (behind.sources(PATH)[0], front.sources(PATH)[0]) == ("x = 1", "x = 2")


async def test_two_turns_at_once_change_one_after_the_other(place: Notebooks) -> None:
    document = place.documents.document
    made = [InsertCell(f"op{n}", f"new{n}", "code", f"# {n}", "c2") for n in range(8)]
    await asyncio.gather(*(document(PATH).apply(one, MARK) for one in made))
    assert place.sources(PATH) == ["x = 1", "y", *(f"# {n}" for n in reversed(range(8)))]


@pytest.mark.parametrize(
    "path", ["a.ipynb", "/a.ipynb", "./a.ipynb", "b/../a.ipynb", "{root}/a.ipynb"]
)
async def test_a_path_is_taken_as_models_write_it(place: Notebooks, path: str) -> None:
    document = place.documents.document(path.format(root=place.root))
    assert document.path == PATH
    assert (await document.read()).path == PATH


@pytest.mark.parametrize("path", ["b.ipynb", "../a.ipynb", "a.txt", "/etc/passwd", "\x00.ipynb"])
async def test_a_notebook_that_is_not_there_is_refused_with_those_that_are_open(
    place: Notebooks, path: str
) -> None:
    place.write("sub/c.ipynb", "c")
    await place.open(PATH, "sub/c.ipynb")
    with pytest.raises(ToolError, match=r"no notebook .* browser: 'a.ipynb', 'sub/c.ipynb'\.$"):
        await place.documents.document(path).read()


async def test_an_older_notebook_is_saved_upgraded_only_when_it_is_changed(
    place: Notebooks,
) -> None:
    older = v4.new_notebook(cells=[v4.new_code_cell("x = 1")])
    del older.cells[0]["id"]
    older["nbformat_minor"] = 4
    file = place.root / "older.ipynb"
    file.write_text(json.dumps(older))
    was = file.read_bytes()
    document = place.documents.document("older.ipynb")
    [cell] = (await document.read()).notebook.cells
    assert (await document.read()).notebook.cells[0].id == cell.id
    with pytest.raises(StaleCell):
        await document.apply(EditCell("op", cell.id, "", ""))
    assert file.read_bytes() == was
    await document.apply(EditCell("op", cell.id, "x = 2", source_hash("x = 1")))
    read = place.read("older.ipynb")
    assert (read.nbformat_minor, read.cells[0].id, read.cells[0].source) == (5, cell.id, "x = 2")


@pytest.mark.filterwarnings("ignore::nbformat.warnings.DuplicateCellId")
async def test_cells_whose_ids_are_not_unique_have_lasting_ids_all_the_same(
    place: Notebooks,
) -> None:
    double = v4.new_notebook(cells=[v4.new_code_cell("x", id="a"), v4.new_code_cell("y", id="b")])
    double.cells[1]["id"] = "a"
    (place.root / "double.ipynb").write_text(json.dumps(double))
    document = place.documents.document("double.ipynb")
    ids = [cell.id for cell in (await document.read()).notebook.cells]
    assert [cell.id for cell in (await document.read()).notebook.cells] == ids
    await document.apply(EditCell("op", ids[1], "z", source_hash("y")))
    assert place.sources("double.ipynb") == ["x", "z"]


@pytest.mark.parametrize("is_open", [False, True], ids=["in its file", "in a page"])
async def test_outputs_go_into_the_cell_and_below_those_that_are_there(
    place: Notebooks, is_open: bool
) -> None:
    page = await place.open(PATH) if is_open else None
    document = place.documents.document(PATH)
    printed = [{"output_type": "stream", "name": "stdout", "text": "1\n"}]
    hash = source_hash("x = 1")
    await document.show_outputs("c1", 4, printed, source_hash=hash, state="running")
    await document.show_outputs("c1", 4, printed, source_hash=hash, append=True)
    cell = (page.models[PATH] if page else place.read(PATH)).cells[0]
    assert (cell.execution_count, cell.outputs) == (4, printed * 2)


@pytest.mark.parametrize("is_open", [False, True], ids=["in its file", "in a page"])
async def test_outputs_of_another_source_are_refused(place: Notebooks, is_open: bool) -> None:
    if is_open:
        await place.open(PATH)
    document = place.documents.document(PATH)
    with pytest.raises(StaleCell, match=r"\| x = 1$"):
        await document.show_outputs("c1", 4, [], source_hash=source_hash("x = 5"))


async def test_a_page_saves_and_shows_a_cell_when_it_is_told_to(place: Notebooks) -> None:
    page = await place.open(PATH)
    document = place.documents.document(PATH)
    page.models[PATH].cells[0].source = "x = 5"
    await document.save()
    await document.reveal("c1")
    assert place.sources(PATH) == ["x = 5", "y"]
    assert page.requests[-1]["params"] == {"path": PATH, "cell_id": "c1"}


@pytest.mark.parametrize(
    "notebook", [None, [], {}, {"cells": [{}]}, {"cells": [{"id": "a", "source": 5}]}], ids=str
)
async def test_what_is_no_notebook_in_a_page_is_a_sentence(place: Notebooks, notebook: Any) -> None:
    def answer(message: dict[str, Any]) -> None:
        page.answered(message["id"], {"result": {"notebook": notebook}})

    page = pages.Page(answer)
    await place.pages.describe(page, "p", (PATH,), PATH)
    with pytest.raises(ToolError, match="cannot be read as it is open in the browser"):
        await place.documents.document(PATH).read()
