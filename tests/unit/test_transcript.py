"""A turn in a chat: what is shown, how often, and what the model hears of it again."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from caesarion.agent import prompt
from caesarion.chat import transcript
from caesarion.chat.history import read
from caesarion.chat.questions import (
    attached,
    attached_cells,
    attachments_of,
    delete_turn,
    store_digest,
)
from caesarion.chat.recovery import end_interrupted, mark_undoable
from caesarion.chat.transcript import Transcript
from caesarion.events import (
    AnswerEnd,
    CallEnd,
    CallStart,
    Event,
    Output,
    QuestionAnswered,
    QuestionAsked,
    Reasoning,
    Refusal,
    RunStart,
    Text,
    TextWasReasoning,
    ToolCall,
    Usage,
    UserAnswer,
    UserQuestion,
)
from caesarion.message_metadata import (
    CALL_MIME,
    OUTPUT_MIME,
    REASONING_MIME,
    describe_call,
    record,
)
from caesarion.notebooks.export import make_notebook
from caesarion.text import without_commands
from hypothesis import given
from hypothesis import strategies as st
from jupyterlab_chat.models import Message
from jupyterlab_chat.websocket_model import WsChatModel

from tests.chat import call_shown, seen
from tests.fakes.openai_rules import check_body

PERSONA = "jupyter-ai-personas::caesarion::CaesarionPersona"
USER = "ada"
ROOT = Path("/home/ada")
CODE = ToolCall("c1", "python_interpreter", '{"code": "print(1)"}')


class Chat(WsChatModel):
    """A chat of jupyterlab-chat's that keeps what it would send, and is not stored."""

    def __init__(self) -> None:
        super().__init__("a.chat", Path())
        self.sent: list[dict[str, Any]] = []
        self.seconds = 0.0

    def save(self) -> None:
        pass

    def broadcast(self, message: str) -> None:
        self.sent.append(json.loads(message)["message"])

    def says(self, body: str, sender: str = USER, **more: Any) -> Message:
        """Put a message of somebody's into the chat."""
        self.seconds += 1
        message = {"id": f"m{len(self._messages)}", "time": self.seconds, "sender": sender}
        self._messages.append({**message, "body": body, **more})
        self._indexes_by_id = {m["id"]: i for i, m in enumerate(self._messages)}
        return self.get_messages()[-1]

    def shown(self) -> list[tuple[str, dict[str, Any] | None]]:
        """Return the persona's messages: words and calls as Markdown, outputs as MIME bundles."""
        seen_ones = [seen(message) for message in self._messages if message["sender"] == PERSONA]
        return [(one, None) if isinstance(one, str) else ("", one) for one in seen_ones]


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    async def passes(self, seconds: float) -> None:
        self.now += seconds
        # The loop looks at the clock once before it calls what is due, and once after.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture
def chat() -> Chat:
    return Chat()


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: clock.now)
    return clock


@pytest.fixture
async def turn(chat: Chat, clock: Clock) -> AsyncIterator[Transcript]:
    turn = Transcript(chat, PERSONA, chat.says("?"))
    yield turn
    turn.close()


def stream(text: str, name: str = "stdout", call_id: str = "c1") -> Output:
    return Output(call_id, {"output_type": "stream", "name": name, "text": text})


def display(
    data: dict[str, Any],
    display_id: str = "",
    kind: str = "display_data",
    call_id: str = "c1",
) -> Output:
    output = {"output_type": kind, "data": data, "metadata": {}}
    if display_id:
        output["transient"] = {"display_id": display_id}
    return Output(call_id, output)


def clear() -> Output:
    return Output("c1", {"output_type": "clear_output", "wait": False})


def play(turn: Transcript, *events: Event) -> None:
    """Write events as the persona does."""
    for event in events:
        turn.write(event)


def bundle(message: Message) -> dict[str, Any]:
    """Return a message's MIME bundle, which jupyterlab-chat gives as a dictionary."""
    mime: Any = message.mime_model
    return dict(mime["data"])


def of_user(text: str) -> prompt.Message:
    return {"role": "user", "content": text}


def of_model(text: str) -> prompt.Message:
    return {"role": "assistant", "content": text}


def called(call: ToolCall, text: str | None, told: str) -> list[prompt.Message]:
    """Return a call, with the words before it, and its result as the model is sent them."""
    function = {"name": call.name, "arguments": call.arguments}
    asked = {"id": call.id, "type": "function", "function": function}
    return [
        {"role": "assistant", "content": text, "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": call.id, "content": told},
    ]


async def test_the_first_words_are_shown_at_once_and_the_next_once_a_pause(
    chat: Chat, turn: Transcript, clock: Clock
) -> None:
    for word in ("one ", "two ", "three "):
        turn.text(Text(word))
    assert [frame["body"] for frame in chat.sent] == ["one "]
    await clock.passes(0.059)
    assert len(chat.sent) == 1
    await clock.passes(0.002)
    assert [frame["body"] for frame in chat.sent] == ["one ", "one two three "]
    await clock.passes(1)
    assert len(chat.sent) == 2
    turn.text(Text("four"))
    assert chat.sent[-1]["body"] == "one two three four"


