"""
A browser's page with notebooks open, for tests: the page channel without a browser.

    async with open_page(server, "a.ipynb") as page:
        await page.until(lambda: len(page.changes["a.ipynb"]) == 1)
        page.models["a.ipynb"].cells[0].source = "the person's"

It keeps a model of each notebook and applies to it what it is asked, as the labextension does
(notebook_model.ts). Faults are set by a test. :class:`PageModel` is the same without a socket.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import aiohttp
import httpx
import nbformat
from caesarion.errors import StaleCell, UnknownCell
from caesarion.notebooks import cells

from tests.server import RunningServer

Json = dict[str, Any]

_OPERATIONS: dict[str, Any] = {
    "edit": cells.EditCell,
    "insert": cells.InsertCell,
    "delete": cells.DeleteCell,
    "move": cells.MoveCell,
}


@dataclass
class PageModel:
    """What is open in a page, whose server serves the folder ``root``; ``id`` is the tab's."""

    root: Path
    id: str = field(default_factory=lambda: str(uuid4()))
    models: dict[str, nbformat.NotebookNode] = field(default_factory=dict)
    """The notebooks that are open, unsaved edits included."""
    front: str | None = None
    requests: list[Json] = field(default_factory=list)
    """What the page was asked to do, oldest first."""
    states: list[str] = field(default_factory=list)
    """How far runs were when the page was asked to show outputs, oldest first."""
    vanishes: Literal["", "before", "after", "saved"] = ""
    """When the page is gone: before the next operation, after it, or when that is saved."""
    refuses: str = ""
    """What the page answers instead of applying an operation."""
    _applied: dict[str, Json] = field(default_factory=dict)

    def load(self, path: str) -> None:
        """Open a notebook, in front of the others."""
        self.models[path] = nbformat.read(self.root / path, as_version=4)
        self.front = path

    def save(self, path: str) -> None:
        """Save a notebook, as its editor does."""
        nbformat.write(self.models[path], self.root / path)

    def sources(self, path: str) -> list[str]:
        """Return the sources of a notebook as the person sees them."""
        return [cell.source for cell in self.models[path].cells]

    def described(self) -> Json:
        """Return what the page says of itself."""
        open_ones = list(self.models)
        return {"type": "notebooks", "page": self.id, "open": open_ones, "front": self.front}

    def answer(self, request: Json) -> Json | None:
        """Return the reply to a request; None if the page is gone instead."""
        self.requests.append(request)
        method, params = request["method"], request["params"]
        vanishes = self.vanishes if method == "apply" else ""
        if vanishes == "before":
            return None
        reply: Json = {"type": "reply", "id": request["id"]}
        try:
            reply["result"] = self._do(method, params)
        except StaleCell as error:
            reply["error"] = {"code": "stale", "message": "stale", "source": error.source}
        except UnknownCell:
            reply["error"] = {"code": "unknown_cell", "message": "unknown"}
        except KeyError:
            reply["error"] = {"code": "closed", "message": "It is not open."}
        except PermissionError as error:
            reply["error"] = {"code": "failed", "message": str(error)}
        if vanishes == "saved":
            self.save(params["path"])
        return None if vanishes else reply

    def _do(self, method: str, params: Json) -> Json:
        path = params["path"]
        model = self.models[path]
        match method:
            case "read":
                return {"notebook": _with_outputs(model, params["outputs"]), "dirty": True}
            case "apply":
                return self._apply(model, dict(params["operation"]), params["mark"])
            case "outputs":
                cell = model.cells[cells.find(model, params["cell_id"])]
                self.states.append(params["state"])
                if cells.source_hash(cell.source) != params["source_hash"]:
                    raise cells.stale(cell.id, cell.source)
                before = cell.outputs if params["append"] else []
                cell.outputs = [*before, *map(nbformat.from_dict, params["outputs"])]
                cell.execution_count = params["execution_count"]
            case "save":
                self.save(path)
        return {}

    def _apply(self, model: nbformat.NotebookNode, operation: Json, mark: Json | None) -> Json:
        if self.refuses:
            raise PermissionError(self.refuses)
        if known := self._applied.get(operation["id"]):
            return known
        kind = _OPERATIONS[operation.pop("kind")]
        applied = cells.apply(model, kind(**operation), mark)
        self._applied[operation["id"]] = {"cell_id": applied.cell_id, "hash": applied.hash}
        return self._applied[operation["id"]]


def _with_outputs(model: nbformat.NotebookNode, which: str) -> nbformat.NotebookNode:
    """Return a notebook with all outputs, those that are text, or none."""
    notebook = deepcopy(model)
    for cell in notebook.cells:
        if which == "none":
            cell.pop("attachments", None)
        for output in cell.get("outputs", []):
            for mime in output.get("data", {}):
                if which == "text" and not mime.startswith("text/"):
                    output["data"][mime] = ""
        if which == "none" and cell.cell_type == "code":
            cell.outputs = []
    return notebook


@dataclass
class OpenPage(PageModel):
    """A page that is connected."""

    socket: aiohttp.ClientWebSocketResponse = field(kw_only=True)
    changes: dict[str, list[Json]] = field(default_factory=dict)
    """The list of changes of each notebook, as the server sent it last."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def open(self, *paths: str) -> None:
        """Open notebooks, the last one in front, and wait until the server knows."""
        for path in paths:
            self.load(path)
        await self.tell()
        await self.until(lambda: all(path in self.changes for path in paths))

    async def close(self, path: str) -> None:
        """Close a notebook, which is saved."""
        self.save(path)
        del self.models[path], self.changes[path]
        self.front = next(iter(self.models), None)
        await self.tell()

    async def tell(self) -> None:
        """Say what is open."""
        await self.socket.send_json(self.described())

    async def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        """Wait until ``condition`` holds; it is looked at whenever the server speaks."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    async def listen(self) -> None:
        """Take what the server says until the connection ends."""
        async for told in self.socket:
            message = json.loads(told.data)
            if message["type"] == "changes":
                self.changes[message["path"]] = message["changes"]
            elif message["type"] == "run":
                pass  # for the panel of runs
            elif reply := self.answer(message):
                await self.socket.send_json(reply)
            else:
                await self.socket.close()
            async with self._changed:
                self._changed.notify_all()


def cookies_of(browser: httpx.AsyncClient) -> str:
    """Return a browser's cookies as it sends them."""
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


@contextlib.asynccontextmanager
async def open_page(server: RunningServer, *paths: str) -> AsyncIterator[OpenPage]:
    """Open a page with the notebooks at ``paths``, logged in as a browser is."""
    async with (
        server.browser() as browser,
        aiohttp.ClientSession(headers={"Cookie": cookies_of(browser)}) as http,
        http.ws_connect(f"{server.url}caesarion/api/page", max_msg_size=0) as socket,
    ):
        page = OpenPage(server.root, socket=socket)
        listening = asyncio.ensure_future(page.listen())
        try:
            if paths:
                await page.open(*paths)
            yield page
        finally:
            await socket.close()
            await listening
