"""What the model is told of code that failed: its error, its variables, and what is wanted."""

from typing import Any

import pytest
from caesarion.chat import context
from caesarion.chat.cell_errors import FailedCall
from caesarion.chat.code_names import names_in, similar_names, undefined_name
from caesarion.notebooks.cells import source_hash
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_sent_along import NOWHERE

CELL = {"id": "a1b2", "number": 3, "source": "print(hour)"}
ERROR = {"name": "NameError", "text": "\x1b[31mNameError\x1b[0m: name 'hour' is not defined"}


async def told(call: FailedCall | None = None, **stamp: Any) -> str:
    return await context.describe(context.read_stamp(stamp), NOWHERE, call)


async def test_fix_asks_for_a_change_of_the_cell_that_failed() -> None:
    hash = source_hash("print(hour)")
    assert await told(cell=CELL, error=ERROR, intent="fix") == (
        f"{context.MARK}\n"
        f"The user has selected cell number 3, id a1b2, hash {hash} of the notebook:\n"
        "| print(hour)\n"
        "Its error:\n"
        "| NameError: name 'hour' is not defined\n"
        f"The user pressed Fix at this cell. Correct it with edit_cell (cell_id a1b2, base_hash "
        f"{hash}), not with another code block; when the change is made, run it with run_cell."
    )


async def test_a_cell_that_was_cut_is_to_be_read_before_it_is_fixed() -> None:
    said = await told(cell=CELL | {"cut": True}, error=ERROR, intent="fix")
    assert "hash" not in said
    assert "edit_cell (cell_id a1b2; read it first)" in said


@pytest.mark.parametrize(
    ("intent", "sentence"),
    [
        ("explain", "The user pressed Explain at this cell: say in a few sentences what"),
        ("ask", "The user asks about this cell and its error."),
    ],
)
async def test_explain_and_ask_change_nothing(intent: str, sentence: str) -> None:
    said = await told(cell=CELL, error=ERROR, intent=intent)
    assert sentence in said
    assert "edit_cell" not in said


async def test_a_call_that_failed_is_told_instead_of_the_selected_cell() -> None:
    call = FailedCall("1 / 0", "ZeroDivisionError: division by zero")
    assert await told(call, cell=CELL, intent="fix") == (
        f"{context.MARK}\n"
        "This code, which you ran in this chat, failed:\n| 1 / 0\n"
        "Its error:\n| ZeroDivisionError: division by zero\n"
        "The user pressed Fix at this code. It is no cell of a notebook: run a corrected version "
        "of it."
    )


@given(st.text(max_size=20_000), st.text(max_size=300))
async def test_an_error_is_bounded_and_no_line_of_it_stands_unquoted(text: str, name: str) -> None:
    said = await told(cell=CELL, error={"name": name, "text": text})
    lines = said.split("\n")
    assert len(said) < 2 * 9_000 + 3 * len(lines)
    ours = [line for line in lines if not line.startswith("|")]
    assert ours[2:] == (["Its error:"] if text.strip() else [])


def test_the_names_in_code_come_in_their_order_without_pythons_own() -> None:
    code = "%matplotlib inline\nfor day in rain:\n    print(len(day) + rain.sum(), f'{wind}')"
    assert names_in(code) == ["day", "rain", "wind"]
    assert names_in("if x:\n    !ls\n    y = x") == ["x", "y"]


def test_code_that_cannot_be_parsed_is_searched_for_words() -> None:
    assert names_in("total = rain.sum(\nfor day in rain") == ["total", "rain", "day"]


def test_a_misspelt_name_is_found_among_the_variables() -> None:
    name = undefined_name("NameError: name 'hour' is not defined. Did you mean: 'hours'?")
    assert (name, undefined_name("ValueError: no")) == ("hour", "")
    assert similar_names(name, ["rain", "house", "hours"]) == ["hours"]
    assert similar_names("x", ["rain"]) == []
