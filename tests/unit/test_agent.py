"""The loop, with a model that says what a test wrote down; no sockets."""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, ClassVar, cast

import pytest
from caesarion.agent.answer import Answer, Delta
from caesarion.agent.approval import Approvals, tell_refused
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model, Source
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.config import CaesarionAgent
from caesarion.errors import ModelError, Stopped
from caesarion.events import (
    AnswerEnd,
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallKind,
    Decision,
    Done,
    Event,
    Failure,
    Output,
    Reasoning,
    Refusal,
    StatusChange,
    Text,
    ToolCall,
    Usage,
)
from pydantic import BaseModel

from tests.fakes.openai_rules import check_body

Part = Delta | Answer
QUESTION = [{"role": "user", "content": "go"}]


class ScriptedModel:
    """A double: answers as written, one list of parts a round, and keeps what it was asked."""

    name = "gpt-4.1"

    def __init__(self, *rounds: list[Part] | Exception) -> None:
        self.is_strict = True
        """Whether a request is checked as OpenAI checks it, which knows no other's fields."""
        self.rounds = list(rounds)
        self.asked: list[list[dict[str, Any]]] = []
        self.may_call: list[bool] = []
        self.tools: list[list[dict[str, Any]]] = []
        self.sources: list[Source] = []
        self.reports: list[tuple[str, str, str, str]] = []
        self.changes: list[dict[str, str] | None] = []
        """What the report of each call says of a change of a notebook."""

    def report_outcome(
        self,
        call_id: str,
        outcome: str,
        approval: str,
        approver: str = "",
        change: dict[str, str] | None = None,
        receipt: str = "",
    ) -> None:
        self.reports.append((call_id, outcome, approval, approver))
        self.changes.append(change)

    async def stream(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        *,
        may_call: bool = True,
        source: Source = Source(),  # noqa: B008
    ) -> AsyncGenerator[Part, None]:
        self.sources.append(source)
        body = json.dumps({"model": "gpt-4.1", "messages": messages, "tools": tools})
        if self.is_strict:
            check_body(body.encode())
        self.asked.append(messages)
        self.may_call.append(may_call)
        self.tools.append(tools)
        parts = self.rounds.pop(0)
        if isinstance(parts, Exception):
            raise parts
        for part in parts:
            yield part


class Word(BaseModel):
    word: str


class Echo(Tool[Word]):
    """Shows and tells a word; "bad" fails."""

    name = "echo"
    description = "Says a word."
    kind: ClassVar[CallKind] = "read"
    arguments = Word

    def __init__(self) -> None:
        self.runs = 0

    async def run(self, arguments: Word) -> AsyncGenerator[Step, None]:
        self.runs += 1
        yield {"output_type": "stream", "name": "stdout", "text": arguments.word}
        yield ToolResult("error" if arguments.word == "bad" else "ok", arguments.word)


def says(*words: str, finish_reason: str = "stop", **more: Any) -> list[Part]:
    """Return an answer in words."""
    answer = Answer(text="".join(words), finish_reason=finish_reason, **more)
    return [*(Text(word) for word in words), answer]


def asks(*calls: ToolCall, **more: Any) -> list[Part]:
    """Return an answer that calls tools."""
    return [Answer(calls=calls, finish_reason="tool_calls", **more)]


def calls(word: str, number: int = 0, **more: Any) -> list[Part]:
    return asks(ToolCall(f"call_{number}", "echo", f'{{"word": "{word}"}}'), **more)


async def run(model: ScriptedModel, tool: Echo | None = None, **settings: Any) -> list[Event]:
    agent = Agent(CaesarionAgent(**settings), cast("Model", model), [tool or Echo()])
    events = [event async for event in agent.run(list(QUESTION))]
    assert isinstance(events[-1], Done)
    assert isinstance(events[-2], Usage)
    return events


async def test_an_answer_in_words_ends_the_turn() -> None:
    events = await run(ScriptedModel(says("Hel", "lo")))
    assert events[:2] == [Text("Hel"), Text("lo")]
    assert events[-1] == Done("stop")


async def test_a_call_is_run_shown_and_told_to_the_model() -> None:
    model = ScriptedModel(calls("hi"), says("done"))
    events = await run(model)
    assert events[:5] == [
        AnswerEnd(),
        ToolCall("call_0", "echo", '{"word": "hi"}'),
        Output("call_0", {"output_type": "stream", "name": "stdout", "text": "hi"}),
        CallEnd("call_0", "ok", "hi"),
        Text("done"),
    ]
    assert model.asked[1][-1] == {"role": "tool", "tool_call_id": "call_0", "content": "hi"}


