"""
Token counts, under any of their names and in any of their places. Pure.

Called by ``canonical``, which writes them in OpenAI's form, and by ``assembler``, which reads
that form; calls no other module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any

MAX_COUNT = 2**40
"""A number of tokens that no answer has: from there on a number is ignored."""

BYTES_PER_TOKEN = 3
"""
Bytes of UTF-8 to a token, for estimates.

No tokenizer knows every model without a download. English and code have about four bytes to a
token, Chinese three, so that an estimate is rather too high than too low.
"""

# The names of each count; a dot separates a table and its field. OpenAI's come first, then those
# of OpenAI's Responses API and Anthropic, of SDKs in JavaScript, of Gemini and of Ollama.
_PROMPT = (
    *("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "promptTokenCount"),
    *("prompt_token_count", "inputTokenCount", "prompt_eval_count"),
)
_COMPLETION = (
    *("completion_tokens", "output_tokens", "completionTokens", "outputTokens"),
    *("candidatesTokenCount", "candidates_token_count", "outputTokenCount", "eval_count"),
    *("generated_tokens",),
)
_TOTAL = ("total_tokens", "totalTokens", "totalTokenCount", "total_token_count")
_CACHED = (
    *("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens"),
    *("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"),
    *("cachedInputTokens", "cacheReadInputTokens", "cachedContentTokenCount"),
    *("cached_content_token_count", "promptTokensDetails.cachedTokens"),
)
_REASONING = (
    *("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens"),
    *("reasoning_tokens", "reasoningTokens", "thoughtsTokenCount", "thoughts_token_count"),
)
# Anthropic and Bedrock do not include the cache's tokens in the input's.
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")
_BESIDE_INPUT_BEDROCK = ("cacheReadInputTokens", "cacheWriteInputTokens")
_BESIDE = {"input_tokens": _BESIDE_INPUT, "inputTokens": _BESIDE_INPUT_BEDROCK}
# Gemini does not include the thoughts in the candidates.
_CANDIDATES = ("candidatesTokenCount", "candidates_token_count")
_FOREIGN = frozenset(name for name in _CACHED + _REASONING if "." not in name)
# The places of the counts: OpenAI's, Groq's, Gemini's.
_PLACES = ("usage", "x_groq.usage", "usageMetadata", "usage_metadata")

OTHER_PLACES = frozenset(("x_groq", "usageMetadata", "usage_metadata"))
"""Fields of a chunk that may hold counts beside "usage"."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer; ``cached`` are among ``prompt``, ``reasoning`` among ``completion``."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.prompt + self.completion

    def as_json(self) -> dict[str, Any]:
        """Return OpenAI's ``usage``."""
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.total,
            "prompt_tokens_details": {"cached_tokens": self.cached},
            "completion_tokens_details": {"reasoning_tokens": self.reasoning},
        }


def tokens_of(size: int) -> int:
    """Return an upper estimate of the number of tokens in a text of ``size`` bytes."""
    return ceil(size / BYTES_PER_TOKEN)


def find(chunk: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the counts of a chunk, which may be in a choice or in another table; or None."""
    for place in _PLACES:
        found = _look(chunk, place)
        if isinstance(found, Mapping) and found:
            return found
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        # Moonshot has them in the choice, others in its delta.
        for place in ("usage", "delta.usage", "message.usage"):
            found = _look(choice, place)
            if isinstance(found, Mapping) and found:
                return found
    return None


def is_canonical(said: Any) -> bool:
    """Whether ``said`` is OpenAI's ``usage``."""
    if not isinstance(said, dict):
        return False
    prompt, completion = said.get("prompt_tokens"), said.get("completion_tokens")
    total = said.get("total_tokens")
    return (
        type(prompt) is type(completion) is type(total) is int
        and 0 <= prompt < MAX_COUNT
        and 0 <= completion < MAX_COUNT
        and total == prompt + completion
        and said.keys().isdisjoint(_FOREIGN)
    )


def read(said: Any, size: int = 0) -> Usage | None:
    """
    Return the counts in ``said``; None if there are none but zeros.

    ``size`` is the answer's number of bytes, by which a total without parts is divided.
    """
    if is_canonical(said):
        return _read_canonical(said)
    if not isinstance(said, Mapping):
        return None
    prompt, prompt_name = _first(said, _PROMPT)
    completion, completion_name = _first(said, _COMPLETION)
    total, _ = _first(said, _TOTAL)
    cached, _ = _first(said, _CACHED)
    reasoning, _ = _first(said, _REASONING)
    prompt += sum(_first(said, (name,))[0] for name in _BESIDE.get(prompt_name, ()))
    if completion_name in _CANDIDATES:
        completion += reasoning
    if total and not prompt_name:
        if not completion_name:
            completion = min(total, tokens_of(size))
        prompt = max(0, total - completion)
    # xAI and Gemini include reasoning in the total only.
    completion = max(completion, total - prompt)
    if not prompt and not completion:
        return None
    return Usage(prompt, completion, min(cached, prompt), min(reasoning, completion))


def _read_canonical(said: Mapping[str, Any]) -> Usage | None:
    prompt, completion = said["prompt_tokens"], said["completion_tokens"]
    if not prompt and not completion:
        return None
    inside, behind = said.get("prompt_tokens_details"), said.get("completion_tokens_details")
    cached = count(inside.get("cached_tokens")) if isinstance(inside, dict) else 0
    reasoning = count(behind.get("reasoning_tokens")) if isinstance(behind, dict) else 0
    return Usage(prompt, completion, min(cached or 0, prompt), min(reasoning or 0, completion))


def merge(old: Usage | None, new: Usage) -> Usage:
    """Return the later counts; a zero does not replace another number."""
    old = old or Usage()
    prompt, completion = new.prompt or old.prompt, new.completion or old.completion
    cached, reasoning = new.cached or old.cached, new.reasoning or old.reasoning
    return Usage(prompt, completion, min(cached, prompt), min(reasoning, completion))


def count(said: Any) -> int | None:
    """Return ``said`` as a number of tokens, or None; some servers send integers as floats."""
    if isinstance(said, float) and said.is_integer():
        said = int(said)
    is_count = isinstance(said, int) and not isinstance(said, bool) and 0 <= said < MAX_COUNT
    return said if is_count else None


def _first(said: Mapping[str, Any], names: tuple[str, ...]) -> tuple[int, str]:
    """Return the first count that is not 0, or else the first one, and its name."""
    known = [(number, name) for name in names if (number := count(_look(said, name))) is not None]
    return next((one for one in known if one[0]), known[0] if known else (0, ""))


def _look(said: Any, path: str) -> Any:
    for name in path.split("."):
        said = said.get(name) if isinstance(said, Mapping) else None
    return said
