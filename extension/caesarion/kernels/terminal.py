"""
Text as a terminal shows it: carriage returns, backspaces, erasing, cursor moves and colours.

Called by ``outputs``, ``plain_text`` and ``variables`` of this package, which read what a kernel
sends, by :mod:`caesarion.chat.call_outputs` and :mod:`caesarion.chat.live_message`, which show it,
and by ``run`` and ``export`` of :mod:`caesarion.notebooks`. Pure: text in, text out.

Written here because pyte, the library for this, takes 7 to 16 seconds for 1 MB of output, wraps
lines at a fixed width and has no end of its scroll-back; this takes 0.1 (progress bars: 0.3).
What a terminal does: ECMA-48 and XTerm Control Sequences. Each character counts as one column.
"""

import re
from collections.abc import Iterator
from itertools import groupby

ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""A whole control sequence; of what a :class:`Terminal` returns, that is colours alone."""

# Lines that the cursor can go back to: a screen's height, as those who move it know none. Made
# up: more than any progress display has.
_HEIGHT = 100

# Columns after which a line goes on in the next one, so that a carriage return costs no more.
_WIDTH = 10_000

# Characters of a sequence that may wait for its end; a longer one is text after all.
_LONGEST = 4_096

# Different colours that one output has; what is in others is shown without.
_COLOURS = 50_000

_TOKENS = re.compile(
    r"(?P<text>[^\x00-\x08\x0a-\x1f\x7f]+)"
    r"|(?P<control>[\n\r\x08])"
    r"|\x1b\[(?P<parameters>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|(?P<string>\x1b[\]PX^_])"  # Begins titles, links and other strings.
    r"|\x1b[ -/]*[0-OQ-WYZ`-~]"
    r"|[\x00-\x1f\x7f]"
)
_END = re.compile(r"\x07|\x1b\\")  # Of a string.
_PLAIN = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f]*")
_STRING = re.compile(r"\x1b[\]PX^_]")
_UNFINISHED = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|[ -/]*)\Z")

# What ends an attribute, and which; a colour ends with another one, too.
_OFF = {"22": ("1", "2"), "23": ("3",), "24": ("4", "21"), "25": ("5", "6"), "27": ("7",)}
_OFF |= {"28": ("8",), "29": ("9",), "39": ("foreground",), "49": ("background",), "55": ("53",)}
_ON = frozenset(("1", "2", "3", "4", "5", "6", "7", "8", "9", "21", "53"))


_NO_STYLE = "\0"


class _Line:
    """One line; ``styles`` has a character for each of ``text``, or is empty for a plain line."""

    __slots__ = ("shown", "styles", "text", "wrapped")

    def __init__(self) -> None:
        self.text = ""
        self.styles = ""
        self.wrapped = False
        # What it looked like when it was last asked for; "" after a change.
        self.shown = ""

    def put(self, column: int, text: str, style: str) -> None:
        """Write ``text`` at ``column``, over what is there."""
        end = column + len(text)
        if style != _NO_STYLE or self.styles:
            styles = self.styles.ljust(max(column, len(self.text)), _NO_STYLE)
            self.styles = styles[:column] + style * len(text) + styles[end:]
        if column == len(self.text):
            self.text += text
        else:
            self.text = self.text[:column].ljust(column) + text + self.text[end:]
        self.shown = ""

    def cut(self, column: int) -> None:
        """Erase from ``column`` to the end."""
        self.text, self.styles, self.shown = self.text[:column], self.styles[:column], ""

    def rendered(self, colours: list[str]) -> str:
        """Return the line with its colours, which stand in ``colours``."""
        if self.styles and not self.shown:
            start = 0
            for style, run in groupby(self.styles):
                piece = self.text[start : (start := start + len(list(run)))]
                colour = colours[ord(style)]
                self.shown += f"\x1b[{colour}m{piece}\x1b[0m" if colour else piece
        return self.shown or self.text


def _unfinished(text: str) -> int:
    """Return where a sequence begins that goes on behind the text; its length if there is none."""
    last_end = max(text.rfind("\x07"), text.rfind("\x1b\\"), 0)
    found = _STRING.search(text, last_end) or (
        _UNFINISHED.match(text, last) if (last := text.rfind("\x1b")) >= 0 else None
    )
    return found.start() if found else len(text)


def _tokens(text: str) -> Iterator[re.Match[str]]:
    """
    Yield the tokens of a text, without strings that end in time.

    The end is looked for once for all strings before it: each might look for its own in vain.
    """
    position, end = 0, _END.search(text)
    while True:
        for token in _TOKENS.finditer(text, position):
            if token["string"]:
                break
            yield token
        else:
            return
        while end and end.start() < token.end():
            end = _END.search(text, max(end.end(), token.end()))
        is_ended = end and end.start() - token.end() <= _LONGEST
        # A string that does not end is text, but for its escape.
        position = end.end() if end and is_ended else token.start() + 1


class Terminal:
    """
    What was written, as it is to be read.

    Lines that scrolled out of the cursor's reach are settled; :meth:`settled` hands them out.
    Colours are kept: each line has whole sequences of its own, and ends without a colour.
    """

    def __init__(self) -> None:
        self._settled: list[str] = []
        self._lines = [_Line()]
        self._row = self._column = 0
        self._saved = (0, 0)
        self._attributes: dict[str, str] = {}
        self._style = _NO_STYLE
        # Colours, numbered as they come: a character of a line's styles is such a number.
        self._colours = [""]
        self._numbers = {"": 0}
        self._unfinished = ""

    def write(self, text: str) -> None:
        """Take the next piece; it may begin and end anywhere, in a sequence, too."""
        if self._unfinished:
            text, self._unfinished = self._unfinished + text, ""
        start = _unfinished(text)
        if len(text) - start <= _LONGEST:
            text, self._unfinished = text[:start], text[start:]
        if _PLAIN.fullmatch(text):
            self._write_lines(text)
            return
        for token in _tokens(text):
            if token["text"]:
                self._put(token["text"])
            elif token["control"]:
                self._control(token["control"])
            elif token["final"]:
                self._sequence(token["parameters"], token["final"])

    def settled(self) -> list[str]:
        """Return the lines that can no longer change and were not returned before."""
        settled, self._settled = self._settled, []
        return settled

    def open_lines(self) -> list[str]:
        """Return the lines that the cursor can still reach, each but the last with its end."""
        *lines, last = self._lines
        return [*(self._ended(line) for line in lines), last.rendered(self._colours)]

    def text(self) -> str:
        """Return all that :meth:`settled` has not returned yet, and what can still change."""
        return "".join([*self._settled, *self.open_lines()])

    def _ended(self, line: _Line) -> str:
        return line.rendered(self._colours) + ("" if line.wrapped else "\n")

    def _write_lines(self, text: str) -> None:
        first, *rest = text.split("\n")
        self._put(first)
        for line in rest:
            self._feed_line()
            self._put(line)

    def _put(self, text: str) -> None:
        while text:
            if self._column >= _WIDTH:
                self._lines[self._row].wrapped = True
                self._feed_line()
            piece = text[: _WIDTH - self._column]
            self._lines[self._row].put(self._column, piece, self._style)
            self._column += len(piece)
            text = text[len(piece) :]

    def _feed_line(self) -> None:
        self._row, self._column = self._row + 1, 0
        if self._row == len(self._lines):
            self._lines.append(_Line())
        if len(self._lines) > _HEIGHT:
            self._settled.append(self._ended(self._lines.pop(0)))
            self._row -= 1

    def _control(self, control: str) -> None:
        if control == "\n":
            self._feed_line()
        elif control == "\r":
            self._column = 0
        else:
            self._column = max(0, self._column - 1)

    def _sequence(self, parameters: str, final: str) -> None:
        if final == "m":
            self._colour(parameters)
            return
        numbers = [int(number[:6]) if number.isdigit() else 0 for number in parameters.split(";")]
        count = max(1, numbers[0])
        if final in "AF":
            self._move(self._row - count, 0 if final == "F" else self._column)
        elif final in "BE":
            self._move(self._row + count, 0 if final == "E" else self._column)
        elif final == "C":
            self._move(self._row, self._column + count)
        elif final == "D":
            self._move(self._row, self._column - count)
        elif final == "G":
            self._move(self._row, count - 1)
        elif final in "Hf":
            column = numbers[1] if len(numbers) > 1 else 1
            self._move(count - 1, max(1, column) - 1)
        elif final == "K":
            self._erase_in_line(numbers[0])
        elif final == "J":
            self._erase_in_display(numbers[0])
        elif final == "s":
            self._saved = (self._row, self._column)
        elif final == "u":
            self._move(*self._saved)

    def _move(self, row: int, column: int) -> None:
        self._row = min(max(0, row), len(self._lines) - 1)
        self._column = min(max(0, column), _WIDTH)

    def _erase_in_line(self, part: int) -> None:
        line = self._lines[self._row]
        if part == 0:
            line.cut(self._column)
        elif part == 1:
            line.put(0, " " * min(self._column + 1, len(line.text)), _NO_STYLE)
        elif part == 2:
            line.cut(0)

    def _erase_in_display(self, part: int) -> None:
        if part == 0:
            self._lines[self._row].cut(self._column)
            del self._lines[self._row + 1 :]
        elif part == 1:
            for line in self._lines[: self._row]:
                line.cut(0)
            self._erase_in_line(1)
        else:
            # What was there is gone for a reader of the screen, and is no output any more.
            self._lines = [_Line()]
            self._row = self._column = 0

    def _colour(self, parameters: str) -> None:
        codes = parameters.split(";")
        while codes:
            code = codes.pop(0)
            ground = {"3": "foreground", "4": "background"}.get(code[:1], "")
            if code in ("", "0"):
                self._attributes.clear()
            elif code in _ON:
                self._attributes[code] = code
            elif code in _OFF:
                for attribute in _OFF[code]:
                    self._attributes.pop(attribute, None)
            elif code in ("38", "48"):
                length = {"5": 2, "2": 4}.get(codes[0] if codes else "", 0)
                if length and len(codes) >= length:
                    self._attributes[ground] = ";".join([code, *codes[:length]])
                del codes[:length]
            elif code.startswith(("38:", "48:")) or (ground and code[1:] in "01234567"):
                self._attributes[ground] = code
            elif len(code) in (2, 3) and code[:-1] in ("9", "10"):
                self._attributes["foreground" if code[:-1] == "9" else "background"] = code
        style = ";".join(self._attributes.values())
        if style not in self._numbers and len(self._colours) < _COLOURS:
            self._numbers[style] = len(self._colours)
            self._colours.append(style)
        self._style = chr(self._numbers.get(style, 0))


def difference(old: list[str], new: list[str]) -> str:
    """
    Return what turns lines ``old``, with the cursor at their end, into ``new``.

    Both are what :meth:`Terminal.open_lines` returns; ``new`` may be preceded by settled ones.
    """
    same = 0
    for before, after in zip(old, new, strict=False):
        if before != after:
            break
        same += 1
    if same == len(old):
        return "".join(new[same:])
    up = len(old) - 1 - same
    if not up and new[same].startswith(old[same]):
        return "".join(new[same:])[len(old[same]) :]
    return "".join([f"\x1b[{up}A" if up else "", "\r\x1b[J", *new[same:]])
