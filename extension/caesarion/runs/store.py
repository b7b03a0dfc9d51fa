"""
The runs of one server: those that go on, and the journals of those that have ended.

Built by :mod:`caesarion.extension`; used by :mod:`caesarion.api.runs`, which starts, lists, reads
and stops them, and by :mod:`caesarion.chat.persona`, whose turns are recorded.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from caesarion.config import CaesarionRuns
from caesarion.errors import CaesarionError, JournalFull, KernelError, NotebookError
from caesarion.runs import journal
from caesarion.runs.journal import Entry, JournalReader, JournalWriter
from caesarion.runs.recording import Recording
from caesarion.runs.run import ENDED, STATUS, Run, Subject, from_header

_log = logging.getLogger(__name__)

# Runs that are kept at most, however small their journals are: each takes a kilobyte of memory.
_MOST = 2_000

# Seconds for which a file without a whole first line may be one that a server has just made.
_NEW = 60.0

DIED = "server_died"
"""The code of the error with which a run ends whose server died."""

_DIED = (
    "The server died while this ran, or was stopped before it could end it. What was done until "
    "then is in the events."
)
_INSIDE = "Something went wrong inside Caesarion ({}). Try again; the server's log has the details."

Work = Callable[[Recording], Awaitable[None]]


class Runs:
    """
    The runs of one server.

    ``max_minutes`` is how long a run that nobody listens to counts as activity; ``on_change``
    takes a run whenever its status changes, or what it waits for.
    """

    def __init__(
        self,
        settings: CaesarionRuns,
        folder: Path,
        max_minutes: float,
        on_change: Callable[[Run], object] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._max_seconds = 60 * max_minutes
        self._on_change = on_change
        self._runs: dict[str, Run] = {}
        self._live: dict[str, Recording] = {}
        self._by_key: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        # Those whose journal is deleted when they end.
        self._to_delete: set[str] = set()
        self._loading: asyncio.Task[None] | None = None
        self.responses: dict[asyncio.Task[Any], Callable[[], object]] = {}
        """The work that goes on, and what stops it when the server stops."""

    async def load(self) -> None:
        """Return when the runs of earlier servers are known; those that were cut off have ended."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        await asyncio.shield(self._loading)

    def find(self, run_id: str) -> Run | None:
        """Return a run."""
        return self._runs.get(run_id)

    def find_by_key(self, idempotency_key: str) -> Run | None:
        """Return the run that was begun with a key."""
        return self._runs.get(self._by_key.get(idempotency_key, ""))

    def newest_first(self) -> Iterator[Run]:
        """Yield all runs."""
        yield from reversed(self._runs.values())

    def cut_off_questions(self, chat_id: str) -> list[str]:
        """Return the questions of a chat in whose answers a server died, the oldest first."""
        return [
            run.subject.message_id
            for run in self._runs.values()
            if run.subject.chat_id == chat_id and (run.error or {}).get("code") == DIED
        ]

    def forget_chat(self, chat_id: str) -> None:
        """Delete the journals of a chat that was deleted; of a turn that goes on at its end."""
        for run in list(self._runs.values()):
            if run.subject.chat_id == chat_id:
                if run.id in self._live:
                    self._to_delete.add(run.id)
                else:
                    self._delete(run)

    def cancel(self, run_id: str) -> None:
        """Stop a run that goes on; one that has ended stays as it is."""
        if recording := self._live.get(run_id):
            recording.cancel()

    def record(self, subject: Subject, cancel: Callable[[], object]) -> Recording:
        """Begin to record work that its caller does; raise JournalError."""
        run = Run(subject)
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise journal.unwritable(self._folder, error) from error
        writer = JournalWriter(
            self._path(run.id), run.header(), max_bytes=self._settings.journal_bytes
        )
        recording = Recording(run, writer, cancel, self._max_seconds, self._on_change, self._ended)
        self._runs[run.id] = run
        self._live[run.id] = recording
        if subject.idempotency_key:
            self._by_key[subject.idempotency_key] = run.id
        recording.write(STATUS, {"status": "queued"})
        return recording

    def start(self, subject: Subject, work: Work) -> Run:
        """Begin a run whose ``work`` goes on by itself; raise JournalError."""
        loop = asyncio.get_running_loop()
        # Not at once: a task that is cancelled before its first step does not even begin.
        recording = self.record(subject, lambda: loop.call_soon(task.cancel))
        task = loop.create_task(self._to_its_end(recording, work))
        self.responses[task] = recording.stop_with_server
        task.add_done_callback(self.responses.pop)
        return recording.run

    @contextlib.asynccontextmanager
    async def events(self, run: Run, after: int = 0) -> AsyncIterator[AsyncIterator[Entry]]:
        """
        Provide the events of ``run`` behind the number ``after``, until it has ended.

        Raises FileNotFoundError if its journal was deleted, or is no file.
        """
        recording = self._live.get(run.id)
        if recording:
            recording.readers += 1
        try:
            try:
                opened = JournalReader(self._path(run.id))
            except OSError as error:
                raise FileNotFoundError(f"There is no journal of {run.id}.") from error
            with contextlib.closing(opened) as reader:
                yield _follow(reader, run, recording, after)
        finally:
            if recording:
                recording.readers -= 1

    async def _to_its_end(self, recording: Recording, work: Work) -> None:
        try:
            await work(recording)
        except JournalFull as error:
            await recording.end_full(error)
        except asyncio.CancelledError as error:
            await recording.end_cancelled(str(error))
        except CaesarionError as error:
            await recording.end("failed", error=(_code(error), str(error)))
        except Exception as error:
            _log.exception("A run failed.")
            await recording.end("failed", error=("internal", _INSIDE.format(type(error).__name__)))

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}{journal.SUFFIX}"

    def _ended(self, recording: Recording) -> None:
        run = recording.run
        del self._live[run.id]
        with contextlib.suppress(OSError):
            self._sizes[run.id] = self._path(run.id).stat().st_size
        if run.id in self._to_delete:
            self._to_delete.remove(run.id)
            self._delete(run)
        self._delete_old()

    def _delete_old(self) -> None:
        """Delete the journals of ended runs that are too old or, the oldest first, too much."""
        oldest = datetime.now(UTC) - timedelta(days=self._settings.keep_days)
        size = sum(self._sizes.values())
        for run in list(self._runs.values()):
            is_old = datetime.fromisoformat(run.created_at) < oldest
            is_too_much = size > self._settings.keep_bytes or len(self._runs) > _MOST
            if not is_old and not is_too_much:
                return
            if run.id in self._live:
                continue
            size -= self._sizes.get(run.id, 0)
            self._delete(run)

    def _delete(self, run: Run) -> None:
        del self._runs[run.id]
        self._sizes.pop(run.id, None)
        self._by_key.pop(run.subject.idempotency_key, None)
        with contextlib.suppress(OSError):
            self._path(run.id).unlink()

    async def _load(self) -> None:
        found = await asyncio.to_thread(_read_all, self._folder)
        found.sort(key=lambda one: one[0].created_at)
        # Those that have begun meanwhile are newer.
        newer = {**self._runs}
        self._runs.clear()
        for run, size in found:
            self._runs[run.id] = run
            self._sizes[run.id] = size
            if run.subject.idempotency_key:
                self._by_key.setdefault(run.subject.idempotency_key, run.id)
        self._runs.update(newer)
        self._delete_old()


