"""
Checkpoints: what a turn has done to notebooks, and how they were before, to undo it.

Written by :mod:`caesarion.notebooks.turn`, read by :mod:`caesarion.agent.undo`. A turn has one
file, ``.caesarion/checkpoints/<chat>/<message>.jsonl`` below the root: one JSON object a line, only
ever appended to, so that a server that dies in the middle loses at most its last line. Each
notebook stands there whole, as it was before the turn's first change of it.
"""

import asyncio
import contextlib
import io
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from caesarion.errors import ToolError
from caesarion.notebooks.cells import Operation, as_json, operation_from_json
from caesarion.regular_files import open_regular

FOLDER = ".caesarion/checkpoints"

# Turns of one chat that can be undone, and seconds that a checkpoint is kept; made up.
_MOST = 20
_KEPT = 30 * 24 * 3600.0

# Characters of a notebook that is kept with its outputs; made up.
_WITH_OUTPUTS = 30_000_000

# How the names of the files end.
_CHANGED = ".jsonl"
_UNDONE = ".undone.jsonl"

# How the lines of steps begin.
_STEPS = ('{"change": ', '{"run": ')

_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")

TurnState = Literal["changed", "undone"]


@dataclass(frozen=True)
class ChangeMade:
    """A change of the notebook at ``path``, and the operation that undoes it."""

    path: str
    operation: Operation
    undo: Operation

    @property
    def id(self) -> str:
        """The id of the operation."""
        return self.operation.id

    @property
    def cell_id(self) -> str:
        """The id of the cell."""
        return self.operation.cell_id

    def as_json(self) -> dict[str, Any]:
        """Return the change as a line of the file has it."""
        operations = {"operation": as_json(self.operation), "undo": as_json(self.undo)}
        return {"change": {"path": self.path, **operations}}


@dataclass(frozen=True)
class CellRun:
    """
    A run of a cell by the turn, and what the cell showed before.

    ``hash`` is of the source that ran, ``execution_count`` what the run left there.
    """

    id: str
    path: str
    cell_id: str
    hash: str
    execution_count: int | None
    outputs_before: tuple[Mapping[str, Any], ...]
    count_before: int | None

    def as_json(self) -> dict[str, Any]:
        """Return the run as a line of the file has it."""
        return {"run": {**vars(self), "outputs_before": list(self.outputs_before)}}


Step = ChangeMade | CellRun


@dataclass(frozen=True)
class Checkpoint:
    """
    What one turn did, the oldest first, as far as it is not undone.

    ``order`` has the ids of each notebook's cells before the turn, by the notebook's path.
    """

    chat_path: str
    steps: tuple[Step, ...]
    order: Mapping[str, list[str]]


class TurnCheckpoint:
    """The checkpoint of a turn under way; the file is made with the first change."""

    def __init__(self, checkpoints: "Checkpoints", chat_id: str, chat_path: str, turn: str) -> None:
        self._checkpoints = checkpoints
        self._chat_id = chat_id
        self._chat_path = chat_path
        self._turn = turn
        self._kept: set[str] = set()
        # Held while a notebook is written: calls of one answer are made at once, and the second
        # must not keep what the first has changed.
        self._keeping = asyncio.Lock()

    @property
    def is_wanted(self) -> bool:
        """Whether there is a chat in which the turn can be undone."""
        return bool(self._chat_id and self._turn)

    def has(self, path: str) -> bool:
        """Return whether a notebook is kept as it was before the turn."""
        return path in self._kept or not self.is_wanted

    async def keep(self, path: str, notebook: Mapping[str, Any]) -> None:
        """Keep a notebook as it is before the turn's first change of it; raise ToolError."""
        async with self._keeping:
            if self.has(path):
                return
            try:
                await asyncio.to_thread(self._write, path, notebook)
            except OSError as error:
                raise ToolError(
                    f"Nothing was changed in {path!r}, as it could not be kept for an undo: "
                    f"{error.strerror}. Tell the user to make room in the folder {FOLDER!r}."
                ) from error
            self._kept.add(path)

    def _write(self, path: str, notebook: Mapping[str, Any]) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        lines: list[dict[str, Any]] = [
            {"notebook": path, "at": at, "content": _bounded(notebook)},
        ]
        if not self._kept:
            lines.insert(0, {"version": 1, "chat": self._chat_path})
        self._checkpoints.write(self._chat_id, self._turn, lines)

    def note(self, step: Step) -> None:
        """Note what was done to a notebook that is kept."""
        if self.is_wanted:
            # The disk may have become full since. The change is made; that the notebook is kept
            # whole is all that is left then.
            with contextlib.suppress(OSError):
                self._checkpoints.write(self._chat_id, self._turn, [step.as_json()])


