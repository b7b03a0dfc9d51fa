"""
What the demo model says of a tool's result: one sentence about what it reads.

Called by ``rules``. Pure. A result is the text that the model is told:
printed lines, a traceback, ``[image/png, shown to the user]``, or the weather's table.
"""

import re

_FAILURE = re.compile(
    r"(?P<name>[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Iteration))(?::.*)?"
)
_TRACE = re.compile(r"Traceback \(most recent call last\)|^\s*(?:Cell In\[|File [\"<])", re.M)
_PICTURE = re.compile(r"\[(image/[\w.+-]+)")
# How the tools speak for themselves; their sentences are repeated.
_TOOL_SPEAKS = re.compile(
    r"The (?:code|kernel|run|arguments|weather service|server|cell|new cell|notebook|user) "
    r"|There is no (?:tool|cell|notebook) |No (?:place named|notebook is) |It showed nothing\."
)
# What ``run_cell`` says before what the cell has shown.
_RAN = re.compile(r"It ran as \[\d+\]\.")
_LONGEST = 200


def sentence(result: str) -> str:
    """Return one sentence about the result of a piece of code."""
    lines = [line.strip() for line in result.splitlines() if line.strip()]
    lines = [line for line in lines if not _RAN.fullmatch(line)]
    if not lines:
        return "The code showed nothing."
    if failed := failure(result):
        return f"That failed: {_quoted(failed)}"
    if _TOOL_SPEAKS.match(lines[0]):
        return lines[0]
    picture = _PICTURE.search(result)
    lines = [line for line in lines if not _PICTURE.match(line)]
    if picture and not lines:
        return f"The code drew a picture ({picture[1]}); it is shown above."
    if len(lines) == 1:
        also = " It also drew a picture, shown above." if picture else ""
        return f"The result is {_quoted(lines[0])}.{also}"
    return f"The result has {len(lines)} lines; the last is {_quoted(lines[-1])}."


def failure(result: str) -> str | None:
    """Return the last line of the error that a result shows, or None if it shows none."""
    if not _TRACE.search(result):
        return None
    lines = (line.strip() for line in reversed(result.splitlines()))
    return next((line for line in lines if _FAILURE.fullmatch(line)), None)


def weather_sentence(result: str) -> str:
    """Return one sentence about the weather's table, or what stands there instead of one."""
    head = re.match(r"\*\*(.+?)\*\*: ([^(\n]+)", result)
    if not head:
        first = next((line.strip() for line in result.splitlines() if line.strip()), "nothing")
        return f"The weather tool says: {_short(first)}"
    temperature = re.search(r"^\| Temperature \| (.+?) \|", result, re.M)
    degrees = f", {temperature[1]}" if temperature else ""
    return f"In {head[1]} it is now: {head[2].strip()}{degrees}."


def _quoted(line: str) -> str:
    return f"`{_short(line)}`"


def _short(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
