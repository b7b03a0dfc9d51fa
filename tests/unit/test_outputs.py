"""Outputs are capped as they come, and what the model is told is a digest of them."""

from typing import Any

import nbformat
import pytest
from caesarion.kernels.outputs import Recorder, overwritten
from hypothesis import given
from hypothesis import strategies as st


def recorder(**limits: int) -> Recorder:
    return Recorder(**{"shown_text": 1000, "max_media": 500, "max_outputs": 3, **limits})


def message(kind: str, **content: Any) -> dict[str, Any]:
    return {"msg_type": kind, "header": {"msg_type": kind}, "content": content, "metadata": {}}


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return message("stream", name=name, text=text)


def display(data: dict[str, Any], **content: Any) -> dict[str, Any]:
    return message("display_data", data=data, metadata={}, **content)


def texts(outputs: list[dict[str, Any]]) -> str:
    return "".join(output["text"] for output in outputs)


def test_pieces_of_one_stream_that_wait_are_handed_out_as_one() -> None:
    recording = recorder()
    recording.feed(stream("a"))
    recording.feed(stream("b"))
    recording.feed(stream("c", "stderr"))
    assert recording.take() == [
        {"output_type": "stream", "name": "stdout", "text": "ab"},
        {"output_type": "stream", "name": "stderr", "text": "c"},
    ]
    assert recording.take() == []


def test_of_too_much_text_head_and_tail_are_shown() -> None:
    recording = recorder()
    for number in range(1000):
        recording.feed(stream(f"{number}\n"))
    shown = texts(recording.take()) + texts(recording.finish())
    assert shown.startswith("0\n1\n2\n")
    assert shown.endswith("998\n999\n")
    assert "[... 2,890 characters left out ...]" in shown


@given(st.lists(st.text(max_size=3000), max_size=30), st.integers(10, 2000))
def test_however_it_is_cut_up_what_is_shown_keeps_to_its_limit(
    pieces: list[str], limit: int
) -> None:
    recording = recorder(shown_text=limit)
    shown = ""
    for piece in pieces:
        recording.feed(stream(piece))
        shown += texts(recording.take())
    shown += texts(recording.finish())
    whole = "".join(pieces)
    if len(whole) <= limit:
        assert shown == whole
    else:
        assert len(shown) <= limit + len(f"\n[... {len(whole):,} characters left out ...]\n")


def test_an_image_is_shown_and_the_model_told_that_it_was() -> None:
    recording = recorder()
    recording.feed(display({"image/png": "aGk=", "text/plain": "<Figure>"}))
    [output] = recording.take()
    assert output["data"]["image/png"] == "aGk="
    assert recording.digest(100) == "[image/png, shown to the user]"


def test_an_image_that_is_too_large_is_left_out_and_said_so() -> None:
    recording = recorder()
    recording.feed(display({"image/png": "x" * 501}))
    [output] = recording.take()
    assert output["data"] == {
        "text/plain": "[image/png of 501 characters left out: the limit is 500]"
    }


def test_of_too_many_outputs_the_rest_is_counted() -> None:
    recording = recorder()
    for number in range(10):
        recording.feed(display({"text/plain": str(number)}))
    shown = recording.finish()
    assert len(shown) == 4
    assert shown[-1]["text"] == "[7 more outputs were left out]\n"


def test_clearing_forgets_what_was_shown_before() -> None:
    recording = recorder()
    recording.feed(stream("x" * 5000))
    recording.feed(message("clear_output", wait=True))
    recording.feed(stream("fresh"))
    assert recording.take() == [
        {"output_type": "clear_output", "wait": True},
        {"output_type": "stream", "name": "stdout", "text": "fresh"},
    ]
    assert recording.digest(100) == "fresh"


def test_of_updates_that_wait_only_the_last_is_handed_out() -> None:
    recording = recorder()
    for number in range(1000):
        recording.feed(
            message(
                "update_display_data",
                data={"text/plain": str(number)},
                metadata={},
                transient={"display_id": "bar"},
            )
        )
    [update] = recording.take()
    assert update["output_type"] == "update_display_data"
    assert update["data"] == {"text/plain": "999"}


def test_a_traceback_is_shown_in_colour_and_told_in_plain_text() -> None:
    recording = recorder()
    recording.feed(
        message("error", ename="E", evalue="bad", traceback=["\x1b[31mE\x1b[0m: bad", "line 2"])
    )
    [output] = recording.take()
    assert output["traceback"][0] == "\x1b[31mE\x1b[0m: bad"
    assert recording.digest(100) == "E: bad\nline 2"


def test_an_error_without_a_traceback_is_told_by_its_name() -> None:
    recording = recorder()
    recording.feed(message("error", ename="SystemExit", evalue="3", traceback=[]))
    assert recording.digest(100) == "SystemExit: 3"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
)
mimes = st.sampled_from(
    ["text/plain", "text/html", "image/png", "application/json", "a/b+json", ""]
)


@given(st.dictionaries(mimes, json_values))
def test_whatever_code_shows_is_a_valid_output(data: dict[str, Any]) -> None:
    recording = recorder()
    recording.feed(display(data, transient={}))
    [output] = recording.take()
    assert set(output) == {"output_type", "data", "metadata"}
    nbformat.validate(output, ref="display_data", version=4)


def test_a_displays_id_is_kept_for_its_updates() -> None:
    recording = recorder()
    recording.feed(display({"text/plain": "1"}, transient={"display_id": "bar"}))
    assert recording.take() == [
        {
            "output_type": "display_data",
            "data": {"text/plain": "1"},
            "metadata": {},
            "transient": {"display_id": "bar"},
        }
    ]


def test_of_updates_to_too_many_displays_the_rest_is_counted() -> None:
    recording = recorder(max_outputs=2)
    for number in range(5):
        content = {"data": {}, "metadata": {}, "transient": {"display_id": str(number)}}
        recording.feed(message("update_display_data", **content))
    shown = recording.finish()
    assert [output.get("transient") for output in shown[:2]] == [
        {"display_id": "0"},
        {"display_id": "1"},
    ]
    assert shown[2]["text"] == "[3 more outputs were left out]\n"


def test_the_digest_shows_progress_as_a_terminal_does() -> None:
    recording = recorder()
    recording.feed(stream("10%\r50%\r100%\ndone\n"))
    assert recording.digest(100) == "100%\ndone"


def test_the_digest_keeps_the_spaces_before_a_tables_first_line() -> None:
    recording = recorder()
    recording.feed(display({"text/plain": "   a\n0  1"}))
    assert recording.digest(100) == "   a\n0  1"


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("10%\r20%\r100%", "100%"),
        ("abc\rX", "Xbc"),
        ("a\r\nb", "a\nb"),
        ("ab\bc", "ac"),
        ("plain", "plain"),
        ("\bab\b\b\bc", "c"),
        ("a\n\bb", "a\nb"),
        ("x" * 50_000 + "\b" * 50_000, ""),
        ("x\r" * 50_000, "x"),
    ],
)
def test_carriage_returns_and_backspaces_overwrite(written: str, seen: str) -> None:
    assert overwritten(written) == seen
