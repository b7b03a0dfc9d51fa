"""
The loop: ask the model, run the tools it calls, ask again.

An async generator of events. Built by :mod:`caesarion.services`; run by
:mod:`caesarion.chat.persona` and :mod:`caesarion.api.chat`; calls the model and the tools.
Invariant: it knows neither chat nor Jupyter.
"""

import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from caesarion.agent import approval
from caesarion.agent.answer import Answer
from caesarion.agent.approval import Approvals
from caesarion.agent.model import Model, Source
from caesarion.agent.prompt import Message, answer_message, fit, result_message, with_mode
from caesarion.agent.tools.tool import Tool, ToolResult
from caesarion.config import CaesarionAgent, Mode
from caesarion.errors import ImagesRefused, ModelError, ToolError
from caesarion.events import (
    AnswerEnd,
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallStart,
    Done,
    DoneReason,
    Event,
    Failure,
    ImagesNotTaken,
    Output,
    RunStart,
    StatusChange,
    ToolCall,
    Usage,
)

_log = logging.getLogger(__name__)

_MUST_REPORT = (
    "{} calls in a row have failed. Do not call tools any more for this question: tell the user "
    "what you tried, what went wrong, and what they could do."
)
_TOOL_BUG = "{} failed inside Caesarion ({}), and may have done a part of its work."
_BUG = "Something went wrong inside Caesarion ({}). Ask again; the server's log has the details."


