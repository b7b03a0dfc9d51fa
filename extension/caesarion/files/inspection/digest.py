"""
Determine the kind of a file by its content, and describe it with that kind's module.

Called by ``__main__``. The suffix of the name decides between kinds of text only; if it
promises something else than the content, the description says so.
"""

from collections.abc import Iterator

from caesarion.files.inspection import container, encoding, json_document, notebook, plain_text
from caesarion.files.inspection.encoding import Text
from caesarion.files.inspection.source import Image, NotReadable, Source

_MAX_DIGEST = 4_000

_MEMORY = "This file needs more memory to be inspected than it may have."

# Kinds that are named and not described, by their first bytes.
_OTHERS = {
    b"%PDF-": "PDF document.",
    b"SQLite format 3\0": "SQLite database.",
    b"\x89HDF\r\n\x1a\n": "HDF5 file.",
    b"ARROW1\0\0": "Arrow file (Feather).",
    b"Obj\x01": "Avro file.",
    b"\x1f\x8b": "Data compressed by gzip.",
    b"BZh": "Data compressed by bzip2.",
    b"\xfd7zXZ\0": "Data compressed by xz.",
    b"\x28\xb5\x2f\xfd": "Data compressed by Zstandard.",
    b"7z\xbc\xaf\x27\x1c": "7-Zip archive.",
    b"Rar!\x1a\x07": "RAR archive.",
    b"\x7fELF": "Program or library for Linux (ELF).",
    b"MZ": "Program or library for Windows.",
}
_IMAGES = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF"}

# What kind of file a suffix promises.
PROMISED = {
    **dict.fromkeys(("xlsx", "xlsm", "xls", "xlsb", "ods"), "spreadsheet"),
    "parquet": "parquet",
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp"), "image"),
    **dict.fromkeys(("csv", "tsv", "txt", "json", "py", "md", "ipynb", "log"), "text"),
}
Pieces = Iterator[str | Image]


def digest(source: Source) -> Pieces:
    """
    Yield the description of a file in pieces, each of whole lines, of at most 4,000 characters.

    Raises nothing, whatever is in the file. For an image that can be decoded, also yields
    an :class:`Image`.
    """
    room = _MAX_DIGEST
    try:
        for piece in _described(source):
            if isinstance(piece, Image):
                yield piece
            elif room > 0:
                yield _printable(piece, room)
                room -= len(piece) + 1
    except NotReadable as error:
        yield _printable(str(error), _MAX_DIGEST)
    except MemoryError:
        yield _MEMORY
    except Exception as error:  # Parsers raise anything for damaged files.
        yield f"This file could not be inspected ({type(error).__name__})."


def _described(source: Source) -> Pieces:
    if not source.size:
        yield "An empty file."
        return
    kind, description = _kind(source)
    if kind != PROMISED.get(source.suffix, kind):
        yield f"The name ends in .{source.suffix}, but this is another kind of file:"
    yield from description


def _kind(source: Source) -> tuple[str, Pieces]:
    """
    Return the kind of a file by its content, and a generator of its description.

    Modules that import DuckDB or Pillow are imported for files that need them only, since
    these take 0.1 s.
    """
    head = source.head(32)
    if head.startswith(b"PK"):
        return container.open_zip(source)
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return container.open_ole(source)
    if source.tail(4) in (b"PAR1", b"PARE"):
        from caesarion.files.inspection import parquet

        return "parquet", parquet.describe(source)
    if picture := _image_kind(head):
        from caesarion.files.inspection import image

        return "image", image.describe(source, picture)
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return "binary", iter([name])
    try:
        text = encoding.read(source)
    except NotReadable as error:
        return "binary", iter([str(error)])
    return "text", _describe_text(source, text)


def _describe_text(source: Source, text: Text) -> Pieces:
    match source.suffix:
        case "csv" | "tsv":
            from caesarion.files.inspection import table

            return table.describe(source, text)
        case "json":
            return json_document.describe(source, text)
        case "ipynb":
            return notebook.describe(source, text)
        case _:
            return plain_text.describe(source, text)


def _image_kind(head: bytes) -> str | None:
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    return next((kind for magic, kind in _IMAGES.items() if head.startswith(magic)), None)


def _printable(text: str, room: int) -> str:
    """Return ``text`` without control characters and changes of its direction."""
    shown = "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)
    return shown if len(shown) <= room else shown[: max(0, room - 4)] + " ..."
