"""
The loop: ask the model, run the tools it calls, ask again.

An async generator of events; the doors (:mod:`caesarion.chat.persona`,
:mod:`caesarion.api.chat`) and tests show them. Knows neither chat nor Jupyter.
"""

import contextlib
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from caesarion.agent import approval
from caesarion.agent.approval import Approvals
from caesarion.agent.model import Finish, Model, Source
from caesarion.agent.prompt import Message, call_message, fit, result_message, with_mode
from caesarion.agent.tools.tool import Tool, ToolResult
from caesarion.config import CaesarionAgent, Mode
from caesarion.errors import ModelError, ToolError
from caesarion.events import (
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallStart,
    Done,
    DoneReason,
    Event,
    Failure,
    Notice,
    Output,
    RunStart,
    ToolCall,
    Usage,
)

_MUST_REPORT = (
    "{} calls in a row have failed. Do not call tools any more for this question: tell the user "
    "what you tried, what went wrong, and what they could do."
)


class Agent:
    """One turn's worth of agent: a model, the tools it may call, the bounds, and the mode."""

    def __init__(
        self,
        settings: CaesarionAgent,
        model: Model,
        tools: Sequence[Tool[Any]],
        approvals: Approvals | None = None,
        mode: Mode = "auto",
    ) -> None:
        self._settings = settings
        self._model = model
        self._tools = {tool.name: tool for tool in tools}
        self._approvals = approvals or Approvals()
        self._mode = mode

    async def run(
        self,
        messages: list[Message],
        source: Source = Source(),  # noqa: B008 - a frozen value
    ) -> AsyncGenerator[Event, None]:
        """
        Answer the last of ``messages``, which is of ``source``, yielding events as they happen.

        Asks the model, runs the tools it calls, and asks again, until it
        answers in words alone. A failed tool is told to the model, not raised;
        a failed model is a :class:`~caesarion.events.Failure`. The last event
        is always :class:`~caesarion.events.Done`. To stop, cancel the task: a
        running tool is interrupted before the cancellation goes on.
        """
        began = time.monotonic()
        turn = _Turn(with_mode(messages, self._mode), source)
        try:
            async with contextlib.aclosing(self._rounds(turn)) as events:
                async for event in events:
                    yield event
        except ModelError as error:
            turn.reason = "error"
            yield Failure(str(error))
        yield turn.usage(time.monotonic() - began)
        yield Done(turn.reason)

    async def repeat(self, call: ToolCall) -> AsyncGenerator[Event, None]:
        """Run ``call``, which a person asks for themselves, as it is; the events are a turn's."""
        began = time.monotonic()
        turn = _Turn([])
        async with contextlib.aclosing(self._call(call, turn, asks=False)) as events:
            async for event in events:
                yield event
        yield turn.usage(time.monotonic() - began)
        yield Done("stop")

    async def _rounds(self, turn: "_Turn") -> AsyncGenerator[Event, None]:
        for _ in range(self._settings.max_rounds):
            async with contextlib.aclosing(self._ask(turn)) as events:
                async for event in events:
                    yield event
            if turn.must_report and turn.calls:
                # It was told to report and asked for tools instead.
                turn.reason = "error"
                yield Failure(
                    f"The agent gave up: {turn.failures} attempts in a row failed. The last error "
                    "stands above; say what to change, and ask again."
                )
                return
            if not turn.calls:
                turn.reason = "length" if turn.finish == "length" else "stop"
                if sentence := _ending(turn):
                    yield sentence
                return
            for call in turn.calls:
                asks = self._mode == "ask"
                async with contextlib.aclosing(self._called(call, turn, asks)) as events:
                    async for event in events:
                        yield event
        turn.reason = "rounds"
        yield Failure(
            f"The agent stopped after {self._settings.max_rounds} rounds without an answer. "
            "Ask it to go on, or ask for a smaller step."
        )

    async def _ask(self, turn: "_Turn") -> AsyncGenerator[Event, None]:
        """Ask the model once; what it said and called is in ``turn`` afterwards."""
        turn.calls, turn.text = [], ""
        turn.must_report = turn.failures >= self._settings.max_failures
        if turn.must_report:
            # As part of the last result: not every model takes a system message here.
            last = turn.messages[-1]
            told = f"{last['content']}\n\n{_MUST_REPORT.format(turn.failures)}"
            turn.messages[-1] = {**last, "content": told}
        answer = self._model.stream(
            fit(turn.messages, self._settings.history_tokens),
            [tool.definition() for tool in self._offered()],
            may_call=not turn.must_report,
            source=turn.source,
        )
        async with contextlib.aclosing(answer) as parts:
            async for part in parts:
                if isinstance(part, Usage):
                    turn.usages.append(part)
                elif isinstance(part, Finish):
                    turn.finish = part.reason
                elif isinstance(part, ToolCall):
                    turn.calls.append(part)
                else:
                    turn.text += part.delta
                    yield part
        if turn.calls or turn.text:
            turn.messages.append(call_message(turn.calls, turn.text))

    async def _called(
        self, call: ToolCall, turn: "_Turn", asks: bool
    ) -> AsyncGenerator[Event, None]:
        """Make a call of the model's, and report how it ended, whatever ends it."""
        outcome = "interrupted"
        approval: str = self._mode
        try:
            async with contextlib.aclosing(self._call(call, turn, asks=asks)) as events:
                async for event in events:
                    if isinstance(event, ApprovalDecision):
                        deed = "edited" if event.arguments else event.decision
                        approval = f"{deed} by {event.by}"
                    elif isinstance(event, CallEnd):
                        outcome = event.status
                    yield event
        finally:
            self._model.report(call.id, outcome, approval)

    def _offered(self) -> list[Tool[Any]]:
        tools = self._tools.values()
        return [tool for tool in tools if self._mode != "read-only" or not tool.effects]

    async def _call(
        self, call: ToolCall, turn: "_Turn", *, asks: bool
    ) -> AsyncGenerator[Event, None]:
        yield call
        told = ToolResult("error", "The tool ended without a word.")
        decided: ApprovalDecision | None = None
        tool = self._tools.get(call.name)
        try:
            if tool is None:
                raise ToolError(
                    f"There is no tool {call.name!r}. The tools are: "
                    f"{', '.join(sorted(tool.name for tool in self._offered()))}."
                )
            arguments = tool.parse(call.arguments)
            if tool.effects and asks:
                with self._approvals.open(call, partial(tool.edit, call.arguments)) as pending:
                    yield ApprovalRequest(call.id, pending.id)
                    decided = await pending.decided()
                yield decided
                arguments = tool.parse(decided.arguments or call.arguments)
            if tool not in self._offered():
                told = ToolResult("refused", approval.TOLD_READ_ONLY)
            elif decided and decided.decision == "refuse":
                told = ToolResult("refused", approval.tell_refused(decided))
            else:
                async with contextlib.aclosing(tool.run(arguments)) as steps:
                    async for step in steps:
                        if isinstance(step, ToolResult):
                            told = step
                        elif isinstance(step, Notice):
                            yield step
                        elif isinstance(step, RunStart):
                            yield CallStart(call.id, step)
                        else:
                            yield Output(call.id, step)
        except ToolError as error:
            told = ToolResult("error", str(error))
        if decided and decided.arguments:
            told = ToolResult(told.status, approval.tell_edited(decided.arguments, told.text))
        if told.status == "ok":
            turn.failures = 0
        elif not (decided and decided.decision == "refuse"):  # Which is no failure of the model's.
            turn.failures += 1
        turn.messages.append(result_message(call.id, told.text))
        yield CallEnd(call.id, told.status, told.text)


class _Turn:
    """What a turn has come to so far."""

    def __init__(self, messages: list[Message], source: Source | None = None) -> None:
        self.source = source or Source()
        self.messages = messages
        self.calls: list[ToolCall] = []
        self.text = ""
        self.finish = ""
        self.failures = 0
        self.must_report = False
        self.usages: list[Usage] = []
        self.reason: DoneReason = "stop"

    def usage(self, seconds: float) -> Usage:
        """Return the sum over all rounds."""
        return Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in self.usages),
            completion_tokens=sum(usage.completion_tokens for usage in self.usages),
            total_tokens=sum(usage.total_tokens for usage in self.usages),
            cached_tokens=sum(usage.cached_tokens for usage in self.usages),
            seconds=round(seconds, 3),
        )


def _ending(turn: _Turn) -> Failure | None:
    """Return what the user must know of an answer that did not simply end."""
    if turn.finish == "length":
        return Failure("The answer was cut off at the model's length limit. Ask it to go on.")
    if turn.finish == "content_filter":
        return Failure("The provider's content filter stopped the answer. Ask in other words.")
    if not turn.text:
        return Failure("The model gave an empty answer. Ask again.")
    return None