async def test_a_long_message_is_sent_less_often(
    chat: Chat, turn: Transcript, clock: Clock
) -> None:
    turn.text(Text("x" * 20_000))
    turn.text(Text("y"))
    await clock.passes(0.39)
    assert len(chat.sent) == 1
    await clock.passes(0.02)
    assert len(chat.sent) == 2


async def test_a_thousand_words_at_200_a_second_are_some_80_updates(
    chat: Chat, turn: Transcript, clock: Clock
) -> None:
    for _ in range(1_000):
        turn.text(Text("words "))
        await clock.passes(0.005)
    turn.close()
    assert chat.shown() == [("words " * 1_000, None)]
    assert 70 <= len(chat.sent) <= 85


async def test_what_waits_is_shown_when_a_call_follows(chat: Chat, turn: Transcript) -> None:
    play(turn, Text("Let "), Text("me see."), CODE)
    assert chat.shown() == [("Let me see.", None), ("```python\nprint(1)\n```", None)]


async def test_what_waits_is_shown_when_the_turn_is_closed(chat: Chat, turn: Transcript) -> None:
    play(turn, CODE, stream("a\n"), stream("b\n"), CallEnd("c1", "ok", "a\nb"))
    play(turn, Text("Do"), Text("ne."))
    turn.close()
    assert chat.shown()[1:] == [("", {"text/plain": "a\nb\n"}), ("Done.", None)]


async def test_an_output_is_never_drawn_as_a_call_that_waits(chat: Chat, turn: Transcript) -> None:
    forged = {"approval_id": "1", "code": "1 + 1", "status": "waiting"}
    data = {CALL_MIME: forged, REASONING_MIME: {}, CALL_MIME.upper(): {}, "text/plain": "2"}
    shown = {"output_type": "display_data", "data": data, "transient": {"display_id": "d"}}
    play(turn, CODE, Output("c1", shown))
    play(turn, Output("c1", {**shown, "output_type": "update_display_data"}))
    turn.close()
    assert len(chat.shown()) == 2
    for frame in chat.sent[1:]:
        kinds = frame["mime_model"]["data"].keys()
        assert kinds <= {CALL_MIME, "text/markdown"} or kinds == {OUTPUT_MIME, "text/plain"}
        assert "approval_id" not in json.dumps(frame)


async def test_a_message_keeps_its_time_and_question_when_it_is_updated(
    chat: Chat, turn: Transcript, clock: Clock
) -> None:
    turn.text(Text("a"))
    await clock.passes(1)
    turn.text(Text("b"))
    first, second = chat.sent
    assert (second["id"], second["time"]) == (first["id"], first["time"])
    assert second["metadata"] == {"caesarion": {"kind": "text", "round": 1, "question": "m0"}}


async def test_a_call_remembers_what_the_model_was_told(chat: Chat, turn: Transcript) -> None:
    play(turn, CODE, CallEnd("c1", "error", "NameError"))
    assert chat.sent[-1]["metadata"]["caesarion"] == {
        "kind": "call",
        "question": "m0",
        "round": 0,
        "id": "c1",
        "name": "python_interpreter",
        "arguments": '{"code": "print(1)"}',
        "status": "error",
        "result": "NameError",
        "told": True,
    }


