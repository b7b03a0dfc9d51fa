"""
Fix, Explain and Ask: what the model is told of code that failed, and of what is wanted. Pure.

Called by :mod:`caesarion.chat.context`. The buttons stand above an error in a notebook, and below
a call that failed in the chat; they send a message whose metadata says which was pressed.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from caesarion.kernels.terminal import ANSI
from caesarion.text import clip, quoted

Intent = Literal["fix", "explain", "ask"]

# Characters of an error that the model reads at most; the labextension sends no more.
_ERROR = 8_192
# Characters of the code of a call that failed.
_CODE = 4_100

_FIX = (
    "The user pressed Fix at this cell. Correct it with edit_cell (cell_id {id}{base_hash}), not "
    "with another code block; when the change is made, run it with run_cell."
)
_EXPLAIN = (
    "The user pressed Explain at this {what}: say in a few sentences what the error means and "
    "what causes it. Change nothing and run nothing."
)
_ASK = "The user asks about this {what} and its error."
_FIX_CALL = (
    "The user pressed Fix at this code. It is no cell of a notebook: run a corrected version of it."
)
_CALL = "This code, which you ran in this chat, failed:"


class CellError(BaseModel):
    """The error that a cell shows: the exception's name, and the traceback."""

    name: str = ""
    text: str = ""


@dataclass(frozen=True)
class FailedCall:
    """A call of this chat that failed: its code, and the result that the model was told."""

    code: str
    result: str


def describe_cell_error(
    intent: Intent | None, error: CellError | None, cell_id: str, base_hash: str
) -> list[str]:
    """Return what follows a cell: its error, and what its user wants; no hash if it was cut."""
    told = []
    if error and error.text.strip():
        told += ["Its error:", quoted(clip(ANSI.sub("", error.text), _ERROR))]
    match intent:
        case "fix" if cell_id:
            known = f", base_hash {base_hash}" if base_hash else "; read it first"
            told.append(_FIX.format(id=cell_id, base_hash=known))
        case "explain":
            told.append(_EXPLAIN.format(what="cell"))
        case "ask":
            told.append(_ASK.format(what="cell"))
    return told


def describe_failed_call(intent: Intent | None, call: FailedCall) -> list[str]:
    """Return a call that failed, its error, and what its user wants."""
    told = [_CALL, quoted(clip(call.code, _CODE)), "Its error:"]
    told.append(quoted(clip(call.result, _ERROR)))
    match intent:
        case "fix":
            told.append(_FIX_CALL)
        case "explain":
            told.append(_EXPLAIN.format(what="code"))
        case "ask":
            told.append(_ASK.format(what="code"))
    return told
