"""File names from clients: any name becomes one safe component of a path, or nothing."""

import unicodedata

import pytest
from caesarion.files.names import MAX_BYTES, numbered, safe_name, suffix
from hypothesis import given
from hypothesis import strategies as st

# Parts of attacks, in any other text.
PIECES = st.lists(
    st.one_of(
        st.text(max_size=5),
        st.sampled_from(
            [
                "../",
                "..\\",
                "/",
                "\\",
                "C:",
                ".",
                "..",
                "-",
                "~",
                " ",
                "\0",
                "\n",
                "\u202e",
                "\ufeff",
                "con",
                "NUL",
                "com1",
                ".csv",
                ".py",
                "\u2215",
                "\uff0f",
                "\uff0e",
                "\u0430",
                "\u0301",
                "a",
                "x" * 90,
                "\N{PILE OF POO}" * 30,
                "$(id)",
                ";",
                "'",
                "%2e%2e%2f",
            ]
        ),
    ),
    max_size=12,
).map("".join)


@given(PIECES)
def test_a_safe_name_is_one_visible_component_or_nothing(name: str) -> None:
    safe = safe_name(name)
    assert len(safe.encode()) <= MAX_BYTES
    assert set(safe).isdisjoint('/\\:*?"<>|')
    assert all(unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Co", "Cn") for sign in safe)
    assert not safe.startswith((".", "-", "~", " "))
    assert not safe.endswith((".", " "))
    assert unicodedata.is_normalized("NFC", safe)


@given(PIECES)
def test_a_safe_name_stays_as_it_is(name: str) -> None:
    assert safe_name(safe_name(name)) == safe_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "data.csv",
        "it's data; $(id) & more (1).csv",
        "Ergebnis für März.csv",
        "данные.csv",
        "\u03c1gas.csv",
        "数据 2024.parquet",
        "تقرير ٢٠٢٠.csv",
        "x².tsv",
        "a.tar.csv",
        "console.csv",
        "\N{PILE OF POO}.png",
    ],
)
def test_a_safe_name_is_kept(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        # Traversal and absolute paths, of Unix and of Windows
        ("../../etc/cron.d/x.csv", "x.csv"),
        ("..\\..\\x.csv", "x.csv"),
        ("/etc/passwd", "passwd"),
        ("C:\\Users\\ada\\x.csv", "x.csv"),
        ("C:x.csv", "C_x.csv"),
        ("\\\\server\\share\\x.csv", "x.csv"),
        ("folder/", "folder"),
        # Control characters
        ("a\0b.csv", "ab.csv"),
        ("a\r\nb\x1b[2J.csv", "ab[2J.csv"),
        ("a\x7f\x85.csv", "a.csv"),
        ("not\udcffutf8.csv", "notutf8.csv"),
        ("not\ufffdutf8.csv", "not_utf8.csv"),
        # Windows' devices and signs
        ("CON.csv", "_CON.csv"),
        ("nul", "_nul"),
        ("com1.tar.csv", "_com1.tar.csv"),
        ("LPT³.csv", "_LPT³.csv"),
        ("con .csv", "_con .csv"),
        ("con" + " " * 300 + "x.csv", "_con.csv"),
        ('a<b>c:d"e|f?g*.csv', "a_b_c_d_e_f_g_.csv"),
        ("x.csv. . ", "x.csv"),
        # Hidden, options, homes
        (".bashrc", "bashrc"),
        ("...x.csv", "x.csv"),
        ("-rf.csv", "rf.csv"),
        ("~x.csv", "x.csv"),
        # Look-alikes and what turns text around
        ("..\u2215..\u2044x.csv", "x.csv"),
        ("\uff0e\uff0e\uff0fx.csv", "x.csv"),
        ("\u2024\u2024\u29f5x.csv", "x.csv"),
        ("invoice\u202egnp.py", "invoicegnp.py"),
        ("da\u200bta\u2060.csv", "data.csv"),
        ("d\u0430t\u0430.csv", "data.csv"),
        ("\u0421ON.csv", "_CON.csv"),
        ("a\u00a0b\u3000c.csv", "a b c.csv"),
        ("e\u0301.csv", "\u00e9.csv"),
        # Nothing left
        ("", ""),
        ("..", ""),
        ("a/..", ""),
        ("/", ""),
        (" . ", ""),
        ("\u202e\u200b", ""),
    ],
)
def test_an_unsafe_name_is_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


def test_a_long_name_is_cut_before_its_suffix_and_between_characters() -> None:
    assert safe_name("x" * 500 + ".csv") == "x" * 196 + ".csv"
    assert safe_name("日" * 500 + ".parquet") == "日" * 64 + ".parquet"
    assert safe_name("x." + "y" * 500) == "x." + "y" * 198


@pytest.mark.parametrize(
    ("name", "end"),
    [("a.CSV", "csv"), ("a.tar.csv", "csv"), ("csv", ""), ("a.", ""), ("", ""), (".csv", "")],
)
def test_the_suffix_is_what_follows_the_last_dot(name: str, end: str) -> None:
    assert suffix(name) == end


def test_a_number_goes_before_the_suffix() -> None:
    assert numbered("a.tar.csv", 2) == "a.tar (2).csv"
    assert numbered("README", 3) == "README (3)"
