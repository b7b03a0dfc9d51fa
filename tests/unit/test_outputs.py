"""Outputs are capped as they come, and what the model is told is a digest of them."""

from typing import Any

import nbformat
import pytest
from caesarion.kernels.outputs import OutputBuffer
from caesarion.kernels.terminal import ANSI, Terminal
from hypothesis import given
from hypothesis import strategies as st


def buffer(**limits: int) -> OutputBuffer:
    return OutputBuffer(**{"shown_text": 1000, "max_media": 500, "max_outputs": 3, **limits})


def message(kind: str, **content: Any) -> dict[str, Any]:
    return {"msg_type": kind, "header": {"msg_type": kind}, "content": content, "metadata": {}}


def stream(text: str, name: str = "stdout") -> dict[str, Any]:
    return message("stream", name=name, text=text)


def display(data: dict[str, Any], **content: Any) -> dict[str, Any]:
    return message("display_data", data=data, metadata={}, **content)


def texts(outputs: list[dict[str, Any]]) -> str:
    """Return what a terminal shows of streams."""
    terminal = Terminal()
    for output in outputs:
        terminal.write(output["text"])
    return terminal.text()


def test_pieces_of_one_stream_that_wait_are_handed_out_as_one() -> None:
    recording = buffer()
    recording.feed(stream("a"))
    recording.feed(stream("b"))
    recording.feed(stream("c", "stderr"))
    assert recording.take() == [
        {"output_type": "stream", "name": "stdout", "text": "ab"},
        {"output_type": "stream", "name": "stderr", "text": "c"},
    ]
    assert recording.take() == []


def test_of_too_much_text_head_and_tail_are_shown() -> None:
    recording = buffer()
    for number in range(1000):
        recording.feed(stream(f"{number}\n"))
    shown = texts(recording.take() + recording.finish())
    assert shown.startswith("0\n1\n2\n")
    assert shown.endswith("998\n999\n")
    assert "[... 2,890 characters left out ...]" in shown


@given(st.lists(st.text(max_size=3000), max_size=30), st.integers(10, 2000))
def test_however_it_is_cut_up_what_is_shown_keeps_to_its_limit(
    pieces: list[str], limit: int
) -> None:
    recording = buffer(shown_text=limit)
    outputs = []
    for piece in pieces:
        recording.feed(stream(piece))
        outputs += recording.take()
    shown = texts(outputs + recording.finish())
    whole = texts([stream(piece)["content"] for piece in pieces])
    if len(whole) <= limit // 2:
        assert shown == whole
    else:
        assert len(shown) <= limit + len(f"\n[... {len(whole):,} characters left out ...]\n")


def test_an_image_is_shown_and_the_model_told_that_it_was() -> None:
    recording = buffer()
    recording.feed(display({"image/png": "aGk=", "text/plain": "<Figure>"}))
    [output] = recording.take()
    assert output["data"]["image/png"] == "aGk="
    assert recording.digest(100) == "[image/png, shown to the user]"


def test_an_image_that_is_too_large_is_left_out_and_said_so() -> None:
    recording = buffer()
    recording.feed(display({"image/png": "x" * 501}))
    [output] = recording.take()
    assert output["data"] == {
        "text/plain": "[image/png of 501 characters left out: the limit is 500]"
    }


def test_of_too_many_outputs_the_rest_is_counted() -> None:
    recording = buffer()
    for number in range(10):
        recording.feed(display({"text/plain": str(number)}))
    shown = recording.finish()
    assert len(shown) == 4
    assert shown[-1]["text"] == "[7 more outputs were left out]\n"


def test_clearing_forgets_what_was_shown_before() -> None:
    recording = buffer()
    recording.feed(stream("x" * 5000))
    recording.feed(message("clear_output", wait=True))
    recording.feed(stream("fresh"))
    assert recording.take() == [
        {"output_type": "clear_output", "wait": True},
        {"output_type": "stream", "name": "stdout", "text": "fresh"},
    ]
    assert recording.digest(100) == "fresh"


def test_of_updates_that_wait_only_the_last_is_handed_out() -> None:
    recording = buffer()
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
    recording = buffer()
    recording.feed(
        message("error", ename="E", evalue="bad", traceback=["\x1b[31mE\x1b[0m: bad", "line 2"])
    )
    [output] = recording.take()
    assert output["traceback"][0] == "\x1b[31mE\x1b[0m: bad"
    assert recording.digest(100) == "E: bad\nline 2"


def test_an_error_without_a_traceback_is_told_by_its_name() -> None:
    recording = buffer()
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
    recording = buffer()
    recording.feed(display(data, transient={}))
    [output] = recording.take()
    assert set(output) == {"output_type", "data", "metadata"}
    nbformat.validate(output, ref="display_data", version=4)


def test_a_displays_id_is_kept_for_its_updates() -> None:
    recording = buffer()
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
    recording = buffer(max_outputs=2)
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
    recording = buffer()
    recording.feed(stream("10%\r50%\r100%\ndone\n"))
    assert recording.digest(100) == "100%\ndone"


