"""A chat as a notebook: exact cells for what can be in a chat, and always a valid notebook."""

import json
from typing import Any

import nbformat
import pytest
from caesarion.notebooks.export import make_notebook, notebook_path, read_messages
from hypothesis import given
from hypothesis import strategies as st

PERSONA = "jupyter-ai-personas::caesarion::CaesarionPersona"
SPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}
OUTPUT = "application/vnd.caesarion.output+json"

Json = dict[str, Any]


def chat(*messages: Json) -> Json:
    """Return the content of a chat with ``messages``; they are numbered as they come."""
    numbered = [
        {"id": f"m{number}", "time": number, "type": "msg", "body": "", **message}
        for number, message in enumerate(messages)
    ]
    return {
        "messages": numbered,
        "users": {
            "ada": {"username": "ada", "name": "ada", "display_name": "Ada"},
            PERSONA: {"username": PERSONA, "name": "Caesarion", "display_name": "Caesarion"},
        },
        "attachments": {"f1": {"type": "file", "value": "data/rain.csv"}},
        "metadata": {"id": "c0ffee"},
    }


def asks(body: str, **more: Any) -> Json:
    return {"sender": "ada", "body": body, **more}


def ours(kind: str, body: str = "", question: str = "m0", **record: Any) -> Json:
    metadata = {"caesarion": {"kind": kind, "question": question, **record}}
    return {"sender": PERSONA, "body": body, "metadata": metadata}


def python(
    source: str,
    status: str | None = "ok",
    question: str = "m0",
    *,
    scratch: bool = False,
    **record: Any,
) -> Json:
    if status:
        record["status"] = status
    arguments = json.dumps({"code": source, **({"scratch": True} if scratch else {})})
    call = {"id": "c1", "name": "python_interpreter", "arguments": arguments}
    return ours("call", question=question, **call, **record)


def shows(data: Json, kind: str = "display_data", question: str = "m0", **mark: Any) -> Json:
    mark = {"call": "c1", "number": 0, "output_type": kind, **mark}
    return {**ours("output", question=question), "mime_model": {"data": {**data, OUTPUT: mark}}}


def cells(content: Json) -> list[Json]:
    """Return the cells of a chat's notebook, which is valid, without the title and ids."""
    notebook = make_notebook(content, "chats/Rain.chat", SPEC)
    nbformat.validate(notebook)
    made: list[Json] = json.loads(nbformat.writes(notebook))["cells"]
    for cell in made:
        del cell["id"]
        cell["source"] = "".join(cell["source"])
    title, *rest = made
    assert title["source"] == "# Rain\n\nFrom the chat `chats/Rain.chat`."
    return rest


def sources(content: Json) -> list[str]:
    return [cell["source"] for cell in cells(content)]


def made_of(message: str) -> Json:
    return {"caesarion": {"chat": "chats/Rain.chat", "message": message}}


def test_words_are_markdown_with_who_said_them_and_code_is_a_cell_with_its_outputs() -> None:
    plot = {"image/png": "iVBOR", "text/plain": "<Figure>"}
    content = chat(
        asks("plot it"),
        ours("text", "First, code."),
        python("print(1)\n2", execution_count=7),
        shows({"text/plain": "1\n"}, "stream"),
        shows({"application/vnd.jupyter.stderr": "careful\n"}, "stream"),
        shows(plot),
        shows({"text/plain": "2"}, "execute_result", execution_count=7),
        ours("text", "Here."),
        asks("thanks"),
    )
    assert cells(content) == [
        {"cell_type": "markdown", "metadata": made_of("m0"), "source": "**Ada**\n\nplot it"},
        {
            "cell_type": "markdown",
            "metadata": made_of("m1"),
            "source": "**Caesarion**\n\nFirst, code.",
        },
        {
            "cell_type": "code",
            "execution_count": 7,
            "metadata": made_of("m2"),
            "source": "print(1)\n2",
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["1\n"]},
                {"output_type": "stream", "name": "stderr", "text": ["careful\n"]},
                {
                    "output_type": "display_data",
                    "data": {"image/png": "iVBOR", "text/plain": ["<Figure>"]},
                    "metadata": {},
                },
                {
                    "output_type": "execute_result",
                    "data": {"text/plain": ["2"]},
                    "execution_count": 7,
                    "metadata": {},
                },
            ],
        },
        {"cell_type": "markdown", "metadata": made_of("m7"), "source": "Here."},
        {"cell_type": "markdown", "metadata": made_of("m8"), "source": "**Ada**\n\nthanks"},
    ]


