"""
The transcript: a turn's events are written into the chat.

Used by :mod:`caesarion.chat.persona`; :mod:`caesarion.chat.history` reads back what it
writes. A turn is a run of chat messages: words are Markdown; reasoning, calls and outputs
are MIME bundles, which the labextension draws and which can be read without it. What the
model needs in later turns stands in the messages' metadata, with the question they answer.
"""

import json
import time
from typing import Any
from uuid import uuid4

from jupyterlab_chat.models import BaseChatModel, Message

from caesarion.chat.bundles import call_bundle, reasoning_bundle
from caesarion.chat.call_outputs import CallOutputs, Displays
from caesarion.chat.live_message import LiveMessage
from caesarion.events import (
    AnswerEnd,
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallStart,
    CellChange,
    Done,
    Event,
    Failure,
    Output,
    Plan,
    QuestionAnswered,
    QuestionAsked,
    Reasoning,
    Refusal,
    RunStart,
    StatusChange,
    Text,
    TextWasReasoning,
    ToolCall,
    Usage,
)
from caesarion.text import clip

# Characters of one round's reasoning, and of its provider's own fields, that a chat keeps:
# every update sends and stores them. Fields that are longer are dropped, since a
# signature is of no use in parts.
_REASONING = 100_000
_FIELDS = 100_000


