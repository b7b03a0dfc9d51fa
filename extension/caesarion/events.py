"""
The events of a turn, as values.

:mod:`caesarion.agent.loop` yields them while it answers a question; the chat's transcript
and the HTTP API show them. Invariant: everything is frozen and without I/O.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

ResultStatus = Literal["ok", "error", "timeout", "refused", "interrupted", "dead"]
CallKind = Literal["read", "edit", "run"]
Decision = Literal["run", "refuse"]
Approver = Literal["person", "program", "rule"]
RiskClass = Literal[
    "reads", "edits the notebook", "writes names", "files", "network", "processes", "installs"
]
"""What a call can do at worst, the least dangerous first; :mod:`caesarion.agent.risk` decides."""
DoneReason = Literal["stop", "length", "rounds", "cancelled", "error"]


@dataclass(frozen=True)
class Text:
    """A piece of the model's words, to be appended to those before it."""

    delta: str


@dataclass(frozen=True)
class Reasoning:
    """A piece of what the model thinks before it answers, to be appended to those before it."""

    delta: str


@dataclass(frozen=True)
class TextWasReasoning:
    """
    The text of this answer so far was reasoning.

    Some models close their reasoning with a tag that nothing has opened, so that the
    first answer shows only afterwards what its beginning was.
    """


@dataclass(frozen=True)
class Refusal:
    """A piece of the words in which the model refuses to answer, to be appended."""

    delta: str


@dataclass(frozen=True)
class AnswerEnd:
    """
    One answer of the model is complete; its calls follow.

    ``fields`` are the provider's own fields of the message, such as signatures, which some
    providers want back.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolCall:
    """
    The model asks for a tool; ``arguments`` is the JSON text as the model wrote it.

    ``fields`` are the provider's own fields of the call, which it may want back.
    """

    id: str
    name: str
    arguments: str
    fields: Mapping[str, Any] = field(default_factory=dict)


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
    """The end of a call: its status, and ``text``, the result that the model reads."""

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
class CellChange:
    """
    What a call changes in a notebook, or would change; or which cell it runs.

    ``change`` has the operation's ``id``, ``path``, ``cell_id``, ``operation`` (edit, insert,
    delete, move or run), ``cell_type``, ``after``, ``source`` and ``before`` (None where there is
    none) and ``why``. An edited call has another one.
    """

    call_id: str
    change: Mapping[str, Any]


@dataclass(frozen=True)
class ApprovalRequest:
    """A call waits for a person's decision, which names ``approval_id``; its ``classes``."""

    call_id: str
    approval_id: str
    classes: tuple[RiskClass, ...] = ()


@dataclass(frozen=True)
class ApprovalDecision:
    """
    A person's decision about a waiting call: by whom, and when (UTC, ISO 8601).

    ``arguments`` is the JSON text that runs instead of the model's, None if
    nothing was edited; ``reason`` is the person's for a refusal, or empty. ``program`` says
    that a program decided, with a token of the person's. ``classes`` are those that the person
    allowed for the rest of the chat with this decision. With ``rule`` the call did not wait: its
    ``classes`` had been allowed in this chat.
    """

    call_id: str
    decision: Decision
    by: str
    at: str
    arguments: str | None = None
    reason: str = ""
    program: bool = False
    classes: tuple[RiskClass, ...] = ()
    rule: bool = False


@dataclass(frozen=True)
class UserQuestion:
    """A question to the user, in Markdown, and answers to choose from; the answer names ``id``."""

    id: str
    text: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class UserAnswer:
    """The user's answer: a choice, or their own words; by whom, and when (UTC, ISO 8601)."""

    text: str
    is_choice: bool
    by: str
    at: str


@dataclass(frozen=True)
class QuestionAsked:
    """A call waits for the user's answer."""

    call_id: str
    question: UserQuestion


@dataclass(frozen=True)
class QuestionAnswered:
    """The user has answered the question of a call."""

    call_id: str
    answer: UserAnswer


@dataclass(frozen=True)
class StatusChange:
    """A state for the status line, such as "is waiting for your cell to finish"; not stored."""

    text: str


@dataclass(frozen=True)
class Usage:
    """
    Tokens as the provider counted them, and the ``seconds`` of wall time.

    Of one answer, or summed over the answers of a turn. Cached tokens are part of the
    prompt's, reasoning tokens part of the completion's.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    seconds: float = 0.0

    @property
    def total_tokens(self) -> int:
        """All tokens."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Failure:
    """The turn ended early; ``message`` is a sentence for the user."""

    message: str


@dataclass(frozen=True)
class ImagesNotTaken(Failure):
    """The turn ended early, as the provider did not take a request that showed images."""


@dataclass(frozen=True)
class Plan:
    """The answer is a plan, which the person may tell the agent to go ahead with."""


@dataclass(frozen=True)
class Done:
    """The last event of every turn."""

    reason: DoneReason


Event = (
    Text
    | Reasoning
    | TextWasReasoning
    | Refusal
    | AnswerEnd
    | ToolCall
    | CellChange
    | ApprovalRequest
    | ApprovalDecision
    | QuestionAsked
    | QuestionAnswered
    | CallStart
    | Output
    | CallEnd
    | StatusChange
    | Usage
    | Failure
    | Plan
    | Done
)
