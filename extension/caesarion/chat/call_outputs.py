"""
The outputs of one call in the chat, each a message.

Used by :mod:`caesarion.chat.transcript`. A call may show more after its end, by a task that its
code began; that stands below its other outputs, whatever has been said since.
"""

from collections.abc import Callable
from typing import Any

from caesarion.chat.live_message import LiveMessage
from caesarion.kernels.plain_text import describe_error
from caesarion.kernels.terminal import Terminal
from caesarion.message_metadata import CALL_MIME, OUTPUT_MIME, REASONING_MIME

Displays = dict[str, list[LiveMessage]]
"""What is shown by display_id, which calls have in common."""


class CallOutputs:
    """
    The outputs of the call ``call_id``, below its message ``call``.

    ``make`` makes a message at the end of the chat, or below the one that it is given.
    """

    def __init__(
        self,
        call_id: str,
        call: LiveMessage,
        make: Callable[[LiveMessage | None], LiveMessage],
        displays: Displays,
    ) -> None:
        self._call_id = call_id
        self._call = call
        self._make = make
        self._displays = displays
        self._messages: list[LiveMessage] = []
        # Where the next output goes: below the end, unless outputs were cleared.
        self._next = 0
        self._ended = False

    def __bool__(self) -> bool:
        return bool(self._messages)

    @property
    def is_deleted(self) -> bool:
        """Whether the call's message has been deleted, with its turn."""
        return self._call.is_deleted

    def show(self, output: dict[str, Any]) -> None:
        """Show an output, or apply an update or a clearing to earlier ones."""
        kind = output["output_type"]
        display_id = output.get("transient", {}).get("display_id")
        if kind == "clear_output":
            self._next = 0
            for shown in self._displays.values():
                shown[:] = [live for live in shown if live not in self._messages]
        elif kind == "update_display_data":
            for live in self._displays.get(display_id, ()):
                live.show({**_output_data(output["data"]), OUTPUT_MIME: live.data[OUTPUT_MIME]})
        elif kind == "stream":
            self._stream(output["name"], output["text"])
        else:
            live = self._next_message(f"{kind} {self._next}")
            if kind == "error":
                told = describe_error(output)
                self._show(live, {"application/vnd.jupyter.stderr": told}, kind)
            else:
                self._show(live, output["data"], kind, output.get("execution_count"))
            if display_id:
                self._displays.setdefault(display_id, []).append(live)

    def end(self) -> None:
        """Remove outputs that were cleared for good, and show every change that still waits."""
        for live in self._messages[self._next :]:
            self._show(live, {"text/plain": ""}, "stream")
        self.flush()
        self._ended = True

    def flush(self) -> None:
        """Show every change that still waits."""
        for live in self._messages:
            live.flush()

    def _stream(self, name: str, text: str) -> None:
        mime = "text/plain" if name == "stdout" else "application/vnd.jupyter.stderr"
        last = self._messages[self._next - 1] if self._next else None
        if last is None or last.kind != name:
            last = self._next_message(name)
            last.terminal, last.settled = Terminal(), ""
        last.terminal.write(text)
        last.settled += "".join(last.terminal.settled())
        self._show(last, {mime: last.settled + last.terminal.text()}, "stream")

    def _show(
        self, live: LiveMessage, data: dict[str, Any], kind: str, count: int | None = None
    ) -> None:
        mark: dict[str, Any] = {
            "call": self._call_id,
            "number": self._messages.index(live),
            "output_type": kind,
        }
        if count is not None:
            mark["execution_count"] = count
        live.show({**_output_data(data), OUTPUT_MIME: mark})

    def _next_message(self, kind: str) -> LiveMessage:
        """Return the message for the next output: a cleared one, or a new one."""
        if self._next < len(self._messages):
            live = self._messages[self._next]
        else:
            above = self._messages[-1] if self._messages else self._call
            live = self._make(above if self._ended else None)
            self._messages.append(live)
        live.kind = kind
        self._next += 1
        return live


def _output_data(data: dict[str, Any]) -> dict[str, Any]:
    """Return an output without what would be drawn as a call: code could show one that waits."""
    ours = (CALL_MIME, REASONING_MIME, OUTPUT_MIME)
    return {mime: value for mime, value in data.items() if mime.lower() not in ours}
