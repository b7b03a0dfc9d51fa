"""
How many tokens a request has, and what an answer costs: pure functions.

Called by ``limits``, ``budgets``, ``api`` (``metering``, ``response``, ``metrics``) and the
pages. What a provider counts is read by ``caesarion_dialects.usage``; what nobody has counted
is estimated, rather too high than too low.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from caesarion_dialects.usage import tokens_of

from caesarion_hub.values.gateway import Price

NANOS = 10**9
"""Money is kept in whole billionths of a dollar: a price of 0.001 a million tokens is exact."""

_IMAGE = 1_500  # tokens for a picture or a sound; a made-up number, on the high side of tiles


@dataclass(frozen=True)
class Usage:
    """
    The tokens of one request.

    ``cached`` is a part of ``prompt``; ``estimated`` says that no provider has counted them.
    """

    prompt: int
    completion: int
    cached: int = 0
    estimated: bool = False

    @property
    def total(self) -> int:
        """The tokens of the prompt and of the answer."""
        return self.prompt + self.completion


def prompt_tokens(raw: bytes, body: Mapping[str, Any]) -> int:
    """Estimate the tokens of a request, whose body is ``raw`` and, parsed, ``body``."""
    if b"_url" not in raw and b"input_audio" not in raw:
        return tokens_of(len(raw))
    sizes = [
        _media_size(part)
        for message in body.get("messages", ())
        if isinstance(message.get("content"), list)
        for part in message["content"]
        if isinstance(part, dict) and part.get("type") in ("image_url", "input_audio")
    ]
    return tokens_of(max(0, len(raw) - sum(sizes))) + _IMAGE * len(sizes)


def _media_size(part: Mapping[str, Any]) -> int:
    """Return the length of a picture or a sound, which is Base64, without its description."""
    media = part.get(part["type"])
    if isinstance(media, dict):
        media = media.get("url", media.get("data"))
    return len(media) if isinstance(media, str) else 0


def cost(usage: Usage, price: Price | None) -> int | None:
    """Return the billionths of a dollar that ``usage`` costs; None without a price."""
    if price is None:
        return None
    cached = price.prompt if price.cached is None else price.cached
    dollars = (
        price.prompt * (usage.prompt - usage.cached)
        + cached * usage.cached
        + price.completion * usage.completion
    )  # for a million requests
    return math.ceil(dollars * (NANOS // 10**6))
