"""
Server-sent events, read as the WHATWG specifies them.

Called by ``reader``; calls no other module. Lines end with LF, CR or CRLF, also where the
network splits them; a byte order mark is skipped; several ``data`` lines make one event. https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import Iterator
from typing import NamedTuple

MAX_EVENT = 8 * 2**20
"""Bytes that one event may have; a made-up number."""

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """
    One event: its data, its name, and its bytes with LF as the end of each line.

    ``data`` is None if the event consists of comments.
    """

    data: bytes | None
    name: str
    raw: bytes


class EventReader:
    """Splits a byte stream into events; raises ValueError if one is longer than ``MAX_EVENT``."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._at_start = True
        self._after_cr = False

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield each event that ``data`` completes."""
        data = self._with_line_feeds(data)
        is_whole = b"\n\n" in bytes(self._rest[-1:]) + data
        self._rest += data
        if self._at_start:
            if len(self._rest) < len(_BOM) and _BOM.startswith(self._rest):
                return
            if self._rest.startswith(_BOM):
                del self._rest[: len(_BOM)]
            self._at_start = False
        if is_whole:
            *blocks, rest = bytes(self._rest).split(b"\n\n")
            self._rest = bytearray(rest)
            for block in blocks:
                if event := _event(block):
                    yield event
        if len(self._rest) > MAX_EVENT:
            raise ValueError(f"An event is longer than {MAX_EVENT} bytes.")

    def end(self) -> Event | None:
        """
        Return the last event if only its empty line is missing.

        The specification discards it. Many servers end their last line by closing the
        connection, so the caller decides whether the event is complete.
        """
        last = bytes(self._rest)
        self._rest.clear()
        return _event(last)

    def _with_line_feeds(self, data: bytes) -> bytes:
        if self._after_cr and data:
            data = data.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in data:
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return data


def _event(block: bytes) -> Event | None:
    """Return the event of a block of lines; None if it has neither data nor comments."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return Event(
            block[6:], "", block + b"\n\n"
        )  # The usual event; this takes a third of the time.
    lines = block.strip(b"\n").split(b"\n")
    data, name, is_comment = list[bytes](), b"", False
    for line in lines:
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
        elif not field and line:
            is_comment = True
    if not data and not is_comment:
        return None
    raw = b"\n".join(lines) + b"\n\n"
    return Event(b"\n".join(data) if data else None, name.decode("utf-8", "replace"), raw)
