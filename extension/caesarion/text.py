"""
Text made fit to keep, to send and to show: pure functions that every package may use.
"""

import re
import unicodedata

_COMMAND = re.compile("data-commandlinker", re.IGNORECASE)

# Invisible characters that are neither control nor format characters.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_NOT_SHOWN = frozenset({"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"})


def without_commands(text: str) -> str:
    """
    Return ``text`` without the attributes that let a click run a command of the lab.

    The lab's sanitiser leaves them in HTML, and in Markdown's HTML, whoever wrote it.
    """
    return _COMMAND.sub("data-removed", text)


def without_invisible(text: str) -> str:
    """
    Return ``text`` without characters that cannot be seen, or that turn others around.

    Spaces stay; the ends of lines are control characters.
    """
    text = _INVISIBLE.sub("", text)
    return "".join(one for one in text if unicodedata.category(one) not in _NOT_SHOWN)


def shown_name(name: str, limit: int) -> str:
    """Return ``name`` on one line as it can be seen, in at most ``limit`` characters."""
    name = without_invisible(" ".join(name[: 10 * limit].split()))
    return " ".join(name.split())[:limit]


def without_surrogates(text: str) -> str:
    """
    Return ``text`` with surrogate pairs joined, and "\ufffd" for halves of pairs.

    JSON may escape half a character (RFC 8259, section 8.2), and Python reads it; UTF-8 cannot
    encode it, so neither a request nor a file could carry the text.
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clip(text: str, limit: int) -> str:
    """Return ``text`` if it has at most ``limit`` characters, else its head and tail."""
    if len(text) <= limit:
        return text
    head = limit // 2
    left_out = len(text) - limit
    return f"{text[:head]}\n[... {left_out:,} characters left out ...]\n{text[-(limit - head) :]}"


def quoted(text: str) -> str:
    """Return ``text`` with a bar before each line, so that nothing in it can end the quotation."""
    return "\n".join(f"| {line}" for line in text.splitlines())
