"""
Server-sent events of a chat completion, checked as they come. Pure.

Called by ``endpoint``. What is passed on is the provider's bytes, but always
whole events: so an error can be said after any of them, and what is no event
never reaches a client. https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import json
import re
from typing import Any

MAX_EVENT = 16 * 2**20
"""Bytes that one event may have; a made-up number."""

_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r")
_END = re.compile(rb"\n\n|\r\n\r\n|\r\r")
_LINE = re.compile(rb"\r\n|\n|\r")


class Events:
    """
    Cuts a stream after the last event that is whole.

    ``is_done`` says that the provider ended the stream, ``is_complete`` that it
    did or gave the reason why the answer finished. ``is_garbled`` says that
    something else came than events; ``error`` is what the provider said instead
    of an answer. After either nothing more is fed.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self.is_done = False
        self.is_complete = False
        self.is_garbled = False
        self.error: dict[str, Any] | None = None

    def feed(self, data: bytes) -> bytes:
        """
        Return the bytes of all events that ``data`` completes, or none.

        What is garbled or an error is kept back, with all that follows.
        """
        searched = max(0, len(self._rest) - 3)
        self._rest += data
        end = max(self._end(mark, searched) for mark in _ENDS)
        if not end:
            self.is_garbled = len(self._rest) > MAX_EVENT
            return b""
        whole = bytes(self._rest[:end])
        del self._rest[:end]
        begin = 0
        for mark in _END.finditer(whole):
            self._check(whole[begin : mark.start()])
            if self.is_garbled or self.error:
                return whole[:begin]
            begin = mark.end()
        return whole

    def end(self) -> bytes:
        """Return the last event if only its empty line is missing; half a one is dropped."""
        last = bytes(self._rest).strip()
        self._rest.clear()
        self._check(last)
        return b"" if not last or self.is_garbled or self.error else last + b"\n\n"

    def _end(self, mark: bytes, searched: int) -> int:
        place = self._rest.rfind(mark, searched)
        return place + len(mark) if place >= 0 else 0

    def _check(self, event: bytes) -> None:
        data = _data(event)
        if not data:
            return  # a comment, which keeps the connection alive
        if data == b"[DONE]":
            self.is_done = self.is_complete = True
            return
        said = json_object(data)
        if said is None:
            self.is_garbled = True
        elif said.get("error"):
            self.error = said
        elif not self.is_complete:
            self.is_complete = _is_finished(said)


def _data(event: bytes) -> bytes:
    if event.startswith(b"data: ") and b"\n" not in event and b"\r" not in event:
        return event[6:]  # as almost all are; the rest takes three times as long
    lines = (line[5:].removeprefix(b" ") for line in _LINE.split(event) if line[:5] == b"data:")
    return b"\n".join(lines)


def json_object(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object that ``data`` holds, or None."""
    try:
        said = json.loads(data.decode())
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _is_finished(said: dict[str, Any]) -> bool:
    choices = said.get("choices")
    return isinstance(choices, list) and any(
        isinstance(choice, dict) and choice.get("finish_reason") for choice in choices
    )
