"""
The user's live variables: a list of them, and a digest of each that is asked for.

Called by :mod:`caesarion.chat.context` and :mod:`caesarion.api.variables`; calls
:mod:`caesarion.kernels.inspector` in the kernel, where it is sent as text: a kernel need not have
this package.
"""

import json
from functools import cache
from inspect import getsource
from typing import Any

from caesarion.kernels import bounded_repr, inspector
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.terminal import ANSI
from caesarion.text import without_surrogates

# Digests that one question may carry.
MOST = 8


async def list_variables(kernel: Kernel) -> list[dict[str, str]]:
    """Return name, type and shape of the user's variables; raise KernelError on failure."""
    found: list[dict[str, str]] = await _asked(kernel, None)
    return found


async def digests(kernel: Kernel, names: list[str]) -> dict[str, str | None]:
    """Return for each of ``names`` what it is, or None where there is no such variable."""
    found: dict[str, str | None] = await _asked(kernel, names[:MOST])
    return found


async def _asked(kernel: Kernel, names: list[str] | None) -> Any:
    shown = await kernel.evaluate(inspector_source(), inspector.answer.__name__, names)
    return json.loads(shown, object_pairs_hook=_plain)


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object whose texts can be sent anywhere: no colours, no lone surrogates."""
    return {
        name: ANSI.sub("", without_surrogates(value)) if isinstance(value, str) else value
        for name, value in pairs
    }


@cache
def inspector_source() -> str:
    """Return both modules as one text, in which each has what it would import from the other."""
    lines = [*getsource(bounded_repr).splitlines(), *getsource(inspector).splitlines()]
    return "\n".join(line for line in lines if not line.startswith("from caesarion."))
