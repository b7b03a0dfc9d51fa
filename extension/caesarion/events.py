"""
What happens while a question is answered, as values.

The agent yields them, and whoever shows a turn (the chat, the HTTP door, a
test) reads them; both ends of the way of a message meet here. Everything is
frozen and without I/O.
"""

from dataclasses import dataclass
from typing import Any, Literal

ResultStatus = Literal["ok", "error", "timeout", "refused", "interrupted", "dead"]
Decision = Literal["run", "refuse"]
DoneReason = Literal["stop", "length", "rounds", "cancelled", "error"]


@dataclass(frozen=True)
class Text:
    """A piece of the model's words, to be appended to those before it."""

    delta: str


@dataclass(frozen=True)
class ToolCall:
    """The model asks for a tool; ``arguments`` is the JSON text as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Output:
    """
    Something a running tool shows.

    ``output`` is an nbformat 4 output (streams come as increments), or one of
    the two messages that change earlier outputs, named by ``output_type``:
    ``clear_output`` (with ``wait``) and ``update_display_data``.
    """

    call_id: str
    output: dict[str, Any]


@dataclass(frozen=True)
class CallEnd:
    """How a call ended, and ``text``: the digest of it that the model is told."""

    call_id: str
    status: ResultStatus
    text: str


@dataclass(frozen=True)
class RunStart:
    """
    Code began to run, after it may have waited for other code in its kernel.

    ``place`` is the path of the notebook whose kernel it is, empty for a conversation's own.
    """

    execution_count: int | None
    kernel_id: str
    place: str


@dataclass(frozen=True)
class CallStart:
    """The code of a call began to run."""

    call_id: str
    run: RunStart


@dataclass(frozen=True)
class ApprovalRequest:
    """A call waits for a person's answer, which names ``approval_id``."""

    call_id: str
    approval_id: str


@dataclass(frozen=True)
class ApprovalDecision:
    """
    A person's answer: who, when (UTC, ISO 8601) and what.

    ``arguments`` is the JSON text that runs instead of the model's, None if
    nothing was edited; ``reason`` is theirs for a refusal, or empty.
    """

    call_id: str
    decision: Decision
    by: str
    at: str
    arguments: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class Notice:
    """A state worth a status line, such as "is waiting for your cell to finish"; not kept."""

    text: str


@dataclass(frozen=True)
class Usage:
    """Tokens of a whole turn, as the provider counted them, and its ``seconds`` of wall time."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Failure:
    """The turn ended early; ``message`` is a sentence for the user."""

    message: str


@dataclass(frozen=True)
class Done:
    """The last event of every turn."""

    reason: DoneReason


Event = (
    Text
    | ToolCall
    | ApprovalRequest
    | ApprovalDecision
    | CallStart
    | Output
    | CallEnd
    | Notice
    | Usage
    | Failure
    | Done
)
