"""
A turn of a chat as a run: listed, readable by programs, and known after the server's death.

Used by :mod:`caesarion.chat.persona`. The chat itself is what people read, so a journal that cannot
be written does not stop a turn; one that is full does.
"""

import logging
from collections.abc import Callable

from jupyterlab_chat.models import BaseChatModel, Message

from caesarion.errors import JournalError, JournalFull
from caesarion.events import Event
from caesarion.runs.recording import Recording
from caesarion.runs.run import Subject, title_of
from caesarion.runs.store import Runs

_log = logging.getLogger(__name__)


class RecordedTurn:
    """The answer to ``question``, which ``cancel`` stops."""

    def __init__(
        self, runs: Runs, chat: BaseChatModel, question: Message, cancel: Callable[[], object]
    ) -> None:
        self._cancel = cancel
        self._recording: Recording | None = None
        subject = Subject(
            "chat",
            title=title_of(question.body),
            chat_id=chat.get_id(),
            chat_path=chat.get_path(),
            message_id=question.id,
        )
        try:
            self._recording = runs.record(subject, cancel)
        except JournalError as error:
            self._abandon(error)
        else:
            # The connections of pages; jupyterlab-chat 0.25 names them so.
            self._recording.is_attended = lambda: bool(getattr(chat, "handlers", None))

    def is_activity(self) -> bool:
        """Return whether the turn counts as activity of the server now."""
        return self._recording is None or self._recording.is_activity()

    def stop_with_server(self) -> None:
        """Stop the turn, as the server stops."""
        if self._recording:
            self._recording.stop_with_server()
        else:
            self._cancel()

    async def begin(self) -> None:
        """Note that the turn goes on now."""
        if self._recording:
            try:
                await self._recording.begin()
            except JournalError as error:
                self._abandon(error)

    async def event(self, event: Event) -> None:
        """Write an event; raise JournalFull."""
        if self._recording:
            try:
                await self._recording.event(event)
            except JournalFull:
                raise
            except JournalError as error:
                self._abandon(error)

    async def end_full(self, error: JournalFull) -> None:
        """Note that the turn was stopped as its journal is full."""
        if self._recording:
            await self._recording.end_full(error)

    async def end_cancelled(self, note: str) -> None:
        """Note that the turn was stopped."""
        if self._recording:
            await self._recording.end_cancelled(note)

    async def end_failed(self, sentence: str) -> None:
        """Note that the turn could not go on."""
        if self._recording:
            await self._recording.end("failed", error=("turn_failed", sentence))

    def _abandon(self, error: JournalError) -> None:
        _log.warning("A turn is not recorded. %s", error)
        recording, self._recording = self._recording, None
        if recording:
            recording.abandon(error)
