"""
The outputs of one run, kept within limits as they come, and their digest for the model.

Called by :mod:`caesarion.kernels.run`, which feeds the kernel's messages; nbformat outputs go on
to the chat and the HTTP API, and a digest of them goes to the model. Pure: no I/O.
"""

import json
import re
from collections import defaultdict, deque
from typing import Any

from caesarion.kernels.plain_text import describe
from caesarion.kernels.terminal import ANSI, Terminal, difference
from caesarion.text import clip

# Bundles that are text, whatever their MIME type says of them.
_TEXT = ("text/plain", "text/markdown", "text/latex")

# Bundles that need not be text (nbformat 4's schema, mimebundle).
_JSON = re.compile(r"application/(json|.*\+json)")

# What of a message belongs to an output (nbformat 4's schema, output).
_FIELDS = {
    "display_data": ("data", "metadata"),
    "execute_result": ("data", "metadata", "execution_count"),
    "error": ("ename", "evalue", "traceback"),
}


class _Stream:
    """Text of one stream, up to the output that follows it, and what of it was handed out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.terminal = Terminal()
        # Lines that cannot change any more and were not handed out as such.
        self.settled: list[str] = []
        self._live: list[str] = []

    def take(self) -> str:
        """Return what turns the text that was handed out into the one that is there now."""
        lines = self.terminal.open_lines()
        text = difference(self._live, self.settled + lines)
        self.settled, self._live = [], lines
        return text


class OutputBuffer:
    """
    The outputs of one run, capped as they come.

    ``feed`` takes the kernel's messages and keeps what may be shown until ``take`` hands it out;
    what waits is bounded by the limits (in characters) however fast the kernel talks. Text of a
    stream is what a terminal shows of it: where that changes what was handed out before, the next
    piece begins with sequences that do the same. ``digest`` is what the model reads.
    """

    def __init__(self, *, shown_text: int, max_media: int, max_outputs: int) -> None:
        self._head_limit = shown_text - shown_text // 2
        self._tail_limit = shown_text // 2
        self._max_media = max_media
        self._max_outputs = max_outputs
        self._reset()

    def _reset(self) -> None:
        self._clears = False
        self._pending: list[dict[str, Any]] = []
        self._stream: _Stream | None = None
        self._head = 0
        self._tail: deque[tuple[str, str]] = deque()
        self._tail_size = 0
        self._left_out = 0
        self._rich = 0
        self._rich_left_out = 0
        # Text, and rich outputs as they are now; those with an id stand in the second, too.
        self._for_model: list[str | dict[str, Any]] = []
        self._displays: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def feed(self, message: dict[str, Any]) -> None:
        """Take one iopub message of the run; those that show nothing are passed over."""
        kind = message["msg_type"]
        content = message["content"]
        if kind == "clear_output":
            if content.get("wait"):
                # What was shown stays until something takes its place.
                self._clears = True
            else:
                self._clear(wait=False)
        elif kind == "update_display_data":
            self._update(content)
        elif kind == "stream" or kind in _FIELDS:
            if self._clears:
                self._clear(wait=True)
            if kind == "stream":
                self._write(content["name"], content["text"])
            else:
                self._rich_output(kind, content)

    def take(self) -> list[dict[str, Any]]:
        """Return what has come since the last call, oldest first."""
        if self._stream and self._fits():
            self._hand_out(self._stream)
        taken, self._pending = self._pending, []
        return taken

    def finish(self) -> list[dict[str, Any]]:
        """Return what is left to show once the run has ended: the tail of capped text."""
        if not self._fits():
            self._end_stream()
        rest = self.take()
        if self._left_out:
            rest.append(_stream("stdout", self._text_note()))
        for name, text in self._tail:
            _append(rest, name, text)
        if self._rich_left_out:
            rest.append(_stream("stderr", self._rich_note()))
        return rest

    def digest(self, limit: int) -> str:
        """Return the run's outputs as text of at most about ``limit`` characters."""
        parts = [part if isinstance(part, str) else describe(part) for part in self._for_model]
        if self._left_out:
            parts.append(self._text_note())
        parts += [text for _, text in self._tail]
        if self._stream:
            parts += self._stream.terminal.open_lines()
        if self._rich_left_out:
            parts.append(self._rich_note())
        # The first line of a table begins with spaces.
        return clip(ANSI.sub("", "".join(parts)).lstrip("\n").rstrip(), limit)

    def _text_note(self) -> str:
        return f"\n[... {self._left_out:,} characters left out ...]\n"

    def _rich_note(self) -> str:
        return f"[{self._rich_left_out:,} more outputs were left out]\n"

    def _clear(self, *, wait: bool) -> None:
        """Forget what was shown before: it no longer counts, nor need it be handed out."""
        self._reset()
        self._pending.append({"output_type": "clear_output", "wait": wait})

    def _write(self, name: str, text: str) -> None:
        if self._stream is None or self._stream.name != name:
            self._end_stream()
            self._stream = _Stream(name)
        self._stream.terminal.write(text)
        self._settle(self._stream, self._stream.terminal.settled())

    def _fits(self) -> bool:
        """Return whether the text that can still change has room in the head."""
        lines = self._stream.terminal.open_lines() if self._stream else []
        return not self._tail and self._head + sum(map(len, lines)) <= self._head_limit

    def _hand_out(self, stream: _Stream) -> None:
        if text := stream.take():
            _append(self._pending, stream.name, text)

    def _end_stream(self) -> None:
        """Settle the stream's last lines: what comes now stands below them."""
        if stream := self._stream:
            self._settle(stream, stream.terminal.open_lines())
            stream.terminal = Terminal()
            self._hand_out(stream)
            self._stream = None

    def _settle(self, stream: _Stream, lines: list[str]) -> None:
        """Keep lines that can no longer change: in the head if they have room, else in the tail."""
        for place, line in enumerate(lines):
            room = 0 if self._tail else self._head_limit - self._head
            if len(line) > room:
                # A colour would be cut in two.
                line = ANSI.sub("", line)
                self._keep(stream, line[:room])
                self._keep_in_tail(stream.name, "".join([line[room:], *lines[place + 1 :]]))
                return
            self._keep(stream, line)

    def _keep(self, stream: _Stream, text: str) -> None:
        stream.settled.append(text)
        self._for_model.append(text)
        self._head += len(text)

    def _keep_in_tail(self, name: str, text: str) -> None:
        self._tail.append((name, text))
        self._tail_size += len(text)
        while (over := self._tail_size - self._tail_limit) > 0:
            name, oldest = self._tail.popleft()
            kept = _end_of(oldest, len(oldest) - over)
            if kept:
                self._tail.appendleft((name, kept))
            self._tail_size -= len(oldest) - len(kept)
            self._left_out += len(oldest) - len(kept)

    def _update(self, content: dict[str, Any]) -> None:
        kind, transient = "update_display_data", content.get("transient", {})
        data, display_id = self._fit(content["data"]), str(transient.get("display_id", ""))
        if display_id not in self._displays:
            # Of a run before this one.
            if self._rich >= self._max_outputs:
                self._rich_left_out += 1
                return
            self._tell({"output_type": "display_data", "data": data}, display_id)
        for told in self._displays[display_id]:
            told["data"] = data
        # Of several updates that wait, only the last would be seen.
        self._pending = [
            output
            for output in self._pending
            if output["output_type"] != kind or output["transient"] != transient
        ]
        self._pending.append({**content, "output_type": kind, "transient": transient, "data": data})

    def _rich_output(self, kind: str, content: dict[str, Any]) -> None:
        self._end_stream()
        if kind != "error" and self._rich >= self._max_outputs:
            self._rich_left_out += 1
            return
        # By hand: nbformat's output_from_msg refuses bundles of nonsense, drops the
        # display_id that updates go by, and checks an image for milliseconds.
        output = {"output_type": kind, **{name: content[name] for name in _FIELDS[kind]}}
        transient = content.get("transient") or {}
        if transient:
            output["transient"] = transient
        if kind == "error":
            traceback = _clip("\n".join(output["traceback"]), self._tail_limit)
            output["traceback"] = traceback.split("\n") if traceback else []
            output["evalue"] = _clip(output["evalue"], self._tail_limit)
        else:
            output["data"] = self._fit(output["data"])
        self._pending.append(output)
        self._tell(output, str(transient.get("display_id", "")))

    def _tell(self, output: dict[str, Any], display_id: str) -> None:
        self._rich += 1
        told = dict(output)
        self._for_model.append(told)
        if display_id:
            self._displays[display_id].append(told)

    def _fit(self, data: dict[str, Any]) -> dict[str, Any]:
        fitting: dict[str, Any] = {}
        for mime, value in data.items():
            # Code can show a bundle of its own making, whatever is in it.
            text = value if isinstance(value, str) else json.dumps(value)
            if mime in _TEXT:
                fitting[mime] = _clip(text, 2 * self._tail_limit)
            elif len(text) <= self._max_media:
                fitting[mime] = value if _JSON.match(mime) else text
            else:
                fitting["text/plain"] = (
                    f"[{mime} of {len(text):,} characters left out: "
                    f"the limit is {self._max_media:,}]"
                )
        return fitting


def _stream(name: str, text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": name, "text": text}


def _append(outputs: list[dict[str, Any]], name: str, text: str) -> None:
    last = outputs[-1] if outputs else {}
    if last.get("output_type") == "stream" and last["name"] == name:
        last["text"] += text
    else:
        outputs.append(_stream(name, text))


def _clip(text: str, limit: int) -> str:
    """Return ``text`` clipped; what has to be cut loses its colours, which could be cut in two."""
    return text if len(text) <= limit else clip(ANSI.sub("", text), limit)


def _end_of(text: str, length: int) -> str:
    """Return about the last ``length`` characters, at most, of lines of a terminal."""
    if length <= 0:
        return ""
    start = len(text) - length
    end_of_line = text.find("\n", start) + 1 or len(text)
    line = text[text.rfind("\n", 0, start) + 1 : end_of_line]
    if "\x1b" in line:
        # A colour would be cut in two.
        return ANSI.sub("", line)[start - end_of_line :] + text[end_of_line:]
    return text[start:]