async def test_several_calls_of_one_round_run_in_their_order() -> None:
    both = asks(ToolCall("a", "echo", '{"word": "one"}'), ToolCall("b", "echo", '{"word": "two"}'))
    model = ScriptedModel(both, says("done"))
    events = await run(model)
    results = [event for event in events if isinstance(event, CallEnd)]
    assert results == [CallEnd("a", "ok", "one"), CallEnd("b", "ok", "two")]
    assert [message["role"] for message in model.asked[1]] == ["user", "assistant", "tool", "tool"]


async def test_an_unknown_tool_is_told_to_the_model_with_the_names_there_are() -> None:
    wrong = asks(ToolCall("a", "wether", "{}"))
    events = await run(ScriptedModel(wrong, says("sorry")))
    told = "There is no tool 'wether'. The tools are: echo."
    assert CallEnd("a", "error", told) in events


async def test_truncated_arguments_are_told_and_the_history_stays_valid() -> None:
    tool = Echo()
    cut: list[Part] = [
        Answer(calls=(ToolCall("a", "echo", '{"word": "h'),), finish_reason="length")
    ]
    model = ScriptedModel(cut, says("again"))
    events = await run(model, tool)
    [result] = [event for event in events if isinstance(event, CallEnd)]
    assert result.status == "error"
    assert result.text.startswith("The arguments of echo are not valid JSON")
    assert tool.runs == 0
    assert model.asked[1][1]["tool_calls"][0]["function"]["arguments"] == "{}"


async def test_after_three_failures_in_a_row_the_model_must_report() -> None:
    tool = Echo()
    model = ScriptedModel(*(calls("bad", n) for n in range(3)), says("I failed"))
    events = await run(model, tool)
    assert tool.runs == 3
    assert model.may_call == [True, True, True, False]
    assert "3 calls in a row have failed" in model.asked[3][-1]["content"]
    assert events[-1] == Done("stop")


async def test_a_model_that_calls_on_instead_of_reporting_is_stopped() -> None:
    tool = Echo()
    events = await run(ScriptedModel(*(calls("bad", n) for n in range(4))), tool)
    assert tool.runs == 3
    [failure] = [event for event in events if isinstance(event, Failure)]
    assert failure.message.startswith("The agent gave up: 3 attempts in a row failed.")
    assert events[-1] == Done("error")


async def test_a_success_between_failures_lets_the_model_go_on() -> None:
    words = ["bad", "bad", "good", "bad", "bad"]
    model = ScriptedModel(*(calls(word, n) for n, word in enumerate(words)), says("done"))
    await run(model)
    assert model.may_call == [True] * 6


async def test_the_limit_of_rounds_ends_in_a_sentence() -> None:
    tool = Echo()
    events = await run(ScriptedModel(calls("a"), calls("b", 1)), tool, max_rounds=2)
    assert tool.runs == 2
    assert events[-1] == Done("rounds")
    assert (
        Failure(
            "The agent stopped after 2 rounds without an answer. Ask it to go on, or ask for a "
            "smaller step."
        )
        in events
    )


async def test_a_model_that_fails_is_a_sentence_and_not_an_exception() -> None:
    events = await run(ScriptedModel(ModelError("The model was silent for 60 seconds.")))
    assert events[0] == Failure("The model was silent for 60 seconds.")
    assert events[-1] == Done("error")


async def test_a_finished_call_is_not_run_again_when_the_model_fails_afterwards() -> None:
    tool = Echo()
    events = await run(ScriptedModel(calls("once"), ModelError("It broke off.")), tool)
    assert tool.runs == 1
    assert events[-1] == Done("error")


async def test_an_answer_cut_off_at_the_length_limit_says_so() -> None:
    events = await run(ScriptedModel(says("and so", finish_reason="length")))
    told = "The answer was cut off at the model's length limit. Ask it to go on."
    assert Failure(told) in events
    assert events[-1] == Done("length")


async def test_an_empty_answer_is_said() -> None:
    events = await run(ScriptedModel(says()))
    assert Failure("The model gave an empty answer. Ask again.") in events


async def test_usage_is_summed_over_the_rounds() -> None:
    model = ScriptedModel(
        calls("hi", usage=Usage(10, 5, 2, 3)), says("done", usage=Usage(20, 1, 4))
    )
    usage = (await run(model))[-2]
    assert isinstance(usage, Usage)
    assert (usage.prompt_tokens, usage.completion_tokens) == (30, 6)
    assert (usage.total_tokens, usage.cached_tokens, usage.reasoning_tokens) == (36, 6, 3)