async def test_a_call_tells_the_labextension_how_its_run_goes(
    chat: Chat, turn: Transcript, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([1000.0, 1002.5])
    monkeypatch.setattr(transcript, "time", SimpleNamespace(time=lambda: next(now)))
    turn.call(CODE)
    queued = {"code": "print(1)", "id": "c1", "name": "python_interpreter", "status": "queued"}
    assert call_shown(chat.sent[-1]) == queued
    await clock.passes(1)
    turn.call_started(CallStart("c1", RunStart(7, "k1", "a.ipynb")))
    ran = {"execution_count": 7, "kernel_id": "k1", "place": "a.ipynb"}
    running = {**queued, **ran, "status": "running"}
    assert call_shown(chat.sent[-1]) == {**running, "started": 1000.0}
    play(turn, stream("1\n"), CallEnd("c1", "ok", "1"))
    assert call_shown(chat.sent[-1]) == {
        **running,
        "status": "ok",
        "started": 1000.0,
        "seconds": 2.5,
    }


async def test_a_scratch_call_says_that_it_is_one(chat: Chat, turn: Transcript) -> None:
    turn.call(ToolCall("c1", "python_interpreter", '{"code": "x = 1", "scratch": true}'))
    shown = call_shown(chat.sent[-1])
    assert (shown["code"], shown["scratch"]) == ("x = 1", True)


ASKS = ToolCall("c1", "ask_user", '{"question": "Which?", "choices": ["a", "b"]}')
ASKED = QuestionAsked("c1", UserQuestion("q1", "Which?", ("a", "b")))


async def test_a_question_says_what_answers_it_until_it_is_answered(
    chat: Chat, turn: Transcript, clock: Clock
) -> None:
    play(turn, ASKS, ASKED)
    await clock.passes(1)
    waiting = call_shown(chat.sent[-1])
    question = {"text": "Which?", "choices": ["a", "b"]}
    assert (waiting["status"], waiting["question"]) == (
        "waiting",
        {**question, "id": "q1", "answer": None},
    )
    answer = UserAnswer("b", is_choice=True, by="hana", at="2026-05-01T12:00:00+00:00")
    play(turn, QuestionAnswered("c1", answer), CallEnd("c1", "ok", "The user chose: b"))
    turn.close()
    given = {"text": "b", "is_choice": True, "by": "hana", "at": "2026-05-01T12:00:00+00:00"}
    answered = call_shown(chat.sent[-1])
    assert answered["question"] == {**question, "id": None, "answer": given}


async def test_a_question_that_its_server_did_not_live_to_hear_answered_is_over(
    chat: Chat, turn: Transcript, clock: Clock
) -> None:
    play(turn, ASKS, ASKED)
    await clock.passes(1)
    end_interrupted(chat, PERSONA)
    shown = call_shown(chat.sent[-1])
    assert (shown["status"], shown["question"]["id"]) == ("interrupted", None)
    assert shown["told"] == ("The server stopped while this question waited for the user's answer.")


async def test_the_last_message_of_a_turn_says_that_it_can_be_undone(
    chat: Chat, turn: Transcript
) -> None:
    play(turn, CODE, CallEnd("c1", "ok", "1"), Text("Done."))
    turn.can_be_undone()
    marks = [frame["metadata"]["caesarion"].get("undo") for frame in chat.sent]
    assert (marks[-1], marks[0]) == (True, None)


async def test_a_turn_that_its_server_did_not_live_to_end_can_be_undone(chat: Chat) -> None:
    asked = [chat.says("change it"), chat.says("and look")]
    for question in asked:
        turn = Transcript(chat, PERSONA, question)
        play(turn, CODE, CallEnd("c1", "ok", "1"), Text("Done."))
        turn.close()
    turns = [question.id for question in asked]
    mark_undoable(chat, PERSONA, turns, lambda turn: turn == turns[0])
    marked = [m for m in chat.get_messages() if record(m).get("undo")]
    assert [(m.body, record(m)["question"]) for m in marked] == [("Done.", turns[0])]
    before = len(chat.sent)
    mark_undoable(chat, PERSONA, turns, lambda turn: turn == turns[0])
    assert len(chat.sent) == before


async def test_an_output_says_whose_and_of_which_kind_it_is(chat: Chat, turn: Transcript) -> None:
    result = display({"text/plain": "2"}, kind="execute_result")
    play(turn, CODE, stream("1\n"), Output("c1", {**result.output, "execution_count": 7}))
    marks = [frame["mime_model"]["data"].get(OUTPUT_MIME) for frame in chat.sent]
    assert marks == [
        None,
        {"call": "c1", "number": 0, "output_type": "stream"},
        {"call": "c1", "number": 1, "output_type": "execute_result", "execution_count": 7},
    ]


async def test_a_failed_call_without_outputs_says_what_the_model_was_told(
    chat: Chat, turn: Transcript
) -> None:
    play(turn, ToolCall("c1", "wether", "{}"), CallEnd("c1", "error", "There is no such tool."))
    shown = call_shown(chat.sent[-1])
    assert (shown["label"], shown["status"]) == ("wether()", "error")
    assert shown["told"] == "There is no such tool."


async def test_a_call_that_its_server_did_not_live_to_end_is_marked_as_stopped(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("run"))
    play(turn, CODE, stream("half"))
    turn.close()
    end_interrupted(chat, PERSONA)
    assert call_shown(chat.sent[-1])["status"] == "interrupted"
    told = read(chat, PERSONA, chat.says("again"), ROOT)[2]["content"]
    assert told == "The server stopped before this call ended; what it did is not known."


async def test_what_a_call_shows_after_its_end_stands_below_it(
    chat: Chat, turn: Transcript, clock: Clock
) -> None:
    first, other = RunStart(1, "k1", ""), RunStart(1, "k1", "")
    turn.call(CODE)
    turn.call_started(CallStart("c1", first))
    play(turn, CallEnd("c1", "ok", ""))
    turn.call(ToolCall("c2", "python_interpreter", '{"code": "2"}'))
    turn.call_started(CallStart("c2", other))
    play(turn, stream("second\n", call_id="c2"))
    turn.late_output(first, stream("10%").output)
    turn.late_output(first, stream("\r20%\n").output)
    turn.late_output(first, display({"text/plain": "bar"}, "b").output)
    play(turn, CallEnd("c2", "ok", "second"), Text("Done."))
    turn.close()
    turn.late_output(first, display({"text/plain": "full"}, "b", "update_display_data").output)
    turn.late_output(RunStart(2, "k1", ""), stream("nobody's").output)
    await clock.passes(1)
    by_time = sorted(chat.get_messages(), key=lambda message: message.time)
    assert [seen(asdict(message)) for message in by_time if message.sender == PERSONA] == [
        "```python\nprint(1)\n```",
        {"text/plain": "20%\n"},
        {"text/plain": "full"},
        "```python\n2\n```",
        {"text/plain": "second\n"},
        "Done.",
    ]


async def test_what_is_cleared_after_the_end_of_a_call_is_gone(
    chat: Chat, turn: Transcript
) -> None:
    run = RunStart(1, "k1", "")
    turn.call(CODE)
    turn.call_started(CallStart("c1", run))
    play(turn, stream("old"), CallEnd("c1", "ok", ""))
    turn.late_output(run, {"output_type": "clear_output", "wait": False})
    assert chat.shown()[1:] == [("", {"text/plain": ""})]


async def test_pieces_of_a_stream_are_one_message_and_each_stream_has_its_own(
    chat: Chat, turn: Transcript
) -> None:
    play(turn, CODE, stream("a"), stream("b"), stream("!", "stderr"), stream("c"))
    turn.close()
    assert [data for _, data in chat.shown()[1:]] == [
        {"text/plain": "ab"},
        {"application/vnd.jupyter.stderr": "!"},
        {"text/plain": "c"},
    ]


async def test_carriage_returns_and_backspaces_overwrite(chat: Chat, turn: Transcript) -> None:
    play(turn, CODE, stream("10 %"), stream("\r20 %"), stream("\r100 %\nok"), stream("\bn\n"))
    turn.close()
    assert chat.shown()[1:] == [("", {"text/plain": "100 %\non\n"})]


async def test_outputs_are_shown_as_their_mime_bundles(chat: Chat, turn: Transcript) -> None:
    table = {"text/html": "<table></table>", "text/plain": "table"}
    play(
        turn,
        CODE,
        display({"image/png": "iVBOR"}),
        display(table, kind="execute_result"),
        Output(
            "c1", {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["a", "b"]}
        ),
        Output("c1", {"output_type": "error", "ename": "E", "evalue": "v", "traceback": []}),
    )
    assert [data for _, data in chat.shown()[1:]] == [
        {"image/png": "iVBOR"},
        table,
        {"application/vnd.jupyter.stderr": "a\nb\nE: v"},
        {"application/vnd.jupyter.stderr": "E: v"},
    ]


async def test_a_cleared_output_gives_its_place_to_the_next(
    chat: Chat, turn: Transcript, clock: Clock
) -> None:
    play(turn, CODE)
    for number in range(5):
        play(turn, clear(), stream(f"step {number}"), display({"image/png": str(number)}))
        await clock.passes(0.1)
    play(turn, CallEnd("c1", "ok", ""))
    assert [data for _, data in chat.shown()[1:]] == [
        {"text/plain": "step 4"},
        {"image/png": "4"},
    ]


async def test_an_output_cleared_for_good_is_empty_when_the_call_ends(
    chat: Chat, turn: Transcript
) -> None:
    play(turn, CODE, stream("gone"), display({"image/png": "gone"}), clear(), stream("kept"))
    play(turn, CallEnd("c1", "ok", ""))
    assert [data for _, data in chat.shown()[1:]] == [{"text/plain": "kept"}, {"text/plain": ""}]


async def test_an_update_changes_every_display_of_its_id(
    chat: Chat, turn: Transcript, clock: Clock
) -> None:
    play(turn, CODE, display({"text/plain": "1"}, "a"), display({"text/plain": "1"}, "a"))
    play(turn, display({"text/plain": "1"}, "b"), CallEnd("c1", "ok", ""))
    await clock.passes(0.1)
    play(turn, ToolCall("c2", "python_interpreter", "{}"))
    update = display({"text/plain": "2"}, "a", kind="update_display_data", call_id="c2")
    play(turn, update)
    shown = [data for body, data in chat.shown() if not body]
    assert shown == [{"text/plain": "2"}, {"text/plain": "2"}, {"text/plain": "1"}]


async def test_an_update_of_a_cleared_display_changes_nothing(chat: Chat, turn: Transcript) -> None:
    play(turn, CODE, display({"text/plain": "old"}, "a"), clear(), stream("new"))
    play(turn, display({"text/plain": "2"}, "a", kind="update_display_data"))
    turn.close()
    assert chat.shown()[1:] == [("", {"text/plain": "new"})]


async def test_a_whole_turn_is_read_back_as_it_was(chat: Chat) -> None:
    question = chat.says("plot it")
    turn = Transcript(chat, PERSONA, question)
    weather = ToolCall("c2", "get_current_weather", '{"place": "Rome"}')
    play(turn, Text("First, "), Text("code."), AnswerEnd(), CODE, stream("1\n"))
    play(turn, CallEnd("c1", "ok", "1"), AnswerEnd(), weather, CallEnd("c2", "error", "No place."))
    play(turn, Text("Here."), AnswerEnd())
    turn.notice("A sentence for the user alone.")
    turn.close()
    assert read(chat, PERSONA, chat.says("and now?"), ROOT) == [
        of_user("plot it"),
        *called(CODE, "First, code.", "1"),
        *called(weather, None, "No place."),
        of_model("Here."),
        of_user("and now?"),
    ]


THOUGHT = {"reasoning_content": "Let me see. Yes."}


async def test_reasoning_is_a_message_of_its_own_and_not_part_of_the_answer(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("think"))
    play(turn, Reasoning("Let me "), Reasoning("see.\nYes."), Text("It is so."), AnswerEnd())
    turn.close()
    thoughts, words = chat.get_messages()[1:]
    shown = bundle(thoughts)[REASONING_MIME]
    assert (thoughts.body, shown["text"], words.body) == ("", "Let me see.\nYes.", "It is so.")
    assert shown["seconds"] >= 0
    assert bundle(thoughts)["text/markdown"] == (
        "*Thoughts of the model:*\n\n> Let me see.\n> Yes."
    )
    assert read(chat, PERSONA, chat.says("and?"), ROOT)[1:-1] == [of_model("It is so.")]


async def test_reasoning_goes_back_with_the_calls_that_it_led_to_in_later_turns(
    chat: Chat,
) -> None:
    turn = Transcript(chat, PERSONA, chat.says("think"))
    play(turn, Reasoning("Let me see. "), Reasoning("Yes."), AnswerEnd())
    play(turn, CODE, CallEnd("c1", "ok", "1"), Reasoning("So."), Text("One."))
    play(turn, AnswerEnd())
    turn.close()
    asked, result = called(CODE, None, "1")
    assert read(chat, PERSONA, chat.says("and?"), ROOT)[1:-1] == [
        {**asked, **THOUGHT},
        result,
        of_model("One."),
    ]


@pytest.mark.parametrize("words", ["", "First, code."])
async def test_a_providers_own_fields_go_back_in_later_turns(chat: Chat, words: str) -> None:
    fields = {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]}
    signed = ToolCall("c1", CODE.name, CODE.arguments, {"extra_content": {"signature": "s"}})
    turn = Transcript(chat, PERSONA, chat.says("think"))
    play(turn, *([Text(words)] if words else []), AnswerEnd(fields), signed)
    play(turn, CallEnd("c1", "ok", "1"), Text("One."), AnswerEnd({"signature": "t"}))
    turn.close()
    [asked, _, said] = read(chat, PERSONA, chat.says("and?"), ROOT)[1:-1]
    assert asked["content"] == (words or None)
    assert asked["reasoning_details"] == fields["reasoning_details"]
    assert asked["tool_calls"][0]["extra_content"] == {"signature": "s"}
    assert said == {**of_model("One."), "signature": "t"}


