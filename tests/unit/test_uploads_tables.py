"""Tables in text are described correctly in every dialect and encoding."""

from pathlib import Path

import pytest

from tests.files import describe


def table(tmp_path: Path, content: str | bytes, name: str = "a.csv") -> list[str]:
    """Return a table's description up to where its first lines are repeated."""
    said, begins, _ = describe(tmp_path / name, content).partition("\nIt begins:\n")
    assert begins
    return said.split("\n")


def test_a_table_is_described_by_rows_columns_types_and_first_lines(tmp_path: Path) -> None:
    content = (
        "date,city,rain,days,dry,note,at\n"
        "2024-01-31,Berlin,1.5,3,true,,2024-01-31 12:00:00\n"
        '2024-02-29,"Paris, Texas",-2,4,false,,2024-01-31 13:00:00\n'
        "2024-03-31,,3e2,5,TRUE,,2024-02-01 00:00:00\n"
    )
    assert describe(tmp_path / "a.csv", content) == (
        "Table, 3 rows, 7 columns separated by ',':\n"
        "  date: date\n"
        "  city: text, some empty\n"
        "  rain: number\n"
        "  days: whole number\n"
        "  dry: true or false\n"
        "  note: empty\n"
        "  at: date and time\n"
        "It begins:\n" + content.rstrip("\n")
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        # Separators
        (
            '"Name, first";"Age"\n"A";1\n"B";2\n',
            ["Table, 2 rows, 2 columns separated by ';':", "  Name, first: text", "  Age: whole"],
        ),
        ("a|b\n1|2\n3|4\n", ["Table, 2 rows, 2 columns separated by '|':"]),
        ("a\tb\n1\t2\n", ["Table, 1 row, 2 columns separated by tabs:"]),
        ('id;text\n1;"a, b, c"\n2;"d, e"\n', ["Table, 2 rows, 2 columns separated by ';':"]),
        ("a,b\n1,x; y; z\n2,p; q; r\n", ["Table, 2 rows, 2 columns separated by ',':"]),
        ("a,b,\n1,2,\n3,4,\n", ["Table, 2 rows, 3 columns separated by ',':"]),
        (
            "sep=;\r\nid;name\r\n1;a\r\n2;b\r\n",
            [
                "Table, 2 rows, 2 columns separated by ';':",
                "  id: whole number",
                "  name: text",
                "The first line names the separator and is not part of the table.",
            ],
        ),
        (
            "SEP=\t\nid\tname\n1\ta\n",
            [
                "Table, 1 row, 2 columns separated by tabs:",
                "  id: whole number",
                "  name: text",
                "The first line names the separator and is not part of the table.",
            ],
        ),
        ("a b c\n1 2 3\n4 5 6\n", ["Table, 2 rows, 1 column:", "  a b c: text"]),
        # Names
        (
            "id,name,name\n1,a,b\n2,c,d\n",
            [
                "Table, 2 rows, 3 columns separated by ',':",
                "  id: whole number",
                "  name: text",
                "  name: text",
                "The name 'name' occurs 2 times.",
            ],
        ),
        (
            "id,,name\n1,2,a\n3,4,b\n",
            [
                "Table, 2 rows, 3 columns separated by ',':",
                "  id: whole number",
                "  (no name): who",
            ],
        ),
        (
            "country,2019,2020,2021\nFR,1.1,1.2,1.3\nIT,2.1,2.2,2.3\n",
            [
                "Table, 2 rows, 4 columns separated by ',':",
                "  country: text",
                "  2019: number",
                "  2020: number",
                "  2021: number",
            ],
        ),
        ("country,2019\nFR,1.1\nIT,2\n", ["Table, 2 rows, 2 columns separated by ',':"]),
        (
            ",2020,2010\nFR,1500,1600\n",
            ["Table, 1 row, 3 columns separated by ',':", "  (no name)"],
        ),
        ("hour,0,6,12\nA,5,5,6\nB,1,1,1\n", ["Table, 2 rows, 4 columns separated by ',':"]),
        ("c,2024-01-01,2024-02-01\nFR,1,2\n", ["Table, 1 row, 3 columns separated by ',':"]),
        ("name,city\nada,rome\n", ["Table, 1 row, 2 columns separated by ',':", "  name: text"]),
        ("FR,2019,2020\nIT,2001,2015\n", ["Table, 2 rows, 3 columns separated by ',', without a"]),
        ("Ada,1,2\nBob,4,4\n", ["Table, 2 rows, 3 columns separated by ',', without a line of"]),
        ("1,2,3\n2,3,4\n", ["Table, 2 rows, 3 columns separated by ',', without a line of names:"]),
        (
            "1,2\n",
            ["Table, 1 row, 2 columns separated by ',', without a line of names:", "  1: who"],
        ),
        ("a,b,c\n", ["Table, 0 rows, 3 columns separated by ',':", "  a", "  b", "  c"]),
        ("a,b,c", ["Table, 0 rows, 3 columns separated by ',':", "  a", "  b", "  c"]),
        # Lines and rows
        ("x\n1\n2\n", ["Table, 2 rows, 1 column:", "  x: whole number"]),
        ("x\r\n1\r\n\r\n2", ["Table, 2 rows, 1 column:", "  x: whole number"]),
        ("a,b\n1,2\n\n3,4\n\n\n", ["Table, 2 rows, 2 columns separated by ',':"]),
        ('x\n"1\n2"\n', ["Table, 1 row, 1 column:"]),
        ('a,b\n"one\ntwo",2\n"x",4\n', ["Table, 2 rows, 2 columns separated by ',':"]),
        ("a,b\r\n1,2\n3,4\r\n5,6\n", ["Table, 3 rows, 2 columns separated by ',':"]),
        ("a,b\r1,2\r3,4\r", ["Table, 2 rows, 2 columns separated by ',':"]),
        (
            "a,b\n1,2\n3,4,5\n6\n",
            [
                "Table, 3 rows, 3 columns separated by ',':",
                "  a: whole number",
                "  b: whole number, some empty",
                "  (no name): whole number, some empty",
                "Some rows have fewer or more values than others.",
            ],
        ),
        (
            "a,b\n1,2\n3,4\n\nSource: the survey\n",
            [
                "Table, 3 rows, 2 columns separated by ',':",
                "  a: text",
                "  b: whole number, some empty",
                "Some rows have fewer or more values than others.",
            ],
        ),
        # What stands above and between
        (
            "Report of sales\n\na,b\n1,2\n3,4\n",
            [
                "Table, 2 rows, 2 columns separated by ',':",
                "  a: whole number",
                "  b: whole number",
                "The first 2 lines are not part of the table.",
            ],
        ),
        (
            "Report, of sales\nMade, by me, today\n\nid,b\n1,2\n3,4\n",
            [
                "Table, 2 rows, 2 columns separated by ',':",
                "  id: whole number",
                "  b: whole number",
                "The first 2 lines are not part of the table.",
            ],
        ),
        ("\n\na,b\n1,2\n", ["Table, 1 row, 2 columns separated by ',':", "  a: whole number"]),
        (
            "# made on Monday\na,b\n1,2\n# checked\n3,4\n",
            [
                "Table, 2 rows, 2 columns separated by ',':",
                "  a: whole number",
                "  b: whole number",
                "Lines that begin with '#' are comments.",
            ],
        ),
        # Values
        (
            "zip,x\n00123,1\n04567,2\n",
            ["Table, 2 rows, 2 columns separated by ',':", "  zip: text"],
        ),
        (
            "a;b\n1,5;2\n3,25;4\n",
            ["Table, 2 rows, 2 columns separated by ';':", "  a: number with a decimal comma"],
        ),
        (
            "a;b\n1.234,5;x\n2,5;y\n",
            ["Table, 2 rows, 2 columns", "  a: number with a decimal comma"],
        ),
        (
            "a;b\n1.234.567;x\n2.500;y\n",
            ["Table, 2 rows,", "  a: number with dots between thousands"],
        ),
        (
            'a,b\n"1,234",2\n"3,256.5",4\n',
            ["Table, 2 rows, 2 columns", "  a: number with commas between thousands"],
        ),
        ("d,x\n31.01.2024,1\n28.02.2024,2\n", ["Table, 2 rows, 2 columns", "  d: date"]),
        ("d,x\n01/31/2024,1\n02/28/2024,2\n", ["Table, 2 rows, 2 columns", "  d: date"]),
        (
            "a\n123456789012345678901234567890\n1\n",
            ["Table, 2 rows, 1 column:", "  a: whole number"],
        ),
        ('a,b\n1,5" pipe\n2,x\n', ["Table, 2 rows, 2 columns", "  a: whole number", "  b: text"]),
        (
            "a,b\n1,'x, y'\n2,'z'\n",
            ["Table, 2 rows, 2 columns", "  a: whole", "  b: text", "Values are quoted by '."],
        ),
        ('a,b\n1,"he said \\"hi\\""\n2,"x"\n', ["Table, 2 rows, 2 columns", "  a: whole number"]),
        (
            "id,name\n1,a\0\n2,b\n",
            [
                "Table, 2 rows, 2 columns separated by ',':",
                "  id: whole number",
                "  name: text",
                "It contains 1 NUL character.",
            ],
        ),
    ],
)
def test_tables_come_in_many_forms(tmp_path: Path, content: str, said: list[str]) -> None:
    lines = table(tmp_path, content)
    assert [line[: len(start)] for line, start in zip(lines, said, strict=False)] == said
    notes = [line for line in lines if not line.startswith(("Table", "  "))]
    assert notes == [line for line in said if not line.startswith(("Table", "  "))]