async def test_reasoning_and_the_providers_own_fields_go_back_with_the_call() -> None:
    thought = Answer(
        reasoning="Let me see.",
        calls=(ToolCall("a", "echo", '{"word": "hi"}', {"extra_content": {"signature": "s"}}),),
        finish_reason="tool_calls",
        fields={"reasoning_details": [{"id": "r"}]},
    )
    model = ScriptedModel([Reasoning("Let me "), Reasoning("see."), thought], says("done"))
    model.is_strict = False
    events = await run(model)
    assert events[:3] == [
        Reasoning("Let me "),
        Reasoning("see."),
        AnswerEnd({"reasoning_details": [{"id": "r"}]}),
    ]
    asked = model.asked[1][1]
    assert asked["reasoning_content"] == "Let me see."
    assert asked["reasoning_details"] == [{"id": "r"}]
    assert asked["tool_calls"][0]["extra_content"] == {"signature": "s"}


async def test_a_refusal_is_an_answer() -> None:
    refused = Answer(refusal="I can't help.", finish_reason="stop")
    events = await run(ScriptedModel([Refusal("I can't help."), refused]))
    assert events[0] == Refusal("I can't help.")
    assert [event for event in events if isinstance(event, Failure)] == []
    assert events[-1] == Done("stop")


async def test_a_bug_in_a_tool_is_told_to_the_model_and_the_turn_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken(Echo):
        async def run(self, arguments: Word) -> AsyncGenerator[Step, None]:
            yield StatusChange("is about to break")
            raise KeyError(arguments.word)

    model = ScriptedModel(calls("hi"), says("sorry"))
    events = await run(model, Broken())
    told = "echo failed inside Caesarion (KeyError), and may have done a part of its work."
    assert CallEnd("call_0", "error", told) in events
    assert model.reports == [("call_0", "error", "auto", "rule")]
    assert events[-1] == Done("stop")
    assert "A call of echo failed." in caplog.text


async def test_a_bug_in_the_agent_ends_the_turn_with_a_sentence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = await run(ScriptedModel(ZeroDivisionError("by nobody")))
    told = (
        "Something went wrong inside Caesarion (ZeroDivisionError). Ask again; the server's log "
        "has the details."
    )
    assert events[0] == Failure(told)
    assert events[-1] == Done("error")
    assert "A turn failed." in caplog.text


async def test_calls_that_are_not_made_any_more_have_an_outcome() -> None:
    begun = asyncio.Event()

    class Slow(Echo):
        async def run(self, arguments: Word) -> AsyncGenerator[Step, None]:
            begun.set()
            await asyncio.sleep(60)
            yield ToolResult("ok", arguments.word)

    both = asks(ToolCall("a", "echo", '{"word": "1"}'), ToolCall("b", "echo", '{"word": "2"}'))
    model = ScriptedModel(both)
    turn = asyncio.ensure_future(run(model, Slow()))
    await begun.wait()
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert model.reports == [("a", "interrupted", "auto", "rule"), ("b", "interrupted", "", "")]


async def test_calls_of_a_model_that_was_to_report_have_an_outcome() -> None:
    model = ScriptedModel(*(calls("bad", n) for n in range(4)))
    await run(model)
    assert model.reports[-1] == ("call_3", "refused", "", "")


async def test_what_became_of_a_call_is_reported_with_who_let_it_run() -> None:
    model = ScriptedModel(calls("hi"), calls("bad", 1), says("done"))
    await run(model)
    assert model.reports == [("call_0", "ok", "auto", "rule"), ("call_1", "error", "auto", "rule")]


async def test_the_model_is_told_where_a_question_comes_from() -> None:
    model = ScriptedModel(says("done"))
    agent = Agent(CaesarionAgent(), cast("Model", model), [Echo()])
    source = Source("lab.chat ü", "m-1")
    async for _ in agent.run(list(QUESTION), source):
        pass
    [asked] = model.sources
    assert replace(asked, traceparent="") == source
    assert source.headers() == {
        "X-Caesarion-Conversation": "lab.chat %C3%BC",
        "X-Caesarion-Message": "m-1",
    }


async def test_a_notice_is_passed_on() -> None:
    class Busy(Echo):
        async def run(self, arguments: Word) -> AsyncGenerator[Step, None]:
            yield StatusChange("is waiting")
            yield ToolResult("ok", arguments.word)

    events = await run(ScriptedModel(calls("hi"), says("done")), Busy())
    assert events[2:4] == [StatusChange("is waiting"), CallEnd("call_0", "ok", "hi")]