async def test_what_a_provider_wants_back_is_kept_up_to_a_bound(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("think"))
    play(turn, Reasoning("t" * 300_000), AnswerEnd({"blob": "x" * 200_000}))
    play(turn, ToolCall("c1", CODE.name, CODE.arguments, {"blob": "x" * 200_000}))
    play(turn, CallEnd("c1", "ok", "1"))
    turn.close()
    asked = read(chat, PERSONA, chat.says("and?"), ROOT)[1]
    assert len(asked.pop("reasoning_content")) < 101_000
    assert asked == called(CODE, None, "1")[0]
    assert sum(len(str(message)) for message in chat.get_messages()) < 250_000


async def test_calls_of_one_answer_are_read_back_as_one_message(chat: Chat) -> None:
    other = ToolCall("c2", "get_current_weather", '{"place": "Rome"}')
    turn = Transcript(chat, PERSONA, chat.says("both"))
    play(turn, Text("Both."), AnswerEnd(), CODE, CallEnd("c1", "ok", "1"))
    play(turn, other, CallEnd("c2", "ok", "Sun."), AnswerEnd(), CODE, CallEnd("c1", "ok", "2"))
    turn.close()
    [first, one] = called(CODE, "Both.", "1")
    [second, two] = called(other, None, "Sun.")
    both = {**first, "tool_calls": [*first["tool_calls"], *second["tool_calls"]]}
    history = read(chat, PERSONA, chat.says("and?"), ROOT)[1:-1]
    assert history == [both, one, two, *called(CODE, None, "2")]


