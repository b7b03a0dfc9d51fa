"""
The loop: ask the model, run the tools it calls, ask again.

An async generator of events. Built by :mod:`caesarion.services`; run by
:mod:`caesarion.chat.persona` and :mod:`caesarion.api.chat`; calls the model and, through
:mod:`caesarion.agent.calls`, the tools. Invariant: it knows neither chat nor Jupyter.
"""

import contextlib
import logging
import re
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

from caesarion import logs
from caesarion.agent.answer import Answer
from caesarion.agent.approval import Approvals
from caesarion.agent.calls import Call, Calls
from caesarion.agent.model import Model, Source
from caesarion.agent.prompt import Message, answer_message, fit, result_message, with_mode
from caesarion.agent.tools.tool import Tool
from caesarion.agent.tracing import Span, Traces
from caesarion.config import CaesarionAgent, Mode
from caesarion.errors import ImagesRefused, ModelError
from caesarion.events import (
    AnswerEnd,
    Done,
    DoneReason,
    Event,
    Failure,
    ImagesNotTaken,
    Plan,
    ToolCall,
    Usage,
)

_log = logging.getLogger(__name__)

_MUST_REPORT = (
    "{} calls in a row have failed. Do not call tools any more for this question: tell the user "
    "what you tried, what went wrong, and what they could do."
)
# The first item of a numbered list in Markdown.
_FIRST_STEP = re.compile(r"^ {0,3}(?:\*\*)?1[.)]\s", re.MULTILINE)
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
        conversation: str = "",
        traces: Traces = Traces(),  # noqa: B008 - records nothing
    ) -> None:
        self._settings = settings
        self._model = model
        self._mode = mode
        self._traces = traces
        approvals = approvals or Approvals()
        self._calls = Calls(tools, approvals, mode, conversation, model.report_outcome)

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
        turn = self._turn(with_mode(messages, self._mode), source)
        async with contextlib.aclosing(self._with_done_event(self._rounds(turn), turn)) as events:
            async for event in events:
                yield event

    async def repeat(self, call: ToolCall) -> AsyncGenerator[Event, None]:
        """
        Run ``call`` again; the events are those of a turn.

        The mode holds for it as for the model's calls: a script in the page could ask, too.
        """
        turn = self._turn([], Source())
        [again] = self._calls.named([call])
        again.is_reported = True  # The gateway knows the model's calls alone.
        work = self._calls.make([again], turn.span)
        async with contextlib.aclosing(self._with_done_event(work, turn)) as events:
            async for event in events:
                yield event

    def _turn(self, messages: list[Message], source: Source) -> "_Turn":
        span = self._traces.turn(source.traceparent, source.conversation, self._mode)
        return _Turn(messages, source, span)

    async def _with_done_event(
        self, work: AsyncGenerator[Event, None], turn: "_Turn"
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of ``work`` and the end of the turn, whatever fails in it."""
        began = time.monotonic()
        logs.trace.set(turn.span.trace_id)
        with turn.span:
            async with contextlib.aclosing(self._without_errors(work, turn)) as events:
                async for event in events:
                    yield event
            turn.span.ended(turn.reason)
        yield turn.usage(time.monotonic() - began)
        yield Done(turn.reason)

    async def _without_errors(
        self, work: AsyncGenerator[Event, None], turn: "_Turn"
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of ``work``, and what the person must know of an error in it."""
        try:
            async with contextlib.aclosing(work) as events:
                async for event in events:
                    yield event
        except ModelError as error:
            turn.fail(error)
            is_of_images = isinstance(error, ImagesRefused)
            yield ImagesNotTaken(str(error)) if is_of_images else Failure(str(error))
        except Exception as error:
            _log.exception("A turn failed.")
            turn.fail(error)
            yield Failure(_BUG.format(type(error).__name__))

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
                elif self._mode == "plan" and _FIRST_STEP.search(answer.text):
                    yield Plan()
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
        messages = fit(turn.messages, self._settings.history_tokens)
        with turn.span.chat(self._model.name, messages) as span:
            stream = self._model.stream(
                messages,
                [tool.definition() for tool in self._calls.offered()],
                may_call=not turn.tools_off,
                source=replace(turn.source, traceparent=span.traceparent),
            )
            async with contextlib.aclosing(stream) as parts:
                async for part in parts:
                    if isinstance(part, Answer):
                        turn.answer = part
                    else:
                        yield part
            answer = turn.answer
            span.answered(answer)
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
            self._calls.begin_answer()
            while waiting:
                group = self._calls.named(self._calls.next_group(waiting), turn.answer.receipt)
                del waiting[: len(group)]
                async with contextlib.aclosing(self._calls.make(group, turn.span)) as events:
                    async for event in events:
                        yield event
                turn.take_results(group)
        finally:
            for call in waiting:
                self._model.report_outcome(
                    *(call.id, "refused" if turn.tools_off else "interrupted", ""),
                    receipt=turn.answer.receipt,
                )


class _Turn:
    """The state of a turn under way; ``answer`` is the model's latest."""

    def __init__(self, messages: list[Message], source: Source, span: Span) -> None:
        self.source = source
        self.span = span
        self.messages = messages
        self.answer = Answer()
        self.failures = 0
        self.tools_off = False
        self.usages: list[Usage] = []
        self.reason: DoneReason = "stop"

    def fail(self, error: Exception) -> None:
        """Note that ``error`` ended the turn."""
        self.reason = "error"
        self.span.fail(type(error).__name__)

    def take_results(self, made: Sequence[Call]) -> None:
        """Let the model read the results of calls; those of a group count as one attempt."""
        results = [(one, one.result) for one in made if one.result]
        if any(result.status == "ok" for _, result in results):
            self.failures = 0
        elif any(not one.is_refused_by_person for one, _ in results):
            self.failures += 1
        self.messages += [result_message(one.call.id, result.text) for one, result in results]

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
