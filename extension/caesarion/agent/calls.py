"""
Calls of tools: let a person decide about them, make them, and report how they ended.

Called by :mod:`caesarion.agent.loop` for the calls of each answer; calls the tools. Knows neither
the model nor its messages.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import Any

from caesarion.agent import approval
from caesarion.agent.approval import Approvals
from caesarion.agent.merging import merged
from caesarion.agent.shown import hash_of_shown
from caesarion.agent.tools.tool import Tool, ToolResult
from caesarion.agent.tracing import Span
from caesarion.config import Mode
from caesarion.errors import ToolError
from caesarion.events import (
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallStart,
    CellChange,
    Event,
    Output,
    QuestionAnswered,
    QuestionAsked,
    RunStart,
    StatusChange,
    ToolCall,
    UserAnswer,
    UserQuestion,
)
from caesarion.notebooks.change_record import record_call

_log = logging.getLogger(__name__)

_TOOL_BUG = "{} failed inside Caesarion ({}), and may have done a part of its work."


@dataclass
class Call:
    """
    A call under way: the tool that it names, and what came of it so far.

    ``receipt`` came with the answer that has the call; it goes into the report alone.
    """

    call: ToolCall
    tool: Tool[Any] | None
    arguments: Any = None
    change: Mapping[str, Any] | None = None
    decision: ApprovalDecision | None = None
    result: ToolResult | None = None
    is_reported: bool = False
    receipt: str = field(default="", repr=False)

    @property
    def id(self) -> str:
        """The id that the model gave it."""
        return self.call.id

    @property
    def is_refused_by_person(self) -> bool:
        """Whether a person refused it, which is not the model's failure."""
        return self.decision is not None and self.decision.decision == "refuse"


