"""
A notebook, wherever it is: in the page that has it open, else in its file.

Called by the agent's tools; calls :mod:`caesarion.notebooks.pages` and
:mod:`caesarion.notebooks.storage`. Invariant: while a page has a notebook open, its file is the
page's alone to write. When a page goes away in the middle, what was asked of it is looked for
before it is done again.
"""

import asyncio
import posixpath
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args
from weakref import WeakValueDictionary

from nbformat import NotebookNode, from_dict

from caesarion.errors import NotebookError, PageGone, ToolError, UnknownNotebook
from caesarion.notebooks import cells
from caesarion.notebooks.cells import Applied, CellType, EditCell, Operation
from caesarion.notebooks.pages import Page, PageRefusal, Pages
from caesarion.notebooks.storage import NotebookStorage

Result = TypeVar("Result")
Outputs = Literal["all", "text", "none"]

# Times that a page is looked for which goes away while it is asked.
_TRIES = 3

_NEVER_STAYS = (
    "The page in which {path!r} is open was closed or reloaded {count} times while it was asked, "
    "so it is not known whether this is done. Read the notebook again before you go on."
)


@dataclass(frozen=True)
class Reading:
    """
    A notebook as it was read, of nbformat 4.5.

    ``page`` is the page that has it open, empty for a file; ``dirty`` says that the page has not
    saved it as it is.
    """

    path: str
    notebook: NotebookNode
    page: str = ""
    dirty: bool = False


class Documents:
    """The notebooks of one server."""

    def __init__(self, storage: NotebookStorage, pages: Pages, root: Path) -> None:
        self._storage = storage
        self._pages = pages
        self._root = root
        # One lock for each notebook, held from an operation's first request to its end: two
        # turns at once change one after the other, in the order in which they asked.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def document(self, path: str, page: str = "") -> "NotebookDocument":
        """
        Return the notebook at ``path``, which need not exist; ``page`` is preferred if it is open.

        Paths are relative to the server's root; absolute ones that lie in it are taken, too.
        """
        if path.startswith(f"{self._root}/"):
            path = path[len(f"{self._root}/") :]
        path = posixpath.normpath(path.lstrip("/")) if path.strip("/") else ""
        lock = self._locks.setdefault(path, asyncio.Lock())
        return NotebookDocument(path, self._storage, self._pages, page, lock)


