"""Who decides what runs: the five modes, and the answers that calls wait for; no sockets."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from dataclasses import replace
from hashlib import sha256
from typing import Any, ClassVar, cast

import pytest
from caesarion import config
from caesarion.agent import prompt
from caesarion.agent.answer import Answer
from caesarion.agent.approval import (
    Approvals,
    NotShown,
    NotWaiting,
    Pending,
    allowed,
    approval_of,
    mode,
    tell_not_offered,
)
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model
from caesarion.agent.risk import classify
from caesarion.agent.shown import hash_of_shown
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.config import MODES, CaesarionAgent, Mode
from caesarion.errors import ToolError
from caesarion.events import (
    AnswerEnd,
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallKind,
    Done,
    Event,
    Output,
    Plan,
    RiskClass,
    ToolCall,
)
from caesarion.notebooks.cells import source_hash
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
    kind: ClassVar[CallKind] = "run"
    arguments = Source

    def __init__(self) -> None:
        self.ran: list[str] = []

    async def classes(self, arguments: Source) -> tuple[RiskClass, ...]:
        return await super().classes(arguments) if self.kind == "edit" else classify(arguments.code)

    async def run(self, arguments: Source) -> AsyncGenerator[Step, None]:
        self.ran.append(arguments.code)
        yield {"output_type": "stream", "name": "stdout", "text": arguments.code}
        yield ToolResult("ok", f"ran {arguments.code}")


class PretendEdit(Pretend):
    """Changes a notebook, so it says."""

    name = "pretend_edit"
    kind = "edit"

    async def preview(self, arguments: Source) -> dict[str, Any]:
        place = {"path": "a.ipynb", "cell_id": "c1", "operation": "edit", "why": ""}
        return {**place, "before": "old", "source": arguments.code}


def wants(code: str, number: int = 0, tool: type[Pretend] = Pretend) -> list[Part]:
    arguments = json.dumps({"code": code})
    return asks(ToolCall(f"call_{number}", tool.name, arguments))


SAID = says("Done.")


class Turn:
    """A turn in a mode, whose waiting calls are answered as they come."""

    def __init__(self, mode: Mode, *rounds: list[Part]) -> None:
        self.model = ScriptedModel(*rounds)
        self.tool, self.editing = Pretend(), PretendEdit()
        self.approvals = Approvals()
        tools: list[Tool[Any]] = [Echo(), self.tool, self.editing]
        settings = CaesarionAgent()
        model = cast("Model", self.model)
        self.agent = Agent(settings, model, tools, self.approvals, mode, "a chat")
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
    for chosen in MODES:
        turn = Turn(chosen, echo, SAID)
        await turn.run()
        assert turn.heard() == "hi"


async def test_a_call_that_cannot_be_made_does_not_bother_anybody() -> None:
    turn = Turn("ask", wants(""), SAID)
    await turn.run()
    assert turn.heard().startswith("The arguments of pretend are not right")


@pytest.mark.parametrize("tool", [Pretend, PretendEdit])
@pytest.mark.parametrize("chosen", ["read-only", "plan"])
async def test_a_tool_with_effects_is_not_offered_and_told_not_to_run(
    chosen: Mode, tool: type[Pretend]
) -> None:
    turn = Turn(chosen, wants("1", tool=tool), SAID)
    events = await turn.run()
    assert turn.tool.ran == turn.editing.ran == []
    assert CallEnd("call_0", "refused", tell_not_offered(chosen)) in events
    assert f"the user's mode is {chosen}, in which nothing that has effects runs" in turn.heard()
    assert [tool["function"]["name"] for tool in turn.model.tools[0]] == ["echo"]
    assert turn.model.reports == [("call_0", "refused", chosen, "rule")]


async def test_accepted_edits_are_made_at_once_and_code_still_waits() -> None:
    turn = Turn("accept-edits", wants("1", 0, PretendEdit), wants("2", 1), SAID)
    await turn.run({"decision": "refuse"})
    assert (turn.editing.ran, turn.tool.ran) == (["1"], [])
    assert turn.model.reports == [
        ("call_0", "ok", "accept-edits", "rule"),
        ("call_1", "refused", "refuse by hana", "person"),
    ]


async def test_in_ask_changes_wait_as_code_does() -> None:
    turn = Turn("ask", wants("1", tool=PretendEdit), SAID)
    await turn.run({"decision": "refuse"})
    assert turn.editing.ran == []


async def test_a_change_is_reported_with_the_source_that_was_accepted() -> None:
    turn = Turn("ask", wants("1", 0, PretendEdit), wants("2", 1), SAID)
    await turn.run({"code": "edited"}, {})
    assert turn.model.changes == [
        {
            "path": "a.ipynb",
            "cell": "c1",
            "operation": "edit",
            "before": source_hash("old"),
            "after": source_hash("edited"),
            "decision": "edited",
            "by": "hana",
        },
        None,
    ]


@pytest.mark.parametrize(
    ("chosen", "answer", "is_plan"),
    [
        ("plan", "I would:\n\n1. read it\n2. plot it", True),
        ("plan", "**1. Read it**\n\nThen plot it.", True),
        ("plan", "1) Read it.", True),
        ("plan", "Which of the 2 files do you mean? Version 1. 0 or another?", False),
        ("ask", "1. read it\n2. plot it", False),
        ("read-only", "1. read it\n2. plot it", False),
    ],
)
async def test_a_numbered_list_in_the_mode_plan_is_a_plan(
    chosen: Mode, answer: str, is_plan: bool
) -> None:
    events = await Turn(chosen, says(answer)).run()
    assert (Plan() in events) is is_plan
    assert events[-1] == Done("stop")


async def test_an_answer_that_was_cut_off_is_no_plan() -> None:
    events = await Turn("plan", [Answer(text="1. read it", finish_reason="length")]).run()
    assert Plan() not in events


async def test_the_system_message_says_the_mode() -> None:
    modes: tuple[tuple[Mode, str], ...] = (
        ("auto", "Your calls run at once."),
        ("ask", "The person decides on each change and on each piece of code"),
        ("accept-edits", "Your changes of notebooks are applied at once"),
        ("plan", "end with a plan as a numbered list"),
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


async def decision_on(pending: Pending) -> ApprovalDecision:
    decided = await pending.decided()
    assert decided
    return decided


async def test_a_decision_about_something_else_leaves_the_call_waiting_and_shows_it_again() -> None:
    approvals, call = Approvals(), ToolCall("c", "pretend", '{"code": "1"}')
    with approvals.open(call, str, ("files",), "a chat", hash_of_shown(call, None)) as pending:
        first = asyncio.ensure_future(pending.decided())
        await asyncio.sleep(0)
        with pytest.raises(NotShown, match="nothing was decided"):
            approvals.settle(pending.id, "run", "hana", classes=["files"], shown="another")
        assert await first is None
        assert pending.waits
        assert approvals.allowed_in("a chat") == []
        shown = sha256(b"1").hexdigest()
        approvals.settle(pending.id, "run", "hana", classes=["files"], shown=shown)
        assert (await decision_on(pending)).decision == "run"


async def test_the_first_answer_counts() -> None:
    approvals, call = Approvals(), ToolCall("c", "pretend", '{"code": "1"}')
    with approvals.open(call, lambda code: code) as pending:
        approvals.settle(pending.id, "refuse", "hana")
        with pytest.raises(NotWaiting):
            approvals.settle(pending.id, "run", "ben")
        decided = await decision_on(pending)
    assert (decided.decision, decided.by) == ("refuse", "hana")


async def test_code_that_cannot_be_used_leaves_the_call_waiting() -> None:
    approvals, tool = Approvals(), Pretend()
    call = ToolCall("c", "pretend", '{"code": "1"}')
    with approvals.open(call, lambda code: tool.edit(call.arguments, code)) as pending:
        with pytest.raises(ToolError, match="code"):
            approvals.settle(pending.id, "run", "hana", code="")
        approvals.settle(pending.id, "run", "hana", code="2")
        assert (await decision_on(pending)).arguments == '{"code": "2"}'


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
        ("ask", "auto", "accept-edits", "ask"),
        ("accept-edits", "auto", "auto", "accept-edits"),
        ("plan", "auto", "ask", "plan"),
        ("plan", "auto", "read-only", "read-only"),
        ("read-only", "auto", "plan", "read-only"),
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
    assert allowed(CaesarionAgent(max_approval="ask")) == ["read-only", "plan", "ask"]
    assert allowed(CaesarionAgent()) == ["read-only", "plan", "ask", "accept-edits", "auto"]


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
        assert approval_of("ask", await decision_on(pending)) == approval
    assert approval_of("auto", None) == ("auto", "rule")


FILES = ("open('a', 'w')", "open('b', 'w')")


async def test_a_call_that_waits_says_what_it_can_do() -> None:
    turn = Turn("ask", wants(FILES[0]), wants("x", 1, PretendEdit), SAID)
    events = await turn.run({}, {})
    asked = [event.classes for event in events if isinstance(event, ApprovalRequest)]
    assert asked == [("files",), ("edits the notebook",)]


async def test_a_class_that_was_allowed_runs_by_rule_from_then_on() -> None:
    turn = Turn("ask", wants(FILES[0]), wants(FILES[1], 1), wants("x", 2), SAID)
    events = await turn.run({"classes": ["files"]}, {"decision": "refuse"})
    assert turn.tool.ran == list(FILES)
    decided = [event for event in events if isinstance(event, ApprovalDecision)]
    assert [(one.rule, one.classes, one.by) for one in decided] == [
        (False, ("files",), "hana"),
        (True, ("files",), "hana"),
        (False, (), "hana"),
    ]
    assert turn.model.reports == [
        ("call_0", "ok", "run and allowed files by hana", "person"),
        ("call_1", "ok", "allowed files by hana", "rule"),
        ("call_2", "refused", "refuse by hana", "person"),
    ]


@pytest.mark.parametrize("code", ["open('a', 'w')\nx = 1", "x", "!ls", "open('a')"])
async def test_a_call_with_another_class_beside_the_allowed_ones_waits(code: str) -> None:
    turn = Turn("ask", wants(FILES[0]), wants(code, 1), SAID)
    await turn.run({"classes": ["files"]}, {"decision": "refuse"})
    assert turn.tool.ran == [FILES[0]]


async def test_a_class_is_allowed_in_one_chat_and_until_it_is_revoked() -> None:
    approvals, call = Approvals(), ToolCall("c", "pretend", "{}")
    with approvals.open(call, str, ("files",), "a chat") as pending:
        approvals.settle(pending.id, "run", "hana", classes=["files"])
    assert approvals.decide_by_rule(call, ("files",), "a chat") is not None
    assert approvals.decide_by_rule(call, ("files",), "another chat") is None
    assert approvals.decide_by_rule(call, (), "a chat") is None
    assert [(one.risk_class, one.by) for one in approvals.allowed_in("a chat")] == [
        ("files", "hana")
    ]
    assert approvals.allowed_in("another chat") == []
    assert approvals.revoke("a chat", "files")
    assert not approvals.revoke("a chat", "files")
    assert approvals.decide_by_rule(call, ("files",), "a chat") is None
    assert approvals.allowed_in("a chat") == []


async def test_a_class_that_is_allowed_decides_about_the_calls_that_wait_already() -> None:
    approvals = Approvals()
    first, second = ToolCall("1", "pretend", "{}"), ToolCall("2", "pretend", "{}")
    with (
        approvals.open(first, str, ("files",), "a chat") as one,
        approvals.open(second, str, ("files",), "a chat") as same,
        approvals.open(second, str, ("files", "network"), "a chat") as more,
        approvals.open(second, str, ("files",), "another chat") as elsewhere,
    ):
        approvals.settle(one.id, "run", "hana", classes=["files"])
        assert not (await decision_on(one)).rule
        assert (await decision_on(same)).rule
        assert more.waits
        assert elsewhere.waits


@pytest.mark.parametrize(
    ("answer", "conversation", "problem"),
    [
        ({"classes": ["network"]}, "a chat", "not of the class 'network'. Its classes: files."),
        ({"classes": ["files"], "decision": "refuse"}, "a chat", "A refusal allows no class"),
        ({"classes": ["files"]}, "", "belongs to no chat"),
    ],
)
async def test_a_class_that_cannot_be_allowed_leaves_the_call_waiting(
    answer: dict[str, Any], conversation: str, problem: str
) -> None:
    approvals, call = Approvals(), ToolCall("c", "pretend", "{}")
    with approvals.open(call, str, ("files",), conversation) as pending:
        with pytest.raises(ToolError, match=problem):
            approvals.settle(pending.id, **{"decision": "run", "by": "hana", **answer})
        assert pending.waits
        assert approvals.allowed_in(conversation) == []
