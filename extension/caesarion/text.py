"""
Text made fit to keep, to send and to show: pure functions that every package may use.
"""

import re

_COMMAND = re.compile("data-commandlinker", re.IGNORECASE)


def without_commands(text: str) -> str:
    """
    Return ``text`` without the attributes that let a click run a command of the lab.

    The lab's sanitiser leaves them in HTML, and in Markdown's HTML, whoever wrote it.
    """
    return _COMMAND.sub("data-removed", text)


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