def test_the_name_tsv_says_what_separates(tmp_path: Path) -> None:
    for name in ("a.tsv", "A.TSV"):
        assert table(tmp_path, "a\tb,c\n1\t2\n", name)[:2] == [
            "Table, 1 row, 2 columns separated by tabs:",
            "  a: whole number",
        ]


@pytest.mark.parametrize("content", [" \n\n", "\ufeff\n"])
def test_a_table_without_rows_is_said(tmp_path: Path, content: str) -> None:
    said = describe(tmp_path / "a.csv", content)
    assert said.startswith("A table without rows: the file is empty.")


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", []),
        ("utf-8-sig", []),
        ("utf-16", ["The encoding is UTF-16."]),
        (
            "utf-16-le",
            ["The encoding is UTF-16 without a byte order mark ('utf_16_le' in Python)."],
        ),
        (
            "cp1252",
            [
                "The encoding is probably Windows-1252 ('cp1252' in Python); it may also be "
                "Windows-1250 or Windows-1254."
            ],
        ),
    ],
)
def test_tables_come_in_many_encodings(tmp_path: Path, encoding: str, note: list[str]) -> None:
    content = "größe;straße\n1;Königstraße 5\n2;Änderweg\n".encode(encoding)
    assert table(tmp_path, content) == [
        "Table, 2 rows, 2 columns separated by ';':",
        "  größe: whole number",
        "  straße: text",
        *note,
    ]


