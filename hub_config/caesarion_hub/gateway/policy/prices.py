"""
How many tokens a request has, and what an answer costs: pure functions.

Called by ``metering`` and ``response``. What a provider counts is read by
``caesarion_dialects.usage``; what nobody has counted is estimated, rather too high
than too low.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from caesarion_dialects.usage import tokens_of

from caesarion_hub.values.gateway import Price

NANOS = 10**9
"""Money is kept in whole billionths of a dollar: a price of 0.001 a million tokens is exact."""

_IMAGE = 1_500  # tokens for a picture or a sound; a made-up number, on the high side of tiles


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
