"""
Make file names from clients safe. Called by :mod:`caesarion.files.uploads`.

Pure: does not look at the disk. A safe name is a single component of a path that means the
same on every system, is displayed as it is, and appears in a listing.
"""

import re
import unicodedata

from caesarion.text import without_invisible

MAX_BYTES = 200
"""The longest safe name, in UTF-8. File systems allow 255; a number may be added to it."""

# The names of devices on Windows, with any suffix: Microsoft, "Naming Files, Paths, and
# Namespaces". Superscript digits count as digits there.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])\s*(?:\.|$)", re.I)

_FORBIDDEN = re.compile(r'[<>:"|?*\ufffd]')

# Characters that look like a separator or another special character of paths, and have no
# compatibility decomposition to it.
_SIGNS = str.maketrans(
    {
        **dict.fromkeys("\u2044\u2215\u2571\u27cb\u29f8", "/"),
        **dict.fromkeys("\u2216\u2572\u27cd\u29f5\u29f9", "\\"),
        **dict.fromkeys("\u2236\ua789", ":"),
        "\ua4f8": ".",
    }
)
_SIGNS_OF_PATHS = frozenset('/\\.:<>"|?*')

# Cyrillic and Greek letters that look like Latin ones (a part of Unicode's TR39). They are
# replaced in words that have Latin letters as well, since a word is written in one script.
_LETTERS = str.maketrans(
    "\u0430\u0441\u0501\u0435\u04bb\u0456\u0458\u04cf\u043e\u0440\u051b\u0455\u0443\u0475\u051d\u0445"
    "\u0410\u0412\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0423\u0425\u03bf"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
    "acdehijlopqsyvwxABCEHIJKMOPSTYXoABEZHIKMNOPTYX",
)
_WORD = re.compile(r"(?:[^\W\d_]|[\u0300-\u036f])+")


def safe_name(name: str) -> str:
    """
    Return a safe name for a file that its client calls ``name``, or "" if nothing is left.

    It is the last component of a path for Unix or Windows, in Unicode's form NFC, of at
    most MAX_BYTES bytes with its suffix; never hidden, a device of Windows or an option
    of a command; without invisible characters and changes of direction. A safe name is
    returned unchanged.
    """
    name = unicodedata.normalize("NFC", name).translate(_SIGNS)
    name = "".join(map(_plain, without_invisible(name)))
    name = re.split(r"[/\\]", name.rstrip("/\\ "))[-1]
    name = _WORD.sub(_one_script, _FORBIDDEN.sub("_", name))
    # A leading dot hides a file, a leading dash makes it an option, "~" a home; Windows
    # drops trailing dots and spaces, so that two names would be the same.
    name = _shorten(unicodedata.normalize("NFC", name.lstrip(" .-~").rstrip(" .")))
    return _shorten(f"_{name}") if _DEVICE.match(name) else name


def suffix(name: str) -> str:
    """Return the suffix of a name in lower case, without its dot; "" if there is none."""
    stem, dot, end = name.rpartition(".")
    return end.lower() if dot and stem else ""


def numbered(name: str, number: int | str) -> str:
    """Return a name with a number before its suffix: ``data (2).csv``."""
    stem, dot, end = name.rpartition(".")
    return f"{stem} ({number}){dot}{end}" if dot else f"{name} ({number})"


def _plain(character: str) -> str:
    """Return the replacement of a character: itself, a special character, or a space."""
    if unicodedata.category(character) == "Zs":
        return " "
    simple = unicodedata.normalize("NFKC", character)
    return simple if _SIGNS_OF_PATHS.intersection(simple) else character


def _one_script(word: re.Match[str]) -> str:
    letters = word.group()
    return letters.translate(_LETTERS) if any(map(str.isascii, letters)) else letters


def _shorten(name: str) -> str:
    if len(name.encode()) <= MAX_BYTES:
        return name
    stem, dot, end = name.rpartition(".")
    if len(end.encode()) > MAX_BYTES // 2:
        stem, dot, end = name, "", ""
    room = MAX_BYTES - len((dot + end).encode())
    return stem.encode()[:room].decode(errors="ignore").rstrip(" .") + dot + end
