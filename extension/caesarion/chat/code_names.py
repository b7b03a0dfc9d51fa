"""
The names in a piece of code: what it may read of the user's variables. Pure.

Called by :mod:`caesarion.chat.cell_errors`. The code is parsed, never run.
"""

import ast
import builtins
import keyword
import re
from difflib import get_close_matches

_IDENTIFIER = re.compile(r"(?<![\w.])[^\W\d]\w*")
# Lines that IPython takes before Python does: magics, shell commands, help.
_IPYTHON = re.compile(r"^([ \t]*)[%!?].*$", re.MULTILINE)
_UNDEFINED = re.compile(r"\bname '(?P<name>\w+)' is not defined")
_BUILTINS = frozenset(dir(builtins))


def names_in(code: str) -> list[str]:
    """
    Return the names that ``code`` uses, in their order, without Python's own.

    Code that cannot be parsed, as a syntax error is what it failed with, is searched for words.
    """
    plain = _IPYTHON.sub(r"\1pass", code)
    try:
        tree = ast.parse(plain)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        found = [word for word in _IDENTIFIER.findall(plain) if not keyword.iskeyword(word)]
    else:
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        nodes.sort(key=lambda node: (node.lineno, node.col_offset))
        found = [node.id for node in nodes]
    return [name for name in dict.fromkeys(found) if name not in _BUILTINS]


def undefined_name(error: str) -> str:
    """Return the name that a NameError's text says is not defined, or an empty text."""
    found = _UNDEFINED.search(error)
    return found["name"] if found else ""


def similar_names(name: str, known: list[str]) -> list[str]:
    """Return the names in ``known`` that ``name`` may be a misspelling of, the likeliest first."""
    return get_close_matches(name, known, n=3, cutoff=0.7)