class NotebookDocument:
    """One notebook."""

    def __init__(
        self, path: str, storage: NotebookStorage, pages: Pages, page: str, lock: asyncio.Lock
    ) -> None:
        self.path = path
        self._storage = storage
        self._pages = pages
        self._preferred = page
        self._lock = lock

    async def read(self, outputs: Outputs = "all") -> Reading:
        """
        Return the notebook as it is now; raise ToolError for one that cannot be read.

        A page may leave out all ``outputs``, or those that are no text: images make a notebook
        large, and a page's connection may be slow.
        """
        for _ in range(_TRIES):
            page = await self._page()
            if page is None:
                try:
                    stored = await self._storage.read(self.path)
                except NotebookError as error:
                    raise self._unreadable(error) from error
                return Reading(self.path, stored.content)
            try:
                result = await page.request("read", {"path": self.path, "outputs": outputs})
            except PageGone:
                continue
            except PageRefusal as refusal:
                self._take_refusal(page, refusal)
                continue
            notebook = self._notebook(result.get("notebook"))
            return Reading(self.path, notebook, page.id, result.get("dirty") is True)
        raise ToolError(_NEVER_STAYS.format(path=self.path, count=_TRIES))

    async def apply(self, operation: Operation, mark: Mapping[str, Any] | None = None) -> Applied:
        """
        Apply an operation once, and write ``mark`` to the metadata of its cell.

        Raises StaleCell, UnknownCell, or ToolError for what the page or the file system refuses.
        """
        params = {"path": self.path, "operation": cells.as_json(operation), "mark": mark}

        async def ask(page: Page) -> Applied:
            try:
                result = await page.request("apply", params)
            except PageRefusal as refusal:
                if refusal.code == "stale" and refusal.source is not None:
                    if isinstance(operation, EditCell) and refusal.source == operation.source:
                        return Applied(operation.cell_id, cells.source_hash(refusal.source))
                    raise cells.stale(operation.cell_id, refusal.source) from refusal
                if refusal.code == "unknown_cell":
                    # The page says which; what there is instead is said in one place.
                    cells.check((await self.read("none")).notebook, operation)
                raise
            return Applied(operation.cell_id, str(result.get("hash") or ""))

        async with self._lock:
            return await self._do(
                ask,
                lambda notebook: cells.apply(notebook, operation, mark),
                lambda notebook: cells.applied(notebook, operation),
            )

    async def show_outputs(
        self,
        cell_id: str,
        execution_count: int | None,
        outputs: Sequence[Mapping[str, Any]],
        *,
        source_hash: str,
        state: str = "idle",
        append: bool = False,
    ) -> None:
        """
        Put outputs into a code cell, or below those that it has; ``state`` is running or idle.

        ``source_hash`` is of the source that the outputs are of. Raises StaleCell if the cell has
        another one now, UnknownCell, or ToolError.
        """
        params = {
            "path": self.path,
            "cell_id": cell_id,
            "execution_count": execution_count,
            "outputs": [dict(output) for output in outputs],
            "source_hash": source_hash,
            "state": state,
            "append": append,
        }

        def into(notebook: NotebookNode) -> None:
            cell = notebook.cells[cells.find(notebook, cell_id)]
            if cell.cell_type != "code" or cells.source_hash(cell.source) != source_hash:
                raise cells.stale(cell_id, cell.source)
            before = cell.outputs if append else []
            cell.outputs = [*before, *(from_dict(dict(output)) for output in outputs)]
            cell.execution_count = execution_count

        async def ask(page: Page) -> None:
            try:
                await page.request("outputs", params)
            except PageRefusal as refusal:
                if refusal.code == "stale" and refusal.source is not None:
                    raise cells.stale(cell_id, refusal.source) from refusal
                if refusal.code == "unknown_cell":
                    cells.find((await self.read("none")).notebook, cell_id)
                raise

        async with self._lock:
            await self._do(ask, into)

    async def is_open(self) -> bool:
        """Return whether a page has the notebook open."""
        return await self._page() is not None

    async def save(self) -> None:
        """Let the page that has the notebook open, if one does, save it."""
        await self._tell("save", {})

    async def reveal(self, cell_id: str) -> None:
        """Let the page that has the notebook open, if one does, show a cell."""
        await self._tell("reveal", {"cell_id": cell_id})

    async def _tell(self, method: str, params: Mapping[str, Any]) -> None:
        if page := await self._page():
            try:
                await page.request(method, {"path": self.path, **params})
            except PageGone:
                pass  # There is nothing left to save or to show.
            except PageRefusal as refusal:
                self._take_refusal(page, refusal)

    async def _do(
        self,
        ask: Callable[[Page], Awaitable[Result]],
        change: Callable[[NotebookNode], Result],
        done: Callable[[NotebookNode], Result | None] = lambda _: None,
    ) -> Result:
        """
        Let the page that has the notebook open do something, else do it to the file by ``change``.

        ``done`` returns the result if a notebook shows that it is done: a page may have done it,
        and gone away before it said so.
        """
        is_lost = False
        for _ in range(_TRIES):
            if is_lost and (result := done((await self.read("none")).notebook)) is not None:
                return result
            page = await self._page()
            if page is None:
                try:
                    return await self._storage.update(self.path, change)
                except NotebookError as error:
                    raise self._unreadable(error) from error
            try:
                return await ask(page)
            except PageGone:
                is_lost = True
            except PageRefusal as refusal:
                self._take_refusal(page, refusal)
        raise ToolError(_NEVER_STAYS.format(path=self.path, count=_TRIES))

    async def _page(self) -> Page | None:
        return await self._pages.find(self.path, self._preferred)

    def _take_refusal(self, page: Page, refusal: PageRefusal) -> None:
        """Look elsewhere for a notebook that the page has just closed; else raise ToolError."""
        if refusal.code != "closed":
            raise ToolError(
                f"The browser in which {self.path!r} is open has not done this: {refusal}"
            ) from refusal
        page.close(self.path)

    def _notebook(self, content: object) -> NotebookNode:
        """Return a page's notebook; nobody but the page has checked it."""
        try:
            notebook: NotebookNode = from_dict(content)
            if all(
                isinstance(cell.id, str)
                and isinstance(cell.source, str)
                and isinstance(cell.metadata, dict)
                and cell.cell_type in get_args(CellType)
                for cell in notebook.cells
            ):
                notebook.metadata.get("kernelspec", {}).get("name")
                return notebook
        except (AttributeError, TypeError):
            pass
        raise ToolError(
            f"The notebook {self.path!r} cannot be read as it is open in the browser. Tell the "
            "user to save it and to open it again."
        )

    def _unreadable(self, error: NotebookError) -> ToolError:
        known = ""
        if isinstance(error, UnknownNotebook) and (paths := self._pages.open_notebooks()):
            known = f" Open in the browser: {', '.join(map(repr, paths[:20]))}."
        return ToolError(f"{error}{known}")
