"""
Text, reasoning and refusals, in any of the fields, parts and tags of model servers.

Called by ``choice`` and ``calls``; calls no other module.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

Kind = Literal["content", "reasoning_content", "refusal", "unopened"]


class Said(NamedTuple):
    """A text of an answer, and the canonical field of a delta for it."""

    kind: Kind
    text: str


# Fields of a delta with reasoning as text. If a delta has several, they repeat each other
# (OpenRouter, LiteLLM), so the first one counts.
FIELDS = (
    *("reasoning_content", "reasoning", "reasoning_text", "thinking", "thinking_content"),
    *("thought", "thoughts"),
)
# Fields with reasoning in parts, which are also sent back to the provider as they came.
DETAILS = ("reasoning_details", "thinking_blocks")

_INNER = ("text", "content", "thinking", "reasoning", "summary", "value", "refusal", "output_text")
_REASONING_PARTS = ("reasoning", "thinking", "thought", "summary")
_LEVELS = 6

TAGS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),  # ByteDance's Seed
    ("[THINK]", "[/THINK]"),  # Mistral's Magistral
    ("◁think▷", "◁/think▷"),  # Moonshot's Kimi-VL
)
"""Tags around reasoning in the content of servers that do not separate the two."""

_FIRST = frozenset(opening[0] for opening, _ in TAGS)

UNOPENED = "</think>"
"""Ends reasoning whose opening tag is in the prompt's template (DeepSeek-R1, QwQ, Qwen3)."""

MAX_BLOCKS = 100
"""Blocks of reasoning whose tags are read; behind them, tags are text. A made-up number."""

MAX_HELD = 4_096
"""Characters that are held back while they may begin a tag; a made-up number."""

_UNOPENED_LINE = re.compile(r"^</think>[ \t]*\n", re.MULTILINE)


def texts(value: Any, kind: Kind = "content", levels: int = _LEVELS) -> Iterator[Said]:
    """Yield the texts of a value: a text, a part, or a list of such."""
    if isinstance(value, str):
        if value:
            yield Said(kind, value)
    elif not levels or value is None:
        return
    elif isinstance(value, list):
        for part in value:
            yield from texts(part, kind, levels - 1)
    elif isinstance(value, dict):
        named = str(value.get("type", ""))
        if named == "refusal":
            kind = "refusal"
        elif any(word in named for word in _REASONING_PARTS) or value.get("thought") is True:
            kind = "reasoning_content"
        inner = next((name for name in _INNER if value.get(name)), "")
        yield from texts(value.get(inner), kind, levels - 1)
    elif isinstance(value, int | float):
        yield Said(kind, json.dumps(value))


def of_delta(delta: dict[str, Any]) -> Iterator[Said]:
    """Yield the texts of a delta, reasoning first."""
    for name in (*FIELDS, *DETAILS):
        found = [Said("reasoning_content", one.text) for one in texts(delta.get(name))]
        if found:
            yield from found
            break
    yield from texts(delta.get("content"))
    yield from texts(delta.get("refusal"), "refusal")


