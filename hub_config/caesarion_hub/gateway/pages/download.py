"""
A table as a file that goes out piece by piece, however long it is.

Built upon by the pages. A piece is read and written down in a thread, in a short
transaction of its own, when the one before has left: neither memory nor the loop
nor the database's connections are held by who loads slowly.
"""

import asyncio
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row
from sqlalchemy.exc import SQLAlchemyError
from tornado.iostream import StreamClosedError
from tornado.web import HTTPError

from caesarion_hub.gateway.pages.lists import BATCH
from caesarion_hub.gateway.pages.page import Page

Rows = Sequence[Row[Any]]
_Made = TypeVar("_Made")


class Download(Page):
    """A file."""

    async def send(self, name: str, kind: str, pieces: Iterator[str]) -> None:
        """Send a file of this kind, such as ``text/csv``."""
        self.set_header("Content-Type", f"{kind}; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        begun = False
        try:
            while piece := await asyncio.to_thread(next, pieces, ""):
                self.write(piece)
                await self.flush()
                begun = True
        except StreamClosedError:
            pass  # the client is gone
        except SQLAlchemyError as error:
            if not begun:
                self.clear_header("Content-Disposition")
                raise HTTPError(503, "The database does not answer. Load it again.") from error
            # Half a file must not look like a whole one.
            self.detach().close()

    async def send_csv(
        self, name: str, header: Sequence[str], tables: Iterable[Iterable[Sequence[Any]]]
    ) -> None:
        """Send comma-separated values; ``tables`` are pieces of one table."""
        await self.send(name, "text/csv", csv_pieces(header, tables))

    def batches(
        self,
        query: Callable[[Connection, Row[Any] | None], Rows],
        finish: Callable[[Connection, Rows], _Made],
    ) -> Iterator[_Made]:
        """Yield what ``finish`` makes of the batches of ``query``, which is given the last row."""
        last: Row[Any] | None = None
        while True:
            with self.shared.write_queue.ledger.database.reading() as connection:
                rows = query(connection, last)
                made = finish(connection, rows)
            if rows:
                yield made
            if len(rows) < BATCH:
                return
            last = rows[-1]


def csv_pieces(header: Sequence[str], tables: Iterable[Iterable[Sequence[Any]]]) -> Iterator[str]:
    """Yield comma-separated values, which no spreadsheet takes for formulas."""
    yield _csv([header])
    for rows in tables:
        yield _csv([_cell(value) for value in row] for row in rows)


def json_lines(tables: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Yield a line of JSON for each row."""
    for rows in tables:
        yield "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def cut(rows: Sequence[_Made]) -> Iterator[Sequence[_Made]]:
    """Yield ``rows``, which are read already, in batches."""
    for begin in range(0, len(rows), BATCH):
        yield rows[begin : begin + BATCH]


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in "=+-@\t\r" and value else value
