"""
How many tokens a request took, and what they cost: pure functions.

Called by ``tap``, ``answering`` and ``meter``. What the provider counts is believed when it
has the shape of a count; otherwise we count, and rather too much than too
little. No tokenizer is at hand that works without a download and knows every
model, so three bytes of UTF-8 are taken for a token: English and code have
about four to a token, Chinese three.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, TypeGuard

from caesarion_hub.values.gateway import Price

NANOS = 10**9
"""Money is kept in whole billionths of a dollar: a price of 0.001 a million tokens is exact."""

_BYTES_PER_TOKEN = 3
_IMAGE = 1_500  # tokens for a picture or a sound; a made-up number, on the high side of tiles
_MOST = 2**40  # tokens that no answer has: a count beyond is no count


@dataclass(frozen=True)
class Usage:
    """Tokens of one request; ``cached`` are among ``prompt``, ``estimated`` ones we counted."""

    prompt: int
    completion: int
    cached: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        """All of them."""
        return self.prompt + self.completion


def read_usage(said: Any) -> Usage | None:
    """Return what a provider's ``usage`` says; nothing if it is no count."""
    if not isinstance(said, dict):
        return None
    prompt, completion = said.get("prompt_tokens"), said.get("completion_tokens")
    details = said.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    if not _is_count(prompt) or not _is_count(completion):
        return None
    return Usage(prompt, completion, min(cached, prompt) if _is_count(cached) else 0)


def _is_count(said: Any) -> TypeGuard[int]:
    return isinstance(said, int) and not isinstance(said, bool) and 0 <= said < _MOST


def tokens_of(size: int) -> int:
    """Return how many tokens a text of ``size`` bytes has at most, or nearly so."""
    return math.ceil(size / _BYTES_PER_TOKEN)


def prompt_tokens(raw: bytes, body: Mapping[str, Any]) -> int:
    """Return how many tokens the request ``raw`` has, which says ``body``."""
    if b"_url" not in raw and b"input_audio" not in raw:
        return tokens_of(len(raw))
    media = [
        part
        for message in body.get("messages", ())
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict) and part.get("type") in ("image_url", "input_audio")
    ]
    inside = sum(_size(part) for part in media)
    return tokens_of(max(0, len(raw) - inside)) + _IMAGE * len(media)


def _size(part: Any) -> int:
    """Return the characters of the texts within a part; pictures are ASCII."""
    if isinstance(part, str):
        return len(part)
    return sum(_size(inner) for inner in part.values()) if isinstance(part, dict) else 0


def cost(usage: Usage, price: Price | None) -> int | None:
    """Return the billionths of a dollar that ``usage`` costs; nothing without a price."""
    if price is None:
        return None
    cached = price.prompt if price.cached is None else price.cached
    dollars = (
        price.prompt * (usage.prompt - usage.cached)
        + cached * usage.cached
        + price.completion * usage.completion
    ) / Decimal(10**6)
    return int((dollars * NANOS).to_integral_value(ROUND_CEILING))
