"""Descriptions of files: correct for every kind, and bounded for any content."""

import io
import json
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pyarrow.parquet.encryption
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.files import compound, describe, image

SUFFIXES = ["csv", "tsv", "json", "ipynb", "xlsx", "parquet", "png", "jpg", "txt", "log", "zip"]

OTHER_KIND = "The name ends in .{}, but this is another kind of file:\n"


# JSON and notebooks


def test_json_is_told_by_its_shape(tmp_path: Path) -> None:
    value = {"id": 1, "name": "Ada", "ok": True, "none": None, "list": [1, 2.5], "deep": {"a": {}}}
    assert describe(tmp_path / "a.json", json.dumps(value)) == (
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
    assert describe(tmp_path / "a.json", json.dumps(value)).split("\n")[:4] == [
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
            "JSON (several values one after another, of which this is the first): "
            "an object with 1 key:\n"
            '  a: number\nIt begins: {"a": 1} {"a": 2}',
        ),
        ("{'a': 1}", "This cannot be read as JSON: Expecting property name enclosed in double"),
        ("", "An empty file."),
        ("[" * 100_000, "This JSON is nested too deeply to be inspected."),
        ("9" * 10_000, "This cannot be read as JSON: Exceeds the limit (4300 digits)"),
    ],
)
def test_json_comes_in_many_forms(tmp_path: Path, text: str, said: str) -> None:
    assert describe(tmp_path / "a.json", text).startswith(said)


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
        ("[" * 2_000_000, "This JSON is nested too deeply to be inspected."),
        ("[" * 600_000 + "]" * 600_000, "This JSON is nested too deeply to be inspected."),
        ("x" * 2_000_000, "This cannot be read as JSON: Expecting value"),
    ],
)
def test_of_a_long_json_the_beginning_is_told(tmp_path: Path, text: str, first: str) -> None:
    assert describe(tmp_path / "a.json", text).startswith(first)


# The recursion in making values is hypothesis's own.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=50)
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
    assert describe(tmp_path / "a.ipynb", json.dumps(notebook)) == (
        "Jupyter notebook: 9 cells (1 markdown, 8 code), for the kernel Python 3.\n"
        "[markdown] # Rain\n" + "".join(f"[code] x = {i}\nx\n" for i in range(5)).rstrip()
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"cells": []}', "Jupyter notebook: 0 cells (none)."),
        ('{"cells": [1, {"source": ["a\\n", "b"]}]}', "Jupyter notebook: 1 cell (1 None)."),
        ('{"cells": {}}', "This is not a notebook, but other JSON: it has no list of cells."),
        ("[]", "This is not a notebook, but other JSON."),
        ("no", "This cannot be read as JSON: Expecting value: line 1 column 1 (char 0)."),
        ('{"nbformat": 3, "worksheets": [{"cells": 1}]}', "This notebook of format 3 cannot be"),
    ],
)
def test_a_notebook_may_be_odd(tmp_path: Path, text: str, said: str) -> None:
    assert describe(tmp_path / "a.ipynb", text).startswith(said)


CELLS_BEFORE_4 = [
    {"cell_type": "heading", "level": 2, "source": ["Rain"], "metadata": {}},
    {
        "cell_type": "code",
        "input": ["x = 1\n", "x"],
        "language": "python",
        "outputs": [{"output_type": "pyout", "text": ["1"], "prompt_number": 1, "metadata": {}}],
        "metadata": {},
    },
]


