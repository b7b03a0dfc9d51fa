"""Text is made fit to keep and to send."""

import pytest
from caesarion.text import clip, without_surrogates
from hypothesis import given
from hypothesis import strategies as st


def test_a_clipped_text_says_how_much_is_missing() -> None:
    assert clip("a" * 10, 4) == "aa\n[... 6 characters left out ...]\naa"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("plain", "plain"),
        ("\ud83d\ude00", "😀"),
        ("a\ud83d", "a\ufffd"),
        ("\ude00b", "\ufffdb"),
        ("\ud83d\x1b[31m", "\ufffd\x1b[31m"),
    ],
)
def test_halves_of_characters_are_joined_or_replaced(text: str, clean: str) -> None:
    assert without_surrogates(text) == clean


@given(st.text(st.characters(exclude_categories=())))
def test_text_without_surrogates_can_be_encoded(text: str) -> None:
    without_surrogates(text).encode()


@given(st.text())
def test_text_that_can_be_encoded_stays_as_it_is(text: str) -> None:
    assert without_surrogates(text) == text
