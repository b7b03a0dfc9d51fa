"""
Tables as files, sent piece by piece however long they are.

The base of the pages' files. A piece is read and encoded in a thread, in a short transaction
of its own, when the one before has left: a slow client holds neither memory nor the event
loop nor a connection to the database.
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

from caesarion_hub.gateway.pages.page import Page
from caesarion_hub.gateway.pages.rows import BATCH

Rows = Sequence[Row[Any]]
_Made = TypeVar("_Made")


class Download(Page):
    """A file."""

    async def send(self, name: str, content_type: str, pieces: Iterator[str]) -> None:
        """Send a file."""
        self.set_header("Content-Type", f"{content_type}; charset=utf-8")
        self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        has_begun = False
        try:
            while piece := await asyncio.to_thread(next, pieces, ""):
                self.write(piece)
                await self.flush()
                has_begun = True
        except StreamClosedError:
            pass  # the client is gone
        except SQLAlchemyError as error:
            if not has_begun:
                self.clear_header("Content-Disposition")
                raise HTTPError(503, "The database does not answer. Load it again.") from error
            # Half a file must not look like a whole one.
            self.detach().close()

    async def send_csv(
        self, name: str, header: Sequence[str], batches: Iterable[Iterable[Sequence[Any]]]
    ) -> None:
        """Send comma-separated values, whose rows come in ``batches``."""
        await self.send(name, "text/csv", csv_pieces(header, batches))

    def batches(
        self,
        query: Callable[[Connection, Row[Any] | None], Rows],
        convert: Callable[[Connection, Rows], _Made],
    ) -> Iterator[_Made]:
        """Yield converted batches; ``query`` gets the last row of the batch before."""
        last: Row[Any] | None = None
        while True:
            with self.context.write_queue.ledger.database.reading() as connection:
                rows = query(connection, last)
                made = convert(connection, rows)
            if rows:
                yield made
            if len(rows) < BATCH:
                return
            last = rows[-1]


def csv_pieces(header: Sequence[str], batches: Iterable[Iterable[Sequence[Any]]]) -> Iterator[str]:
    """Yield comma-separated values, none of which a spreadsheet takes for a formula."""
    yield _csv([header])
    for rows in batches:
        yield _csv([_cell(value) for value in row] for row in rows)


def json_lines(batches: Iterable[Iterable[Any]]) -> Iterator[str]:
    """Yield a line of JSON for each row."""
    for rows in batches:
        yield "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def in_batches(rows: Sequence[_Made]) -> Iterator[Sequence[_Made]]:
    """Yield rows that are in memory already in batches."""
    for begin in range(0, len(rows), BATCH):
        yield rows[begin : begin + BATCH]


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