@pytest.mark.parametrize(
    ("notebook", "said"),
    [
        (
            {"nbformat": 3, "metadata": {"name": ""}, "worksheets": [{"cells": CELLS_BEFORE_4}]},
            "Jupyter notebook of format 3: 2 cells (1 markdown, 1 code).\n"
            "[markdown] ## Rain\n[code] x = 1\nx",
        ),
        (
            {"worksheets": [{"cells": CELLS_BEFORE_4[1:]}]},
            "Jupyter notebook of format 3: 1 cell (1 code).\n[code] x = 1\nx",
        ),
        (
            {
                "nbformat": 2,
                "worksheets": [{"cells": [{"cell_type": "markdown", "source": "# Rain"}]}],
            },
            "Jupyter notebook of format 2: 1 cell (1 markdown).\n[markdown] # Rain",
        ),
        (
            {"nbformat": 1, "cells": [{"cell_type": "code", "code": "x = 1"}]},
            "Jupyter notebook of format 1: 1 cell (1 code).\n[code] x = 1",
        ),
        (
            {"nbformat": 5, "cells": [{"cell_type": "code", "source": "x = 1"}]},
            "Jupyter notebook: 1 cell (1 code).\n[code] x = 1",
        ),
    ],
)
def test_notebooks_of_any_format_are_described(
    tmp_path: Path, notebook: dict[str, Any], said: str
) -> None:
    assert describe(tmp_path / "a.ipynb", json.dumps(notebook)) == said


# Text


def test_text_is_described_by_its_lines_and_the_first(tmp_path: Path) -> None:
    lines = [f"line {i}" for i in range(100_000)]
    assert describe(tmp_path / "a.md", "\n".join(lines)) == (
        "Text, 100,000 lines, UTF-8. It begins:\n" + "\n".join(lines[:10])
    )
    assert describe(tmp_path / "a.py", "x = 1\n") == "Text, 1 line, UTF-8. It begins:\nx = 1"
    assert describe(tmp_path / "a.txt", "") == "An empty file."
    assert describe(tmp_path / "a.txt", "é" * 100_000).endswith("é" * 196 + " ...")
    said = describe(tmp_path / "a.txt", "x\n" * 100_000, seconds=-1)
    assert said.startswith("Text, more than 0 lines, UTF-8.")


JAPANESE = "名前,都市\n田中,東京\n鈴木,大阪\n"
CHINESE = "姓名,城市\n张三,北京\n李四,上海\n王五,广州\n"
RUSSIAN = "имя,город\nЮлия,Москва\nДмитрий,Пенза\n"  # noqa: RUF001
GERMAN = "größe,straße\n1,Königstraße\n2,Änderweg\n"


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        (JAPANESE, "utf-16", "The encoding is UTF-16."),
        (
            "a,b\n1,2\n",
            "utf-16-be",
            "The encoding is UTF-16 without a byte order mark ('utf_16_be' in Python).",
        ),
        (JAPANESE, "utf-32", "The encoding is UTF-32."),
        (
            JAPANESE,
            "shift_jis",
            "The encoding is probably Shift-JIS ('cp932' in Python); it may also be EUC-KR.",
        ),
        (JAPANESE, "iso2022_jp", "The encoding is ISO-2022-JP ('iso2022_jp' in Python)."),
        (CHINESE, "gbk", "The encoding is probably GBK ('gb18030' in Python)"),
        (RUSSIAN, "cp1251", "The encoding is probably Windows-1251 ('cp1251' in Python)"),
        (RUSSIAN, "koi8_r", "The encoding is probably KOI8-R ('koi8_r' in Python)"),
        (
            GERMAN,
            "cp1252",
            "The encoding is probably Windows-1252 ('cp1252' in Python); it may also be "
            "Windows-1250 or Windows-1254.",
        ),
    ],
)
def test_text_of_any_encoding_is_text_and_a_guess_is_said_as_one(
    tmp_path: Path, text: str, encoding: str, said: str
) -> None:
    described = describe(tmp_path / "a.txt", text.encode(encoding))
    assert described.startswith("Text, ")
    assert said in described
    assert described.endswith(f"It begins:\n{text.rstrip()}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x\x81y", "Text, 1 line. This is text of an unknown encoding. It begins:\nx\ufffdy"),
        (
            b"\xe4\n",
            "Text, 1 line. The encoding is probably Windows-1252 ('cp1252' in Python). "
            "It begins:\nä",
        ),
        (
            "größe, straße, übung, öl".encode() + b"\xff",
            "Text, 1 line. The encoding is UTF-8, but some bytes are not. It begins:\n"
            "größe, straße, übung, öl\ufffd",
        ),
        (
            b"some words\0 and more\n",
            "Text, 1 line, UTF-8. It contains 1 NUL character. It begins:\n"
            "some words\ufffd and more",
        ),
    ],
)
def test_text_with_an_odd_byte_is_text(tmp_path: Path, content: bytes, said: str) -> None:
    assert describe(tmp_path / "a.txt", content) == said