async def test_a_chat_from_before_rounds_were_counted_is_read_as_it_was(chat: Chat) -> None:
    question = chat.says("run").id
    for ours, body in [
        ({"kind": "text"}, "First."),
        ({"kind": "call", "id": "c1", "name": CODE.name, "arguments": "{}", "result": "1"}, ""),
        ({"kind": "call", "id": "c2", "name": CODE.name, "arguments": "{}", "result": "2"}, ""),
        ({"kind": "text"}, "Last."),
    ]:
        chat.says(body, PERSONA, metadata={"caesarion": {**ours, "question": question}})
    assert read(chat, PERSONA, chat.says("and?"), ROOT)[1:-1] == [
        *called(ToolCall("c1", CODE.name, "{}"), "First.", "1"),
        *called(ToolCall("c2", CODE.name, "{}"), None, "2"),
        of_model("Last."),
    ]


async def test_a_refusal_is_shown_as_one_and_read_back_as_the_models_words(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("do it"))
    play(turn, Refusal("I can't help"), Refusal(" with that.\nSorry."), AnswerEnd())
    turn.close()
    assert chat.shown() == [
        ("> **The model refused to answer:** I can't help with that.\n> Sorry.", None)
    ]
    said = of_model("I can't help with that.\nSorry.")
    assert read(chat, PERSONA, chat.says("and?"), ROOT)[1:-1] == [said]


