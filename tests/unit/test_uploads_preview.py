"""The process that inspects files: its findings arrive, and its limits hold."""

import asyncio
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import psutil
import pyarrow
import pyarrow.parquet
import pytest
from caesarion.files import preview
from caesarion.files.preview import Preview, Previewer
from openpyxl import Workbook

from tests.files import image, patched
from tests.server import eventually


async def look(path: Path) -> Preview:
    with path.open("rb") as file:
        return await Previewer().preview(file, path.suffix[1:])


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


async def test_what_the_process_finds_arrives(tmp_path: Path) -> None:
    assert await look(written(tmp_path / "a.csv", "größe\n1\n".encode())) == Preview(
        "Table, 1 row, 1 column:\n  größe: whole number\nIt begins:\ngröße\n1"
    )
    assert await look(written(tmp_path / "a.jpg", image("jpeg"))) == Preview(
        "JPEG image, 3 x 2 pixels.", "jpeg"
    )
    broken = await look(written(tmp_path / "a.png", image("png")[:40]))
    assert broken.image == ""
    assert broken.text.startswith("PNG image that cannot be decoded: ")


async def test_files_are_looked_into_a_few_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    previewer = Previewer()
    most = 0

    async def one() -> Preview:
        with (tmp_path / "a.txt").open("rb") as file:
            return await previewer.preview(file, "txt")

    async def count() -> None:
        nonlocal most
        while True:
            most = max(most, len(inspections()))
            await asyncio.sleep(0.005)

    counting = asyncio.create_task(count())
    found = await asyncio.gather(*(one() for _ in range(8)))
    counting.cancel()
    assert {preview.text for preview in found} == {"Text, 1 line, UTF-8. It begins:\nx"}
    assert 1 <= most <= 2


def inspections() -> list[psutil.Process]:
    """Return the processes of this one that look into files."""
    found = []
    for child in psutil.Process().children():
        try:
            if "caesarion.files.inspection" in child.cmdline():
                found.append(child)
        except psutil.Error:
            continue
    return found


# Limits


def far_apart(path: Path) -> Path:
    """Make a workbook with two cells that no computer has memory between."""
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet["A1"], sheet["B2"] = 1, 2
    workbook.save(path)
    patched(path, {"xl/worksheets/sheet1.xml": (b'r="B2"', b'r="XFD1048576"')})
    return path


async def test_what_needs_too_much_memory_is_said_after_what_was_found(tmp_path: Path) -> None:
    assert await look(far_apart(tmp_path / "a.xlsx")) == Preview(
        "Excel workbook, 1 sheet: Sheet\n"
        "The rest of this file was not read, since that needs more than 768 MiB of memory."
    )


def unpacking_to_300_mb(path: Path) -> Path:
    """Make a small workbook whose sheet unpacks to 300 MB of text."""
    workbook = Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet["A1"] = "text"
    workbook.save(path)
    with zipfile.ZipFile(path) as before:
        members = {name: before.read(name) for name in before.namelist()}
    begin, _, rest = members.pop("xl/worksheets/sheet1.xml").partition(b"<row ")
    _, _, end = rest.partition(b"</row>")
    text = b"x" * 1_000_000
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as file:
            file.write(begin)
            for number in range(1, 301):
                file.write(
                    b'<row r="%d"><c t="inlineStr"><is><t>%b</t></is></c></row>' % (number, text)
                )
            file.write(end)
    return path


async def test_a_workbook_that_unpacks_to_more_than_memory_is_said_to_do_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "_MEMORY", 256 * 1_048_576)
    path = unpacking_to_300_mb(tmp_path / "a.xlsx")
    assert path.stat().st_size < 5_000_000
    assert (await look(path)).text == (
        "Excel workbook, 1 sheet: Sheet\n"
        "The rest of this file was not read, since that needs more than 256 MiB of memory."
    )