class Calls:
    """
    The calls that one turn makes of its ``tools``, in the mode ``mode``.

    In ``conversation`` a person may allow classes of calls; without one, each call asks.
    ``report`` takes the outcome of each call: :meth:`caesarion.agent.model.Model.report_outcome`.
    """

    def __init__(
        self,
        tools: Sequence[Tool[Any]],
        approvals: Approvals,
        mode: Mode,
        conversation: str,
        report: Callable[..., None],
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._approvals = approvals
        self._mode = mode
        self._conversation = conversation
        self._report = report

    def begin_answer(self) -> None:
        """Note that the calls that follow are of another answer of the model."""
        for tool in self._tools.values():
            tool.begin_answer()

    def named(self, calls: Sequence[ToolCall], receipt: str = "") -> list[Call]:
        """Return the calls of an answer of the model with the tools that they name."""
        return [Call(call, self._tools.get(call.name), receipt=receipt) for call in calls]

    def next_group(self, calls: Sequence[ToolCall]) -> list[ToolCall]:
        """Return the first of ``calls``, and those behind it that wait for a person with it."""
        together = list(takewhile(self._waits_with_others, calls))
        return together or list(calls[:1])

    def _waits_with_others(self, call: ToolCall) -> bool:
        tool = self._tools.get(call.name)
        return tool is not None and tool.batches and approval.asks(self._mode, tool.kind)

    async def make(self, calls: Sequence[Call], turn: Span) -> AsyncGenerator[Event, None]:
        """
        Make calls at once, so that a person sees all that wait and decides in any order.

        Their spans are below ``turn``.

        Each call has its result afterwards, and its outcome is reported, whatever ends it.
        """
        try:
            for one in calls:
                async with contextlib.aclosing(self._prepare(one)) as events:
                    async for event in events:
                        yield event
            work = [self._call(one, turn) for one in calls]
            async with contextlib.aclosing(merged(work)) as events:
                async for event in events:
                    if isinstance(event, CallEnd):
                        self._report_outcome(next(c for c in calls if c.id == event.call_id))
                    yield event
        finally:
            for one in calls:
                self._report_outcome(one)

    def _report_outcome(self, one: Call) -> None:
        """Report how a call ended, once; a call without a result was interrupted."""
        if not one.is_reported:
            one.is_reported = True
            outcome = one.result.status if one.result else "interrupted"
            change = one.change and record_call(one.change, one.decision, is_done=outcome == "ok")
            decided = approval.approval_of(self._mode, one.decision)
            self._report(one.id, outcome, *decided, change, one.receipt)

    def offered(self) -> list[Tool[Any]]:
        """Return the tools that the model may call in this mode."""
        tools = self._tools.values()
        return [tool for tool in tools if approval.offers(self._mode, tool.kind)]

    async def _prepare(self, one: Call) -> AsyncGenerator[Event, None]:
        """Show a call, and what it would change; one that cannot be made has its result then."""
        yield one.call
        try:
            if one.tool is None:
                raise ToolError(
                    f"There is no tool {one.call.name!r}. The tools are: "
                    f"{', '.join(sorted(tool.name for tool in self.offered()))}."
                )
            one.arguments = one.tool.parse(one.call.arguments)
            if one.tool not in self.offered():
                one.result = ToolResult("refused", approval.tell_not_offered(self._mode))
            elif change := await one.tool.preview(one.arguments):
                one.change = change
                yield CellChange(one.id, change)
        except Exception as error:
            one.result = _failed(one.call, error)

    async def _call(self, one: Call, turn: Span) -> AsyncGenerator[Event, None]:
        """Let a person decide about a call that was prepared, if need be, and run it."""
        with turn.call(one.call) as span:
            try:
                if one.result is None and one.tool is not None:
                    work = self._decide_and_run(one, one.tool, span)
                    async with contextlib.aclosing(work) as events:
                        async for event in events:
                            yield event
            except Exception as error:
                one.result = _failed(one.call, error)
            result = one.result or ToolResult("error", "The tool ended without a word.")
            if one.decision and one.decision.arguments and one.tool:
                text = approval.tell_edited(one.decision.arguments, one.tool.edited, result.text)
                result = ToolResult(result.status, text)
            one.result = result
            span.returned(result.status, result.text)
        yield CallEnd(one.id, result.status, result.text)

    async def _decide_and_run(
        self, one: Call, tool: Tool[Any], span: Span
    ) -> AsyncGenerator[Event, None]:
        call = one.call
        if approval.asks(self._mode, tool.kind):
            classes = await tool.classes(one.arguments)
            one.decision = self._approvals.decide_by_rule(call, classes, self._conversation)
            if one.decision is None:
                edit, shown = partial(tool.edit, call.arguments), hash_of_shown(call, one.change)
                with (
                    self._approvals.open(call, edit, classes, self._conversation, shown) as pending,
                    tool.waiting(one.arguments, pending.id),
                ):
                    span.waits()
                    while one.decision is None:
                        yield ApprovalRequest(call.id, pending.id, classes)
                        one.decision = await pending.decided()
            span.decided(one.decision)
            yield one.decision
            if one.decision.decision == "refuse":
                one.result = ToolResult("refused", approval.tell_refused(one.decision))
                return
            if one.decision.arguments:
                one.arguments = tool.revise(one.arguments, one.decision.arguments)
                if change := await tool.preview(one.arguments):
                    one.change = change
                    yield CellChange(call.id, change)
        async with contextlib.aclosing(tool.run(one.arguments)) as steps:
            async for step in steps:
                if isinstance(step, ToolResult):
                    one.result = step
                elif isinstance(step, StatusChange):
                    yield step
                elif isinstance(step, RunStart):
                    yield CallStart(call.id, step)
                elif isinstance(step, UserQuestion):
                    yield QuestionAsked(call.id, step)
                elif isinstance(step, UserAnswer):
                    yield QuestionAnswered(call.id, step)
                else:
                    yield Output(call.id, step)


def _failed(call: ToolCall, error: Exception) -> ToolResult:
    """Return what the model is told of a call that raised ``error``."""
    if isinstance(error, ToolError):
        return ToolResult("error", str(error))
    _log.error("A call of %s failed.", call.name, exc_info=error)
    return ToolResult("error", _TOOL_BUG.format(call.name, type(error).__name__))
