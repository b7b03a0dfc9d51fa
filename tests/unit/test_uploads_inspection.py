"""What is in a file, said without a model: exact for small ones, bounded for any."""

import json
import os
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from caesarion.files.inspection import digest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

SUFFIXES = ["csv", "tsv", "json", "ipynb", "xlsx", "parquet", "png", "jpg", "txt", "log"]


def soon() -> float:
    return time.monotonic() + 30


def look(path: Path, content: bytes | str) -> str:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return digest(path, soon())


# Tables


def test_a_table_is_told_by_rows_columns_types_and_first_lines(tmp_path: Path) -> None:
    table = (
        "date,city,rain,days,dry,note\n"
        "2024-01-31,Berlin,1.5,3,true,\n"
        '2024-02-29,"Paris, Texas",-2,4,false,\n'
        "2024-03-31,,3e2,5,TRUE,\n"
    )
    assert look(tmp_path / "a.csv", table) == (
        "Table, 3 rows, 6 columns separated by ',':\n"
        "  date: date\n"
        "  city: text, some empty\n"
        "  rain: number\n"
        "  days: whole number\n"
        "  dry: true or false\n"
        "  note: empty\n"
        "It begins:\n" + table.rstrip("\n")
    )


@pytest.mark.parametrize(
    ("name", "table", "first"),
    [
        ("a.csv", "a;b\n1,5;2\n", "Table, 1 row, 2 columns separated by ';':"),
        ("a.csv", "a\tb\n1\t2\n", "Table, 1 row, 2 columns separated by tabs:"),
        ("a.tsv", "a\tb,c\n1\t2\n", "Table, 1 row, 2 columns separated by tabs:"),
        ("a.csv", "x\n1\n2\n", "Table, 2 rows, 1 column separated by ',':"),
        ("a.csv", "x\r\n1\r\n\r\n2", "Table, 2 rows, 1 column separated by ',':"),
        ("a.csv", 'x\n"1\n2"\n', "Table, 1 row, 1 column separated by ',':"),
        ("a.csv", "1,2\n", "Table, 1 row, 2 columns separated by ',', without a line of names:"),
        ("a.csv", "a,a\nb,b\n", "Table, 2 rows, 2 columns separated by ',', without a line of"),
        ("A.CSV", "x\n1\n", "Table, 1 row, 1 column separated by ',':"),
        ("a.csv", "", "A table without rows: the file is empty."),
        ("a.csv", " \n\n", "A table without rows: the file is empty."),
    ],
)
def test_tables_come_in_many_forms(tmp_path: Path, name: str, table: str, first: str) -> None:
    assert look(tmp_path / name, table).split("\n")[0].startswith(first)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_tables_come_in_many_encodings(tmp_path: Path, encoding: str) -> None:
    said = look(tmp_path / "a.csv", "größe\n1\n".encode(encoding))
    assert said.split("\n")[:2] == [
        "Table, 1 row, 1 column separated by ',':",
        "  größe: whole number",
    ]


def test_the_rows_of_a_long_table_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"{i},some text\n" for i in range(100_000))
    plain, quoted = look(tmp_path / "a.csv", "n,t\n" + rows), '1,"two\nlines"\n'
    assert plain.startswith("Table, 100,000 rows, 2 columns separated by ',':\n  n: whole number\n")
    assert look(tmp_path / "b.csv", "n,t\n" + rows.rstrip("\n")).startswith("Table, 100,000 rows,")
    assert look(tmp_path / "c.csv", rows).startswith(
        "Table, 100,000 rows, 2 columns separated by ','"
    )
    assert look(tmp_path / "d.csv", "n,t\n" + rows + quoted * 5).startswith(
        "Table, about 100,005 rows,"
    )


def test_counting_ends_when_the_time_is_over(tmp_path: Path) -> None:
    for name, first in (
        ("a.csv", "Table, more than 0 rows, "),
        ("a.txt", "Text, more than 0 lines"),
    ):
        (tmp_path / name).write_text("x,y\n" * 100_000)
        assert digest(tmp_path / name, time.monotonic() - 1).startswith(first)


def test_a_wide_table_is_told_by_its_first_columns(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(1_000))
    said = look(tmp_path / "a.csv", f"{names}\n{',1' * 999}\n").split("\n")
    assert said[0] == "Table, 1 row, 1,000 columns separated by ',':"
    assert said[50] == "  c49: whole number"
    assert said[51] == "  and 950 more"
    assert said[-2].startswith("c0,c1,")
    assert len(said[-2]) == 200