class ThinkTags:
    """
    Separates reasoning and text at their tags, which may be split over deltas.

    An opening tag counts at the beginning of the answer and behind another block of
    reasoning; elsewhere it is text about tags. A closing tag without an opening one counts on a
    line of its own: the content before it was reasoning, and a piece of the kind "unopened"
    says so. ``is_open``: the answer begins within reasoning.
    """

    def __init__(self, *, is_open: bool = False) -> None:
        self._close = UNOPENED if is_open else ""
        self._is_text = False
        self._was_closed = False
        self._may_be_unopened = not is_open
        self._at_line_start = True
        self._last = ""  # the end of the text so far, where half a tag may stand
        self._held = ""
        self._blocks = 0

    @property
    def is_open(self) -> bool:
        """Whether the content that comes next is reasoning."""
        return bool(self._close)

    def take_plain(self, content: str) -> bool:
        """Take ``content`` if it is text that passes unchanged; return whether it does."""
        if self._held or self._close:
            return False
        if not self._is_text:
            begun = content.lstrip()
            if not begun or self._was_closed or begun[0] in _FIRST:
                return False
            self._is_text = True
        if self._may_be_unopened:
            if "<" in content:
                return False
            self._at_line_start = content.endswith("\n")
            self._last = content[-len(UNOPENED) :]
        return True

    def feed(self, content: str) -> Iterator[Said]:
        """Yield the texts that ``content`` completes."""
        self._held += content
        before = None
        while self._held and before != (before := (self._held, self._close, self._is_text)):
            if self._close:
                yield from self._within()
            elif self._is_text:
                yield from self._text()
            else:
                self._begin()

    def end(self) -> Iterator[Said]:
        """Yield what was held back as the possible beginning of a tag."""
        if self._may_be_unopened and self._held.rstrip() == UNOPENED:
            yield from self.feed("\n")
        held, self._held = self._held, ""
        if held and (self._is_text or not self._was_closed):
            yield Said("reasoning_content" if self._close else "content", held)

    def only_text(self) -> None:
        """Take a closing tag for text from now on: reasoning has a field of its own."""
        self._may_be_unopened = False

    def _begin(self) -> None:
        begun = self._held.lstrip()
        if self._blocks >= MAX_BLOCKS or len(self._held) - len(begun) > MAX_HELD:
            self._is_text = True
            return
        for opening, closing in TAGS:
            if begun.startswith(opening):
                self._close, self._held = closing, begun.removeprefix(opening).lstrip("\n")
                self._blocks += 1
                return
        if begun and not any(opening.startswith(begun) for opening, _ in TAGS):
            self._is_text = True
            self._held = begun if self._was_closed else self._held

    def _within(self) -> Iterator[Said]:
        inside, tag, rest = self._held.partition(self._close)
        if tag:
            self._close, self._was_closed, self._may_be_unopened = "", True, False
        else:
            inside, rest = _without_half_of(self._close, inside)
        self._held = rest
        if inside:
            yield Said("reasoning_content", inside)

    def _text(self) -> Iterator[Said]:
        text, self._held = self._held, ""
        if not self._may_be_unopened:
            yield Said("content", text)
            return
        found = _UNOPENED_LINE.search(text, 0 if self._at_line_start else 1)
        if found:
            self._may_be_unopened, self._was_closed, self._is_text = False, True, False
            if before := text[: found.start()]:
                yield Said("content", before)
            if before or self._last:
                yield Said("unopened", UNOPENED + "\n")
            self._held = text[found.end() :]
            return
        text, self._held = self._without_half_a_line(text)
        if not text:
            return
        self._at_line_start = text.endswith("\n")
        self._last = (self._last + text)[-2 * len(UNOPENED) :]
        if any(opening in self._last + text for opening, _ in TAGS):
            self._may_be_unopened = False
        yield Said("content", text)

    def _without_half_a_line(self, text: str) -> tuple[str, str]:
        """Return ``text`` without a last line that may become the tag's line, and that line."""
        before, feed, line = text.rpartition("\n")
        if not line or not (feed or self._at_line_start) or line[0] != "<":
            return text, ""
        is_half = len(line) <= MAX_HELD and UNOPENED.startswith(line.rstrip(" \t"))
        return (before + feed, line) if is_half else (text, "")


def _without_half_of(tag: str, text: str) -> tuple[str, str]:
    """Return ``text`` without the beginning of ``tag`` at its end, and that beginning."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if text.endswith(tag[:length]):
            return text[:-length], text[-length:]
    return text, ""


def is_whole(text: str) -> bool:
    """Whether ``text`` has no lone surrogate, which JSON can escape and UTF-8 cannot encode."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def joined(text: str) -> tuple[str, str]:
    """
    Return ``text`` with its surrogate pairs joined, and a first half of a pair at its end.

    Any other lone surrogate becomes the replacement character.
    """
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    text = text[: len(text) - len(half)]
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), half
