"""
Reads any answer of a model server, and returns it as canonical events.

Called by the gateway and by the extension; calls ``sse``, ``canonical`` and ``errors``. The
format is found in the bytes themselves: servers send JSON for a stream, a stream for JSON, and
both under any content type.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from caesarion_dialects import errors
from caesarion_dialects.canonical import Canonicaliser, Chunk
from caesarion_dialects.sse import Event, EventReader
from caesarion_dialects.usage import Usage

_Format = Literal["", "events", "lines", "body", "page"]

DONE = b"data: [DONE]\n\n"
"""The last event of a stream."""

MAX_BODY = 64 * 2**20
"""Bytes of an answer that is no stream; a made-up number."""

END_LIMIT = 10.0
"""
Seconds that the usage and [DONE] may follow the finish reason; a made-up number.

Some servers leave the connection open behind it. For the caller, who waits.
"""

MAX_PAGE = 65_536
"""Bytes of a page that stands in the place of an answer; a made-up number."""

_IS_DONE = re.compile(rb'"?\[DONE\]"?', re.IGNORECASE)
_FORMATS: dict[bytes, _Format] = {b"{": "lines", b"[": "lines", b"<": "page"}
_ALIVE = b": keep-alive\n\n"
_decode = json.JSONDecoder().raw_decode
_JSON_SPACE = " \t\n\r"


class Piece(NamedTuple):
    """
    Complete events as bytes, and the canonical chunks in them.

    ``usage`` is the server's count so far; the client gets it at the end.
    """

    data: bytes
    chunks: list[Chunk]
    usage: Usage | None = None


@dataclass(frozen=True)
class Failure:
    """
    Why there is no answer, or no complete one.

    "error": the server sent an error, which is ``said`` (see :mod:`caesarion_dialects.errors`);
    "garbled": the bytes are not of this protocol; "cut": they end too early.
    """

    kind: Literal["error", "garbled", "cut"]
    said: Any = None


class AnswerReader:
    """
    Reads one answer. The settings are those of :class:`Canonicaliser`.

    Check ``failure`` after each :meth:`feed`: the piece has what came before it, and nothing
    more is read. ``is_done``: the answer is complete, and the piece has its end.
    """

    def __init__(self, **settings: Any) -> None:
        self.canonicaliser = Canonicaliser(**settings)
        self.failure: Failure | None = None
        self.is_done = False
        self.head: Chunk = {}
        """The first chunk, or the whole body, for :func:`~caesarion_dialects.completion`."""
        self.body = b""
        """The bytes of an answer that is one JSON object."""
        self._format: _Format = ""
        self._events = EventReader()
        self._rest = bytearray()
        self._looked = 0  # bytes of the rest that have no line end
        self._ends = False
        self._is_any = False
        self._begun = b""  # of a body in which no event was found yet
        self._data: list[bytes] = []
        self._chunks: list[Chunk] = []
        # Chunks that the canonicaliser holds until the end, with their bytes.
        self._kept: dict[int, tuple[Chunk, bytes]] = {}

    @property
    def is_finished(self) -> bool:
        """Whether each choice is finished, so that the answer is complete if nothing follows."""
        return self.canonicaliser.is_finished

    def feed(self, data: bytes) -> Piece:
        """Return the events that ``data`` completes."""
        if self.failure or self.is_done or not data:
            return Piece(b"", [])
        if not self._format:
            self._rest += data
            data = self._find_format()
        if self._format == "events":
            try:
                if len(self._begun) < errors.MAX_WORDS:
                    self._begun += data
                for event in self._events.feed(data):
                    self._is_any = True
                    self._take_event(event)
                    if self.failure or self.is_done:
                        break
            except ValueError:  # one event that never ends
                self.failure = Failure("garbled")
        elif self._format:
            self._rest += data
            self._take_lines()
            if len(self._rest) > (MAX_PAGE if self._format == "page" else MAX_BODY):
                self.failure = self._no_answer()
        return self._piece()

    def end(self) -> Piece:
        """Return the end of the answer when the connection has ended, or set ``failure``."""
        if self.failure or self.is_done:
            return Piece(b"", [])
        if self._format == "events":
            last = self._events.end()
            if last and last.data and (_is_done(last.data) or _json(last.data) is not None):
                self._take_event(last)
            self._is_any = self._is_any or last is not None
        elif self._format != "page":
            self._take_body(bytes(self._rest))
        if not self.failure and not self.is_done:
            if self.canonicaliser.is_finished or self._ends:
                self._finish()
            else:
                self.failure = self._no_answer()
        return self._piece()

    def _no_answer(self) -> Failure:
        """Return the failure of a body without an end: cut, or not of this protocol."""
        if self._format == "events":
            return Failure("cut") if self._is_any else Failure("garbled", bytes(self._begun))
        if self._format == "page":
            return Failure("garbled", bytes(self._rest))
        return Failure("cut" if self.head else "garbled")

    def _find_format(self) -> bytes:
        """Find the format by the first byte that is no white space; return the bytes so far."""
        begun = bytes(self._rest).removeprefix(b"\xef\xbb\xbf").lstrip()
        if len(self._rest) < 3 and b"\xef\xbb\xbf".startswith(self._rest):
            return b""
        if not begun:
            self._rest.clear()  # white space, of which there may be any amount
            return b""
        self._format = _FORMATS.get(begun[:1], "events")
        self._rest.clear()
        return begun

    def _take_lines(self) -> None:
        """Take complete lines of JSON; a body over several lines has to be complete first."""
        taken = 0
        while self._format == "lines" and not self.failure:
            end = self._rest.find(b"\n", max(taken, self._looked))
            if end < 0:
                self._looked = len(self._rest)
                break
            line = bytes(self._rest[taken:end]).strip()
            if _is_done(line):
                self._finish()
                return
            said = _json(line) if line else None
            if isinstance(said, dict):
                self._take_chunk(said, b"data: " + line + b"\n\n")
                self._ends = self._ends or _is_whole(said)
            elif line:
                self._format = "body"
                break
            taken = end + 1
        del self._rest[:taken]
        self._looked = max(0, self._looked - taken)

    def _take_body(self, body: bytes) -> None:
        said = _json(body)
        if isinstance(said, list) and said and all(isinstance(one, dict) for one in said):
            self._rest.clear()
            for one in said:
                self._take_chunk(one, b"")
        elif isinstance(said, dict):
            self.body = body
            self._rest.clear()
            self._take_chunk(said, b"")
            self._ends = _is_whole(said)

    def _take_event(self, event: Event) -> None:
        if event.data is None:
            self._data.append(event.raw)
            return
        data = event.data.strip()
        if _is_done(data):
            self._finish()
            return
        said = _json(data) if data else None
        if event.name == "error":
            self.failure = Failure("error", data if said is None else said)
        elif isinstance(said, dict):
            is_plain = not event.name and event.raw.startswith(b"data: {")
            self._take_chunk(said, event.raw if is_plain else b"")
        elif isinstance(said, list) or (said is None and b"\n" in data):
            self._take_several(said, data)
        elif said is None and data not in (b"", b"null") and not event.name:
            self.failure = Failure("garbled", _said(data))
        else:
            self._data.append(_ALIVE)

    def _take_several(self, said: Any, data: bytes) -> None:
        """Take an event with several chunks: a list, or one in each line of data."""
        for one in said if isinstance(said, list) else data.split(b"\n"):
            if isinstance(one, bytes) and _is_done(one):
                self._finish()
            one = _json(one) if isinstance(one, bytes) else one
            if self.failure or self.is_done:
                return
            if isinstance(one, dict):
                self._take_chunk(one, b"")
            else:
                self.failure = Failure("garbled", _said(data))

    def _take_chunk(self, chunk: Chunk, raw: bytes) -> None:
        """Take a chunk; ``raw`` is its event, if that can be forwarded unchanged."""
        if error := errors.find(chunk):
            self.failure = Failure("error", error)
            return
        if not self.head and "choices" in chunk:
            self.head = chunk
        try:
            made = self.canonicaliser.feed(chunk)
        except errors.TooMuchError as error:
            self.failure = Failure("error", str(error))
            return
        if len(made) == 1 and made[0] is chunk and raw:
            self._data.append(raw)
            self._chunks.append(chunk)
            return
        if raw and self.canonicaliser.keeps(chunk):
            self._kept = {
                key: one for key, one in self._kept.items() if self.canonicaliser.keeps(one[0])
            } | {id(chunk): (chunk, raw)}
        if not made and "choices" not in chunk and self._format == "events":
            self._data.append(_ALIVE)
        self._write(made)

    def _finish(self) -> None:
        self.is_done = True
        self._write(self.canonicaliser.end())
        self._data.append(DONE)

    def _write(self, made: Iterable[Chunk]) -> None:
        for chunk in made:
            _, raw = self._kept.get(id(chunk), (None, b""))
            self._data.append(raw or encoded(chunk))
            self._chunks.append(chunk)

    def _piece(self) -> Piece:
        piece = Piece(b"".join(self._data), self._chunks, self.canonicaliser.usage)
        self._data, self._chunks = [], []
        return piece


def encoded(chunk: Chunk) -> bytes:
    """Return ``chunk`` as a server-sent event."""
    try:
        text = json.dumps(chunk, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write and UTF-8 cannot
        text = json.dumps(chunk, separators=(",", ":")).encode()
    return b"data: " + text + b"\n\n"


def _is_whole(said: Chunk) -> bool:
    """Whether a JSON object is a complete answer."""
    choices = said.get("choices")
    return isinstance(choices, list) and (
        not choices or any(isinstance(one, dict) and "message" in one for one in choices)
    )


def _is_done(data: bytes) -> bool:
    return len(data) < 16 and _IS_DONE.fullmatch(data.strip()) is not None


def _said(data: bytes) -> bytes:
    """Return ``data`` if it may be the words of an error; incomplete JSON is not."""
    return b"" if data[:1] in (b"{", b"[") else data


def _json(data: bytes) -> Any:
    # Not json.loads, which looks for white space by two regular expressions.
    text = data.decode("utf-8", "replace").strip(_JSON_SPACE)
    try:
        value, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) else None
