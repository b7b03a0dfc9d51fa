"""
A run under way: its events go into the journal, its status follows from them.

Made by :mod:`caesarion.runs.store`. Written by the work of :mod:`caesarion.api.background` and by
the turns of :mod:`caesarion.chat.persona`; read, from any event on, by :mod:`caesarion.api.runs`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from caesarion.errors import JournalError, JournalFull
from caesarion.events import (
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CellChange,
    Done,
    Event,
    Failure,
    QuestionAnswered,
    QuestionAsked,
    RunStart,
    ToolCall,
)
from caesarion.runs.journal import JournalWriter
from caesarion.runs.run import STATUS, Run, RunStatus
from caesarion.runs.wire import named, output_name


class Recording:
    """
    Records one run.

    ``cancel`` stops its work. ``max_seconds`` is how long it counts as activity of the server
    while nobody listens. ``on_change`` is called at each change of its status, and of what it
    waits for, ``on_end`` at its end.
    """

    def __init__(
        self,
        run: Run,
        journal: JournalWriter,
        cancel: Callable[[], object],
        max_seconds: float,
        on_change: Callable[[Run], object],
        on_end: Callable[["Recording"], object],
    ) -> None:
        self.run = run
        self.readers = 0
        self.changed = asyncio.Event()
        """Set at the next event; then another takes its place."""
        self.is_attended: Callable[[], bool] = lambda: self.readers > 0
        self._journal = journal
        self._cancel = cancel
        self._is_cancelled = False
        # Whether the server stops, and the run with it.
        self._is_stopping = False
        self._began = time.monotonic()
        self._max_seconds = max_seconds
        self._on_change = on_change
        self._on_end = on_end
        self._failure = ""
        # The calls of a turn, by their ids, and what those wait for that wait for a person.
        self._calls: dict[str, dict[str, Any]] = {}
        self._waiting: dict[str, dict[str, Any]] = {}

    @property
    def is_over_time(self) -> bool:
        """Whether it has run for as long as it may count as activity."""
        return time.monotonic() - self._began >= self._max_seconds

    def is_activity(self) -> bool:
        """Return whether it counts as activity of the server now."""
        return self.is_attended() or not self.is_over_time

    def cancel(self) -> None:
        """Stop the work, once: a second cancellation would cut off the first one's end."""
        if not self._is_cancelled:
            self._is_cancelled = True
            self._cancel()

    def stop_with_server(self) -> None:
        """Stop the work, as the server stops."""
        self._is_stopping = True
        self.cancel()

    async def begin(self) -> None:
        """Note that the work goes on now, after it was queued."""
        await self._set_status("in_progress")

    async def event(self, event: Event) -> None:
        """
        Write an event of a turn; the last one ends the run.

        Raises JournalFull, JournalError.
        """
        if found := named(event):
            self.write(*found)
        match event:
            case ToolCall(id=id, name=name, arguments=arguments):
                self._calls[id] = {"id": id, "name": name, "arguments": arguments}
            case CellChange(call_id=call_id, change=change) if call_id in self._calls:
                self._calls[call_id]["change"] = dict(change)
            case ApprovalRequest(call_id=call_id, approval_id=approval_id, classes=classes):
                await self._waits(call_id, approval_id=approval_id, classes=list(classes))
            case QuestionAsked(call_id=call_id, question=question):
                await self._waits(call_id, question=asdict(question))
            case ApprovalDecision(call_id=call_id) | QuestionAnswered(call_id=call_id):
                await self._goes_on(call_id)
            case CallEnd(call_id=call_id):
                await self._goes_on(call_id)
                self._calls.pop(call_id, None)
            case Failure(message=message):
                self._failure = message
            case Done(reason=reason):
                await self._turn_ended(reason)

    def step(self, step: RunStart | dict[str, Any]) -> None:
        """Write a step of code that runs by itself: its start, or an output."""
        if isinstance(step, RunStart):
            self.write("running", asdict(step))
        else:
            self._append(output_name(step), {"output": step})

    def late_output(self, call_id: str, output: dict[str, Any]) -> None:
        """Write an output that comes after the end of its call, unless the run has ended."""
        if not self.run.has_ended:
            with contextlib.suppress(JournalError):  # The next event of the work says it.
                self.write(output_name(output), {"call_id": call_id, "output": output})

    def write(self, name: str, data: dict[str, Any]) -> None:
        """Write an event; raise JournalFull or JournalError."""
        self._append(name, data)

    async def end(
        self,
        status: RunStatus,
        *,
        error: tuple[str, str] | None = None,
        incomplete: tuple[str, str] | None = None,
        path: str = "",
    ) -> None:
        """
        End the run, once.

        ``error`` and ``incomplete`` are a code or reason, and a sentence; ``path`` is where its
        notebook was saved.
        """
        if self.run.has_ended:
            return
        data: dict[str, Any] = {}
        if error:
            data["error"] = dict(zip(("code", "message"), error, strict=True))
        if incomplete:
            data["incomplete_details"] = dict(zip(("reason", "message"), incomplete, strict=True))
        if path:
            data["path"] = path
        try:
            self._append(STATUS, {"status": status, **data}, last=True)
        except JournalError as failed:
            self.abandon(failed)
            return
        self._on_end(self)
        await asyncio.shield(asyncio.to_thread(self._journal.close))

    def abandon(self, error: JournalError) -> None:
        """
        End the run without a journal, as it cannot be written: its file is deleted.

        Otherwise the next server would take it for one that was cut off.
        """
        self._journal.discard()
        self.run.status = "failed"
        self.run.error = {"code": "journal_error", "message": str(error)}
        self._tell()
        self._on_change(self.run)
        self._on_end(self)

    async def end_full(self, error: JournalFull) -> None:
        """End the run as its journal is full."""
        await self.end("incomplete", incomplete=("journal_full", str(error)))

    async def end_cancelled(self, note: str = "") -> None:
        """End a run whose work was cancelled: by a person or program, or as the server stops."""
        if self._is_stopping:
            await self.end("failed", error=("server_stopped", self._why_stopped()))
        else:
            await self.end("cancelled", error=("cancelled", note) if note else None)

    def _why_stopped(self) -> str:
        sentence = "The server was stopped while this ran."
        if self.is_over_time:
            minutes = f"{self._max_seconds / 60:g}"
            sentence += (
                f" After {minutes} minutes a run that nobody listens to no longer counts as "
                "activity, so an idle server is stopped (agent.backgroundMaxMinutes)."
            )
        return sentence

    async def _turn_ended(self, reason: str) -> None:
        if reason == "stop":
            await self.end("completed")
        elif reason in ("length", "rounds"):
            await self.end("incomplete", incomplete=(reason, self._failure))
        elif reason == "cancelled":
            await self.end_cancelled()
        else:
            await self.end("failed", error=("turn_failed", self._failure))

    async def _waits(self, call_id: str, **what: Any) -> None:
        self._waiting[call_id] = {"call": self._calls.get(call_id, {"id": call_id}), **what}
        self.run.required_action = list(self._waiting.values())
        if self.run.status != "requires_action":
            await self._set_status("requires_action")
        else:
            self._on_change(self.run)

    async def _goes_on(self, call_id: str) -> None:
        if self._waiting.pop(call_id, None):
            self.run.required_action = list(self._waiting.values())
            if not self._waiting:
                await self._set_status("in_progress")
            else:
                self._on_change(self.run)

    async def _set_status(self, status: RunStatus) -> None:
        self._append(STATUS, {"status": status})
        # In a thread: a slow disk would hold up the whole server.
        await asyncio.shield(asyncio.to_thread(self._journal.sync))

    def _append(self, name: str, data: dict[str, Any], *, last: bool = False) -> None:
        self.run.take(self._journal.append(name, data, last=last))
        self._tell()
        if name == STATUS:
            self._on_change(self.run)

    def _tell(self) -> None:
        if self.readers:
            self.changed.set()
            self.changed = asyncio.Event()