def test_the_notebook_says_where_it_came_from_and_which_kernel_it_wants() -> None:
    notebook = make_notebook(chat(asks("hello")), "chats/Rain.chat", SPEC)
    assert notebook.metadata == {
        "kernelspec": SPEC,
        "language_info": {"name": "python"},
        "caesarion": {"chat": "chats/Rain.chat"},
    }


def test_a_question_of_the_agent_is_kept_with_its_answer() -> None:
    arguments = json.dumps({"question": "Which **one**?", "choices": ["a", "b"]})
    call = {"id": "c1", "name": "ask_user", "arguments": arguments, "status": "ok"}
    asked = ours("call", **call, answer={"text": "b", "is_choice": True})
    [_, cell] = cells(chat(asks("?"), asked))
    assert cell["source"] == "**Caesarion**\n\nWhich **one**?\n\n**Answer:** b"


def test_scratch_code_is_not_run_again_as_its_names_would_stay() -> None:
    for status in ("ok", "error"):
        [_, cell] = cells(chat(asks("?"), python("df = df.head()", status, scratch=True)))
        assert (cell["cell_type"], cell["source"]) == ("code", "df = df.head()")
        assert cell["metadata"]["tags"] == ["skip-execution"]


def test_code_that_failed_is_run_again_and_may_fail() -> None:
    trace = "\x1b[31m---\x1b[0m\nTraceback\n\x1b[31mZeroDivisionError\x1b[0m: division by zero"
    failed = cells(
        chat(
            asks("?"),
            python("1 / 0", "error", execution_count=1),
            shows({"application/vnd.jupyter.stderr": trace}, "error"),
        )
    )[1]
    assert failed["metadata"] == {"tags": ["raises-exception"], **made_of("m1")}
    assert failed["outputs"] == [
        {
            "output_type": "error",
            "ename": "ZeroDivisionError",
            "evalue": "division by zero",
            "traceback": trace.split("\n"),
        }
    ]


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("interrupted", "This was stopped, so it is not run again."),
        ("timeout", "This took too long and was stopped, so it is not run again."),
        ("dead", "The kernel died in this, so it is not run again."),
        ("waiting", "This waited for a decision when the notebook was made: it did not run."),
        ("refused", "This was refused: it did not run."),
        ("running", "This had not ended when the notebook was made, so it is not run again."),
        (None, "This had not ended when the notebook was made, so it is not run again."),
    ],
)
def test_code_that_did_not_end_is_kept_as_text(status: str | None, sentence: str) -> None:
    content = chat(
        asks("?"), python("while True: pass", status), shows({"text/plain": "began\n"}, "stream")
    )
    assert sources(content)[1] == (
        f"**Caesarion**\n\n```python\nwhile True: pass\n```\n\n*{sentence}*\n\n```\nbegan\n```"
    )


def test_another_tool_is_markdown_with_what_it_said() -> None:
    call = {"id": "c1", "name": "get_current_weather", "arguments": '{"place": "Rome"}'}
    card = {"application/vnd.caesarion.weather+json": {}, "text/markdown": "**Rome**: 20 °C"}
    content = chat(asks("?"), ours("call", **call, status="ok"), shows(card), ours("text", "Warm."))
    assert sources(content)[1:] == [
        "**Caesarion**\n\n`get_current_weather(place='Rome')`\n\n**Rome**: 20 °C",
        "Warm.",
    ]


