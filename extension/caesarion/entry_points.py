"""
The entry points of installed packages, which are looked through again when one has come or gone.

Python looks through all of them each time that it is asked, which takes 20 ms of CPU. Called by
:mod:`caesarion.extension` and :mod:`caesarion.chat.persona_manager`, and by :mod:`caesarion.warm`
ahead of them.
"""

import sys
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PERSONAS = "jupyter_ai.personas"

_WHO_ASK = (
    "jupyter_client.provisioning.factory",  # 8.10: once, for the first kernel
    "jupyter_lsp.manager",  # 2.3: five times when a server starts
    "jupyterlab_server.translation_utils",  # 2.28: three times for each page
)


def answer_others() -> None:
    """Answer those in other packages who would look through all of them each time."""
    for name in _WHO_ASK:
        if module := sys.modules.get(name):
            module.entry_points = installed  # type: ignore[attr-defined]


def installed(group: str, name: str | None = None) -> metadata.EntryPoints:
    """Return the entry points of a group, or those with a name in it."""
    changes = []
    for folder in sys.path:
        with suppress(OSError):
            changes.append(Path(folder).stat().st_mtime_ns)
    found = _of(group, *changes)
    return found if name is None else found.select(name=name)


def read_ahead() -> None:
    """Look through the packages before anybody asks."""
    installed(PERSONAS)


@lru_cache(maxsize=16)
def _of(group: str, *changes: int) -> metadata.EntryPoints:
    return _all(*changes).select(group=group)


@lru_cache(maxsize=1)
def _all(*_changes: int) -> metadata.EntryPoints | metadata.SelectableGroups:
    return metadata.entry_points()
