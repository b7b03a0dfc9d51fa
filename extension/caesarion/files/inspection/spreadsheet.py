"""
Describe spreadsheets by their cells: Excel's formats, old and new, and OpenDocument's.

Called by ``container``. python-calamine reads them; it goes by the cells that are there,
whatever dimension a sheet claims to have.
"""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetMetadata,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from caesarion.files.inspection.source import NotReadable, Source, clipped, counted, reason

_NAMES = 50
_SHEETS = 5
_ROWS = 5
_CELLS = 20
_CELL = 60
_MERGED = 5

LOCKED = "It is protected by a password: open it with the password and save a copy without one."


def describe(source: Source, kind: str, suffix: str) -> Iterator[str]:
    """Yield the sheets of a spreadsheet of this ``kind`` with their extents and first rows."""
    try:
        workbook = _opened(source, suffix)
    except PasswordError as error:
        raise NotReadable(f"{kind}. {LOCKED}") from error
    except CalamineError as error:
        raise NotReadable(f"{kind} that cannot be read: {reason(error)}.") from error
    sheets = workbook.sheets_metadata
    names = ", ".join(_name(sheet) for sheet in sheets[:_NAMES])
    yield f"{kind}, {counted(len(sheets), 'sheet')}: {names}"
    tables = [sheet for sheet in sheets if sheet.typ == SheetTypeEnum.WorkSheet]
    for sheet in tables[:_SHEETS]:
        name = clipped(sheet.name, _CELL)
        if not source.seconds():
            yield f"{name} was not read, since the time for this file was over."
            return
        try:
            yield from _sheet(name, workbook.get_sheet_by_name(sheet.name))
        except CalamineError as error:
            yield f"{name} cannot be read: {reason(error)}."


def _opened(source: Source, suffix: str) -> CalamineWorkbook:
    # Without a name, python-calamine 0.9 tries all formats and then reports none of their
    # errors, such as a password.
    with TemporaryDirectory() as folder:
        link = Path(folder, f"book.{suffix}")
        link.symlink_to(source.path)
        return CalamineWorkbook.from_path(link)


def _name(sheet: SheetMetadata) -> str:
    notes = []
    if sheet.typ != SheetTypeEnum.WorkSheet:
        notes.append("no cells")
    if sheet.visible != SheetVisibleEnum.Visible:
        notes.append("hidden")
    return clipped(sheet.name, _CELL) + (f" ({', '.join(notes)})" if notes else "")


def _sheet(name: str, sheet: CalamineSheet) -> Iterator[str]:
    if sheet.start is None or sheet.end is None:
        yield f"{name} is empty."
        return
    (top, left), (bottom, right) = sheet.start, sheet.end
    extent = f"{counted(sheet.height, 'row')} x {counted(sheet.width, 'column')}"
    yield f"{name} ({extent}, {_cell(top, left)}:{_cell(bottom, right)}) begins:"
    for row in sheet.to_python(nrows=_ROWS):
        yield " | ".join(_value(value) for value in row[:_CELLS]).rstrip(" |")
    if merged := sheet.merged_cell_ranges:
        ranges = ", ".join(f"{_cell(*begin)}:{_cell(*end)}" for begin, end in merged[:_MERGED])
        more = f" and {len(merged) - _MERGED:,} more" if len(merged) > _MERGED else ""
        yield f"Merged cells, whose value is in the first one: {ranges}{more}"


def _cell(row: int, column: int) -> str:
    """Return the name of a cell: ``A1`` for row 0 and column 0."""
    letters = ""
    number = column + 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return f"{letters}{row + 1}"


def _value(value: Any) -> str:
    match value:
        case float() if value.is_integer():
            return f"{value:.0f}"
        case datetime() | date():
            return value.isoformat(*[" "] * isinstance(value, datetime))
        case _:
            return clipped(" ".join(str(value).split()), _CELL)
