"""
Take the provider's key, and what providers quote of it, out of a text.

Called by ``provider``. Pure. Providers answer with things like "Incorrect API
key provided: sk-ab***yz"; neither the key nor its ends may reach a user.
"""

import re

REMOVED = "[key]"

# What may stand for the middle of a key: asterisks, dots, bullets, an ellipsis.
_MASK = re.compile(r"[*•…]+|\.{2,}|[xX]{4,}")
_WORD = re.compile(r"[^\s\"'`<>(),;\\]+")
# A shared piece this long is no coincidence.
_PIECE = 8


def scrub(text: str, key: str | None) -> str:
    """Return ``text`` with each word that holds ``key`` or a part of it replaced."""
    if not key:
        return text
    if len(key) >= _PIECE:
        text = text.replace(key, REMOVED)
    return _WORD.sub(lambda word: REMOVED if _tells(word[0], key) else word[0], text)


def _tells(word: str, key: str) -> bool:
    word = word.rstrip(".:!?") if not _MASK.search(word) else word
    if word == key:
        return True
    if len(key) < _PIECE:
        return False  # A made-up key of a local server, such as "none", may be a plain word.
    if any(word[at : at + _PIECE] in key for at in range(len(word) - _PIECE + 1)):
        return True
    ends = _MASK.split(word)
    head, tail = ends[0], ends[-1].rstrip(".:!?")
    if len(ends) == 1:
        return False
    return (len(head) >= 2 and key.startswith(head)) or (len(tail) >= 2 and key.endswith(tail))
