"""
What a person is shown of a call that waits, as a hash: their decision is about that alone.

Called by :mod:`caesarion.agent.calls` and :mod:`caesarion.agent.undo`. Who decides sends the
same hash of what they were shown (decision.ts), and :mod:`caesarion.agent.approval` compares. Pure.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from caesarion.events import ToolCall
from caesarion.message_metadata import code_of, label_of
from caesarion.text import without_surrogates

# What is decided of a change, as the chat shows it.
_PARTS = ("operation", "path", "cell_id", "cell_type", "after")


def hash_of_shown(call: ToolCall, change: Mapping[str, Any] | None) -> str:
    """
    Return the SHA-256 of what is shown of a call, in hexadecimal digits.

    It is that of the UTF-8 of its code; of what it changes or runs in a notebook, the parts, the
    hash of the source before, from which the difference is drawn, and the source, with a zero
    byte between them; else of its name and arguments.
    """
    if change is None:
        code = code_of(call)
        text = label_of(call) if code is None else code
    else:
        before = change.get("before")
        parts = [str(change.get(part) or "") for part in _PARTS]
        # The source is the last, as it may hold anything.
        parts += ["" if before is None else _hash(before), str(change.get("source") or "")]
        text = "\0".join(parts)
    return _hash(text)


def _hash(text: str) -> str:
    return sha256(without_surrogates(text).encode()).hexdigest()