def test_the_rows_of_a_long_table_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"{i},some text\n" for i in range(100_000))
    quoted = '1,"two\nlines"\n' * 5
    for content, said in (
        ("n,t\n" + rows, "Table, 100,000 rows, 2 columns separated by ',':"),
        ("n,t\n" + rows.rstrip("\n"), "Table, 100,000 rows, 2 columns separated by ',':"),
        (rows, "Table, 100,000 rows, 2 columns separated by ',', without a line of names:"),
        ("n,t\n" + rows + quoted, "Table, 100,005 rows, 2 columns separated by ',':"),
        ("n,t\n" + rows + "1\n2,3,4\n", "Table, 100,002 rows, 2 columns separated by ',':"),
        ("n,t\r\n" + rows, "Table, 100,000 rows, 2 columns separated by ',':"),
        ("sep=,\nn,t\n" + rows, "Table, 100,000 rows, 2 columns separated by ',':"),
    ):
        assert table(tmp_path, content)[0] == said


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_rows_of_a_long_table_are_counted_in_any_encoding(
    tmp_path: Path, encoding: str
) -> None:
    rows = "".join(f"{i},Königstraße {i}\n" for i in range(60_000))
    content = ("n,größe\n" + rows).encode(encoding)
    assert table(tmp_path, content)[:3] == [
        "Table, 60,000 rows, 2 columns separated by ',':",
        "  n: whole number",
        "  größe: text",
    ]


def test_odd_bytes_far_down_do_not_end_a_table(tmp_path: Path) -> None:
    rows = b"".join(b"%d,some text\n" % i for i in range(100_000))
    assert table(tmp_path, b"n,t\n" + rows + b"1,\xff\n")[0].startswith("Table, 100,001 rows, ")


def test_when_the_time_is_over_rows_are_estimated(tmp_path: Path) -> None:
    content = "x,y\n" + "10,20\n" * 400_000
    said = describe(tmp_path / "a.csv", content, seconds=-1)
    assert said.startswith("Table, about 400,000 rows, 2 columns separated by ',':")


def test_a_wide_table_is_described_by_its_first_columns(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(1_000))
    lines = table(tmp_path, f"{names}\n{',1' * 999}\n")
    assert lines[0] == "Table, 1 row, 1,000 columns separated by ',':"
    assert lines[50] == "  c49: whole number"
    assert lines[51:] == ["  and 950 more"]


def test_fields_of_any_length_are_read(tmp_path: Path) -> None:
    long = "x" * 3_000_000
    assert table(tmp_path, f"a,b\n1,{long}\n")[0] == "Table, 1 row, 2 columns separated by ',':"
    assert table(tmp_path, long)[0] == "Table, 0 rows, 1 column:"
    assert table(tmp_path, f"a,b\n1,{long * 4}\n")[0] == (
        "Table, rows too long to be counted, 2 columns separated by ',':"
    )
