"""
An answer as one ``chat.completion``, for requests without a stream. Pure.

Called by the gateway; calls ``assembler``.
"""

from typing import Any

from caesarion_dialects import usage
from caesarion_dialects.assembler import Answer, Assembler
from caesarion_dialects.reasoning import FIELDS

OBJECT = "chat.completion"

_OTHER_REASONING = frozenset(FIELDS) - {"reasoning_content"}
_SAID = ("content", "reasoning_content", "refusal", "tool_calls", "function_call")


def completion(head: dict[str, Any], assembler: Assembler) -> dict[str, Any]:
    """
    Return the answers of ``assembler`` as a ``chat.completion``.

    ``head`` is the provider's body, or its first chunk, whose other fields are kept. A body in
    OpenAI's own form is returned itself.
    """
    made = {name: said for name, said in head.items() if name not in ("choices", "usage")}
    answers = assembler.answers()
    choices = _choices(head)
    made |= {
        "object": OBJECT,
        "choices": [_choice(answer, number, choices) for number, answer in enumerate(answers)],
    }
    if assembler.usage:
        made["usage"] = assembler.usage.as_json()
    return head if _is_same(head, made) else made


def _choices(head: dict[str, Any]) -> list[dict[str, Any]]:
    choices = head.get("choices")
    return [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []


def _choice(answer: Answer, number: int, said: list[dict[str, Any]]) -> dict[str, Any]:
    logprobs = said[number].get("logprobs") if number < len(said) else None
    return {
        "index": number,
        "message": answer.message(),
        "logprobs": logprobs,
        "finish_reason": answer.finish_reason,
    }


def _is_same(head: dict[str, Any], made: dict[str, Any]) -> bool:
    """Whether ``head`` is in OpenAI's own form, so that ``made`` says nothing else."""
    counted = head.get("usage")
    said, theirs = made["choices"], _choices(head)
    return (
        head.get("object") == OBJECT
        and len(theirs) == len(said)
        and (counted is None or usage.is_canonical(counted))
        and all(
            one.get("finish_reason") == other["finish_reason"]
            and one.get("index") == other["index"]
            and isinstance(message := one.get("message"), dict)
            and all((message.get(name) or None) == other["message"].get(name) for name in _SAID)
            and message.keys().isdisjoint(_OTHER_REASONING)
            for one, other in zip(theirs, said, strict=True)
        )
    )
