"""
The file of a chat: read, replaced as a whole, set aside, and its last good copy.

Called by :mod:`caesarion.chat.store`. Jupyter Server's contents manager, through which
notebooks are saved, does not do for chats: it writes in place too, beside a copy that it
moves back when a write fails, but not when the process is killed.
"""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from caesarion.regular_files import open_regular


def good_copy(path: Path) -> Path:
    """Return where the copy before the last one of the chat at ``path`` is kept."""
    return path.with_name(f".{path.name}.last")


def follow(root: Path, data: dict[str, Any]) -> None:
    """
    Move or delete the good copy of a chat below ``root`` with the chat.

    ``data`` is an event of Jupyter Server's contents manager. A new chat of the old name
    must not find the copy.
    """
    path = root / data["path"]
    if data["action"] == "delete" and path.suffix == ".chat":
        good_copy(path).unlink(missing_ok=True)
    elif data["action"] == "rename" and path.suffix == ".chat":
        copy = good_copy(root / data["source_path"])
        if copy.exists():
            copy.replace(good_copy(path))
        else:
            good_copy(path).unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any] | None:
    """Return what is in the file of a chat, or None if that cannot be read."""
    try:
        with open_regular(path, follow=True) as file:
            chat = json.loads(file.read().decode("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    readable = isinstance(chat, dict) and isinstance(chat.get("messages", []), list)
    return chat if readable else None


def set_aside(path: Path) -> Path:
    """Rename an unreadable file to the first free name like "a (unreadable).txt"."""
    number = 1
    while True:
        suffix = "" if number == 1 else f" {number}"
        # Not as a chat: the list of chats would offer it, and it cannot be opened.
        aside = path.with_name(f"{path.stem} (unreadable{suffix}).txt")
        if not aside.exists():
            return path.rename(aside)
        number += 1


def write(path: Path, content: str, *, new: bool) -> None:
    """
    Replace the file, keeping what it was as the last good copy.

    Raises OSError; FileNotFoundError where there is none and it is not ``new``,
    as it was deleted or moved.
    """
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.unlink(missing_ok=True)  # It may be a named pipe, which waits for a reader.
        with temporary.open("x", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            copy = good_copy(path)
            with contextlib.suppress(OSError):  # A file system without hard links has no copy.
                copy.unlink(missing_ok=True)
                os.link(path, copy)
        elif not new:
            raise FileNotFoundError(f"{path} was deleted or moved")
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
