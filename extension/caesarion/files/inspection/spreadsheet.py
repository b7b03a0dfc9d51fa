"""
Images, workbooks, Parquet: binary kinds, by libraries that read them. Called by
``caesarion.files.inspection``.

openpyxl and pyarrow are the user's; they are used if they are there. How much a
file would unpack to is looked at before either opens it.
"""

import importlib
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

from caesarion.files.inspection.text import NotReadable, clipped, head_bytes, megabytes, opened

# Pictures from cameras carry some hundred KB of other things before their size.
_IMAGE_HEAD = 1_048_576

_MAGIC = {b"\x89PNG\r\n\x1a\n": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF"}

# Of a workbook, so that one made to unpack to gigabytes is not unpacked.
_UNPACKED = 33_554_432
_DIRECTORY = 262_144
_SHEETS = 5
_ROWS = 5
_CELLS = 20

_FOOTER = 8_388_608
_COLUMNS = 50


def image(path: Path, until: float) -> str:
    """Return an image's kind and size."""
    import imagesize

    head = head_bytes(path, _IMAGE_HEAD)
    kind = image_kind(head)
    if kind is None:
        raise NotReadable("This is no PNG, JPEG, GIF or WebP image, whatever its name says.")
    width, height = imagesize.get(io.BytesIO(head))
    if width < 0:
        raise NotReadable(f"A {kind} image whose size cannot be read.")
    return f"{kind} image, {width:,} x {height:,} pixels."


def image_kind(head: bytes) -> str | None:
    """Return which kind of image begins with ``head``, if it is one that is known."""
    if head.startswith(b"RIFF"):
        return "WebP" if head[8:12] == b"WEBP" else None
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def workbook(path: Path, until: float) -> str:
    """Return the sheets of an XLSX file with their extents and first rows."""
    with opened(path) as file:
        _check_archive(file)
        openpyxl = _imported("openpyxl", "Excel workbook")
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        names = ", ".join(clipped(name, 60) for name in book.sheetnames[:_COLUMNS])
        count = len(book.sheetnames)
        lines = [f"Excel workbook, {count:,} sheet{'s' * (count != 1)}: {names}"]
        for sheet in book.worksheets[:_SHEETS]:
            extent = f"{sheet.max_row:,} x {sheet.max_column:,} cells" if sheet.max_row else "cells"
            lines.append(f"{clipped(sheet.title, 60)} ({extent}) begins:")
            for row in sheet.iter_rows(max_row=_ROWS, max_col=_CELLS, values_only=True):
                cells = ("" if value is None else clipped(str(value), 60) for value in row)
                lines.append(" | ".join(cells).rstrip(" |"))
        return "\n".join(lines)


def parquet(path: Path, until: float) -> str:
    """Return the rows and the schema of a Parquet file: what its footer says."""
    with opened(path) as file:
        _check_footer(file)
        table = _imported("pyarrow.parquet", "Parquet").ParquetFile(file)
        schema, rows = table.schema_arrow, table.metadata.num_rows
        lines = [f"  {clipped(field.name, 60)}: {field.type}" for field in list(schema)[:_COLUMNS]]
        if len(schema) > _COLUMNS:
            lines.append(f"  and {len(schema) - _COLUMNS:,} more")
        plural = "s" * (rows != 1), "s" * (len(schema) != 1)
        return "\n".join(
            [f"Parquet, {rows:,} row{plural[0]}, {len(schema):,} column{plural[1]}:", *lines]
        )


def _imported(module: str, kind: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise NotReadable(
            f"{kind}, not inspected, as {package} is not installed beside the server."
        ) from error


def _check_archive(file: Any) -> None:
    """Raise NotReadable unless ``file`` is a ZIP archive of a size that may be unpacked."""
    # Of the end record (APPNOTE.TXT 4.3.16) the size of the directory, which zipfile reads whole.
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 65_557))
    before, mark, record = file.read().rpartition(b"PK\x05\x06")
    if not mark or len(record) < 18:
        raise NotReadable("This is not an Excel workbook, whatever its name says.")
    directory = struct.unpack_from("<I", record, 8)[0]
    # A ZIP64 locator would send zipfile to another directory, of any size.
    if directory > _DIRECTORY or b"PK\x06\x07" in before[-20:]:
        raise NotReadable("Excel workbook, not inspected, as it has too many parts.")
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > _UNPACKED:
        raise NotReadable(f"Excel workbook, not inspected, as it unpacks to {megabytes(unpacked)}.")


def _check_footer(file: Any) -> None:
    """Raise NotReadable unless ``file`` ends in a Parquet footer of a size that may be read."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 8))
    end = file.read()
    if not end.endswith(b"PAR1") or len(end) < 8:
        raise NotReadable("This is not a Parquet file, whatever its name says.")
    footer = struct.unpack("<I", end[:4])[0]
    if footer > _FOOTER:
        raise NotReadable(
            f"Parquet, not inspected, as its description of itself has {megabytes(footer)}."
        )
    file.seek(0)