def test_what_is_deleted_is_left_out_and_answers_stand_behind_their_questions() -> None:
    content = chat(
        asks("first"),
        asks("second"),
        asks("taken back", deleted=True),
        python("1", question="m2", deleted=True) | {"deleted": True},
        ours("text", "One."),
        ours("text", "Two.", question="m1"),
        {"sender": "hidden::jupyter_ai_system", "body": "Refreshed."},
    )
    assert sources(content) == [
        "**Ada**\n\nfirst",
        "**Caesarion**\n\nOne.",
        "**Ada**\n\nsecond",
        "**Caesarion**\n\nTwo.",
    ]


def test_attachments_are_named_and_cleared_outputs_are_gone() -> None:
    content = chat(
        asks("look", attachments=["f1"]), python("1"), shows({"text/plain": ""}, "stream")
    )
    asked, ran = cells(content)
    assert asked["source"] == "**Ada**\n\nlook\n\nAttached: `data/rain.csv`"
    assert ran["outputs"] == []


def test_what_would_run_a_command_of_the_lab_or_load_something_is_taken_out() -> None:
    evil = "<b data-commandlinker-command='x'>a</b>![c](http://example.org/d)<img src='//e/f'>"
    safe = '<b>a</b>[Picture: c](http://example.org/d)<a href="//e/f">Picture</a>'
    html = '<b>a</b>![c](http://example.org/d)<a href="//e/f">Picture</a>'
    content = chat(asks(evil), ours("text", evil), python("1"), shows({"text/html": evil}))
    content["users"]["ada"]["display_name"] = evil
    asked, said, ran = cells(content)
    assert (asked["source"], said["source"]) == (
        f"**{safe}**\n\n{safe}",
        f"**Caesarion**\n\n{safe}",
    )
    assert ran["outputs"][0]["data"] == {"text/html": [html]}


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        (["a/b.ipynb", "a/b.ipynb"], "a/b.ipynb"),
        (["a/b.ipynb", "a/c.ipynb"], ""),
        (["", "a/b.ipynb"], ""),
        ([], ""),
    ],
)
def test_a_notebook_that_ran_all_the_code_is_known(places: list[str], expected: str) -> None:
    assert notebook_path(chat(asks("?"), *(python("1", place=one) for one in places))) == expected


_texts = st.text(max_size=30)
_bundles = st.dictionaries(
    st.sampled_from(
        (
            *("text/plain", "text/html", "text/markdown", "image/png", "application/json"),
            *("application/vnd.x+json", "application/vnd.jupyter.stderr"),
            "application/vnd.caesarion.call+json",
        )
    ),
    st.one_of(_texts, st.integers(), st.none(), st.lists(_texts, max_size=2), st.just({"a": [1]})),
)
_statuses = st.sampled_from(["ok", "error", "interrupted", "running", "odd", None])
_messages = st.one_of(
    st.builds(asks, _texts, deleted=st.booleans(), attachments=st.just(["f1", "gone"])),
    st.builds(ours, st.sampled_from(["text", "notice", "output", "call", "odd"]), _texts),
    st.builds(python, _texts, _statuses, execution_count=st.sampled_from([1, None, "x"])),
    st.builds(
        shows,
        _bundles,
        st.sampled_from(["stream", "error", "execute_result", "display_data", "odd"]),
        execution_count=st.sampled_from([1, None]),
    ),
    st.just({"sender": PERSONA, "metadata": {"caesarion": None}}),
)


@given(st.lists(_messages, max_size=12))
def test_whatever_is_in_a_chat_its_notebook_is_valid(messages: list[Json]) -> None:
    content = chat(*messages)
    notebook = make_notebook(content, "chats/Rain.chat", SPEC)
    nbformat.validate(nbformat.reads(nbformat.writes(notebook), as_version=4))
    asked = [
        said.id for said in read_messages(content) if said.sender == "ada" and said.body.strip()
    ]
    kept = [cell.metadata["caesarion"]["message"] for cell in notebook.cells[1:]]
    assert [message for message in kept if message in asked] == asked
