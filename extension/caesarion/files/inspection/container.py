"""
ZIP archives and OLE files, which hold office documents. Called by ``digest``.

Spreadsheets are described by ``spreadsheet``, other documents named; any other ZIP archive
is listed. Nothing is unpacked here.
"""

import zipfile
from collections.abc import Iterator

from caesarion.files.inspection import spreadsheet
from caesarion.files.inspection.source import (
    NotReadable,
    Source,
    clipped,
    counted,
    megabytes,
    reason,
)

_MEMBERS = 20

# By the name of a member of the archive (OPC, ISO/IEC 29500-2).
_DOCUMENTS = {
    "word/document.xml": "Word document (.docx)",
    "ppt/presentation.xml": "PowerPoint presentation (.pptx)",
}
# By the name of a stream, which is UTF-16 (MS-CFB).
_WORKBOOKS = dict.fromkeys(("Workbook", "Book"), "Excel workbook of the old format (.xls)")
_OLD_DOCUMENTS = {
    "WordDocument": "Word document of the old format (.doc)",
    "PowerPoint Document": "PowerPoint presentation of the old format (.ppt)",
}


def open_zip(source: Source) -> tuple[str, Iterator[str]]:
    """Return the kind of a ZIP archive and its description; raise NotReadable."""
    try:
        with zipfile.ZipFile(source.file) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        name = "Excel workbook" if source.suffix.startswith("xls") else "ZIP archive"
        raise NotReadable(f"{name} that cannot be read: {reason(error)}.") from error
    names = {member.filename for member in members}
    if "xl/workbook.xml" in names:
        return "spreadsheet", spreadsheet.describe(source, "Excel workbook", "xlsx")
    if "xl/workbook.bin" in names:
        return "spreadsheet", spreadsheet.describe(source, "Excel workbook (.xlsb)", "xlsb")
    if "content.xml" in names and b"opendocument.spreadsheet" in source.head(100):
        return "spreadsheet", spreadsheet.describe(source, "OpenDocument spreadsheet", "ods")
    if found := names & _DOCUMENTS.keys():
        return "document", iter([f"{_DOCUMENTS[found.pop()]}. Its text was not read."])
    return "archive", _listed(members)


def open_ole(source: Source) -> tuple[str, Iterator[str]]:
    """Return the kind of an OLE file and its description."""
    if source.holds(_stream("EncryptedPackage")):
        if source.suffix.startswith("xls"):
            return "spreadsheet", iter([f"Excel workbook. {spreadsheet.LOCKED}"])
        return "document", iter([f"Microsoft Office document. {spreadsheet.LOCKED}"])
    for name, kind in _WORKBOOKS.items():
        if source.holds(_stream(name)):
            return "spreadsheet", spreadsheet.describe(source, kind, "xls")
    for name, kind in _OLD_DOCUMENTS.items():
        if source.holds(_stream(name)):
            return "document", iter([f"{kind}. Its text was not read."])
    return "document", iter(["OLE compound file of an unknown kind."])


def _stream(name: str) -> bytes:
    return name.encode("utf-16-le") + b"\0\0"


def _listed(members: list[zipfile.ZipInfo]) -> Iterator[str]:
    files = [member for member in members if not member.is_dir()]
    unpacked = megabytes(sum(member.file_size for member in files))
    locked = ", some of them encrypted" if any(file.flag_bits & 1 for file in files) else ""
    yield f"ZIP archive, {counted(len(files), 'file')}{locked}, {unpacked} when unpacked:"
    for file in files[:_MEMBERS]:
        yield f"  {clipped(file.filename, 100)} ({megabytes(file.file_size)})"
    if len(files) > _MEMBERS:
        yield f"  and {len(files) - _MEMBERS:,} more"
