"""
Multipart forms whose file is passed on while it arrives, whatever its size.

Used by ``rest.files`` and ``e2b.files``. python-multipart reads the form.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from caesarion_hub.api.errors import ApiError

MAX_FIELDS = 65_536
"""Bytes of a form that may come before its file: boundaries, headers, small fields."""

_NOT_A_FORM = ApiError(415, "The body is not multipart/form-data. Send the file as a form.")
_BROKEN = ApiError(400, "The form is not right. Send it again, as a client's library makes it.")
_ENDED = ApiError(400, "The form ended before its last boundary. Send it again.")
NO_FILE = ApiError(400, "The form contains no file. Send one, with its name.")


@dataclass
class Part:
    """The part of a form that is being read."""

    name: str = ""
    filename: str | None = None
    value: bytearray = field(default_factory=bytearray)


class Form:
    """
    A form, read from ``chunks``.

    ``fields`` are those without a file that have come so far.
    """

    def __init__(self, content_type: str, chunks: AsyncIterator[bytes]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _NOT_A_FORM
        self.fields: dict[str, str] = {}
        self._chunks = chunks
        self._events: list[tuple[str, Any]] = []
        self._header_name = self._header_value = b""
        self._part = Part()
        self._whole = False
        try:
            self._parser = MultipartParser(boundary, self._callbacks())  # type: ignore[arg-type]
        except MultipartParseError as error:
            raise _BROKEN from error

    async def next_file(self) -> str | None:
        """Read up to the next file and return its name, or None if there is none left."""
        received = 0
        while True:
            while self._events:
                kind, value = self._events.pop(0)
                if kind == "file":
                    return str(value)
            chunk = await anext(self._chunks, b"")
            if not chunk:
                if not self._whole:
                    raise _ENDED
                return None
            received += len(chunk)
            self._feed(chunk)
            if received > MAX_FIELDS and not self._events:
                raise ApiError(413, f"The form has more than {MAX_FIELDS:,} bytes before its file.")

    async def content(self) -> AsyncGenerator[bytes, None]:
        """Yield the content of the file that ``next_file`` has named."""
        while True:
            while self._events:
                kind, value = self._events.pop(0)
                if kind == "end":
                    return
                yield value
            chunk = await anext(self._chunks, b"")
            if not chunk:
                raise _ENDED
            self._feed(chunk)

    def _feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise _BROKEN from error

    def _callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._part = Part()

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(self._header_value)
            self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
            if b"filename" in options:
                self._part.filename = options[b"filename"].decode("utf-8", "replace")
        self._header_name = self._header_value = b""

    def _end_headers(self) -> None:
        if self._part.filename is not None:
            self._events.append(("file", self._part.filename))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._part.filename is not None:
            self._events.append(("data", data[start:end]))
            return
        self._part.value += data[start:end]
        if len(self._part.value) > MAX_FIELDS:
            raise ApiError(413, f"A field of the form has more than {MAX_FIELDS:,} bytes.")

    def _end(self) -> None:
        if self._part.filename is not None:
            self._events.append(("end", None))
        else:
            self.fields[self._part.name] = self._part.value.decode("utf-8", "replace")

    def _finish(self) -> None:
        self._whole = True


class NewForm:
    """A form with one file, made while it is sent."""

    def __init__(self, filename: str) -> None:
        self._boundary = uuid4().hex
        # As browsers write it (WHATWG HTML, multipart/form-data encoding).
        for character, escape in (('"', "%22"), ("\r", "%0D"), ("\n", "%0A")):
            filename = filename.replace(character, escape)
        self._filename = filename

    @property
    def content_type(self) -> str:
        """The value of Content-Type."""
        return f"multipart/form-data; boundary={self._boundary}"

    async def body(self, content: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """Yield the form, around the content of its file."""
        disposition = f'form-data; name="file"; filename="{self._filename}"'
        yield f"--{self._boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
        async for piece in content:
            yield piece
        yield f"\r\n--{self._boundary}--\r\n".encode()
