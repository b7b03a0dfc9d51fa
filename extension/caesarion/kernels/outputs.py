"""
What code shows, made fit to keep: pure functions and one accumulator.

The kernel's messages come in; nbformat outputs, capped, go on to the chat and
the HTTP door, and a digest of them goes to the model. Called by
:mod:`caesarion.kernels.kernel` and :mod:`caesarion.agent.tools.python`. No I/O.
"""

import json
import re
from typing import Any

from caesarion.text import clip

ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")

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


def overwritten(text: str) -> str:
    """Return ``text`` as a terminal shows it after its carriage returns and backspaces."""
    if "\b" in text:
        text = _backspaced(text)
    if "\r" not in text:
        return text
    lines = []
    for line in text.replace("\r\n", "\n").split("\n"):
        shown: list[str] = []
        for piece in line.split("\r"):
            shown[: len(piece)] = piece
        lines.append("".join(shown))
    return "\n".join(lines)


def _backspaced(text: str) -> str:
    kept: list[str] = []
    for character in text:
        if character != "\b":
            kept.append(character)
        elif kept and kept[-1] not in "\r\n":
            kept.pop()
    return "".join(kept)


class Recorder:
    """
    The outputs of one run, capped as they come.

    ``feed`` takes the kernel's messages and keeps what may be shown until
    ``take`` hands it out; consecutive pieces of a stream become one, so what
    waits is bounded by the limits (in characters) however fast the kernel
    talks. ``digest`` is what the model is told.
    """

    def __init__(self, *, shown_text: int, max_media: int, max_outputs: int) -> None:
        self._head = shown_text - shown_text // 2
        self._tail_limit = shown_text // 2
        self._max_media = max_media
        self._max_outputs = max_outputs
        self._reset()

    def _reset(self) -> None:
        self._pending: list[dict[str, Any]] = []
        self._shown = 0
        self._tail: list[dict[str, Any]] = []
        self._tail_size = 0
        self._left_out = 0
        self._rich = 0
        self._rich_left_out = 0
        self._told: list[str] = []

    def feed(self, message: dict[str, Any]) -> None:
        """Take one iopub message of the run; those that show nothing are passed over."""
        kind = message["msg_type"]
        content = message["content"]
        if kind == "stream":
            self._stream(content["name"], content["text"])
        elif kind == "update_display_data":
            self._update(content)
        elif kind in ("display_data", "execute_result", "error"):
            self._rich_output(kind, message)
        elif kind == "clear_output":
            # What was shown before is gone, so it no longer counts; nor need it
            # be handed out if it still waits here.
            self._reset()
            self._pending.append({"output_type": kind, "wait": bool(content.get("wait"))})

    def take(self) -> list[dict[str, Any]]:
        """Return what has come since the last call, oldest first."""
        taken, self._pending = self._pending, []
        return taken

    def finish(self) -> list[dict[str, Any]]:
        """Return what is left to show once the run has ended: the tail of capped text."""
        rest = self.take()
        if self._left_out:
            rest.append(_stream("stdout", self._text_note()))
        rest += self._tail
        if self._rich_left_out:
            rest.append(_stream("stderr", self._rich_note()))
        return rest

    def digest(self, limit: int) -> str:
        """Return the run's outputs as text of at most about ``limit`` characters."""
        told = list(self._told)
        if self._left_out:
            told.append(self._text_note())
        told += [piece["text"] for piece in self._tail]
        if self._rich_left_out:
            told.append(self._rich_note())
        text = overwritten(ANSI.sub("", "".join(told)))
        # The first line of a table begins with spaces.
        return clip(text.lstrip("\n").rstrip(), limit)

    def _text_note(self) -> str:
        return f"\n[... {self._left_out:,} characters left out ...]\n"

    def _rich_note(self) -> str:
        return f"[{self._rich_left_out:,} more outputs were left out]\n"

    def _stream(self, name: str, text: str) -> None:
        room = self._head - self._shown
        if room > 0:
            _append(self._pending, name, text[:room])
            self._told.append(text[:room])
            self._shown += min(room, len(text))
            text = text[room:]
        if not text:
            return
        if len(text) > self._tail_limit:
            self._left_out += len(text) - self._tail_limit
            text = text[-self._tail_limit :]
        _append(self._tail, name, text)
        self._tail_size += len(text)
        while self._tail_size > self._tail_limit:
            over = self._tail_size - self._tail_limit
            cut = min(over, len(self._tail[0]["text"]))
            self._tail[0]["text"] = self._tail[0]["text"][cut:]
            if not self._tail[0]["text"]:
                self._tail.pop(0)
            self._tail_size -= cut
            self._left_out += cut

    def _update(self, content: dict[str, Any]) -> None:
        kind, transient = "update_display_data", content.get("transient", {})
        # Of several updates that wait, only the last would be seen.
        self._pending = [
            output
            for output in self._pending
            if output["output_type"] != kind or output["transient"] != transient
        ]
        if sum(output["output_type"] == kind for output in self._pending) >= self._max_outputs:
            self._rich_left_out += 1
            return
        data = self._fit(content["data"])
        self._pending.append({**content, "output_type": kind, "transient": transient, "data": data})

    def _rich_output(self, kind: str, message: dict[str, Any]) -> None:
        if kind != "error" and self._rich >= self._max_outputs:
            self._rich_left_out += 1
            return
        self._rich += 1
        # By hand: nbformat's output_from_msg refuses bundles of nonsense, drops the
        # display_id that updates go by, and checks an image for milliseconds.
        content = message["content"]
        output = {"output_type": kind, **{name: content[name] for name in _FIELDS[kind]}}
        if transient := content.get("transient"):
            output["transient"] = transient
        if kind == "error":
            output["traceback"] = clip("\n".join(output["traceback"]), self._tail_limit).split("\n")
            output["evalue"] = clip(output["evalue"], self._tail_limit)
        else:
            output["data"] = self._fit(output["data"])
        self._pending.append(output)
        self._told.append(_told(output))

    def _fit(self, data: dict[str, Any]) -> dict[str, Any]:
        fitting: dict[str, Any] = {}
        for mime, value in data.items():
            # Code can show a bundle of its own making, whatever is in it.
            text = value if isinstance(value, str) else json.dumps(value)
            if mime in _TEXT:
                fitting[mime] = clip(text, 2 * self._tail_limit)
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


def _told(output: dict[str, Any]) -> str:
    """Return one rich output as the model is told of it, ending in a line break."""
    if output["output_type"] == "error":
        told = "\n".join(output["traceback"]) or f"{output['ename']}: {output['evalue']}"
        return f"{told}\n"
    data = output["data"]
    media = [mime for mime in data if mime.startswith(("image/", "video/", "audio/"))]
    if media:
        return f"[{media[0]}, shown to the user]\n"
    for mime in _TEXT:
        if mime in data:
            return f"{data[mime]}\n"
    return f"[{', '.join(data)}, shown to the user]\n" if data else ""