async def test_words_that_turn_out_to_be_reasoning_become_reasoning(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("think"))
    play(turn, Text("Let me see."), TextWasReasoning(), Text("It is so."), AnswerEnd())
    turn.close()
    thoughts, words = chat.get_messages()[1:]
    assert bundle(thoughts)[REASONING_MIME]["text"] == "Let me see."
    assert (thoughts.body, words.body) == ("", "It is so.")


async def test_reasoning_that_a_restart_cut_off_has_ended(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("think"))
    play(turn, Reasoning("Let me see."))
    end_interrupted(chat, PERSONA)
    thoughts = chat.get_messages()[-1]
    shown = bundle(thoughts)[REASONING_MIME]
    assert (shown["text"], shown["seconds"]) == ("Let me see.", None)


async def test_amounts_of_money_in_a_notice_are_no_formula(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("hello"))
    turn.notice("Your budget of $1.50 a week is used up: $1.51 is used.")
    turn.close()
    shown = r"Your budget of \$1.50 a week is used up: \$1.51 is used."
    assert chat.shown()[-1] == (shown, None)


async def test_a_call_cut_off_by_a_restart_is_still_answered(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("run"))
    play(turn, CODE, stream("half"))
    turn.close()
    assert read(chat, PERSONA, chat.says("again"), ROOT) == [
        of_user("run"),
        *called(CODE, None, "The server stopped before this call ended; what it did is not known."),
        of_user("again"),
    ]


async def test_a_stopped_call_is_told_as_stopped(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("run"))
    play(turn, CODE, stream("half"))
    turn.interrupted("The user stopped this call. The kernel was restarted.")
    turn.notice("Stopped. The kernel was restarted.")
    turn.close()
    assert chat.shown()[-1] == ("Stopped. The kernel was restarted.", None)
    assert read(chat, PERSONA, chat.says("again"), ROOT) == [
        of_user("run"),
        *called(CODE, None, "The user stopped this call. The kernel was restarted."),
        of_user("again"),
    ]


async def test_stopping_between_calls_tells_of_no_call(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("run"))
    play(turn, CODE, CallEnd("c1", "ok", "1"), Text("So"))
    turn.interrupted("")
    turn.close()
    assert read(chat, PERSONA, chat.says("again"), ROOT)[1:-1] == [
        *called(CODE, None, "1"),
        of_model("So"),
    ]


async def test_an_answer_stands_behind_its_question_though_the_next_came_meanwhile(
    chat: Chat,
) -> None:
    first = chat.says("first")
    turn = Transcript(chat, PERSONA, first)
    play(turn, CODE)
    second = chat.says("second")
    third = chat.says("third")
    play(turn, CallEnd("c1", "ok", "1"), Text("One."))
    turn.close()
    answered = [of_user("first"), *called(CODE, None, "1"), of_model("One.")]
    assert read(chat, PERSONA, second, ROOT) == [*answered, of_user("second")]
    turn = Transcript(chat, PERSONA, second)
    play(turn, Text("Two."))
    turn.close()
    assert read(chat, PERSONA, third, ROOT) == [
        *answered,
        of_user("second"),
        of_model("Two."),
        of_user("third"),
    ]


async def test_a_question_taken_back_is_gone_with_its_answer_and_nothing_else(chat: Chat) -> None:
    first = chat.says("first")
    turn = Transcript(chat, PERSONA, first)
    play(turn, Text("One."))
    turn.close()
    second = chat.says("second")
    turn = Transcript(chat, PERSONA, second)
    play(turn, CODE, stream("1\n"), CallEnd("c1", "ok", "1"), Text("Two."))
    turn.close()
    delete_turn(chat, second.id)
    assert [message.body for message in chat.get_messages() if not message.deleted] == [
        "first",
        "One.",
    ]
    assert "print(1)" not in json.dumps([m["body"] for m in chat._messages])
    assert read(chat, PERSONA, chat.says("third"), ROOT) == [
        of_user("first"),
        of_model("One."),
        of_user("third"),
    ]


