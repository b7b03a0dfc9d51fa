"""
The outputs of a call in the chat: one message each, which later outputs may change.

Used by :mod:`caesarion.chat.transcript`. Follows what a notebook does with streams, cleared
outputs and updated displays; the text of a stream is what a terminal shows of it.
"""

from collections.abc import Callable
from typing import Any

from caesarion.chat.live_message import LiveMessage
from caesarion.kernels.plain_text import describe_error
from caesarion.kernels.terminal import Terminal
from caesarion.message_metadata import OUTPUT_MIME


class CallOutputs:
    """The outputs of a turn's calls, one call at a time; ``make`` makes a message."""

    def __init__(self, make: Callable[[], LiveMessage]) -> None:
        self._make = make
        self._call_id = ""
        self._outputs: list[LiveMessage] = []
        # The index of the next output: the end, unless outputs were cleared.
        self._next = 0
        # Displays by their ids, of earlier calls too: any later code may update them.
        self._displays: dict[str, list[LiveMessage]] = {}

    @property
    def any(self) -> bool:
        """Whether the call has shown anything."""
        return bool(self._outputs)

    def begin(self, call_id: str) -> None:
        """Begin the outputs of a call."""
        self._call_id, self._outputs, self._next = call_id, [], 0

    def show(self, output: dict[str, Any]) -> None:
        """Show an output, or apply an update or a clearing to earlier ones."""
        kind = output["output_type"]
        display_id = output.get("transient", {}).get("display_id")
        if kind == "clear_output":
            self._next = 0
            for shown in self._displays.values():
                shown[:] = [live for live in shown if live not in self._outputs]
        elif kind == "update_display_data":
            for live in self._displays.get(display_id, ()):
                live.show({**output["data"], OUTPUT_MIME: live.data[OUTPUT_MIME]})
        elif kind == "stream":
            self._stream(output["name"], output["text"])
        else:
            live = self._place(f"{kind} {self._next}")
            if kind == "error":
                told = describe_error(output)
                self._show_output(live, {"application/vnd.jupyter.stderr": told}, kind)
            else:
                self._show_output(live, output["data"], kind, output.get("execution_count"))
            if display_id:
                self._displays.setdefault(display_id, []).append(live)

    def end(self) -> None:
        """Empty the outputs that were cleared for good, and show every change that waits."""
        for live in self._outputs[self._next :]:
            self._show_output(live, {"text/plain": ""}, "stream")
        self.flush()

    def flush(self) -> None:
        """Show every change that waits."""
        for live in self._outputs:
            live.flush()

    def _stream(self, name: str, text: str) -> None:
        mime = "text/plain" if name == "stdout" else "application/vnd.jupyter.stderr"
        last = self._outputs[self._next - 1] if self._next else None
        if last is None or last.kind != name:
            last = self._place(name)
            last.terminal, last.settled = Terminal(), ""
        last.terminal.write(text)
        last.settled += "".join(last.terminal.settled())
        self._show_output(last, {mime: last.settled + last.terminal.text()}, "stream")

    def _show_output(
        self, live: LiveMessage, data: dict[str, Any], kind: str, count: int | None = None
    ) -> None:
        mark: dict[str, Any] = {
            "call": self._call_id,
            "number": self._outputs.index(live),
            "output_type": kind,
        }
        if count is not None:
            mark["execution_count"] = count
        live.show({**data, OUTPUT_MIME: mark})

    def _place(self, kind: str) -> LiveMessage:
        """Return the message for the next output: a cleared one, or a new one."""
        if self._next < len(self._outputs):
            live = self._outputs[self._next]
        else:
            live = self._make()
            self._outputs.append(live)
        live.kind = kind
        self._next += 1
        return live
