"""
Notebooks for tests, in a folder and in pages, without a server.

    place = Notebooks(tmp_path)
    place.write("a.ipynb", "x = 1")
    page = place.open("a.ipynb")
    await place.documents.document("a.ipynb").read()

The files are read and written by Jupyter Server's own contents manager.
"""

from pathlib import Path
from typing import Any

import nbformat
from caesarion.errors import PageGone
from caesarion.notebooks.changes import Changes
from caesarion.notebooks.document import Documents
from caesarion.notebooks.pages import Page, Pages
from caesarion.notebooks.storage import NotebookStorage
from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbformat import NotebookNode, v4
from nbformat.sign import MemorySignatureStore

from tests.page import PageModel


class Notebooks:
    """The notebooks below ``root``, and the pages in which some are open."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.contents: Any = AsyncLargeFileManager(root_dir=str(root), delete_to_trash=False)
        # Else signing a notebook is what fails on a full disk.
        self.contents.notary.store = MemorySignatureStore()
        self.storage = NotebookStorage(self.contents)
        self.pages = Pages()
        self.documents = Documents(self.storage, self.pages, root)
        self.changes = Changes(self.pages)

    def write(self, path: str, *sources: str) -> None:
        """Write a notebook of code cells, with the ids "c1", "c2" ..."""
        cells = [v4.new_code_cell(source, id=f"c{n}") for n, source in enumerate(sources, 1)]
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(v4.new_notebook(cells=cells), self.root / path)

    def read(self, path: str) -> NotebookNode:
        """Return the notebook of a file, which is valid."""
        notebook: NotebookNode = nbformat.read(self.root / path, as_version=4)
        nbformat.validate(notebook)
        return notebook

    def sources(self, path: str) -> list[str]:
        """Return the sources of the cells in a file."""
        return [cell.source for cell in self.read(path).cells]

    async def open(self, *paths: str) -> "LocalPage":
        """Open notebooks in a page of their own."""
        page = LocalPage(self)
        for path in paths:
            page.load(path)
        await page.tell()
        return page


class LocalPage(PageModel):
    """A page that is connected without a socket."""

    def __init__(self, place: Notebooks) -> None:
        super().__init__(place.root)
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.connected = Page(self._take)
        self._pages = place.pages

    async def tell(self) -> None:
        """Say what is open."""
        told = self.described()
        await self._pages.describe(
            self.connected, self.id, tuple(told["open"]), told["front"] or ""
        )

    def leave(self) -> None:
        """Close the connection."""
        self._pages.leave(self.connected)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "changes":
            self.lists[message["path"]] = message["changes"]
        elif reply := self.answer(message):
            self.connected.answered(message["id"], reply)
        else:
            self.leave()
            raise PageGone("The page is closed.")