async def test_a_tool_that_ends_without_a_word_has_failed() -> None:
    class Mute(Echo):
        async def run(self, arguments: Word) -> AsyncGenerator[Step, None]:
            for never in list[Step]():
                yield never

    events = await run(ScriptedModel(calls("hi"), says("done")), Mute())
    assert CallEnd("call_0", "error", "The tool ended without a word.") in events


async def test_what_a_filter_stopped_is_said() -> None:
    events = await run(ScriptedModel(says(finish_reason="content_filter")))
    told = "The provider's content filter stopped the answer. Ask in other words."
    assert Failure(told) in events


async def test_a_cancelled_turn_lets_its_tool_clean_up_first() -> None:
    begun, cleaned = asyncio.Event(), asyncio.Event()

    class Slow(Echo):
        async def run(self, arguments: Word) -> AsyncGenerator[Step, None]:
            try:
                begun.set()
                await asyncio.sleep(60)
                yield ToolResult("ok", arguments.word)
            except asyncio.CancelledError as error:
                cleaned.set()
                raise Stopped("It cost the kernel.") from error

    model = ScriptedModel(calls("hi"))
    turn = asyncio.ensure_future(run(model, Slow()))
    await begun.wait()
    turn.cancel()
    with pytest.raises(Stopped, match=r"^It cost the kernel\.$"):
        await turn
    assert cleaned.is_set()
    assert model.reports == [("call_0", "interrupted", "auto", "rule")]


class Change(Echo):
    """Waits for a person, with the other changes of its answer."""

    kind: ClassVar[CallKind] = "edit"
    batches = True


def changes(*words: str) -> list[Part]:
    return asks(*(ToolCall(word, "echo", json.dumps({"word": word})) for word in words))


async def decide(model: ScriptedModel, *decisions: tuple[str, Decision]) -> list[Event]:
    """Let a person decide about the calls of a turn, by id, when all of them wait."""
    approvals = Approvals()
    agent = Agent(CaesarionAgent(), cast("Model", model), [Change()], approvals, "ask")
    events: list[Event] = []
    waiting: dict[str, str] = {}
    async for event in agent.run(list(QUESTION)):
        events.append(event)
        if isinstance(event, ApprovalRequest):
            waiting[event.call_id] = event.approval_id
            if len(waiting) == len(decisions):
                for call_id, decision in decisions:
                    approvals.settle(waiting[call_id], decision, "ada")
    return events


async def test_calls_that_wait_together_are_shown_first_and_told_in_their_order() -> None:
    model = ScriptedModel(changes("a", "b", "c"), says("done"))
    events = await decide(model, ("c", "run"), ("a", "refuse"), ("b", "run"))
    kinds = [type(event).__name__ for event in events]
    assert kinds[1:7] == ["ToolCall"] * 3 + ["ApprovalRequest"] * 3
    told = [message["content"] for message in model.asked[1][-3:]]
    assert told == [tell_refused(ApprovalDecision("a", "refuse", "ada", at="")), "b", "c"]
    assert {report[:3] for report in model.reports} == {
        ("a", "refused", "refuse by ada"),
        ("b", "ok", "run by ada"),
        ("c", "ok", "run by ada"),
    }


async def test_changes_that_fail_together_are_one_failure() -> None:
    model = ScriptedModel(
        asks(*(ToolCall(f"c{n}", "echo", '{"word": "bad"}') for n in range(4))), says("done")
    )
    await decide(model, *((f"c{n}", "run") for n in range(4)))
    assert model.may_call == [True, True]


async def test_a_call_of_another_kind_waits_for_the_changes_before_it() -> None:
    model = ScriptedModel(
        asks(
            ToolCall("a", "echo", '{"word": "a"}'),
            ToolCall("b", "nobody's", "{}"),
            ToolCall("c", "echo", '{"word": "c"}'),
        ),
        says("done"),
    )
    approvals = Approvals()
    agent = Agent(CaesarionAgent(), cast("Model", model), [Change()], approvals, "ask")
    order: list[str] = []
    async for event in agent.run(list(QUESTION)):
        if isinstance(event, ApprovalRequest):
            order.append(f"{event.call_id} waits")
            approvals.settle(event.approval_id, "run", "ada")
        elif isinstance(event, CallEnd):
            order.append(f"{event.call_id} {event.status}")
    assert order == ["a waits", "a ok", "b error", "c waits", "c ok"]
