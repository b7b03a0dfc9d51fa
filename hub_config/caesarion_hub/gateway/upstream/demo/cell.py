"""
A cell of the user's notebook, as the extension tells the model of it. Pure.

Called by ``notebook``. The selected cell stands behind a question, others in the results of
``read_notebook``; every line of them has a bar before it.
"""

import re
from dataclasses import dataclass

_SELECTED = re.compile(
    r"^The user has selected cell number \d+, id (?P<id>[\w-]+)(?:, hash (?P<hash>\w+))?.*:\n"
    r"(?P<source>(?:\|.*\n?)*)(?:In it, this text is selected:\n(?:\|.*\n?)*)?"
    r"(?:Its error:\n(?P<error>(?:\|.*\n?)*))?",
    re.MULTILINE,
)
_READ = re.compile(
    r"^Cell \d+: id (?P<id>[\w-]+), (?:code (?P<state>.+)|markdown|raw), "
    r"(?:hash (?P<hash>\w+)|too long to be changed)\n"
    r"(?P<source>(?:\|.*\n?)*)(?:Its outputs:\n(?P<error>(?:\|.*\n?)*))?",
    re.MULTILINE,
)
_FAILED_CALL = re.compile(
    r"^This code, which you ran in this chat, failed:\n"
    r"(?P<source>(?:\|.*\n?)*)Its error:\n(?P<error>(?:\|.*\n?)*)",
    re.MULTILINE,
)
_LAST = re.compile(r"^(?:Cell \d+: id |The last cell has the id )(?P<id>[\w-]+?)[,.]", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """
    Code and its error, empty if it did not fail.

    ``id`` is empty for code of the chat, ``hash`` for a cell that is not known whole.
    """

    source: str
    error: str = ""
    id: str = ""
    hash: str = ""


def selected_cell(context: str) -> Cell | None:
    """Return the cell that the user has selected, by the text behind the question."""
    found = _SELECTED.search(context)
    return _cell(found, found["error"]) if found else None


def failed_call(context: str) -> Cell | None:
    """Return the code of the chat that the user wants to have fixed or explained."""
    found = _FAILED_CALL.search(context)
    return Cell(_plain(found["source"]), _plain(found["error"])) if found else None


def read_cell(result: str) -> Cell | None:
    """Return the first cell in a result of ``read_notebook``."""
    found = _READ.search(result)
    if found is None:
        return None
    return _cell(found, found["error"] if (found["state"] or "").endswith("failed") else "")


def last_id(result: str) -> str:
    """Return the id of the last cell in a result of ``read_notebook``; empty if it has none."""
    ids = [found["id"] for found in _LAST.finditer(result)]
    return ids[-1] if ids else ""


def _cell(found: re.Match[str], error: str | None) -> Cell:
    return Cell(_plain(found["source"]), _plain(error or ""), found["id"], found["hash"] or "")


def _plain(quoted: str) -> str:
    return "\n".join(line[2:] for line in quoted.splitlines())
