"""
The pages: tabs of a browser that are connected, and the notebooks that each has open.

:mod:`caesarion.api.page` brings what a page says, and sends it what it is asked;
:mod:`caesarion.notebooks.document` asks. Knows no web server. A notebook that is open in a page
is read and changed there: the page's model is the truth, unsaved edits included.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

from caesarion.errors import PageGone, ToolError

# Seconds that a page may take for an answer. Made up: a page in the background is slow, one that
# takes longer has stopped (a laptop that sleeps, a dialog), and a turn should not stop with it.
ANSWERED_WITHIN = 30.0

# Seconds that a notebook is waited for whose page went away: a reload, or a connection that was
# lost for a moment. Its file is not written to before, as the page comes back with unsaved edits.
BACK_WITHIN = 5.0

Send = Callable[[dict[str, Any]], None]


class PageRefusal(Exception):  # noqa: N818 - an answer
    """The page's own answer that it has not done what it was asked; ``code`` says why."""

    def __init__(self, code: str, message: str, source: str | None) -> None:
        self.code, self.source = code, source
        super().__init__(message)


class Page:
    """A connected page; ``send`` sends it a message, or raises PageGone."""

    def __init__(self, send: Send) -> None:
        self.id = ""
        self.open: tuple[str, ...] = ()
        self.front = ""
        self.send = send
        self._numbers = itertools.count(1)
        # The replies that are waited for; None says that the page is gone.
        self._waiting: dict[int, asyncio.Future[dict[str, Any] | None]] = {}

    async def request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """
        Ask the page to do something; return its result.

        Raises PageRefusal for its own error, PageGone if it goes away first, ToolError if it is
        there and does not answer.
        """
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self.send({"type": "request", "id": number, "method": method, "params": dict(params)})
            async with asyncio.timeout(ANSWERED_WITHIN):
                reply = await answer
        except TimeoutError as error:
            raise ToolError(
                f"The browser in which {params['path']!r} is open did not answer within "
                f"{ANSWERED_WITHIN:g} seconds; whether it has done this is not known. Read the "
                "notebook again before you go on, or tell the user to look at that page."
            ) from error
        finally:
            del self._waiting[number]
        if reply is None:
            raise PageGone("The page was closed before it answered.")
        error_of_page = reply.get("error")
        if isinstance(error_of_page, dict):
            source = error_of_page.get("source")
            raise PageRefusal(
                str(error_of_page.get("code", "failed")),
                str(error_of_page.get("message", "")),
                source if isinstance(source, str) else None,
            )
        result = reply.get("result")
        return result if isinstance(result, dict) else {}

    def close(self, path: str) -> None:
        """Note that the page no longer has a notebook open; it will also say so itself."""
        self.open = tuple(one for one in self.open if one != path)

    def answered(self, number: object, reply: dict[str, Any]) -> None:
        """Take the reply to the request of this number; one that nobody waits for is dropped."""
        waiting = self._waiting.get(number) if isinstance(number, int) else None
        if waiting and not waiting.done():
            waiting.set_result(reply)

    def gone(self) -> None:
        """End what waits for the page."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)


class Pages:
    """The pages of one server."""

    def __init__(self) -> None:
        self._pages: list[Page] = []
        # When a page went away that had a notebook open, by the notebook's path.
        self._left: dict[str, float] = {}
        # Pages that asked, and were waited for in vain.
        self._missing = {""}
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._pages)

    async def describe(self, page: Page, id: str, open: tuple[str, ...], front: str) -> set[str]:
        """Take what a page has open; return the paths that it had not open before."""
        async with self._changed:
            if page not in self._pages:
                self._pages.append(page)
            new = set(open) - set(page.open)
            page.id, page.open, page.front = id, open, front
            self._missing.discard(id)
            for path in open:
                self._left.pop(path, None)
            self._changed.notify_all()
        return new

    def leave(self, page: Page) -> None:
        """Forget a page whose connection has ended."""
        if page in self._pages:
            self._pages.remove(page)
            now = time.monotonic()
            self._left = {
                path: at for path, at in self._left.items() if at + BACK_WITHIN > now
            } | dict.fromkeys(page.open, now)
        page.gone()

    def tell_all(self, message: dict[str, Any]) -> None:
        """Send a message to each page."""
        for page in self._pages:
            with contextlib.suppress(PageGone):
                page.send(message)

    def with_notebook(self, path: str) -> list[Page]:
        """Return the pages that have a notebook open."""
        return [page for page in self._pages if path in page.open]

    def open_notebooks(self) -> list[str]:
        """Return the paths of the notebooks that are open in some page."""
        return sorted({path for page in self._pages for path in page.open})

    async def find(self, path: str, preferred: str = "") -> Page | None:
        """
        Return the page in which a notebook is open: ``preferred``, else one that shows it.

        Waits for a page that has just gone away, and for ``preferred`` if it is not connected: it
        has asked, so it is there, and comes back when the server was started again. None if no
        page has the notebook open.
        """
        if not self.with_notebook(path):
            if left := self._left.get(path):
                await self._wait(lambda: self.with_notebook(path), left + BACK_WITHIN)
            elif preferred not in self._missing and not self._has(preferred):
                await self._wait(lambda: self._has(preferred), time.monotonic() + BACK_WITHIN)
                self._missing |= {preferred} - {page.id for page in self._pages}
        return min(
            self.with_notebook(path),
            key=lambda page: (page.id != preferred, page.front != path),
            default=None,
        )

    def _has(self, id: str) -> bool:
        return any(page.id == id for page in self._pages)

    async def _wait(self, condition: Callable[[], object], until: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until - time.monotonic()), self._changed:
                await self._changed.wait_for(condition)