async def _follow(
    reader: JournalReader, run: Run, recording: Recording | None, after: int
) -> AsyncIterator[Entry]:
    while True:
        # Both before the file is read: what comes after that sets the event.
        changed = recording.changed if recording else None
        has_ended = run.has_ended
        entries = reader.read()
        for entry in entries:
            if entry.number > after:
                yield entry
        if entries:
            await asyncio.sleep(0)  # Long journals are read in pieces, between other work.
        elif has_ended or changed is None:
            return
        else:
            await changed.wait()


def _read_all(folder: Path) -> list[tuple[Run, int]]:
    """Return the runs of the journals in ``folder``, and their sizes."""
    found = []
    for path in list(folder.glob(f"run_*{journal.SUFFIX}")) if os.access(folder, os.R_OK) else []:
        try:
            if run := _read(path):
                found.append((run, path.lstat().st_size))
        except (OSError, ValueError, KeyError, TypeError) as error:
            # Code in a kernel can write there, and anything.
            _log.warning("The journal %s cannot be read: %s", path, error)
    return found


def _read(path: Path) -> Run | None:
    """
    Return the run of a journal; one that was cut off ends now.

    None if a server writes it, or if its first line was cut off.
    """
    last = journal.read_last(path)
    run = _run_of(path)
    if run and last and last.name == STATUS and last.data.get("status") in ENDED:
        run.take(last)
        return run
    with journal.cut_off(path) as cut:
        if cut is None:
            return None
        run = _run_of(path)
        if run is None:
            if time.time() - path.stat().st_mtime > _NEW:
                path.unlink()
            return None
        for entry in cut.entries():
            run.take(entry)
        if not run.has_ended:
            error = {"code": DIED, "message": _DIED}
            run.take(cut.end(STATUS, {"status": "failed", "error": error}))
    return run


def _run_of(path: Path) -> Run | None:
    header = journal.read_header(path)
    try:
        return from_header(header) if header and header.get("id") == path.stem else None
    except (KeyError, TypeError, ValueError):
        return None


def _code(error: CaesarionError) -> str:
    """Return how programs tell the error."""
    if isinstance(error, KernelError):
        return "kernel_error"
    return "notebook_error" if isinstance(error, NotebookError) else "run_failed"