class Agent:
    """The agent of one turn: a model, the tools it may call, the bounds, and the mode."""

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
        whatever else fails is a :class:`~caesarion.events.Failure`. The last event
        is always :class:`~caesarion.events.Done`. To stop, cancel the task: a
        running tool is interrupted before the cancellation goes on.
        """
        turn = _Turn(with_mode(messages, self._mode), source)
        async with contextlib.aclosing(self._with_done_event(self._rounds(turn), turn)) as events:
            async for event in events:
                yield event

    async def repeat(self, call: ToolCall) -> AsyncGenerator[Event, None]:
        """
        Run ``call`` again; the events are those of a turn.

        The mode holds for it as for the model's calls: a script in the page could ask, too.
        """
        turn = _Turn([])
        work = self._call(call, turn, asks=self._mode == "ask")
        async with contextlib.aclosing(self._with_done_event(work, turn)) as events:
            async for event in events:
                yield event

    async def _with_done_event(
        self, work: AsyncGenerator[Event, None], turn: "_Turn"
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of ``work`` and the end of the turn, whatever fails in it."""
        began = time.monotonic()
        try:
            async with contextlib.aclosing(work) as events:
                async for event in events:
                    yield event
        except ModelError as error:
            turn.reason = "error"
            is_of_images = isinstance(error, ImagesRefused)
            yield ImagesNotTaken(str(error)) if is_of_images else Failure(str(error))
        except Exception as error:
            _log.exception("A turn failed.")
            turn.reason = "error"
            yield Failure(_BUG.format(type(error).__name__))
        yield turn.usage(time.monotonic() - began)
        yield Done(turn.reason)

    async def _rounds(self, turn: "_Turn") -> AsyncGenerator[Event, None]:
        for _ in range(self._settings.max_rounds):
            async with contextlib.aclosing(self._ask(turn)) as events:
                async for event in events:
                    yield event
            answer = turn.answer
            if not answer.calls:
                turn.reason = "length" if answer.finish_reason == "length" else "stop"
                if failure := _failure_of(answer):
                    yield failure
                return
            async with contextlib.aclosing(self._make_calls(turn)) as events:
                async for event in events:
                    yield event
            if turn.reason == "error":
                return
        turn.reason = "rounds"
        yield Failure(
            f"The agent stopped after {self._settings.max_rounds} rounds without an answer. "
            "Ask it to go on, or ask for a smaller step."
        )

    async def _ask(self, turn: "_Turn") -> AsyncGenerator[Event, None]:
        """Ask the model once; its answer is in ``turn`` afterwards."""
        turn.answer = Answer()
        turn.tools_off = turn.failures >= self._settings.max_failures
        if turn.tools_off:
            # Within the last result, since not every model takes a system message here.
            last = turn.messages[-1]
            content = f"{last['content']}\n\n{_MUST_REPORT.format(turn.failures)}"
            turn.messages[-1] = {**last, "content": content}
        stream = self._model.stream(
            fit(turn.messages, self._settings.history_tokens),
            [tool.definition() for tool in self._offered()],
            may_call=not turn.tools_off,
            source=turn.source,
        )
        async with contextlib.aclosing(stream) as parts:
            async for part in parts:
                if isinstance(part, Answer):
                    turn.answer = part
                else:
                    yield part
        answer = turn.answer
        turn.usages.append(answer.usage)
        if answer.calls or answer.text:
            turn.messages.append(answer_message(answer.text, answer.calls, answer.returned_fields))
        yield AnswerEnd(answer.fields)

    async def _make_calls(self, turn: "_Turn") -> AsyncGenerator[Event, None]:
        """Make the calls of the model's answer, and report how each ended, whatever ends it."""
        waiting = list(turn.answer.calls)
        try:
            if turn.tools_off:
                # The model was told to answer without tools, and asks for tools instead.
                turn.reason = "error"
                yield Failure(
                    f"The agent gave up: {turn.failures} attempts in a row failed. The last error "
                    "stands above; say what to change, and ask again."
                )
                return
            while waiting:
                async with contextlib.aclosing(
                    self._call_and_report_outcome(waiting.pop(0), turn)
                ) as events:
                    async for event in events:
                        yield event
        finally:
            for call in waiting:
                self._model.report_outcome(
                    call.id, "refused" if turn.tools_off else "interrupted", ""
                )

    async def _call_and_report_outcome(
        self, call: ToolCall, turn: "_Turn"
    ) -> AsyncGenerator[Event, None]:
        """Make a call of the model's, and report how it ended, whatever ends it."""
        outcome = "interrupted"
        decided: ApprovalDecision | None = None
        asks = self._mode == "ask"
        try:
            async with contextlib.aclosing(self._call(call, turn, asks=asks)) as events:
                async for event in events:
                    if isinstance(event, ApprovalDecision):
                        decided = event
                    elif isinstance(event, CallEnd):
                        outcome = event.status
                    yield event
        except Exception:
            outcome = "error"
            raise
        finally:
            self._model.report_outcome(call.id, outcome, *approval.approval_of(self._mode, decided))

    def _offered(self) -> list[Tool[Any]]:
        tools = self._tools.values()
        return [tool for tool in tools if self._mode != "read-only" or not tool.effects]

    async def _call(
        self, call: ToolCall, turn: "_Turn", *, asks: bool
    ) -> AsyncGenerator[Event, None]:
        yield call
        result = ToolResult("error", "The tool ended without a word.")
        decision: ApprovalDecision | None = None
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
                    decision = await pending.decided()
                yield decision
                arguments = tool.parse(decision.arguments or call.arguments)
            if tool not in self._offered():
                result = ToolResult("refused", approval.TOLD_READ_ONLY)
            elif decision and decision.decision == "refuse":
                result = ToolResult("refused", approval.tell_refused(decision))
            else:
                async with contextlib.aclosing(tool.run(arguments)) as steps:
                    async for step in steps:
                        if isinstance(step, ToolResult):
                            result = step
                        elif isinstance(step, StatusChange):
                            yield step
                        elif isinstance(step, RunStart):
                            yield CallStart(call.id, step)
                        else:
                            yield Output(call.id, step)
        except ToolError as error:
            result = ToolResult("error", str(error))
        except Exception as error:
            _log.exception("A call of %s failed.", call.name)
            result = ToolResult("error", _TOOL_BUG.format(call.name, type(error).__name__))
        if decision and decision.arguments:
            result = ToolResult(
                result.status, approval.tell_edited(decision.arguments, result.text)
            )
        if result.status == "ok":
            turn.failures = 0
        elif not (decision and decision.decision == "refuse"):  # which is not the model's failure
            turn.failures += 1
        turn.messages.append(result_message(call.id, result.text))
        yield CallEnd(call.id, result.status, result.text)


class _Turn:
    """The state of a turn under way; ``answer`` is the model's latest."""

    def __init__(self, messages: list[Message], source: Source | None = None) -> None:
        self.source = source or Source()
        self.messages = messages
        self.answer = Answer()
        self.failures = 0
        self.tools_off = False
        self.usages: list[Usage] = []
        self.reason: DoneReason = "stop"

    def usage(self, seconds: float) -> Usage:
        """Return the sum over all answers."""
        return Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in self.usages),
            completion_tokens=sum(usage.completion_tokens for usage in self.usages),
            cached_tokens=sum(usage.cached_tokens for usage in self.usages),
            reasoning_tokens=sum(usage.reasoning_tokens for usage in self.usages),
            seconds=round(seconds, 3),
        )


def _failure_of(answer: Answer) -> Failure | None:
    """Return what the user must know of an answer that did not simply end."""
    if answer.finish_reason == "length":
        return Failure("The answer was cut off at the model's length limit. Ask it to go on.")
    if answer.refusal:
        return None
    if answer.finish_reason == "content_filter":
        return Failure("The provider's content filter stopped the answer. Ask in other words.")
    if not answer.text:
        return Failure("The model gave an empty answer. Ask again.")
    return None