class Checkpoints:
    """The checkpoints of one server, whose root is the folder ``root``."""

    def __init__(self, root: Path) -> None:
        self._folder = root / FOLDER

    def turn(self, chat_id: str, chat_path: str, message_id: str) -> TurnCheckpoint:
        """Return the checkpoint of the turn that answers a message."""
        return TurnCheckpoint(self, chat_id, chat_path, message_id)

    def turns(self, chat_id: str) -> dict[str, TurnState]:
        """Return the turns of a chat that have a checkpoint, by message, and which are undone."""
        return {
            file.name.removesuffix(_UNDONE).removesuffix(_CHANGED): (
                "undone" if file.name.endswith(_UNDONE) else "changed"
            )
            for file in self._files(chat_id)
        }

    def exists(self, chat_id: str, message_id: str) -> bool:
        """Return whether a turn has changed a notebook, and can be undone."""
        file = self._file(chat_id, message_id)
        if file is None or not file.is_file() or file.is_symlink():
            return False
        with _opened(file) as lines:
            return any(line.startswith(_STEPS) for line in lines)

    def read(self, chat_id: str, message_id: str) -> Checkpoint | None:
        """Return the checkpoint of a turn, or None if there is none to undo."""
        file = self._file(chat_id, message_id)
        if file is None or not file.is_file() or file.is_symlink():
            return None
        chat_path, undone, steps, order = "", set[str](), list[Step](), dict[str, list[str]]()
        for line in _lines(file):
            if isinstance(line.get("chat"), str):
                chat_path = line["chat"]
            elif isinstance(line.get("undone"), list):
                undone.update(line["undone"])
            elif isinstance(line.get("notebook"), str):
                order[line["notebook"]] = [cell["id"] for cell in line["content"]["cells"]]
            elif step := _step(line):
                steps.append(step)
        left = tuple(step for step in steps if step.id not in undone)
        return Checkpoint(chat_path, left, order)

    def note_undone(self, chat_id: str, message_id: str, steps: Iterable[str]) -> None:
        """Note by their ids which steps of a turn need no more undoing."""
        self.write(chat_id, message_id, [{"undone": sorted(steps)}])

    def end(self, chat_id: str, message_id: str) -> None:
        """Note that a turn is undone."""
        if (file := self._file(chat_id, message_id)) and file.is_file():
            file.rename(file.with_name(f"{message_id}{_UNDONE}"))

    def write(self, chat_id: str, message_id: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Append lines to the file of a turn, and delete those of old turns of its chat."""
        file = self._file(chat_id, message_id)
        if file is None:
            raise ValueError(f"{chat_id!r} and {message_id!r} are no ids.")
        is_new = not file.exists()
        file.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with io.TextIOWrapper(open_regular(file, flags), encoding="utf-8") as out:
            if not is_new:
                out.write("\n")  # The last line may have been cut off.
            for line in lines:
                out.write(f"{json.dumps(line)}\n")
        if is_new:
            # Whatever the clock says of it: the new one stays.
            for old in {*self._files(chat_id)[:-_MOST], *self._expired()} - {file}:
                with contextlib.suppress(OSError):  # a folder, say
                    old.unlink()

    def _expired(self) -> list[Path]:
        """Return the files of all chats that are kept no longer."""
        since = time.time() - _KEPT
        files = self._folder.glob(f"*/*{_CHANGED}")
        return [file for file in files if file.lstat().st_mtime < since]

    def _files(self, chat_id: str) -> list[Path]:
        """Return the files of a chat, the oldest first."""
        if not _ID.fullmatch(chat_id):
            return []
        files = (self._folder / chat_id).glob(f"*{_CHANGED}")
        return sorted(files, key=lambda file: file.lstat().st_mtime_ns)

    def _file(self, chat_id: str, message_id: str) -> Path | None:
        if not (_ID.fullmatch(chat_id) and _ID.fullmatch(message_id)):
            return None
        return self._folder / chat_id / f"{message_id}{_CHANGED}"


def _bounded(notebook: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a notebook, without its outputs if it is very large; steps have their own."""
    if len(json.dumps(notebook)) <= _WITH_OUTPUTS:
        return notebook
    cells = [{**cell, "outputs": []} if "outputs" in cell else cell for cell in notebook["cells"]]
    return {**notebook, "cells": cells}


def _opened(file: Path) -> io.TextIOWrapper:
    return io.TextIOWrapper(open_regular(file), encoding="utf-8", errors="replace")


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file, without a line that was cut off."""
    with _opened(file) as lines:
        for line in lines:
            with contextlib.suppress(ValueError):
                value = json.loads(line)
                if isinstance(value, dict):
                    yield value


def _step(line: dict[str, Any]) -> Step | None:
    """Return what a line says was done; None if it says something else, or nothing usable."""
    try:
        if "change" in line:
            change = line["change"]
            return ChangeMade(
                change["path"],
                operation_from_json(change["operation"]),
                operation_from_json(change["undo"]),
            )
        if "run" in line:
            return CellRun(
                **{**line["run"], "outputs_before": tuple(line["run"]["outputs_before"])}
            )
    except (KeyError, TypeError, ValueError):
        pass
    return None
