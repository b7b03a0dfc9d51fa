"""
The model's answer: from canonical chunks to what the agent works with.

Called by :mod:`caesarion.agent.model`; :mod:`caesarion_dialects` has made the chunks
canonical. Pure.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caesarion_dialects import CONTENT_WAS_REASONING, Assembler

from caesarion.agent.prompt import REASONING
from caesarion.events import Reasoning, Refusal, Text, TextWasReasoning, ToolCall, Usage

Delta = Text | Reasoning | Refusal | TextWasReasoning
"""A piece of an answer, as it streams."""

# The fields of a canonical delta that are shown, and how.
_SHOWN = ((Reasoning, "reasoning_content"), (Text, "content"), (Refusal, "refusal"))


@dataclass(frozen=True)
class Answer:
    """
    One answer of the model. ``finish_reason`` is OpenAI's.

    ``fields`` are the provider's own fields of the message. ``receipt`` came with the answer
    from the gateway; code in a kernel must not come to know it, so it stays in memory.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: tuple[ToolCall, ...] = ()
    finish_reason: str = ""
    usage: Usage = field(default_factory=Usage)
    fields: Mapping[str, Any] = field(default_factory=dict)
    receipt: str = field(default="", repr=False)

    @property
    def returned_fields(self) -> dict[str, Any]:
        """The fields that go back to the provider with the message."""
        return {**self.fields, **({REASONING: self.reasoning} if self.reasoning else {})}


def read(chunk: dict[str, Any], assembler: Assembler) -> list[Delta]:
    """Return what a canonical chunk shows, and let ``assembler`` have it."""
    assembler.add(chunk)
    shown: list[Delta] = []
    for choice in chunk["choices"]:
        delta = choice["delta"]
        if delta.get(CONTENT_WAS_REASONING):
            shown.append(TextWasReasoning())
            continue
        for kind, name in _SHOWN:
            if text := delta.get(name):
                shown.append(kind(text))
    return shown


def whole(assembler: Assembler) -> Answer:
    """Return the answer that ``assembler`` has put together."""
    answer, counted = assembler.answer, assembler.usage
    usage = (
        Usage(
            prompt_tokens=counted.prompt,
            completion_tokens=counted.completion,
            cached_tokens=counted.cached,
            reasoning_tokens=counted.reasoning,
        )
        if counted
        else Usage()
    )
    return Answer(
        text=answer.text,
        reasoning=answer.reasoning,
        refusal=answer.refusal,
        calls=tuple(
            ToolCall(call.id, call.name, call.arguments, call.extras) for call in answer.calls
        ),
        finish_reason=answer.finish_reason,
        usage=usage,
        fields=answer.extras,
    )
