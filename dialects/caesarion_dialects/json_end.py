"""
Finds the end of a JSON object or text that comes in pieces.

Called by ``calls``; calls no other module. Law: each character is looked at a fixed number of
times, however many pieces there are and however often it is asked.
"""

import json
import re

# A text of JSON: whole, or up to the mark at the end of a piece.
_TEXT = re.compile(r'"(?:[^"\\\0]|\\[^\0])*+(?:"|\\?\0)', re.DOTALL)
_SPACE = " \t\n\r"


class JsonEnd:
    """
    A value in ``pieces``: an object, or a text.

    No proper beginning of one is whole JSON, so that it is parsed once: when its braces, or
    quotes, are even for the first time.
    """

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self._begun = ""
        self._depth = 0
        self._in_text = self._is_escaped = False
        self._is_even = self._is_over = self._is_whole = False

    def __bool__(self) -> bool:
        return any(self.pieces)

    @property
    def text(self) -> str:
        """All of it."""
        if len(self.pieces) > 1:
            self.pieces = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""

    def add(self, piece: str) -> None:
        """Take the next piece."""
        if piece:
            self.pieces.append(piece)
            self._look(piece)

    @property
    def is_object(self) -> bool:
        """Whether it is a whole object."""
        return self._begun == "{" and self._check()

    @property
    def is_text(self) -> bool:
        """Whether it is a whole text."""
        return self._begun == '"' and self._check()

    def _check(self) -> bool:
        if self._is_even and not self._is_over:
            self._is_over, self._is_whole = True, is_json(self.text)
        return self._is_whole

    def _look(self, piece: str) -> None:
        """Count the braces of a piece outside of texts."""
        if not self._begun:
            self._begun = piece.lstrip()[:1]
        if self._is_even and piece.strip(_SPACE):
            self._is_over, self._is_whole, self._is_even = True, False, False
        if self._is_over or not self._begun or self._is_even:
            return
        if "\0" in piece or self._begun not in '{"':
            self._is_over = True
            return
        text = piece
        if self._in_text:
            text = ('"\\' if self._is_escaped else '"') + piece
        rest = _TEXT.sub("", text + "\0")
        self._in_text = not rest.endswith("\0")
        self._is_escaped = self._in_text and (len(text) - len(text.rstrip("\\"))) % 2 == 1
        self._depth += rest.count("{") - rest.count("}")
        self._is_even = self._depth == 0 and not self._in_text
        self._is_over = self._depth < 0


def is_json(text: str) -> bool:
    """Whether ``text`` is one value of JSON."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
