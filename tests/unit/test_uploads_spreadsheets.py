"""Spreadsheets are described by their cells, archives by their members."""

import struct
import zipfile
from datetime import date, datetime
from pathlib import Path

import pytest
from openpyxl import Workbook

from tests.files import compound, describe, password_protected, patched

LOCKED = "It is protected by a password: open it with the password and save a copy without one."
OLD = Path(__file__).parent.parent / "resources" / "rain.xls"
"""A workbook of Excel 97-2003 with two rows, as xlwt 1.3 writes it."""

SHEET = "xl/worksheets/sheet1.xml"


def test_a_workbook_is_described_by_its_sheets(tmp_path: Path) -> None:
    workbook = Workbook()
    rain = workbook.active
    assert rain is not None
    rain.title = "Rain"
    for row in [("month", "mm"), *((f"2024-{i:02}", i / 2) for i in range(1, 13))]:
        rain.append(row)
    workbook.create_sheet("Empty")
    workbook.save(tmp_path / "a.xlsx")
    assert describe(tmp_path / "a.xlsx") == (
        "Excel workbook, 2 sheets: Rain, Empty\n"
        "Rain (13 rows x 2 columns, A1:B13) begins:\n"
        "month | mm\n2024-01 | 0.5\n2024-02 | 1\n2024-03 | 1.5\n2024-04 | 2\n"
        "Empty is empty."
    )


@pytest.mark.parametrize("claim", [b"A1:XFD1048576", b"A1", b"B2:C9", b"ZZZ9:A1"])
def test_the_cells_count_and_not_the_dimension_that_a_sheet_claims(
    tmp_path: Path, claim: bytes
) -> None:
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet.append([1, 2])
    sheet.append([3])
    path = tmp_path / "a.xlsx"
    workbook.save(path)
    patched(path, {SHEET: (b'<dimension ref="A1:B2"', b'<dimension ref="%s"' % claim)})
    assert describe(path) == (
        "Excel workbook, 1 sheet: Sheet\nSheet (2 rows x 2 columns, A1:B2) begins:\n1 | 2\n3"
    )


def test_hidden_sheets_merged_cells_and_dates_are_said(tmp_path: Path) -> None:
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet["B2"] = "Report"
    sheet.merge_cells("B2:D2")
    for column, value in enumerate((date(2024, 1, 31), datetime(2024, 1, 31, 12), True), 2):
        sheet.cell(3, column, value)
    hidden = workbook.create_sheet("Raw")
    hidden.sheet_state = "hidden"
    hidden["C3"] = "two\nlines"
    workbook.create_sheet("Codes").sheet_state = "veryHidden"
    workbook.create_chartsheet("Chart")
    workbook.save(tmp_path / "a.xlsx")
    assert describe(tmp_path / "a.xlsx") == (
        "Excel workbook, 4 sheets: Sheet, Raw (hidden), Codes (hidden), Chart (no cells)\n"
        "Sheet (2 rows x 3 columns, B2:D3) begins:\n"
        "Report\n2024-01-31 | 2024-01-31 12:00:00 | True\n"
        "Merged cells, whose value is in the first one: B2:D2\n"
        "Raw (1 row x 1 column, C3:C3) begins:\ntwo lines\n"
        "Codes is empty."
    )


def test_an_old_workbook_is_named_and_read(tmp_path: Path) -> None:
    said = (
        "Excel workbook of the old format (.xls), 1 sheet: Rain\n"
        "Rain (2 rows x 2 columns, A1:B2) begins:\nmonth | mm\n2024-01 | 1.5"
    )
    for name in ("a.xls", "a.xlsx"):
        assert describe(tmp_path / name, OLD.read_bytes()) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (compound("EncryptionInfo", "EncryptedPackage"), f"Excel workbook. {LOCKED}"),
        (
            password_protected(OLD.read_bytes()),
            f"Excel workbook of the old format (.xls). {LOCKED}",
        ),
    ],
)
def test_a_workbook_with_a_password_is_said_to_have_one(
    tmp_path: Path, content: bytes, said: str
) -> None:
    assert describe(tmp_path / "a.xlsx", content) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "An empty file."),
        (b"PK\x05\x06", "Excel workbook that cannot be read: File is not a zip file."),
        (b"PK\x03\x04" + bytes(100), "Excel workbook that cannot be read: File is not a zip file."),
        (
            b"PK\x05\x06" + bytes(18),
            "The name ends in .xlsx, but this is another kind of file:\n"
            "ZIP archive, 0 files, 0.0 MB when unpacked:",
        ),
        (compound("Workbook"), "Excel workbook of the old format (.xls) that cannot be read: "),
        (
            b"<table><tr><td>1</td></tr></table>",
            "The name ends in .xlsx, but this is another kind of file:\nText, 1 line, UTF-8.",
        ),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    assert describe(tmp_path / "a.xlsx", content).startswith(said)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return path


def test_an_archive_is_listed(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", **{"a.csv": b"1", "data__b.csv": bytes(2_000_000)})
    assert describe(path) == (
        "ZIP archive, 2 files, 2.0 MB when unpacked:\n  a.csv (0.0 MB)\n  data/b.csv (2.0 MB)"
    )
    many = archive(tmp_path / "many.zip", **{f"{i:03}": b"" for i in range(100)})
    assert describe(many).endswith("  019 (0.0 MB)\n  and 80 more")


def test_a_document_in_an_archive_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.docx", **{"word__document.xml": b"<a/>"})
    assert describe(path) == "Word document (.docx). Its text was not read."


def test_an_encrypted_archive_is_said_to_be_so(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", **{"a.csv": b"1"})
    content = path.read_bytes()
    entry = content.index(b"PK\x01\x02") + 8
    (flags,) = struct.unpack_from("<H", content, entry)
    encrypted = content[:entry] + struct.pack("<H", flags | 1) + content[entry + 2 :]
    assert describe(path, encrypted).startswith("ZIP archive, 1 file, some of them encrypted, ")