def test_a_field_of_any_length_is_a_sentence(tmp_path: Path) -> None:
    assert look(tmp_path / "a.csv", "x" * 200_000) == (
        "This cannot be read as a table: field larger than field limit (131072)."
    )


# Trees


def test_json_is_told_by_its_shape(tmp_path: Path) -> None:
    value = {"id": 1, "name": "Ada", "ok": True, "none": None, "list": [1, 2.5], "deep": {"a": {}}}
    assert look(tmp_path / "a.json", json.dumps(value)) == (
        "JSON: an object with 6 keys:\n"
        "  id: number\n"
        "  name: text\n"
        "  ok: boolean\n"
        "  none: null\n"
        "  list: a list of 2 numbers\n"
        "  deep: an object with 1 key\n"
        f"It begins: {json.dumps(value)}"
    )


def test_a_list_of_objects_is_told_by_the_keys_of_all(tmp_path: Path) -> None:
    value = [{"a": 1}, {"b": ["x"]}, {"a": "2", "c": []}]
    assert look(tmp_path / "a.json", json.dumps(value)).split("\n")[:4] == [
        "JSON: a list of 3 objects, with the keys:",
        "  a: number",
        "  b: a list of 1 text",
        "  c: a list of 0 items",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "JSON: a list of 2 numbers\nIt begins: [1, 2]"),
        ('[1, "a"]', 'JSON: a list of 2 items\nIt begins: [1, "a"]'),
        ("\ufeff 3 ", "JSON: number\nIt begins: 3"),
        (
            '{"a": 1}\n{"a": 2}\n',
            "JSON (several values one after another, this is the first): an object with 1 key:\n"
            '  a: number\nIt begins: {"a": 1} {"a": 2}',
        ),
        ("{'a': 1}", "This cannot be read as JSON: Expecting property name enclosed in double"),
        ("", "This cannot be read as JSON: Expecting value: line 1 column 1 (char 0)."),
        ("[" * 100_000, "This JSON is nested too deep to be inspected."),
        ("9" * 10_000, "This cannot be read as JSON: Exceeds the limit (4300 digits)"),
    ],
)
def test_json_comes_in_many_forms(tmp_path: Path, text: str, said: str) -> None:
    assert look(tmp_path / "a.json", text).startswith(said)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (
            json.dumps([{"id": i, "text": '}],{"'} for i in range(100_000)]),
            "JSON (only the first MB of 3.3 MB was read): a list of ",
        ),
        (
            json.dumps({"name": "x", "data": [[i, [i]] for i in range(150_000)]}),
            "JSON (only the first MB of 2.8 MB was read): an object with 2 keys:\n  name: text\n",
        ),
        (
            json.dumps({"first": 1, "long": "x" * 2_000_000}),
            "JSON (only the first MB of 2.0 MB was read): an object with 1 key:\n  first: number\n",
        ),
        ("[" * 2_000_000, "This JSON is nested too deep to be inspected."),
        ("[" * 600_000 + "]" * 600_000, "This JSON is nested too deep to be inspected."),
        ("x" * 2_000_000, "This cannot be read as JSON: Expecting value"),
    ],
)
def test_of_a_long_json_the_beginning_is_told(tmp_path: Path, text: str, first: str) -> None:
    began = time.monotonic()
    assert look(tmp_path / "a.json", text).startswith(first)
    assert time.monotonic() - began < 5


# The recursion in making values is hypothesis's own.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.lists(VALUES, min_size=1) | st.dictionaries(st.text(), VALUES, min_size=1), st.data())
def test_json_that_is_cut_anywhere_can_be_read_up_to_there(value: Any, data: st.DataObject) -> None:
    from caesarion.files.inspection.json_document import _completed

    text = json.dumps(value, ensure_ascii=False)
    cut = text[: data.draw(st.integers(1, len(text)))]
    assert type(json.loads(_completed(cut))) is type(value)


def test_a_notebook_is_told_by_its_cells(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": [f"x = {i}\n", "x"]} for i in range(8)]
    notebook = {
        "cells": [{"cell_type": "markdown", "source": "# Rain"}, *cells],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    assert look(tmp_path / "a.ipynb", json.dumps(notebook)) == (
        "Jupyter notebook: 9 cells (1 markdown, 8 code), for the kernel Python 3.\n"
        "[markdown] # Rain\n" + "".join(f"[code] x = {i}\nx\n" for i in range(5)).rstrip()
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"cells": []}', "Jupyter notebook: 0 cells (none)."),
        ('{"cells": [1, {"source": ["a\\n", "b"]}]}', "Jupyter notebook: 1 cell (1 None)."),
        ('{"cells": {}}', "This is not a notebook of format 4, whatever its name says."),
        ("[]", "This is not a notebook of format 4, whatever its name says."),
        ("no", "This cannot be read as JSON: Expecting value: line 1 column 1 (char 0)."),
    ],
)
def test_a_notebook_may_be_odd(tmp_path: Path, text: str, said: str) -> None:
    assert look(tmp_path / "a.ipynb", text).startswith(said)