async def test_parquet_is_described_without_being_unpacked(tmp_path: Path) -> None:
    zeros = pyarrow.array([0] * 1_000_000)
    table = pyarrow.table({"zero": pyarrow.chunked_array([zeros] * 20)})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", compression="zstd")
    assert (await look(tmp_path / "a.parquet")).text == (
        "Parquet, 20,000,000 rows, 1 column:\n  zero: BIGINT"
    )


async def test_an_archive_is_listed_and_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("zeros.csv", bytes(200_000_000))
    assert (await look(path)).text == (
        "ZIP archive, 1 file, 200.0 MB when unpacked:\n  zeros.csv (200.0 MB)"
    )


async def test_xml_that_grows_by_its_entities_ends_at_a_limit(tmp_path: Path) -> None:
    entities = "".join(
        f'<!ENTITY e{i} "{"&e" + str(i - 1) + ";" if i else "x" * 1000}'
        + (f"&e{i - 1};" * 9 if i else "")
        + '">'
        for i in range(12)
    )
    workbook = Workbook()
    path = tmp_path / "a.xlsx"
    workbook.save(path)
    patched(
        path,
        {
            "xl/workbook.xml": (
                b"<workbook ",
                f"<!DOCTYPE a [{entities}]><workbook a='&e11;' ".encode(),
            )
        },
    )
    said = (await look(path)).text
    assert said.startswith("Excel workbook")
    assert len(said) < 1_000


async def test_what_takes_too_long_is_said_after_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    slow = tmp_path / "slow.py"
    slow.write_text(
        "#!" + sys.executable + "\n"
        "import json, time\n"
        "print(json.dumps({'text': 'It begins.'}), flush=True)\n"
        "time.sleep(60)\n"
    )
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(preview, "_LIMIT", 2.0)
    assert (await look(tmp_path / "a.txt")).text == (
        "It begins.\nThe rest of this file was not read, since that takes longer than 2 seconds."
    )
    assert [child for child in psutil.Process().children() if "slow.py" in child.name()] == []


async def test_a_cancelled_preview_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    slow = tmp_path / "slow.py"
    slow.write_text(f"#!{sys.executable}\nimport time\ntime.sleep(60)\n")
    slow.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(slow))
    before = psutil.Process().children()
    looking = asyncio.create_task(look(tmp_path / "a.txt"))
    await eventually(lambda: psutil.Process().children() != before)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert psutil.Process().children() == before


async def test_a_process_that_cannot_be_started_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    said = (await look(tmp_path / "a.txt")).text
    assert said.startswith("This file was not inspected: no process could be started: ")


# What the process may know and do


async def test_the_process_knows_nothing_of_the_servers_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "secret")
    teller = tmp_path / "teller.py"
    teller.write_text(
        f"#!{sys.executable} -I\n"
        "import json, os\n"
        "print(json.dumps({'text': ' '.join(sorted(os.environ))}))\n"
    )
    teller.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(teller))
    (tmp_path / "a.txt").write_text("x\n")
    names = (await look(tmp_path / "a.txt")).text.split()
    assert set(names) <= {"MALLOC_ARENA_MAX", "LC_CTYPE"}


def test_nothing_heavy_is_imported_for_what_does_not_need_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x\n")
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "a.ipynb").write_text('{"cells": []}')
    Workbook().save(tmp_path / "a.xlsx")
    code = """
import runpy, sys
sys.argv = ["inspection", sys.argv[1], "30", str(768 << 20)]
runpy.run_module("caesarion.files.inspection", run_name="__main__")
heavy = {"PIL", "charset_normalizer", "duckdb", "nbformat", "numpy", "pandas", "pyarrow"}
print(sorted(heavy & set(sys.modules)))
"""
    for name in ("a.txt", "a.json", "a.ipynb", "a.xlsx"):
        with (tmp_path / name).open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-c", code, name.partition(".")[2]],
                stdin=file,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                text=True,
                timeout=60,
            )
        assert done.stderr == ""
        *found, imported = done.stdout.splitlines()
        assert json.loads(found[0])["text"]
        assert imported == "[]"
