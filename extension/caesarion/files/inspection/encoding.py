"""
Detect the encoding of a text file, or that it is binary. Called by ``digest``.

Unicode can be recognised. Any other encoding is a guess, by charset-normalizer, and the
description says that it is one.
"""

import codecs
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from caesarion.files.inspection.source import NotReadable, Source

_HEAD = 1_048_576

# Bytes that charset-normalizer guesses from; its time grows with them.
_GUESSED_FROM = 65_536

# Names for people, by Python's names. Descriptions give both, since code needs the latter.
_NAMES = {
    "utf-16": "UTF-16",
    "utf-32": "UTF-32",
    "utf_16_le": "UTF-16",
    "utf_16_be": "UTF-16",
    "utf_32_le": "UTF-32",
    "utf_32_be": "UTF-32",
    "cp932": "Shift-JIS",
    "euc_jp": "EUC-JP",
    "gb18030": "GBK",
    "big5": "Big5",
    "cp949": "EUC-KR",
    "cp1252": "Windows-1252",
    "cp1250": "Windows-1250",
    "cp1251": "Windows-1251",
    "koi8_r": "KOI8-R",
    "cp866": "CP866",
    "cp1253": "Windows-1253",
    "cp1254": "Windows-1254",
    "cp1255": "Windows-1255",
    "cp1256": "Windows-1256",
    "cp874": "Windows-874",
}
_PLAIN = "The encoding is UTF-8."
_BINARY = "Binary data of an unknown kind."
_WIDE = ("utf_16_le", "utf_16_be", "utf_32_le", "utf_32_be")
# The legacy encodings in use for data today; of equally good guesses the first one is taken.
# With all of its encodings, charset-normalizer 3.5 takes German text for Mac OS Icelandic.
_LEGACY = tuple(name for name in _NAMES if name.startswith(("cp", "euc", "gb", "big", "koi")))

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Control characters other than tab, line ends, form feed and escape: rare in text.
_CONTROLS = bytes(i for i in range(32) if i not in b"\t\n\r\f\x1b") + b"\x7f"

# The shares of control characters above which data is binary. Made up: a text with a stray
# NUL is text, and a program is not.
_TOO_MANY_CONTROLS = 0.1
_TOO_MANY_IN_NO_ENCODING = 0.02


@dataclass(frozen=True)
class Text:
    """The beginning of a text file."""

    head: str
    whole: bool
    """Whether ``head`` is the whole file."""
    encoding: str
    """Python's name of the encoding; use it with ``errors="replace"``."""
    sentence: str
    """A sentence about the encoding, for people."""

    @property
    def is_plain(self) -> bool:
        """Whether it is UTF-8, so that the encoding need not be mentioned."""
        return self.sentence == _PLAIN


def read(source: Source) -> Text:
    """Return the first megabyte as text; raise NotReadable if the file is binary."""
    raw = source.head(_HEAD + 1)
    whole = len(raw) <= _HEAD
    raw = raw[:_HEAD]
    encoding, sentence = _detect(raw, whole)
    decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
    head = decoder.decode(raw, final=whole)
    return Text(head.replace("\r\n", "\n").replace("\r", "\n"), whole, encoding, sentence)


def _detect(raw: bytes, whole: bool) -> tuple[str, str]:
    """Return an encoding for Python and a sentence about it; raise NotReadable for binary data."""
    if raw.startswith(codecs.BOM_UTF8):
        return "utf-8-sig", _PLAIN
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return encoding, f"The encoding is {_NAMES[encoding]}."
    controls = sum(raw.count(control) for control in _CONTROLS) / max(1, len(raw))
    if raw.count(0) > 0.2 * len(raw):
        piece = raw[:_GUESSED_FROM]
        guesses = _guesses(piece[: len(piece) - len(piece) % 4], _WIDE)
        if guesses:
            return guesses[0], (
                f"The encoding is {_NAMES[guesses[0]]} without a byte order mark "
                f"({guesses[0]!r} in Python)."
            )
        raise NotReadable(_BINARY)
    if controls > _TOO_MANY_CONTROLS:
        raise NotReadable(_BINARY)
    if b"\x1b$" in raw:
        with contextlib.suppress(UnicodeDecodeError):
            codecs.getincrementaldecoder("iso2022_jp")().decode(raw, final=whole)
            return "iso2022_jp", "The encoding is ISO-2022-JP ('iso2022_jp' in Python)."
    with contextlib.suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(raw, final=whole)
        return "utf-8", _PLAIN
    if _is_damaged_utf_8(raw):
        return "utf-8", "The encoding is UTF-8, but some bytes are not."
    piece = _cut(raw)
    # Without a line end to cut at, the last character may be incomplete.
    guesses = _guesses(piece, _LEGACY) or _guesses(piece[:-1], _LEGACY)
    if guesses:
        return guesses[0], _doubtful(guesses)
    if controls > _TOO_MANY_IN_NO_ENCODING:
        raise NotReadable(_BINARY)
    return "ascii", "This is text of an unknown encoding."


def _guesses(raw: bytes, candidates: Sequence[str]) -> list[str]:
    """Return the encodings that fit ``raw`` equally well, the likeliest first."""
    from charset_normalizer import from_bytes

    matches = from_bytes(raw, cp_isolation=list(candidates))
    best = matches.best()
    if best is None:
        return []
    equal = {
        encoding
        for match in matches
        if (match.chaos, match.coherence) == (best.chaos, best.coherence)
        for encoding in match.could_be_from_charset
    }
    likely = [encoding for encoding in candidates if encoding in equal]
    # One or two bytes are too few for a guess, except for the most frequent encoding.
    if sum(byte > 127 for byte in raw) < 3 and candidates is _LEGACY:
        return ["cp1252"] if "cp1252" in likely else []
    return likely


def _doubtful(guesses: Sequence[str]) -> str:
    """Return a sentence about a guessed encoding and its alternatives."""
    said = f"The encoding is probably {_NAMES[guesses[0]]} ({guesses[0]!r} in Python)"
    others = " or ".join(_NAMES[guess] for guess in guesses[1:4])
    return f"{said}; it may also be {others}." if others else f"{said}."


def _is_damaged_utf_8(raw: bytes) -> bool:
    """Whether ``raw`` has far more valid non-ASCII UTF-8 than invalid bytes."""
    text = raw.decode(errors="replace")
    broken = text.count("\ufffd")
    return sum(sign > "\x7f" for sign in text) - broken > 4 * broken


def _cut(raw: bytes) -> bytes:
    """Return the beginning of ``raw`` in whole lines, so that no character is cut."""
    if len(raw) <= _GUESSED_FROM:
        return raw
    return raw[: raw.rfind(b"\n", 0, _GUESSED_FROM) + 1] or raw[:_GUESSED_FROM]