# Text


def test_text_is_told_by_its_lines_and_the_first(tmp_path: Path) -> None:
    lines = [f"line {i}" for i in range(100_000)]
    assert look(tmp_path / "a.md", "\n".join(lines)) == (
        "Text, 100,000 lines, UTF-8. It begins:\n" + "\n".join(lines[:10])
    )
    assert look(tmp_path / "a.py", "x = 1\n") == "Text, 1 line, UTF-8. It begins:\nx = 1"
    assert look(tmp_path / "a.txt", b"\xe4\n") == "Text, 1 line, Windows-1252. It begins:\nä"
    assert look(tmp_path / "a.txt", "") == "An empty file."
    assert look(tmp_path / "a.txt", "é" * 100_000).endswith("é" * 196 + " ...")


def test_a_binary_file_is_no_text(tmp_path: Path) -> None:
    for name in ("a.txt", "a.csv", "a.json", "a.unknown"):
        said = look(tmp_path / name, b"\x7fELF\0\0\0")
        assert said == "This is not a text file, whatever its name says."


def test_what_would_move_a_cursor_or_turn_text_around_is_not_repeated(tmp_path: Path) -> None:
    assert look(tmp_path / "a.txt", "a\x1b[2J\u202eb\tc\n") == (
        "Text, 1 line, UTF-8. It begins:\na\ufffd[2J\ufffdb\tc"
    )


# Images


def png(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + head
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", len(head)) + chunk + crc


def jpeg(width: int, height: int, before: bytes = b"") -> bytes:
    frame = struct.pack(">HBHHB", 8 + 9, 8, height, width, 3) + bytes(9)
    return b"\xff\xd8" + before + b"\xff\xc0" + frame + b"\xff\xd9"


def test_an_image_is_told_by_its_size(tmp_path: Path) -> None:
    assert look(tmp_path / "a.png", png(640, 480)) == "PNG image, 640 x 480 pixels."
    comment = b"\xff\xfe" + struct.pack(">H", 60_000) + bytes(59_998)
    assert look(tmp_path / "a.jpg", jpeg(1920, 1080, comment * 5)) == (
        "JPEG image, 1,920 x 1,080 pixels."
    )
    assert look(tmp_path / "a.jpeg", png(1, 2)) == "PNG image, 1 x 2 pixels."
    assert look(tmp_path / "a.gif", b"GIF89a\x03\0\x02\0") == "GIF image, 3 x 2 pixels."
    lossless = b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\x02\x40\0\0\0\0\0"
    assert look(tmp_path / "a.webp", lossless) == "WebP image, 3 x 2 pixels."


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "This is no PNG, JPEG, GIF or WebP image, whatever its name says."),
        (b"<svg width='1' height='1'/>", "This is no PNG, JPEG, GIF or WebP image, whatever"),
        (b"RIFF\0\0\0\0WAVEfmt ", "This is no PNG, JPEG, GIF or WebP image, whatever"),
        (jpeg(1, 1)[:6], "A JPEG image whose size cannot be read."),
        (png(1, 1)[:10], "A PNG image whose size cannot be read."),
    ],
)
def test_what_is_no_image_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    assert look(tmp_path / "a.png", content).startswith(said)


# Workbooks and Parquet


def test_a_workbook_is_told_by_its_sheets(tmp_path: Path) -> None:
    book = Workbook()
    rain, empty = book.active, book.create_sheet("Empty")
    assert rain is not None
    assert empty is not None
    rain.title = "Rain"
    for row in [("month", "mm"), *((f"2024-{i:02}", i / 2) for i in range(1, 13))]:
        rain.append(row)
    book.save(tmp_path / "a.xlsx")
    assert digest(tmp_path / "a.xlsx", soon()) == (
        "Excel workbook, 2 sheets: Rain, Empty\n"
        "Rain (13 x 2 cells) begins:\n"
        "month | mm\n2024-01 | 0.5\n2024-02 | 1\n2024-03 | 1.5\n2024-04 | 2\n"
        "Empty (1 x 1 cells) begins:"
    )


