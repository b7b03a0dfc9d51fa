"""
A chat message that changes often: shown at once, then once per pause.

Used by :mod:`caesarion.chat.transcript`. Every update sends and stores the message whole,
so a long message is updated less often than a short one.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from jupyterlab_chat.models import BaseChatModel, Message, MimeModel, NewMessage

from caesarion.kernels.terminal import Terminal
from caesarion.message_metadata import KEY
from caesarion.text import without_commands

# Seconds between two updates of one message; a long one waits longer, so that it sends at
# most 50,000 characters a second. Made up.
_PAUSE = 0.06
_RATE = 50_000

# Seconds by which a message is later than the one it is put below (``above``): messages are
# sorted by their time, and the lab's clock has microseconds.
_BELOW = 1e-6


class LiveMessage:
    """
    A message with a Markdown ``body`` or a MIME bundle ``data``, and its ``record``.

    ``make_data`` makes the bundle when the message is shown, where that is too much for
    each change. ``raw`` is set by :mod:`~caesarion.chat.transcript`; ``kind``, ``terminal`` and
    ``settled`` (the text of a stream that its terminal no longer changes) by
    :mod:`~caesarion.chat.call_outputs`. With ``above`` it stands right below that message, else
    at the end.
    """

    def __init__(
        self,
        chat: BaseChatModel,
        persona_id: str,
        record: dict[str, Any],
        body: str = "",
        above: "LiveMessage | None" = None,
    ) -> None:
        self.kind = ""
        self.body = body
        self.raw = ""
        self.terminal = Terminal()
        self.settled = ""
        self.record = record
        self.data: dict[str, Any] = {}
        self.created = time.time()
        self.make_data: Callable[[], dict[str, Any]] | None = None
        self._chat = chat
        self._persona_id = persona_id
        self._message: Message | None = None
        self._above = above
        self._timer: asyncio.TimerHandle | None = None
        self._shown_at = 0.0
        self._size = 0

    @property
    def is_deleted(self) -> bool:
        """Whether the message was shown and has been deleted since."""
        shown = self._message and self._chat.get_message(self._message.id)
        return bool(shown and shown.deleted)

    def show(self, data: dict[str, Any]) -> None:
        """Show the MIME bundle ``data`` as the message."""
        self.data = data
        self.touch()

    def touch(self) -> None:
        """Show the message as it is now, at once or when its pause is over."""
        if self._timer:
            return
        loop = asyncio.get_running_loop()
        due = self._shown_at + max(_PAUSE, self._size / _RATE)
        if loop.time() >= due:
            self.show_now()
        else:
            self._timer = loop.call_at(due, self.show_now)

    def flush(self) -> None:
        """Show a change that waits for its pause."""
        if self._timer:
            self.show_now()

    def show_now(self) -> None:
        """Show the message as it is, without a pause."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self.make_data:
            self.data = self.make_data()
        body = without_commands(self.body)
        mime = MimeModel(data=_harmless(self.data)) if self.data else None
        if self._message is None:
            new = NewMessage(body=body, sender=self._persona_id, mime_model=mime)
            self._chat.add_message(new, trigger_actions=[self._stamp])
        else:
            # Its id and its time stay: messages are sorted by their time.
            self._message.body, self._message.mime_model = body, mime
            self._chat.update_message(self._message)
        self._shown_at = asyncio.get_running_loop().time()
        self._size = len(self.body) + sum(len(str(value)) for value in self.data.values())

    def _stamp(self, message: Message, _: BaseChatModel) -> None:
        message.metadata = {KEY: self.record}
        if self._above and self._above._message:
            message.time = self._above._message.time + _BELOW
        self._message = message


def _harmless(data: dict[str, Any]) -> dict[str, Any]:
    """Return a bundle without commands in its HTML, which the lab would run at a click."""
    return {
        mime: without_commands(value) if mime in ("text/html", "text/markdown") else value
        for mime, value in data.items()
    }
