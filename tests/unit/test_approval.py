"""Who decides what runs: the three modes, and the answers that calls wait for; no sockets."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any, cast

import pytest
from caesarion import config
from caesarion.agent import prompt
from caesarion.agent.approval import (
    TOLD_READ_ONLY,
    Approvals,
    NotWaiting,
    allowed,
    approval_of,
    mode,
)
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.config import CaesarionAgent, Mode
from caesarion.errors import ToolError
from caesarion.events import (
    AnswerEnd,
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    Done,
    Event,
    Output,
    ToolCall,
)
from pydantic import BaseModel, Field
from traitlets.config import Config

from tests.unit.test_agent import Echo, Part, ScriptedModel, asks, says

ASKED = [prompt.system_message(), {"role": "user", "content": "go"}]


class Source(BaseModel):
    code: str = Field(min_length=1)


class Pretend(Tool[Source]):
    """Has effects, so it says; keeps what it ran."""

    name = "pretend"
    description = "Runs nothing."
    effects = True
    arguments = Source

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def run(self, arguments: Source) -> AsyncGenerator[Step, None]:
        self.ran.append(arguments.code)
        yield {"output_type": "stream", "name": "stdout", "text": arguments.code}
        yield ToolResult("ok", f"ran {arguments.code}")


def wants(code: str, number: int = 0) -> list[Part]:
    arguments = json.dumps({"code": code})
    return asks(ToolCall(f"call_{number}", "pretend", arguments))


SAID = says("Done.")


class Turn:
    """A turn in a mode, whose waiting calls are answered as they come."""

    def __init__(self, mode: Mode, *rounds: list[Part]) -> None:
        self.model = ScriptedModel(*rounds)
        self.tool = Pretend()
        self.approvals = Approvals()
        tools: list[Tool[Any]] = [Echo(), self.tool]
        settings = CaesarionAgent()
        self.agent = Agent(settings, cast("Model", self.model), tools, self.approvals, mode)
        self.events: list[Event] = []

    async def run(self, *answers: dict[str, Any]) -> list[Event]:
        left = list(answers)
        async for event in self.agent.run(list(ASKED)):
            self.events.append(event)
            if isinstance(event, ApprovalRequest):
                answer = {"decision": "run", "by": "hana", **left.pop(0)}
                self.approvals.settle(event.approval_id, **answer)
        assert left == []
        return self.events

    def heard(self) -> str:
        """Return what the model was told of its last call."""
        return str(self.model.asked[-1][-1]["content"])


async def test_in_auto_a_call_runs_at_once() -> None:
    turn = Turn("auto", wants("1"), SAID)
    events = await turn.run()
    assert [
        event for event in events if isinstance(event, ApprovalRequest | ApprovalDecision)
    ] == []
    assert turn.tool.ran == ["1"]


async def test_in_ask_a_call_that_is_approved_runs_as_it_is() -> None:
    turn = Turn("ask", wants("1"), SAID)
    events = await turn.run({})
    kinds = [type(event) for event in events][:6]
    assert kinds == [AnswerEnd, ToolCall, ApprovalRequest, ApprovalDecision, Output, CallEnd]
    assert turn.tool.ran == ["1"]
    decided = next(event for event in events if isinstance(event, ApprovalDecision))
    assert decided.at.endswith("+00:00")
    assert replace(decided, at="") == ApprovalDecision("call_0", "run", "hana", "")
    assert turn.heard() == "ran 1"
    assert turn.model.reports == [("call_0", "ok", "run by hana", "person")]


async def test_edited_code_runs_instead_and_the_model_is_told_what_ran() -> None:
    turn = Turn("ask", wants("1"), SAID)
    events = await turn.run({"code": "2"})
    assert turn.tool.ran == ["2"]
    decided = next(event for event in events if isinstance(event, ApprovalDecision))
    assert decided.arguments == '{"code": "2"}'
    assert turn.model.reports == [("call_0", "ok", "edited by hana", "person")]
    assert turn.heard() == ("The user edited the code. This is what ran:\n```python\n2\n```\nran 2")


async def test_code_that_was_opened_for_editing_and_left_as_it_was_is_not_edited() -> None:
    turn = Turn("ask", wants("1"), SAID)
    events = await turn.run({"code": "1"})
    assert next(event for event in events if isinstance(event, ApprovalDecision)).arguments is None
    assert turn.heard() == "ran 1"


async def test_a_refusal_and_its_reason_are_told_and_nothing_runs() -> None:
    turn = Turn("ask", wants("1"), SAID)
    events = await turn.run({"decision": "refuse", "reason": "not this file", "code": "2"})
    told = "The user refused this call. Their reason: not this file"
    assert CallEnd("call_0", "refused", told) in events
    assert turn.heard() == told
    assert turn.tool.ran == []


async def test_refusals_are_no_failures_of_the_models() -> None:
    turn = Turn("ask", *(wants("1", number) for number in range(4)), SAID)
    events = await turn.run(*[{"decision": "refuse"}] * 4)
    assert events[-1] == Done("stop")
    assert turn.model.may_call == [True] * 5


async def test_a_tool_without_effects_never_waits() -> None:
    echo = asks(ToolCall("call_0", "echo", '{"word": "hi"}'))
    modes: tuple[Mode, ...] = ("ask", "read-only")
    for chosen in modes:
        turn = Turn(chosen, echo, SAID)
        await turn.run()
        assert turn.heard() == "hi"


async def test_a_call_that_cannot_be_made_does_not_bother_anybody() -> None:
    turn = Turn("ask", wants(""), SAID)
    await turn.run()
    assert turn.heard().startswith("The arguments of pretend are not right")


async def test_in_read_only_a_tool_with_effects_is_not_offered_and_told_not_to_run() -> None:
    turn = Turn("read-only", wants("1"), SAID)
    events = await turn.run()
    assert turn.tool.ran == []
    assert CallEnd("call_0", "refused", TOLD_READ_ONLY) in events
    assert turn.heard() == TOLD_READ_ONLY
    assert [tool["function"]["name"] for tool in turn.model.tools[0]] == ["echo"]


async def test_the_system_message_says_the_mode() -> None:
    modes: tuple[tuple[Mode, str], ...] = (
        ("auto", "Your calls run at once."),
        ("ask", "The person decides on each piece of code before it runs"),
        ("read-only", "The mode is read-only"),
    )
    for chosen, words in modes:
        turn = Turn(chosen, SAID)
        await turn.run()
        assert words in turn.model.asked[0][0]["content"]


async def test_a_stop_ends_the_waiting_and_the_answer_comes_too_late() -> None:
    turn = Turn("ask", wants("1"))
    waiting: asyncio.Future[ApprovalRequest] = asyncio.get_running_loop().create_future()

    async def listen() -> None:
        async for event in turn.agent.run(list(ASKED)):
            if isinstance(event, ApprovalRequest):
                waiting.set_result(event)

    task = asyncio.create_task(listen())
    approval_id = (await waiting).approval_id
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(NotWaiting, match="This call does not wait any more"):
        turn.approvals.settle(approval_id, "run", "hana")
    assert turn.tool.ran == []


async def test_the_first_answer_counts() -> None:
    approvals, call = Approvals(), ToolCall("c", "pretend", '{"code": "1"}')
    with approvals.open(call, lambda code: code) as pending:
        approvals.settle(pending.id, "refuse", "hana")
        with pytest.raises(NotWaiting):
            approvals.settle(pending.id, "run", "ben")
        decided = await pending.decided()
    assert (decided.decision, decided.by) == ("refuse", "hana")


async def test_code_that_cannot_be_used_leaves_the_call_waiting() -> None:
    approvals, tool = Approvals(), Pretend()
    call = ToolCall("c", "pretend", '{"code": "1"}')
    with approvals.open(call, lambda code: tool.edit(call.arguments, code)) as pending:
        with pytest.raises(ToolError, match="code"):
            approvals.settle(pending.id, "run", "hana", code="")
        approvals.settle(pending.id, "run", "hana", code="2")
        assert (await pending.decided()).arguments == '{"code": "2"}'


def test_a_call_without_code_cannot_be_edited() -> None:
    with pytest.raises(ToolError, match="A call of echo has no code to edit"):
        Echo().edit('{"word": "hi"}', "2")


@pytest.mark.parametrize(
    ("cap", "default", "wanted", "got"),
    [
        ("auto", "auto", None, "auto"),
        ("auto", "ask", None, "ask"),
        ("auto", "ask", "auto", "auto"),
        ("ask", "auto", None, "ask"),
        ("ask", "auto", "auto", "ask"),
        ("ask", "ask", "read-only", "read-only"),
        ("read-only", "auto", "ask", "read-only"),
        ("auto", "ask", "yolo", "ask"),
        ("auto", "ask", ["auto"], "ask"),
    ],
)
def test_the_mode_is_what_was_asked_for_up_to_the_cap(
    cap: str, default: str, wanted: object, got: str
) -> None:
    settings = CaesarionAgent(max_approval=cap, approval=default)
    assert mode(settings, wanted) == got


def test_the_modes_below_the_cap_are_allowed() -> None:
    assert allowed(CaesarionAgent(max_approval="ask")) == ["read-only", "ask"]
    assert allowed(CaesarionAgent()) == ["read-only", "ask", "auto"]


def test_a_file_of_the_users_lowers_the_hubs_cap_and_never_raises_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CAESARION_AGENT_MAX_APPROVAL", "ask")
    for configured, cap in (("auto", "ask"), ("read-only", "read-only")):
        file = Config({"CaesarionAgent": {"max_approval": configured}})
        assert CaesarionAgent(config=file).max_approval == cap
    settings = CaesarionAgent()
    assert settings.max_approval == "ask"
    settings.set_trait("max_approval", "auto")
    assert settings.max_approval == "ask"


@pytest.mark.parametrize(
    ("hubs", "configured", "may"),
    [(None, True, True), ("true", True, True), ("false", True, False), ("true", False, False)],
)
def test_a_file_of_the_users_never_lets_programs_approve_against_the_hub(
    monkeypatch: pytest.MonkeyPatch, hubs: str | None, configured: bool, may: bool
) -> None:
    if hubs is not None:
        monkeypatch.setenv("CAESARION_AGENT_PROGRAM_APPROVALS", hubs)
    file = Config({"CaesarionAgent": {"program_approvals": configured}})
    assert CaesarionAgent(config=file).program_approvals is may


def test_what_changes_the_environment_later_changes_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config, "_environment", os.environ)
    monkeypatch.setenv("CAESARION_AGENT_MAX_APPROVAL", "read-only")
    config.freeze_environment()
    monkeypatch.setenv("CAESARION_AGENT_MAX_APPROVAL", "auto")
    assert CaesarionAgent().max_approval == "read-only"


@pytest.mark.parametrize(
    ("answer", "approval"),
    [
        ({"decision": "run"}, ("run by hana", "person")),
        ({"decision": "run", "code": "x"}, ("edited by hana", "person")),
        ({"decision": "refuse"}, ("refuse by hana", "person")),
        ({"decision": "run", "program": True}, ("run by hana", "program")),
    ],
)
async def test_the_audit_tells_persons_from_programs_and_rules(
    answer: dict[str, Any], approval: tuple[str, str]
) -> None:
    approvals, call = Approvals(), ToolCall("c", "pretend", '{"code": "1"}')
    with approvals.open(call, lambda code: code) as pending:
        approvals.settle(pending.id, by="hana", **answer)
        assert approval_of("ask", await pending.decided()) == approval
    assert approval_of("auto", None) == ("auto", "rule")