def test_a_workbook_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "a.xlsx"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", bytes(40_000_000))
    assert bomb.stat().st_size < 100_000
    assert digest(bomb, soon()) == "Excel workbook, not inspected, as it unpacks to 40.0 MB."


def test_a_workbook_of_too_many_parts_is_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w") as archive:
        for number in range(6_000):
            archive.writestr(f"{number:05}", b"")
    said = "Excel workbook, not inspected, as it has too many parts."
    assert digest(tmp_path / "a.xlsx", soon()) == said

    # A directory that looks small, and a locator that sends its reader to another.
    end = b"PK\x06\x07" + bytes(16) + b"PK\x05\x06" + bytes(18)
    assert look(tmp_path / "b.xlsx", b"PK\x03\x04" + bytes(100) + end) == said


def test_parquet_is_told_by_its_schema(tmp_path: Path) -> None:
    table = pyarrow.table({"city": ["a", "b"], "rain": [1.5, None]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert digest(tmp_path / "a.parquet", soon()) == (
        "Parquet, 2 rows, 2 columns:\n  city: string\n  rain: double"
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.xlsx", b"", "This is not an Excel workbook, whatever its name says."),
        ("a.xlsx", b"PK\x05\x06", "This is not an Excel workbook, whatever its name says."),
        ("a.xlsx", b"PK\x05\x06" + bytes(18), "This file could not be inspected (KeyError)."),
        ("a.parquet", b"", "This is not a Parquet file, whatever its name says."),
        ("a.parquet", b"PAR1", "This is not a Parquet file, whatever its name says."),
        (
            "a.parquet",
            b"PAR1" + struct.pack("<I", 1 << 30) + b"PAR1",
            "Parquet, not inspected, as its description of itself has 1,073.7 MB.",
        ),
        ("a.parquet", b"PAR1" + bytes(4) + b"PAR1", "This file could not be inspected (OSError)."),
    ],
)
def test_what_is_no_workbook_or_parquet_is_said(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    assert look(tmp_path / name, content).startswith(said)


def test_without_a_library_the_kind_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Workbook().save(tmp_path / "a.xlsx")
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "a.parquet")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert digest(tmp_path / "a.xlsx", soon()) == (
        "Excel workbook, not inspected, as openpyxl is not installed beside the server."
    )
    assert digest(tmp_path / "a.parquet", soon()) == (
        "Parquet, not inspected, as pyarrow is not installed beside the server."
    )


# Whatever comes


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(SUFFIXES))
def test_whatever_is_in_a_file_its_digest_is_a_short_text(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    said = look(tmp_path_factory.getbasetemp() / f"any.{suffix}", content)
    assert 0 < len(said) <= 4_000


def test_a_digest_is_short_however_much_there_is_to_say(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": "x" * 300}] * 100
    wide = json.dumps({"k" * 60 + str(i): list(range(9)) for i in range(100)})
    assert len(look(tmp_path / "a.ipynb", json.dumps({"cells": cells}))) <= 4_000
    assert len(look(tmp_path / "a.json", wide)) <= 4_000


def test_a_link_a_folder_and_a_pipe_are_not_followed_or_waited_for(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "link.txt").symlink_to(tmp_path / "secret.txt")
    assert digest(tmp_path / "link.txt", soon()) == "This file could not be inspected (OSError)."
    (tmp_path / "folder.txt").mkdir()
    assert digest(tmp_path / "folder.txt", soon()) == (
        "This file could not be inspected (IsADirectoryError)."
    )
    os.mkfifo(tmp_path / "pipe.txt")
    assert digest(tmp_path / "pipe.txt", soon()) == "An empty file."


@pytest.mark.parametrize("suffix", ["csv", "json", "ipynb", "txt", "png"])
def test_little_of_a_large_file_is_ever_in_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    block = b'{"cells": [{"a": "b,c"}, 1, 2, 3]}\n' * 30_000
    with path.open("wb") as file:
        file.writelines(block for _ in range(12))
    digest(path, soon())  # What is imported once does not count.
    tracemalloc.start()
    try:
        digest(path, soon())
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_nothing_heavy_is_imported_for_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    (tmp_path / "a.json").write_text("{}")
    code = """
import sys, time
from pathlib import Path
from caesarion.files.inspection import digest

for path in sys.argv[1:]:
    digest(Path(path), time.monotonic() + 10)
print(sorted({"numpy", "openpyxl", "pandas", "pyarrow", "imagesize"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.csv", tmp_path / "a.json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
