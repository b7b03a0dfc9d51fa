"""Text is read as a terminal shows it, wherever it is cut into pieces."""

import re
from typing import Any

import pytest
from caesarion.kernels import terminal
from caesarion.kernels.terminal import ANSI, Terminal, difference
from hypothesis import given
from hypothesis import strategies as st

GREEN, OFF = "\x1b[32m", "\x1b[0m"

# As tqdm, pip, rich and a spinner write, and what else is in use.
WRITTEN = [
    ("plain", "plain"),
    ("a\r\nb", "a\nb"),
    ("10%\r20%\r100%", "100%"),
    ("abc\rX", "Xbc"),
    ("ab\bc", "ac"),
    ("\bab\b\b\bc", "cb"),
    ("a\n\bb", "a\nb"),
    ("/\b-\b\\\b|\b \bdone", "done"),
    ("x" * 9_000 + "\b" * 9_000 + "y", "y" + "x" * 8_999),
    ("x\r" * 50_000, "x"),
    ("a long progress line\r\x1b[Kdone\n", "done\n"),
    ("...0.0/1.2 MB ? eta\r\x1b[2K   1.2/1.2 MB\n", "   1.2/1.2 MB\n"),
    ("half gone\x1b[5D\x1b[K", "half"),
    ("begin end\x1b[4D\x1b[1Kx", "     xend"),
    ("a\x1b[3Cb", "a   b"),
    ("abc\x1b[1GX", "Xbc"),
    ("one\ntwo\nthree\x1b[2A\rX\x1b[2BY", "Xne\ntwo\ntYree"),
    ("one\ntwo\n\x1b[2Fnew\x1b[K\n", "new\ntwo\n"),
    (
        "Working... 1/2\nbar\x1b[1A\r\x1b[2KWorking... 2/2\n\r\x1b[2Kdone\n",
        "Working... 2/2\ndone\n",
    ),
    ("one\ntwo\x1b[1A\r\x1b[Jnew", "new"),
    ("shown before\n\x1b[H\x1b[2Jafter", "after"),
    ("a\x1b[sbc\x1b[uX", "aXc"),
    ("a\x1b[9999999999Db\x1b[99A\x1b[99B", "b"),
    ("\x1b]0;a title\x07text \x1b]8;;http://a.b\x1b\\link\x1b]8;;\x1b\\", "text link"),
    ("\x1b[?25lhidden cursor\x1b[?25h\x1b(B\x07\x00", "hidden cursor"),
    ("a\tb", "a\tb"),
]

COLOURED = [
    (f"{GREEN}green text{OFF}\rab\n", f"ab{GREEN}een text{OFF}\n"),
    (f"{GREEN}a\nb{OFF}c", f"{GREEN}a{OFF}\n{GREEN}b{OFF}c"),
    ("\x1b[1m\x1b[31ma\x1b[22mb\x1b[39mc", "\x1b[1;31ma\x1b[0m\x1b[31mb\x1b[0mc"),
    (
        "\x1b[38;5;208ma\x1b[48;2;1;2;3mb\x1b[mc",
        "\x1b[38;5;208ma\x1b[0m\x1b[38;5;208;48;2;1;2;3mb\x1b[0mc",
    ),
    ("\x1b[91;104ma\x1b[31;44mb", "\x1b[91;104ma\x1b[0m\x1b[31;44mb\x1b[0m"),
    (f"{GREEN}0%{OFF}\r\x1b[K{GREEN}9%{OFF}", f"{GREEN}9%{OFF}"),
    ("\x1b[38;5ma\x1b[38mb\x1b[1000mc", "abc"),
]


@pytest.mark.parametrize(("written", "seen"), WRITTEN + COLOURED)
def test_what_is_written_is_seen_as_on_a_terminal(written: str, seen: str) -> None:
    terminal = Terminal()
    terminal.write(written)
    assert terminal.text() == seen


@pytest.mark.parametrize(("written", "seen"), WRITTEN + COLOURED)
def test_pieces_may_end_anywhere(written: str, seen: str) -> None:
    terminal = Terminal()
    for character in written:
        terminal.write(character)
    assert terminal.text() == seen


def test_lines_that_the_cursor_cannot_reach_are_settled_once() -> None:
    terminal = Terminal()
    terminal.write("".join(f"{number}\n" for number in range(150)))
    settled = terminal.settled()
    assert settled[:2] == ["0\n", "1\n"]
    assert terminal.settled() == []
    terminal.write("\x1b[999A\rX")
    assert "".join(settled) + terminal.text() == "".join(
        f"{'X' if number == len(settled) else ''}{str(number)[number == len(settled) :]}\n"
        for number in range(150)
    )


def test_a_very_long_line_is_not_broken() -> None:
    terminal = Terminal()
    terminal.write("x" * 25_000 + "\ny")
    assert terminal.text() == "x" * 25_000 + "\ny"


def test_a_sequence_that_never_ends_takes_nothing_with_it() -> None:
    terminal = Terminal()
    terminal.write("\x1b]" + "0" * 5_000)
    terminal.write(" and more")
    assert terminal.text() == "]" + "0" * 5_000 + " and more"


MOVES = [
    f"\x1b[{move}" for move in ("A", "2A", "B", "3C", "2D", "H", "K", "1K", "2K", "J", "1J", "2J")
]
COLOURS = ["\x1b[31m", "\x1b[1m", "\x1b[48;5;9m", OFF]
pieces = st.lists(
    st.sampled_from([*"ab\n\r\b\x1b[K1", "bcd", "x\n" * 60, *MOVES, *COLOURS])
    | st.text(max_size=5),
    max_size=40,
)


@given(pieces)
def test_what_a_reader_is_handed_piece_by_piece_is_the_whole(written: list[str]) -> None:
    terminal, reader, shown = Terminal(), Terminal(), list[str]()
    for piece in written:
        terminal.write(piece)
        settled, lines = terminal.settled(), terminal.open_lines()
        reader.write(difference(shown, settled + lines))
        shown = lines
        assert reader.open_lines() == lines
    whole = Terminal()
    whole.write("".join(written))
    assert reader.text() == whole.text()


@given(pieces)
def test_sequences_are_whole_colours(written: list[str]) -> None:
    terminal = Terminal()
    for piece in written:
        terminal.write(piece)
    assert "\x1b" not in ANSI.sub("", terminal.text())
    for line in terminal.open_lines():
        assert line.count(OFF) * 2 == line.count("\x1b")


def test_the_end_of_a_string_is_looked_for_once_for_all_that_begin_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = 0

    class Counted:
        def search(self, *arguments: Any) -> re.Match[str] | None:
            nonlocal looked
            looked += 1
            return end.search(*arguments)

    end = terminal._END
    monkeypatch.setattr(terminal, "_END", Counted())
    shown = Terminal()
    shown.write("\x1b]" * 10_000 + "a\x07b")
    assert shown.text() == "]" * (10_000 - 2_048) + "b"
    assert looked == 1