def test_long_text_that_is_cut_within_a_character_keeps_its_encoding(tmp_path: Path) -> None:
    for encoding, said in (("utf-8", "Text, 1 line, UTF-8."), ("shift_jis", "Shift-JIS")):
        content = ("a" + "東京都千代田区" * 100_000).encode(encoding)
        assert said in describe(tmp_path / "a.txt", content)


def test_binary_data_is_not_text(tmp_path: Path) -> None:
    data = bytes(range(256)) * 4
    for name in ("a.txt", "a.csv", "a.json"):
        suffix = name.partition(".")[2]
        assert describe(tmp_path / name, data) == (
            OTHER_KIND.format(suffix) + "Binary data of an unknown kind."
        )
    assert describe(tmp_path / "a.dat", data) == "Binary data of an unknown kind."


def test_what_would_move_a_cursor_or_turn_text_around_is_not_repeated(tmp_path: Path) -> None:
    assert describe(tmp_path / "a.txt", "a\x1b[2J\u202eb\tc\n") == (
        "Text, 1 line, UTF-8. It begins:\na\ufffd[2J\ufffdb\tc"
    )


# Kinds are known by content


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"%PDF-1.7\n", OTHER_KIND.format("csv") + "PDF document."),
        ("a.txt", b"SQLite format 3\0", OTHER_KIND.format("txt") + "SQLite database."),
        ("a.csv", b"\x1f\x8b\x08\0", OTHER_KIND.format("csv") + "Data compressed by gzip."),
        ("a.gz", b"\x1f\x8b\x08\0", "Data compressed by gzip."),
        ("a.csv", image(), OTHER_KIND.format("csv") + "PNG image, 3 x 2 pixels."),
        (
            "a.parquet",
            b"a,b\n1,2\n",
            OTHER_KIND.format("parquet") + "Text, 2 lines, UTF-8. It begins:\na,b\n1,2",
        ),
        (
            "a.docx",
            compound("WordDocument"),
            "Word document of the old format (.doc). Its text was not read.",
        ),
        (
            "a.pptx",
            compound("EncryptedPackage"),
            "Microsoft Office document. It is protected by a password: open it with the password "
            "and save a copy without one.",
        ),
        ("a.bin", compound("Other"), "OLE compound file of an unknown kind."),
    ],
)
def test_a_kind_that_the_name_does_not_promise_is_said(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    assert describe(tmp_path / name, content) == said


# Images


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.gif", "GIF"), ("a.webp", "WebP")]
)
def test_an_image_is_described_by_its_size(tmp_path: Path, name: str, kind: str) -> None:
    content = image(kind, 1920, 1080)
    assert describe(tmp_path / name, content) == f"{kind} image, 1,920 x 1,080 pixels."
    assert describe(tmp_path / "a.png", content) == f"{kind} image, 1,920 x 1,080 pixels."


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WebP"])
def test_an_image_that_cannot_be_decoded_is_said(tmp_path: Path, kind: str) -> None:
    pixels = Image.effect_noise((200, 200), 60).convert("RGB")
    file = io.BytesIO()
    pixels.save(file, kind)
    whole = file.getvalue()
    for content in (whole[: len(whole) // 2], whole[:16]):
        said = describe(tmp_path / "a.png", content)
        assert said.startswith(f"{kind} image that cannot be decoded: ")


def chunk(kind: bytes, content: bytes) -> bytes:
    """Return a chunk of a PNG image."""
    return struct.pack(">I", len(content)) + (
        kind + content + struct.pack(">I", zlib.crc32(kind + content))
    )


def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    huge = image()[:8] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100)))
    said = describe(tmp_path / "a.png", huge)
    assert said == "PNG image of too many pixels to be decoded."


def test_a_drawing_in_text_is_text(tmp_path: Path) -> None:
    assert describe(tmp_path / "a.png", "<svg/>") == (
        OTHER_KIND.format("png") + "Text, 1 line, UTF-8. It begins:\n<svg/>"
    )


