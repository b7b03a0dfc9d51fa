"""
Commands of the shell, and IPython's magics.

Called by :mod:`caesarion.agent.risk` for cells of one line, and by
:mod:`caesarion.agent.risk.calls` for the calls that IPython makes of its own syntax.
"""

import re

from caesarion.agent.risk import table
from caesarion.events import RiskClass

_INSTALLER = re.compile(
    r"\s*(sudo\s+)?(\S*python[\d.]*\s+-m\s+)?(uv\s+)?"
    r"(pip[\d.]*|conda|mamba|micromamba|apt|apt-get|uv|npm)\b"
)
_SHELL_SYNTAX = re.compile(r"[;&|`<>\n]|\$\(")
_INSTALLERS = re.compile(r"\b(pip|conda|mamba|uv|apt|apt-get)\b")
_INSTALLING = re.compile(r"\b(install|add)\b")

# As IPython's ``splitinput`` splits a line, without the escapes, which have become calls.
_FIRST_WORD = re.compile(r"\s*([\w.*]*)\s*([=,]?)")


def is_command(code: str) -> bool:
    """
    Return whether IPython may take code for a command that has neither ``%`` nor ``!``.

    It does so with cells of one line ("automagic"), also where they are Python, such as ``rm *x``,
    and evaluates what stands in braces in them. Only names that are bound keep it from that, and
    nobody knows here which are.
    """
    lines = [line for line in code.splitlines() if not re.match(r"\s*(#|$)", line)]
    match = _FIRST_WORD.match(lines[0]) if len(lines) == 1 else None
    return bool(match and match[1] in table.COMMANDS and not match[2])


def classes_of(line: str) -> set[RiskClass]:
    """Return the classes of a command."""
    if not _INSTALLER.match(line):
        return {"processes"}
    return {"installs", "processes"} if _SHELL_SYNTAX.search(line) else {"installs"}


def installs(text: str) -> bool:
    """Return whether the words of a new process's arguments call an installer."""
    first = _INSTALLERS.search(text)
    return bool(first and _INSTALLING.search(text, first.end()))
