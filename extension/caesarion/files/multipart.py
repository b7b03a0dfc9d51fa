"""
A streaming parser of multipart forms. Called by :mod:`caesarion.api.uploads`.

python-multipart parses (RFC 7578) by callbacks; this collects what they report, so that
it can be awaited. Holds one chunk of the body at a time.
"""

from dataclasses import dataclass

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header


class FormError(Exception):
    """A body that is not a multipart form; ``str()`` of it is a sentence."""


@dataclass(frozen=True)
class FileStart:
    """The beginning of a part of the form that is a file."""

    name: str
    """The file name as the client sent it, unchecked."""


class Form:
    """The files in one multipart form; other fields are ignored."""

    def __init__(self, content_type: str) -> None:
        """Take the request's Content-Type; raise FormError without a boundary."""
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise FormError("The Content-Type names no boundary. Let the client library set it.")
        self.whole = False
        """Whether the end of the form has been parsed."""
        self._pieces: list[FileStart | bytes] = []
        self._header, self._value = b"", b""
        self._disposition = b""
        self._in_file = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._part_begins,
                    "on_header_field": self._header_grows,
                    "on_header_value": self._value_grows,
                    "on_header_end": self._header_ends,
                    "on_headers_finished": self._headers_end,
                    "on_part_data": self._data,
                    "on_end": self._ends,
                },
            )
        except FormParserError as error:
            raise FormError(f"The form cannot be read: {error}.") from error

    def feed(self, chunk: bytes) -> list[FileStart | bytes]:
        """
        Parse ``chunk``; return the beginnings of files, and the content of the current file.

        Raise FormError if the form is malformed.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise FormError(f"The form cannot be read: {error}.") from error
        pieces, self._pieces = self._pieces, []
        return pieces

    def _part_begins(self) -> None:
        self._disposition = b""
        self._in_file = False

    def _header_grows(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _value_grows(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_ends(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _headers_end(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"filename")
        if name is not None:
            self._in_file = True
            self._pieces.append(FileStart(name.decode(errors="replace")))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._in_file:
            self._pieces.append(data[start:end])

    def _ends(self) -> None:
        self.whole = True
