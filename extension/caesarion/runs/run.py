"""
A run as a value that its API shows: what it is, how far it is, and how it ended.

Made by :mod:`caesarion.runs.recording`, or by :mod:`caesarion.runs.store` from a journal's header
and last event.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import uuid4

from caesarion.runs.journal import Entry, now

RunKind = Literal["chat", "execute", "notebook"]
RunStatus = Literal[
    "queued",
    "in_progress",
    "requires_action",
    "completed",
    "failed",
    "cancelled",
    "incomplete",
]
STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
ENDED: frozenset[RunStatus] = frozenset({"completed", "failed", "cancelled", "incomplete"})

STATUS = "status"
"""The name of the event at each change of the status; one of ENDED is the last event of a run."""

# Characters of a title.
_TITLE = 120


@dataclass(frozen=True)
class Subject:
    """
    What a run is about.

    ``digest`` is the hash of the request that began it; the same ``idempotency_key`` with another
    digest is another request. ``message_id`` is the question in the chat of ``chat_id``.
    """

    kind: RunKind
    title: str = ""
    session_id: str = ""
    kernel_id: str = ""
    notebook_path: str = ""
    chat_id: str = ""
    chat_path: str = ""
    message_id: str = ""
    idempotency_key: str = ""
    digest: str = ""


def title_of(text: str) -> str:
    """Return the first line of ``text`` that has words, cut to the length of a title."""
    line = next(filter(None, map(str.strip, text.splitlines())), "")
    return line if len(line) <= _TITLE else f"{line[: _TITLE - 1]}…"


def digest_of(request: Mapping[str, Any]) -> str:
    """Return the hash of a request, whatever the order of its fields."""
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


@dataclass
class Run:
    """A run as far as it is known now."""

    subject: Subject
    id: str = field(default_factory=lambda: f"run_{uuid4().hex}")
    created_at: str = field(default_factory=now)
    status: RunStatus = "queued"
    last_sequence_number: int = 0
    kernel_id: str = ""
    ended_at: str = ""
    error: dict[str, str] | None = None
    incomplete_details: dict[str, str] | None = None
    path: str = ""
    """Where the notebook of the run was saved."""
    required_action: list[dict[str, Any]] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens in it."""
        return self.status in ENDED

    def header(self) -> dict[str, Any]:
        """Return the first line of its journal."""
        return {"id": self.id, "created_at": self.created_at, **asdict(self.subject)}

    def take(self, entry: Entry) -> None:
        """Note an event of the journal."""
        self.last_sequence_number = entry.number
        if entry.name == STATUS:
            if entry.data["status"] not in STATUSES:
                raise ValueError("The status is none of a run.")
            self.status = entry.data["status"]
            error = entry.data.get("error")
            self.error = error if isinstance(error, dict) else None
            self.incomplete_details = entry.data.get("incomplete_details")
            self.path = entry.data.get("path", self.path)
            if self.has_ended:
                self.ended_at = entry.at
                self.required_action = []
        elif entry.name == "running":
            self.kernel_id = str(entry.data.get("kernel_id", ""))

    def to_dict(self) -> dict[str, Any]:
        """Return it as the API shows it; what it does not have is left out."""
        subject = self.subject
        optional = {
            "kernel_id": self.kernel_id or subject.kernel_id,
            "session_id": subject.session_id,
            "chat_path": subject.chat_path,
            "message_id": subject.message_id,
            "notebook_path": subject.notebook_path,
            "ended_at": self.ended_at,
            "error": self.error,
            "incomplete_details": self.incomplete_details,
            "path": self.path,
            "required_action": self.required_action,
        }
        return {
            "id": self.id,
            "kind": subject.kind,
            "title": subject.title,
            "status": self.status,
            "created_at": self.created_at,
            "last_sequence_number": self.last_sequence_number,
            **{name: value for name, value in optional.items() if value},
        }


def from_header(header: Mapping[str, Any]) -> Run:
    """Return the run of a journal's header; raise KeyError, TypeError or ValueError."""
    fields = {name: header[name] for name in Subject.__dataclass_fields__}
    if not all(isinstance(value, str) for value in fields.values()):
        raise TypeError("A field of the header is no text.")
    if datetime.fromisoformat(str(header["created_at"])).tzinfo is None:
        raise ValueError("The time in the header has no time zone.")
    return Run(Subject(**fields), id=str(header["id"]), created_at=str(header["created_at"]))
