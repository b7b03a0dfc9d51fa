"""
The steps by which the demo model looks at the user's files: list, inspect, preview. Pure.

Called by ``rules``. The code of each step depends on the results of the steps before. All code
is in functions, so that no variable of the user's changes.
"""

import re

from caesarion_hub.gateway.upstream.demo.chunks import Call, Reply
from caesarion_hub.gateway.upstream.demo.results import failure, sentence

_LISTED = re.compile(r"^(?P<path>.+?)  \((?P<size>\d+) bytes\)$", re.M)
_TABLES = {".csv": "", ".tsv": ', sep="\\t"'}
_DATA = (*_TABLES, ".json", ".txt", ".py")

_LIST = """\
from pathlib import Path

def _list_files(*folders):
    for folder in folders:
        for path in sorted(folder.glob("*")):
            if path.is_file() and not path.name.startswith("."):
                print(f"{path}  ({path.stat().st_size} bytes)")

_list_files(Path("/uploaded_files"), Path.home() / "uploads", Path())"""

_INSPECT = """\
def _inspect(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        first = file.readline().rstrip()
        print("lines:", (1 if first else 0) + sum(1 for _ in file))
    print("first line:", first[:200])

_inspect({path!r})"""

_TABLE = """\
import pandas as pd

pd.read_csv({path!r}{separator}, nrows=5)"""

_HEAD = """\
def _head(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        print("".join(line for _, line in zip(range(5), file))[:2000])

_head({path!r})"""


def look(results: tuple[str, ...]) -> Reply:
    """Return the next step, or a sentence about the file after the last one."""
    if not results:
        return _step("I list your files.", _LIST)
    if failure(results[-1]):
        return Reply(sentence(results[-1]))
    files = [match["path"] for match in _LISTED.finditer(results[0])]
    path = next((path for path in files if path.lower().endswith(_DATA)), None)
    if path is None:
        return Reply(_nothing(results[0], files))
    if len(results) == 1:
        return _step(f"{_counted(files)}. I inspect the first data file, `{path}`.", _inspect(path))
    if len(results) == 2:
        return _step("Now its first rows.", _preview(path))
    return Reply(_found(path, results[1]))


def _step(text: str, code: str) -> Reply:
    return Reply(text, (Call("python_interpreter", {"code": code}),))


def _inspect(path: str) -> str:
    return _INSPECT.format(path=path)


def _preview(path: str) -> str:
    suffix = path[path.rfind(".") :].lower()
    if suffix in _TABLES:
        return _TABLE.format(path=path, separator=_TABLES[suffix])
    return _HEAD.format(path=path)


def _nothing(listing: str, files: list[str]) -> str:
    if files:
        kinds = ", ".join(_DATA)
        return f"{_counted(files)}, but none whose contents I can show (I look at {kinds})."
    if listing.strip() in ("", "The code ran and showed nothing."):
        return "You have no files here, and none in the uploads folder."
    return sentence(listing)


def _counted(files: list[str]) -> str:
    return f"You have {len(files)} file{'s' if len(files) != 1 else ''}"


def _found(path: str, inspected: str) -> str:
    lines = re.search(r"^lines: (\d+)$", inspected, re.M)
    first = re.search(r"^first line: (.*)$", inspected, re.M)
    if not lines or not first:
        return sentence(inspected)
    begins = f" and begins with `{first[1]}`" if first[1] else ""
    return f"`{path}` has {lines[1]} lines{begins}; its first rows are shown above."
