"""
A failure of one upstream: what the client reads, and what may be tried instead.

Raised with what ``refusals`` and ``connection_errors`` make; read by ``endpoint`` and ``router``.
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
"""Tells OpenAI's SDKs not to retry: the gateway has done that."""


@dataclass
class UpstreamError(GatewayError):
    """
    A failure of one upstream.

    ``retryable``: the same request may be sent to this upstream again. ``may_fail_over``:
    another upstream may be asked. ``is_fault``: the circuit breaker counts it.
    ``client_body`` is the provider's own error, redacted, which the client gets instead of
    ``message``: it may quote the request, which a log must not. ``raw`` is the body of a
    refusal as it came; it never leaves the gateway.
    """

    retryable: bool = False
    may_fail_over: bool = True
    is_fault: bool = True
    client_body: bytes = b""
    raw: bytes = field(default=b"", repr=False)

    def body(self) -> bytes:
        """Return the JSON that OpenAI's clients read."""
        return self.client_body or super().body()

    def quote(self, message: str) -> None:
        """Send ``message``, which quotes the provider, to the client instead of the logged one."""
        shape = {"message": message, "type": self.kind, "param": None, "code": self.code}
        self.client_body = json.dumps({"error": shape}).encode()

    @property
    def retry_after(self) -> float:
        """Seconds after which the provider wants to be asked again; 0 if it does not say."""
        return _seconds(self.headers)


def failure(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    **consequences: Any,
) -> UpstreamError:
    """Return an error that is not the request's fault."""
    return UpstreamError(status, code, message, "upstream_error", headers or {}, **consequences)


def is_plain(value: str) -> bool:
    """Whether a header's value is printable ASCII, so that it can be forwarded."""
    return value.isascii() and value.isprintable()


def _seconds(headers: Mapping[str, str]) -> float:
    """Return the seconds until the time in ``Retry-After``, which is a number or a date."""
    for name, unit in (("Retry-After-Ms", 1000.0), ("Retry-After", 1.0)):
        if re.fullmatch(r"\d+(\.\d+)?", value := headers.get(name, "")):
            return float(value) / unit
    try:
        date = parsedate_to_datetime(headers.get("Retry-After", ""))
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, date.timestamp() - time.time())
