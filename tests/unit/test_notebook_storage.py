"""Notebooks are read and written through the contents manager, and replace nothing of others."""

import asyncio
import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from caesarion.errors import NotebookError, NotebookNotSaved, UnknownNotebook
from caesarion.notebooks.storage import NotebookStorage
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbformat import NotebookNode, reads, v4, writes
from nbformat.sign import MemorySignatureStore


@pytest.fixture
def contents(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Any:
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path_factory.mktemp("data")))
    contents: Any = AsyncLargeFileManager(root_dir=str(tmp_path), delete_to_trash=False)
    # Else signing a notebook is what fails on a full disk.
    contents.notary.store = MemorySignatureStore()
    return contents


@pytest.fixture
def storage(contents: Any) -> NotebookStorage:
    return NotebookStorage(contents)


def notebook(*sources: str) -> NotebookNode:
    made: NotebookNode = v4.new_notebook(cells=[v4.new_code_cell(source) for source in sources])
    return made


def write(file: Path, *sources: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(writes(notebook(*sources)))


def sources(file: Path) -> list[str]:
    return [cell.source for cell in reads(file.read_text(), as_version=4).cells]


async def test_a_notebook_that_is_unchanged_is_saved_in_its_place(
    storage: NotebookStorage, tmp_path: Path
) -> None:
    write(tmp_path / "sub" / "a.ipynb", "1")
    stored = await storage.read("sub/a.ipynb")
    stored.content.cells[0].source = "2"
    assert await storage.save(stored) == "sub/a.ipynb"
    assert sources(tmp_path / "sub" / "a.ipynb") == ["2"]


async def test_one_that_was_written_again_with_the_same_content_is_unchanged(
    storage: NotebookStorage, tmp_path: Path
) -> None:
    file = tmp_path / "a.ipynb"
    write(file, "1")
    stored = await storage.read("a.ipynb")
    file.write_bytes(file.read_bytes())
    os.utime(file, (1, 1))
    assert await storage.save(stored) == "a.ipynb"


class WithoutHashes:
    """A contents manager as those are that are older than Jupyter Server 2.11."""

    def __init__(self, contents: Any) -> None:
        self._contents = contents

    def __getattr__(self, name: str) -> Any:
        return getattr(self._contents, name)

    async def get(
        self, path: str, content: bool = True, type: str | None = None, format: str | None = None
    ) -> dict[str, Any]:
        model: dict[str, Any] = await self._contents.get(path, content, type, format)
        del model["hash"], model["hash_algorithm"]
        return model


async def test_without_hashes_it_counts_when_a_file_was_modified(
    contents: Any, tmp_path: Path
) -> None:
    storage = NotebookStorage(WithoutHashes(contents))
    file = tmp_path / "a.ipynb"
    write(file, "1")
    stored = await storage.read("a.ipynb")
    os.utime(file, (1, 1))
    assert await storage.save(stored) == "a (run 1).ipynb"
    assert await storage.save(await storage.read("a.ipynb")) == "a.ipynb"


async def test_one_that_was_edited_meanwhile_is_saved_beside_it(
    storage: NotebookStorage, tmp_path: Path
) -> None:
    file = tmp_path / "sub" / "a.ipynb"
    write(file, "1")
    write(tmp_path / "sub" / "a (run 1).ipynb", "mine")
    stored = await storage.read("sub/a.ipynb")
    was = file.stat()
    write(file, "edited")
    # By its content, not by its time: an editor, or git, may set that back.
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert await storage.save(stored) == "sub/a (run 2).ipynb"
    assert sources(file) == ["edited"]
    assert sources(tmp_path / "sub" / "a (run 1).ipynb") == ["mine"]
    assert sources(tmp_path / "sub" / "a (run 2).ipynb") == ["1"]


async def test_one_that_was_deleted_meanwhile_does_not_come_back_under_its_name(
    storage: NotebookStorage, tmp_path: Path
) -> None:
    write(tmp_path / "a.ipynb", "1")
    stored = await storage.read("a.ipynb")
    (tmp_path / "a.ipynb").unlink()
    assert await storage.save(stored) == "a (run 1).ipynb"
    assert not (tmp_path / "a.ipynb").exists()


async def test_two_that_are_saved_at_once_get_two_names(
    storage: NotebookStorage, tmp_path: Path
) -> None:
    saved = await asyncio.gather(
        *(storage.save_new("", "a.ipynb", notebook(text)) for text in ("1", "2"))
    )
    assert saved == ["a.ipynb", "a (2).ipynb"]
    assert [sources(tmp_path / path) for path in saved] == [["1"], ["2"]]


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow beyond 200 bytes: the writes fail as on a full disk, with another errno."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_is_a_sentence_and_leaves_what_was_there(
    storage: NotebookStorage, tmp_path: Path
) -> None:
    (tmp_path / "a.ipynb").write_text('{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}')
    stored = await storage.read("a.ipynb")
    stored.content.cells.append(v4.new_code_cell("2" * 30_000))
    with full_disk():
        sentence = r"^The notebook could not be saved as 'a\.ipynb': File too large\.$"
        with pytest.raises(NotebookNotSaved, match=sentence):
            await storage.save(stored)
        with pytest.raises(NotebookNotSaved, match=r"saved as 'new\.ipynb': File too large\.$"):
            await storage.save_new("", "new.ipynb", notebook("2" * 30_000))
    assert (await storage.read("a.ipynb")).content.cells == []
    assert not (tmp_path / "new.ipynb").exists()


@pytest.mark.parametrize("path", ["none.ipynb", "../a.ipynb", "a.txt", "a\0.ipynb", ".a.ipynb"])
async def test_one_that_is_not_there_is_unknown(storage: NotebookStorage, path: str) -> None:
    with pytest.raises(UnknownNotebook, match=r"^There is no notebook "):
        await storage.read(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"cells": 1}', b"\xff".decode("latin-1")])
async def test_what_is_no_notebook_is_an_error_in_a_sentence(
    storage: NotebookStorage, tmp_path: Path, content: str
) -> None:
    (tmp_path / "a.ipynb").write_text(content, "latin-1")
    with pytest.raises(NotebookError, match=r"^'a.ipynb' cannot be read as a notebook\."):
        await storage.read("a.ipynb")


async def test_a_folder_outside_the_root_does_not_exist(storage: NotebookStorage) -> None:
    there: Any = [await storage.folder_exists(folder) for folder in ("", "..", "none")]
    assert there == [True, False, False]