async def test_only_a_persons_question_can_be_taken_back(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("first"))
    play(turn, Text("One."))
    delete_turn(chat, chat.get_messages()[-1].id)
    delete_turn(chat, "nothing")
    assert [message.deleted for message in chat.get_messages()] == [None, None]


async def test_what_a_turn_took_is_kept_with_its_last_message(chat: Chat) -> None:
    turn = Transcript(chat, PERSONA, chat.says("?"))
    turn.usage(Usage(1, 2))
    play(turn, CODE, CallEnd("c1", "ok", "1"), Text("Do"), Text("ne."))
    turn.usage(Usage(1_234, 56, 1_000, 6, 3.21))
    turn.close()
    kept = [message["metadata"]["caesarion"].get("usage") for message in chat._messages[1:]]
    assert kept[:-1] == [None] * len(kept[:-1])
    assert kept[-1] == {
        "prompt_tokens": 1_234,
        "completion_tokens": 56,
        "cached_tokens": 1_000,
        "reasoning_tokens": 6,
        "seconds": 3.21,
    }
    assert chat.shown()[-1] == ("Done.", None)


async def test_what_is_deleted_or_of_others_is_not_told(chat: Chat) -> None:
    chat.says("", deleted=True)
    chat.says("Hello from another persona.", "jupyter-ai-personas::other::Other")
    chat.says("Refreshed all AI personas in this chat.", "hidden::jupyter_ai_system")
    chat.says("Something went wrong.", PERSONA)
    assert read(chat, PERSONA, chat.says("?"), ROOT) == [of_user("?")]


@pytest.fixture
def asked(chat: Chat) -> Message:
    """A question that two files are attached to."""
    chat._attachments = {
        "1": {"type": "file", "value": "a.csv"},
        "2": {"type": "notebook", "value": "/b.ipynb"},
        "3": {"type": "file", "value": "a.csv", "mimetype": "text/csv"},
    }
    return chat.says("What is in it?", attachments=["1", "2", "3", "gone"])


async def test_attachments_are_told_by_their_paths(chat: Chat, asked: Message) -> None:
    assert read(chat, PERSONA, asked, ROOT) == [
        prompt.user_message(asked.body, [("/home/ada/a.csv", ""), ("/home/ada/b.ipynb", "")])
    ]


async def test_what_was_found_in_a_file_stays_with_its_message(chat: Chat, asked: Message) -> None:
    assert attachments_of(chat, asked) == [(asked.id, "a.csv"), (asked.id, "/b.ipynb")]
    store_digest(chat, (asked.id, "a.csv"), Path("/volume/a.csv"), "Table")
    store_digest(chat, (asked.id, "/b.ipynb"), ROOT / "b.ipynb", "Notebook")
    later = chat.says("and now?", attachments=["1"], metadata={"kernel_id": "k"})
    assert attachments_of(chat, later) == [(later.id, "a.csv")]
    store_digest(chat, (later.id, "a.csv"), ROOT / "a.csv", "Longer table")
    assert read(chat, PERSONA, later, ROOT) == [
        prompt.user_message(
            asked.body, [("/volume/a.csv", "Table"), ("/home/ada/b.ipynb", "Notebook")]
        ),
        prompt.user_message("and now?", [("/home/ada/a.csv", "Longer table")]),
    ]
    stored = chat.get_messages()[-1]
    assert stored.metadata is not None
    assert stored.metadata["kernel_id"] == "k"
    assert (stored.body, stored.sender, stored.attachments) == ("and now?", USER, ["1"])


@pytest.mark.parametrize("known", ["x", {"a.csv": "x"}, {"a.csv": {"path": 1}}, ["a.csv"], None])
async def test_a_memory_that_is_none_of_ours_is_passed_over(chat: Chat, known: Any) -> None:
    chat._attachments = {"1": {"type": "file", "value": "a.csv"}}
    asked = chat.says("?", attachments=["1"], metadata={"caesarion": {"attached": known}})
    assert read(chat, PERSONA, asked, ROOT) == [prompt.user_message("?", [("/home/ada/a.csv", "")])]


async def test_images_stand_in_the_messages_they_came_with(chat: Chat, asked: Message) -> None:
    later = chat.says("and now?", attachments=["1"])
    assert attached(chat, later) == [
        (asked.id, "a.csv"),
        (asked.id, "/b.ipynb"),
        (later.id, "a.csv"),
    ]
    history = read(chat, PERSONA, later, ROOT, {(later.id, "a.csv"): "data:image/png;base64,QQ=="})
    assert isinstance(history[0]["content"], str)
    assert history[1] == prompt.user_message(
        "and now?", [("/home/ada/a.csv", "")], ["data:image/png;base64,QQ=="]
    )