class Transcript:
    """Writes one turn, the answer to ``question``, into a chat as it happens."""

    def __init__(self, chat: BaseChatModel, persona_id: str, question: Message) -> None:
        self._chat = chat
        self._persona_id = persona_id
        self._question_id = question.id
        self._text: LiveMessage | None = None
        self._reasoning: LiveMessage | None = None
        # How many answers of the model have ended; its calls belong to the last of them.
        self._answers = 0
        self._fields: dict[str, Any] = {}
        # The calls under way; those that wait for a person may be several.
        self._calls: dict[str, tuple[LiveMessage, CallOutputs]] = {}
        self._displays: Displays = {}
        # The calls whose code has run, which may go on to show something, and how they began.
        self._runs: list[tuple[RunStart, CallOutputs]] = []
        self._last: LiveMessage | None = None

    @property
    def is_waiting(self) -> bool:
        """Whether a call waits for a person; others may go on meanwhile."""
        return any(live.record["status"] == "waiting" for live, _ in self._calls.values())

    def write(self, event: Event) -> None:
        """Show ``event`` in the chat."""
        match event:
            case Text():
                self.text(event)
            case Reasoning():
                self.reasoning(event)
            case TextWasReasoning():
                self.text_was_reasoning()
            case Refusal():
                self.refusal(event)
            case AnswerEnd():
                self.answer_ended(event)
            case ToolCall():
                self.call(event)
            case CallStart():
                self.call_started(event)
            case CellChange():
                self.cell_change(event)
            case ApprovalRequest():
                self.approval_requested(event)
            case ApprovalDecision():
                self.approval_decided(event)
            case QuestionAsked(call_id, question):
                live, _ = self._calls[call_id]
                live.record |= {"status": "waiting", "asked": question.id}
                live.show(call_bundle(live.record))
            case QuestionAnswered():
                self.question_answered(event)
            case Output(call_id, output):
                _, outputs = self._calls[call_id]
                outputs.show(output)
            case CallEnd():
                self.call_ended(event)
            case Failure(sentence):
                self.notice(f"⚠️ {sentence}")
            case Plan():
                self.plan()
            case Usage():
                self.usage(event)
            case StatusChange() | Done():
                pass  # states, which the chat's status line shows

    def text(self, event: Text) -> None:
        """Append to the words of this answer; the first piece is shown at once."""
        self._end_reasoning()
        if self._text is None or self._text.record["kind"] != "text":
            self._finish_text()
            self._text = self._add({"kind": "text", "round": self._answers + 1}, event.delta)
        else:
            self._text.body += event.delta
            self._text.touch()

    def refusal(self, event: Refusal) -> None:
        """Append to the words in which the model refuses to answer."""
        self._end_reasoning()
        if self._text is None or self._text.record["kind"] != "refusal":
            self._finish_text()
            self._text = self._make({"kind": "refusal", "round": self._answers + 1, "refusal": ""})
        refusal = self._text.record["refusal"] = self._text.record["refusal"] + event.delta
        quoted = refusal.replace("\n", "\n> ")
        self._text.body = f"> **The model refused to answer:** {quoted}"
        self._text.touch()

    def reasoning(self, event: Reasoning) -> None:
        """Append to the model's reasoning, which is shown folded."""
        if self._reasoning is None:
            self._finish_text()
            self._reasoning = self._as_reasoning(self._make({"round": self._answers + 1}))
        self._reasoning.raw += event.delta
        self._reasoning.touch()

    def text_was_reasoning(self) -> None:
        """Show the words of this answer so far as reasoning."""
        if self._text and self._text.record["kind"] == "text":
            live, self._text = self._text, None
            live.raw, live.body = live.body, ""
            self._reasoning = self._as_reasoning(live)
            self._end_reasoning()

    def answer_ended(self, event: AnswerEnd) -> None:
        """Keep what the provider wants back of this answer, whose calls follow."""
        self._end_reasoning()
        fields = dict(event.fields)
        if fields and len(json.dumps(fields)) <= _FIELDS:
            if self._text:
                self._text.record["fields"] = fields
                self._text.touch()
            else:
                self._fields = fields
        self._finish_text()
        self._answers += 1

    def call(self, event: ToolCall) -> None:
        """Show what is about to run."""
        self._end_reasoning()
        self._finish_text()
        live = self._make(
            {
                "kind": "call",
                "id": event.id,
                "name": event.name,
                "arguments": event.arguments,
                "status": "queued",
                "round": self._answers,
            }
        )
        if event.fields and len(json.dumps(event.fields)) <= _FIELDS:
            live.record["call_fields"] = dict(event.fields)
        if self._fields:
            live.record["fields"], self._fields = self._fields, {}
        live.show(call_bundle(live.record))
        outputs = CallOutputs(event.id, live, self._make_output, self._displays)
        self._calls[event.id] = (live, outputs)

    def call_started(self, event: CallStart) -> None:
        """Show that a call runs now, and in which kernel."""
        live, outputs = self._calls[event.call_id]
        self._runs.append((event.run, outputs))
        live.record |= {
            "status": "running",
            "execution_count": event.run.execution_count,
            "kernel_id": event.run.kernel_id,
            "place": event.run.place,
            "started": round(time.time(), 3),
        }
        live.show(call_bundle(live.record))

    def cell_change(self, event: CellChange) -> None:
        """Show what a call changes in a notebook."""
        live, _ = self._calls[event.call_id]
        live.record["change"] = dict(event.change)
        live.show(call_bundle(live.record))

    def approval_requested(self, event: ApprovalRequest) -> None:
        """Show that a call waits for a person."""
        live, _ = self._calls[event.call_id]
        live.record |= {
            "status": "waiting",
            "approval_id": event.approval_id,
            "classes": list(event.classes),
        }
        live.show(call_bundle(live.record))

    def approval_decided(self, event: ApprovalDecision) -> None:
        """Record a person's decision about a call; show the code that will run."""
        live, _ = self._calls[event.call_id]
        if live.record.pop("approval_id", None) is None:
            live.record["classes"] = list(event.classes)
        live.record |= {
            "status": "queued",
            "decided": {
                "decision": event.decision,
                "by": event.by,
                "at": event.at,
                "edited": event.arguments is not None,
                **({"program": True} if event.program else {}),
                **({"allowed": list(event.classes)} if event.classes else {}),
                **({"rule": True} if event.rule else {}),
            },
        }
        if event.arguments is not None:
            live.record |= {"written": live.record["arguments"], "arguments": event.arguments}
        live.show(call_bundle(live.record))

    def question_answered(self, event: QuestionAnswered) -> None:
        """Record a person's answer to the question of a call."""
        live, _ = self._calls[event.call_id]
        del live.record["asked"]
        answer = event.answer
        live.record["answer"] = {
            "text": answer.text,
            "is_choice": answer.is_choice,
            "by": answer.by,
            "at": answer.at,
        }
        live.show(call_bundle(live.record))

    def can_be_undone(self) -> None:
        """Note with the turn's last message that the turn has changed notebooks."""
        if self._last:
            self._last.record["undo"] = True
            self._last.show_now()

    def late_output(self, run: RunStart, output: dict[str, Any]) -> None:
        """Show an output that comes after the end of the call that began with ``run``."""
        for start, outputs in self._runs:
            if start is run and not outputs.is_deleted:
                outputs.show(output)
                outputs.end()

    def call_ended(self, event: CallEnd) -> None:
        """Record the result of a call, and remove outputs that were cleared for good."""
        live, outputs = self._calls.pop(event.call_id)
        outputs.end()
        live.record |= {"status": event.status, "result": event.text}
        if started := live.record.get("started"):
            live.record["seconds"] = round(time.time() - started, 2)
        if not outputs and event.status != "ok":
            # There is nothing else to see than the result that the model reads.
            live.record["told"] = True
        live.show(call_bundle(live.record))
        live.flush()

    def interrupted(self, result: str) -> None:
        """Record that the calls under way were stopped; the model reads ``result``."""
        for call_id, (live, _) in list(self._calls.items()):
            text = result
            if live.record.pop("asked", None):
                text = f"{result} The question was not answered."
            elif live.record.get("status") == "waiting":
                text = f"{result} It had not run, as it waited for the user's decision."
            self.call_ended(CallEnd(call_id, "interrupted", text))

    def notice(self, sentence: str) -> None:
        """Show a sentence to the user that the model does not read."""
        self._end_reasoning()
        self._finish_text()
        # Text between two amounts of money would otherwise be drawn as a formula.
        self._add({"kind": "notice"}, sentence.replace("$", "\\$"))

    def plan(self) -> None:
        """Mark the last message as a plan, below which the labextension shows a Go button."""
        if self._last:
            self._last.record["plan"] = True
            self._last.show_now()

    def usage(self, event: Usage) -> None:
        """Keep the turn's usage with its last message, under which the labextension shows it."""
        if self._last:
            self._last.record["usage"] = {
                "prompt_tokens": event.prompt_tokens,
                "completion_tokens": event.completion_tokens,
                "cached_tokens": event.cached_tokens,
                "reasoning_tokens": event.reasoning_tokens,
                "seconds": event.seconds,
            }
            self._last.show_now()

    def close(self) -> None:
        """Show every change that still waits."""
        self._end_reasoning()
        self._finish_text()
        for _, outputs in self._calls.values():
            outputs.flush()

    def _as_reasoning(self, live: LiveMessage) -> LiveMessage:
        """Return ``live`` as a message of reasoning, whose text is ``live.raw``."""
        live.record |= {
            "kind": "reasoning",
            "id": f"reasoning_{uuid4().hex}",
            "started": round(live.created, 3),
        }
        live.make_data = lambda: reasoning_bundle(live.record, clip(live.raw, _REASONING))
        return live

    def _end_reasoning(self) -> None:
        if self._reasoning:
            live, self._reasoning = self._reasoning, None
            live.record["seconds"] = round(time.time() - live.record["started"], 1)
            live.show_now()

    def _finish_text(self) -> None:
        if self._text:
            self._text.flush()
            self._text = None

    def _add(self, record: dict[str, Any], body: str) -> LiveMessage:
        live = self._make(record, body)
        live.touch()
        return live

    def _make_output(self, above: LiveMessage | None) -> LiveMessage:
        if above is None:
            return self._make({"kind": "output"})
        record = {"kind": "output", "question": self._question_id}
        return LiveMessage(self._chat, self._persona_id, record, above=above)

    def _make(self, record: dict[str, Any], body: str = "") -> LiveMessage:
        record["question"] = self._question_id
        self._last = LiveMessage(self._chat, self._persona_id, record, body)
        return self._last
