"""
Classes of risk: what a piece of code can do at worst, as far as its text shows.

Called by the tools that run code, for the card on which a person decides and for the classes
that a person may allow in a chat. It is an aid for people and not a wall: code is looked at,
not confined, and whoever wants to hide what it does can. So nothing depends on it but the
question whether a person is asked. In doubt the more dangerous class is returned: for code that
cannot be parsed, hides what it calls, or calls what was defined elsewhere. Pure; for one thread
at a time, as the warnings of a process are one.

    look        walks through the code
    budget      bounds that
    calls       what calls do
    commands    commands of the shell, and IPython's magics
    arguments   what arguments do, whatever is called
    evaluated   texts that SymPy evaluates
    names       what names in the code mean
    texts       what texts in the code mean
    table       names whose class is known
    submodules  modules within harmless ones
"""

import re
import warnings
from typing import get_args

from caesarion.agent.risk import commands
from caesarion.agent.risk.budget import Budget, TooMuchError
from caesarion.agent.risk.look import look, parse
from caesarion.events import RiskClass

__all__ = ["classify"]

# Made up: more than cells have that a person reads before the decision. Half a second at most.
_LONGEST = 30_000
_STEPS = 100_000

# Where IPython's lines are others than Python's, and what it takes for a prompt and removes.
_OTHER_LINES = re.compile(
    r"[\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]|^[ \t]*(>>>|\.\.\.|In \[)", re.MULTILINE
)


def classify(code: str, budget: Budget | None = None) -> tuple[RiskClass, ...]:
    """
    Return the classes of ``code``, the least dangerous first; ``reads`` stands alone.

    Code that is longer, or takes more steps than the ``budget``, has all classes of code.
    """
    found: set[RiskClass]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as of escapes: the kernel shows them
            found = _classes(code, budget or Budget(_STEPS))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        found = {"processes"}
    except TooMuchError:
        found = {"writes names", "files", "network", "processes", "installs"}
    return tuple(one for one in get_args(RiskClass) if one in found - {"reads"}) or ("reads",)


def _classes(code: str, budget: Budget) -> set[RiskClass]:
    if len(code) > _LONGEST:
        raise TooMuchError
    if commands.is_command(code):
        return commands.classes_of(code)
    try:
        if _OTHER_LINES.search(code):
            raise SyntaxError
        return look(parse(code), budget)
    except SyntaxError:
        code = _transformed(code, budget)
        if commands.is_command(code):
            return commands.classes_of(code)
        return look(parse(code), budget)


def _transformed(code: str, budget: Budget) -> str:
    """Return what IPython makes of code: Python, in which its own syntax has become calls."""
    from IPython.core.inputtransformer2 import TransformerManager  # 0.1 s, and seldom needed

    class Bounded(TransformerManager):
        def do_one_token_transform(self, lines: list[str]) -> tuple[bool, list[str]]:
            # All are split into tokens for each command, at worst anew at each quotation mark.
            quotes = (line.count("'") + line.count('"') for line in lines)
            worst = (
                len(line) * (1 + count // 100) for line, count in zip(lines, quotes, strict=True)
            )
            budget.spend(sum(worst))
            one = super().do_one_token_transform(lines)  # type: ignore[no-untyped-call]
            return bool(one[0]), one[1]

    return Bounded().transform_cell(code)  # type: ignore[no-untyped-call]