async def test_the_cells_of_an_attached_notebook_are_known_by_their_ids(chat: Chat) -> None:
    meant = [{"id": "x", "input_type": "code"}, {"id": "y", "input_type": "markdown"}]
    chat._attachments = {
        "1": {"type": "notebook", "value": "a.ipynb", "cells": meant},
        "2": {"type": "file", "value": "b.ipynb"},
    }
    asked = chat.says("?", attachments=["1", "2"])
    assert attached_cells(chat, (asked.id, "a.ipynb")) == ["x", "y"]
    assert attached_cells(chat, (asked.id, "b.ipynb")) == []
    assert attached_cells(chat, ("gone", "a.ipynb")) == []


async def test_what_comes_after_the_question_or_is_deleted_is_not_looked_into(
    chat: Chat, asked: Message
) -> None:
    first = chat.says("first")
    chat.says("later", attachments=["1"])
    chat._messages[0]["deleted"] = True
    assert attached(chat, first) == []


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ('{"code": "1+1"}', "```python\n1+1\n```"),
        ('{"code": "\'```\'"}', "````python\n'```'\n````"),
        ('{"place": "Rome", "days": 2}', "`tool(place='Rome', days=2)`"),
        ('{"place": "`Rome`"}', "``tool(place='`Rome`')``"),
        ("", "`tool()`"),
        ('{"code": "1+', "`tool with arguments that are not whole`"),
        ("[1]", "`tool with arguments that are not whole`"),
    ],
)
def test_a_call_is_shown_as_code_or_as_name_and_arguments(arguments: str, shown: str) -> None:
    assert describe_call(ToolCall("c", "tool", arguments)) == shown


_texts = st.text(max_size=20)
_calls = st.builds(
    ToolCall,
    st.uuids().map(str),
    st.sampled_from(["python_interpreter", "wether", "", "not a name!"]),
    st.sampled_from(['{"code": "1"}', "{}", "", '{"code', "[]", "null"]),
)
_outputs = st.one_of(
    st.builds(stream, _texts, st.sampled_from(["stdout", "stderr"])),
    st.just(clear()),
    st.builds(
        display,
        st.dictionaries(st.sampled_from(["text/plain", "image/png"]), _texts, min_size=1),
        st.sampled_from(["", "a", "b"]),
        st.sampled_from(["display_data", "execute_result", "update_display_data"]),
    ),
)
_steps = st.one_of(
    _texts.filter(bool).map(Text), st.tuples(_calls, st.lists(_outputs), st.booleans())
)
_turns = st.lists(
    st.tuples(st.lists(_steps, max_size=6), st.sampled_from(["whole", "stopped", "killed"])),
    max_size=4,
)


def _write(chat: Chat, steps: list[Any], end: str) -> None:
    turn = Transcript(chat, PERSONA, chat.says("question"))
    for step in steps:
        if isinstance(step, Text):
            turn.text(step)
            continue
        call, outputs, ends = step
        play(turn, call, *(replace(output, call_id=call.id) for output in outputs))
        if not ends and end != "whole":
            break
        turn.call_ended(CallEnd(call.id, "ok", "told"))
    if end == "stopped":
        turn.interrupted("")
        turn.notice("Stopped.")
    if end != "killed":
        turn.close()


@given(_turns)
def test_whatever_happened_the_next_question_has_a_history_that_providers_take(
    turns: list[tuple[list[Any], str]],
) -> None:
    async def write_and_read() -> list[prompt.Message]:
        chat = Chat()
        for steps, end in turns:
            _write(chat, steps, end)
        return read(chat, PERSONA, chat.says("last"), ROOT)

    history = asyncio.run(write_and_read())
    check_body(json.dumps({"model": "m", "messages": history}).encode())
    assert history[-1] == of_user("last")
    assert history.count(of_user("question")) == len(turns)


@given(_turns)
def test_whatever_happened_the_chat_can_be_saved_as_a_notebook(
    turns: list[tuple[list[Any], str]],
) -> None:
    async def write() -> dict[str, Any]:
        chat = Chat()
        for steps, end in turns:
            _write(chat, steps, end)
        return chat.to_dict()

    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = make_notebook(asyncio.run(write()), "a.chat", spec)
    nbformat.validate(notebook)
    asked = [cell for cell in notebook.cells if cell.source.endswith("question")]
    assert len(asked) == len(turns)


def test_what_lets_a_click_run_a_command_of_the_lab_is_taken_out() -> None:
    button = """<button data-commandlinker-command="a" DATA-CommandLinker-args='{}'>b</button>"""
    shown = without_commands(button)
    assert shown == """<button data-removed-command="a" data-removed-args='{}'>b</button>"""
