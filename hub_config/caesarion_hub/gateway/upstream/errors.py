"""
What a failure of one upstream is: what to tell, and what may be tried instead.

Made by ``refusals`` and ``breaks``; read by ``endpoint`` and ``providers``.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from caesarion_hub.gateway.errors import GatewayError

NO_RETRY = {"X-Should-Retry": "false"}
"""Asking again does not help, says this header to OpenAI's clients."""


@dataclass
class UpstreamError(GatewayError):
    """
    A failure of one upstream.

    ``again`` says that the same request may be sent there again, ``elsewhere``
    that another upstream may do better, ``ill`` that the upstream is at fault.
    ``passed`` is the provider's own error, redacted, for the client instead of
    ``message``; it may quote what was asked, which a log must not. ``said`` is
    the body of a refusal as it came, for the gateway alone.
    """

    again: bool = False
    elsewhere: bool = True
    ill: bool = True
    passed: bytes = b""
    said: bytes = field(default=b"", repr=False)

    def body(self) -> bytes:
        """Return the JSON that OpenAI's clients read."""
        return self.passed or super().body()

    def tell(self, message: str) -> None:
        """Have the client read ``message``, which a log must not: it quotes the provider."""
        shape = {"message": message, "type": self.kind, "param": None, "code": self.code}
        self.passed = json.dumps({"error": shape}).encode()

    @property
    def wait(self) -> float:
        """Seconds that the provider wants to be left alone, or 0."""
        return _seconds(self.headers)


def failure(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    **verdict: Any,
) -> UpstreamError:
    """Return a failure that is not the request's fault."""
    return UpstreamError(status, code, message, "upstream_error", headers or {}, **verdict)


def is_plain(value: str) -> bool:
    """Whether a header's value can be sent on."""
    return value.isascii() and value.isprintable()


def _seconds(headers: Mapping[str, str]) -> float:
    """Return the seconds that the headers ask to wait: a number of them, or a date."""
    for name, unit in (("Retry-After-Ms", 1000.0), ("Retry-After", 1.0)):
        if re.fullmatch(r"\d+(\.\d+)?", value := headers.get(name, "")):
            return float(value) / unit
    try:
        date = parsedate_to_datetime(headers.get("Retry-After", ""))
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, date.timestamp() - time.time())