# Parquet


def test_parquet_is_described_by_its_schema(tmp_path: Path) -> None:
    table = pyarrow.table({"city": ["a", "b"], "rain": [1.5, None], "days": [[1], [2, 3]]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    assert describe(tmp_path / "a.parquet") == (
        "Parquet, 2 rows, 3 columns:\n  city: VARCHAR\n  rain: DOUBLE\n  days: BIGINT[]"
    )
    many = pyarrow.table({f"c{i}": [i] for i in range(60)})
    pyarrow.parquet.write_table(many, tmp_path / "a.parquet")
    assert describe(tmp_path / "a.parquet").endswith("  c49: BIGINT\n  and 10 more")


class _Keys(pyarrow.parquet.encryption.KmsClient):  # type: ignore[misc]
    """Keeps keys as pyarrow's interface wants it, without keeping them from anybody."""

    def __init__(self, configuration: object) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, name: str) -> str:
        return key.hex()

    def unwrap_key(self, wrapped: bytes, name: str) -> bytes:
        return bytes.fromhex(wrapped.decode())


@pytest.mark.parametrize(
    ("plaintext_footer", "said"),
    [
        (False, "Parquet, encrypted: it cannot be read without its keys."),
        (
            True,
            "Parquet, 1 row, 2 columns:\n  a: BIGINT\n  b: BIGINT\n"
            "Some of its columns are encrypted and cannot be read without their keys.",
        ),
    ],
)
def test_encrypted_parquet_is_said_to_be_so(
    tmp_path: Path, plaintext_footer: bool, said: str
) -> None:
    encryption = pyarrow.parquet.encryption
    table = pyarrow.table({"a": [1], "b": [2]})
    properties = encryption.CryptoFactory(_Keys).file_encryption_properties(
        encryption.KmsConnectionConfig(),
        encryption.EncryptionConfiguration(
            footer_key="key", column_keys={"key": ["a"]}, plaintext_footer=plaintext_footer
        ),
    )
    path = tmp_path / "a.parquet"
    with pyarrow.parquet.ParquetWriter(
        path, table.schema, encryption_properties=properties
    ) as writer:
        writer.write_table(table)
    assert describe(path) == said


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PAR1" + bytes(100) + b"PARE", "Parquet, encrypted: it cannot be read without its keys."),
        (b"PAR1", "Parquet that cannot be read: "),
        (b"PAR1" + bytes(4) + b"PAR1", "Parquet that cannot be read: "),
        (b"PAR1" + struct.pack("<I", 1 << 30) + b"PAR1", "Parquet that cannot be read: "),
    ],
)
def test_damaged_parquet_is_said_to_be_so(tmp_path: Path, content: bytes, said: str) -> None:
    assert describe(tmp_path / "a.parquet", content).startswith(said)


# Whatever comes


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.sampled_from(SUFFIXES))
def test_whatever_is_in_a_file_its_description_is_a_short_text(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    said = describe(tmp_path_factory.getbasetemp() / f"any.{suffix}", content)
    assert 0 < len(said) <= 4_000
    assert "could not be inspected" not in said


def test_a_description_is_short_however_much_there_is_to_say(tmp_path: Path) -> None:
    cells = [{"cell_type": "code", "source": "x" * 300}] * 100
    wide = json.dumps({"k" * 60 + str(i): list(range(9)) for i in range(100)})
    assert len(describe(tmp_path / "a.ipynb", json.dumps({"cells": cells}))) <= 4_000
    assert len(describe(tmp_path / "a.json", wide)) <= 4_000


@pytest.mark.parametrize("suffix", ["csv", "json", "ipynb", "txt"])
def test_little_of_a_large_file_is_ever_in_memory(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    block = b'{"cells": [{"a": "b,c"}, 1, 2, 3]}\n' * 30_000
    with path.open("wb") as file:
        file.writelines(block for _ in range(12))
    describe(path)  # What is imported once does not count.
    tracemalloc.start()
    try:
        describe(path)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
