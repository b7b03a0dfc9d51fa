"""The outputs of a run become the outputs of a cell, however they come."""

from typing import Any

import nbformat
from caesarion.notebooks.run_outputs import RunOutputs
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook

Output = dict[str, Any]


def stream(text: str, name: str = "stdout") -> Output:
    return {"output_type": "stream", "name": name, "text": text}


def display(text: str, display_id: str = "") -> Output:
    shown: Output = {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}
    return {**shown, "transient": {"display_id": display_id}} if display_id else shown


def update(text: str, display_id: str) -> Output:
    return {**display(text, display_id), "output_type": "update_display_data"}


RESULT = {"output_type": "execute_result", "data": {"text/plain": "1"}, "execution_count": 1}
ERROR = {"output_type": "error", "ename": "E", "evalue": "", "traceback": []}
CLEAR = {"output_type": "clear_output", "wait": False}


def fed(*outputs: Output) -> RunOutputs:
    made = RunOutputs()
    for output in outputs:
        made.feed(output)
    return made


def test_pieces_of_a_stream_are_one_output_as_a_terminal_shows_it() -> None:
    made = fed(stream("10 %"), stream("\r20 %"), stream("\ndone\n"), stream("hm", "stderr"))
    assert made.outputs == [stream("20 %\ndone\n"), stream("hm", "stderr")]


def test_text_after_another_output_is_an_output_of_its_own() -> None:
    made = fed(stream("a\n"), display("b"), stream("c\n"))
    assert made.outputs == [stream("a\n"), display("b"), stream("c\n")]


def test_an_update_changes_each_display_of_its_id_and_no_other() -> None:
    made = fed(display("1", "x"), display("2"), display("3", "x"), update("4", "x"))
    assert made.outputs == [display("4"), display("2"), display("4")]
    made.feed(update("5", "of another run"))
    assert made.outputs == [display("4"), display("2"), display("4")]


def test_a_clearing_leaves_nothing() -> None:
    made = fed(stream("a\n"), display("b", "x"), CLEAR, update("c", "x"))
    assert made.outputs == []
    made.feed(stream("new\n"))
    assert made.outputs == [stream("new\n")]


def test_what_was_not_changed_is_taken_once() -> None:
    made = fed(display("a", "x"))
    assert made.take() == ([display("a")], True)
    assert made.take() == ([], True)
    made.feed(stream("b"))
    assert made.take() == ([stream("b")], True)
    made.feed(stream("c"))
    assert made.take() == ([display("a"), stream("bc")], False)
    made.feed(update("d", "x"))
    assert made.take() == ([display("d"), stream("bc")], False)
    made.feed(CLEAR)
    assert made.take() == ([], False)


steps = st.sampled_from(
    [
        *(stream("a\n"), stream("b\rc"), stream("d", "stderr"), display("e"), display("f", "x")),
        *(update("g", "x"), RESULT, ERROR, CLEAR),
    ]
)


@given(st.lists(st.one_of(steps, st.none()), max_size=30))
def test_a_page_that_takes_what_is_new_shows_what_the_file_gets(sequence: list[Any]) -> None:
    made, page = RunOutputs(), list[Output]()
    for step in [*sequence, None]:
        if step:
            made.feed(step)
        else:
            new, appends = made.take()
            page = [*page, *new] if appends else new
    assert page == made.outputs
    cell = new_code_cell("1", id="one", outputs=[nbformat.from_dict(one) for one in page])
    nbformat.validate(new_notebook(cells=[cell]))
