"""
The entry points of installed packages, which are looked through again when one has come or gone.

Python looks through all of them each time that it is asked, which takes 25 ms. Called by
:mod:`caesarion.lab_page` and :mod:`caesarion.chat.persona_manager`, and by :mod:`caesarion.warm`
ahead of them.
"""

import sys
from contextlib import suppress
from functools import lru_cache
from importlib import metadata
from pathlib import Path

PERSONAS = "jupyter_ai.personas"
TRANSLATIONS = ("jupyterlab.languagepack", "jupyterlab.locale")


def installed(group: str) -> metadata.EntryPoints:
    """Return the entry points of a group."""
    changes = []
    for folder in sys.path:
        with suppress(OSError):
            changes.append(Path(folder).stat().st_mtime_ns)
    return _read(group, *changes)


def read_ahead() -> None:
    """Read what the first page of a server, and its first chat, ask of all packages."""
    for group in (*TRANSLATIONS, PERSONAS):
        installed(group)


@lru_cache(maxsize=8)
def _read(group: str, *_changes: int) -> metadata.EntryPoints:
    return metadata.entry_points(group=group)
