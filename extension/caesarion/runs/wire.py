"""
The events of a turn as programs read them: a name and JSON data each; docs/http.md lists them.

Used by :mod:`caesarion.api.chat`, which streams them, and by :mod:`caesarion.runs.recording`.
Pure.
"""

from dataclasses import asdict
from typing import Any

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
    StatusChange,
    Text,
    TextWasReasoning,
    ToolCall,
    Usage,
)


def named(event: Event) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the data of ``event``; None if programs are not told of it."""
    if isinstance(event, StatusChange | AnswerEnd):
        return None
    if isinstance(event, Output):  # It may be large, and asdict copies what is in it.
        return output_name(event.output), {"call_id": event.call_id, "output": event.output}
    data = asdict(event)
    match event:
        case Text():
            name = "text"
        case Reasoning():
            name = "reasoning"
        case TextWasReasoning():
            name = "text_was_reasoning"
        case Refusal():
            name = "refusal"
        case ToolCall():
            name = "tool_call"
            del data["fields"]
        case CallStart():
            name = "running"
            data |= data.pop("run")
        case CellChange():
            name = "change"
        case ApprovalRequest():
            name = "waiting"
        case ApprovalDecision():
            name = "decided"
        case QuestionAsked():
            name = "question"
        case QuestionAnswered():
            name = "answered"
        case CallEnd():
            name = "tool_result"
        case Usage():
            name = "usage"
            data["total_tokens"] = event.total_tokens
            data["prompt_tokens_details"] = {"cached_tokens": data.pop("cached_tokens")}
            data["completion_tokens_details"] = {"reasoning_tokens": data.pop("reasoning_tokens")}
        case Failure():
            name = "error"
        case Plan():
            name = "plan"
        case Done():
            name = "done"
    return name, data


def output_name(output: dict[str, Any]) -> str:
    """Return the name of the event that shows ``output``."""
    kind = str(output["output_type"])
    return kind if kind in ("clear_output", "update_display_data") else "output"