def test_the_digest_keeps_the_spaces_before_a_tables_first_line() -> None:
    recording = buffer()
    recording.feed(display({"text/plain": "   a\n0  1"}))
    assert recording.digest(100) == "   a\n0  1"


@pytest.mark.parametrize(
    ("written", "told", "shown"),
    [
        (["a long progress line\r\x1b[Kdone\n"], "done", "done\n"),
        (["...0.0/1.2 MB ? eta\r\x1b[2", "K   1.2/1.2 MB\n"], "   1.2/1.2 MB", "   1.2/1.2 MB\n"),
        (["\x1b[32mgreen text\x1b[0m\rab\n"], "abeen text", "ab\x1b[32meen text\x1b[0m\n"),
        (["\x1b[3", "1mred\x1b[", "0m\n"], "red", "\x1b[31mred\x1b[0m\n"),
        (["10%", "\r20%", "\r100", "%\ndone"], "100%\ndone", "100%\ndone"),
    ],
)
def test_what_is_shown_and_what_is_told_is_what_a_terminal_shows(
    written: list[str], told: str, shown: str
) -> None:
    at_once, piecemeal, outputs = buffer(), buffer(), list[dict[str, Any]]()
    for piece in written:
        at_once.feed(stream(piece))
        piecemeal.feed(stream(piece))
        outputs += piecemeal.take()
    assert at_once.take() == [stream(shown)["content"] | {"output_type": "stream"}]
    assert texts(outputs + piecemeal.finish()) == shown
    assert at_once.digest(100) == piecemeal.digest(100) == told


def test_a_progress_bar_takes_no_more_room_than_its_last_state() -> None:
    recording, outputs = buffer(), list[dict[str, Any]]()
    for number in range(10_000):
        recording.feed(stream(f"\r{number:5d} of 10,000", "stderr"))
        outputs += recording.take()
    recording.feed(stream("\ndone\n", "stderr"))
    outputs += recording.take() + recording.finish()
    assert texts(outputs) == " 9999 of 10,000\ndone\n"
    assert recording.digest(100) == " 9999 of 10,000\ndone"


def test_two_streams_are_shown_in_the_order_in_which_they_wrote() -> None:
    recording = buffer()
    for name, text in (("stderr", "1%"), ("stdout", "between\n"), ("stderr", "\r2%")):
        recording.feed(stream(text, name))
    assert [(output["name"], output["text"]) for output in recording.take()] == [
        ("stderr", "1%"),
        ("stdout", "between\n"),
        ("stderr", "2%"),
    ]


def test_colours_of_text_that_is_cut_are_not_in_pieces() -> None:
    for limit in range(10, 80):
        recording = buffer(shown_text=limit)
        for _ in range(20):
            recording.feed(stream("\x1b[31mred\x1b[0m and \x1b[1mbold\x1b[0m\n"))
        recording.feed(message("error", ename="E", evalue="x", traceback=["\x1b[31mE\x1b[0m"] * 20))
        *streams, error = recording.take()
        for text in [*(o["text"] for o in streams + recording.finish()), *error["traceback"]]:
            assert "\x1b" not in ANSI.sub("", text)


def test_the_model_is_told_the_last_state_of_a_display() -> None:
    recording = buffer()
    bar = {"transient": {"display_id": "bar"}}
    recording.feed(display({"text/plain": "0%"}, **bar))
    recording.feed(stream("working\n"))
    for percent in range(101):
        recording.feed(message("update_display_data", data={"text/plain": f"{percent}%"}, **bar))
    assert recording.digest(100) == "100%\nworking"


def test_the_model_is_told_of_an_update_to_a_display_of_another_run() -> None:
    recording = buffer()
    for percent in (1, 50):
        recording.feed(
            message(
                "update_display_data",
                data={"text/plain": f"{percent}%"},
                transient={"display_id": "before"},
            )
        )
    assert recording.digest(100) == "50%"


def test_what_waits_to_be_cleared_stays_until_something_takes_its_place() -> None:
    recording = buffer()
    recording.feed(stream("last\n"))
    recording.feed(message("clear_output", wait=True))
    assert [output["output_type"] for output in recording.take()] == ["stream"]
    assert recording.digest(100) == "last"
    recording.feed(display({"text/plain": "next"}))
    cleared, shown = recording.take()
    assert cleared == {"output_type": "clear_output", "wait": True}
    assert shown["data"] == {"text/plain": "next"}
    assert recording.digest(100) == "next"


def test_what_is_cleared_at_once_is_gone() -> None:
    recording = buffer()
    recording.feed(stream("gone\n"))
    recording.feed(message("clear_output", wait=False))
    assert recording.take() == [{"output_type": "clear_output", "wait": False}]
    assert recording.digest(100) == ""


def test_what_comes_after_the_end_goes_on_where_the_text_stood() -> None:
    recording = buffer()
    recording.feed(stream("10%"))
    outputs = recording.finish()
    recording.feed(stream("\r20%\n"))
    assert texts(outputs + recording.take()) == "20%\n"


def test_what_comes_after_the_end_keeps_to_the_limit() -> None:
    recording = buffer()
    recording.feed(stream("x" * 2_000))
    recording.finish()
    recording.feed(stream("late"))
    assert recording.take() == []
