"""
The user's live variables: what there is, and a digest of what is asked for.

Called by :mod:`caesarion.chat.context` and :mod:`caesarion.api.chat`. What looks at
them is :mod:`caesarion.kernels.inspector`, sent as text into the kernel, which need not
have anything of ours.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from caesarion.kernels import inspector
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.terminal import ANSI
from caesarion.text import without_surrogates

# Digests that one question may carry.
MOST = 8


async def list_variables(kernel: Kernel) -> list[dict[str, str]]:
    """Return name, type and shape of the user's variables; KernelError where it cannot be told."""
    found: list[dict[str, str]] = await _asked(kernel, None)
    return found


async def digests(kernel: Kernel, names: list[str]) -> dict[str, str | None]:
    """Return for each of ``names`` what it is, or None where there is no such variable."""
    found: dict[str, str | None] = await _asked(kernel, names[:MOST])
    return found


async def _asked(kernel: Kernel, names: list[str] | None) -> Any:
    shown = await kernel.call(_source(), inspector.answer.__name__, names)
    return json.loads(shown, object_pairs_hook=_plain)


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose texts can be sent anywhere: no colours, no lone surrogates."""
    return {
        name: ANSI.sub("", without_surrogates(value)) if isinstance(value, str) else value
        for name, value in pairs
    }


@cache
def _source() -> str:
    return Path(inspector.__file__).read_text("utf-8")
