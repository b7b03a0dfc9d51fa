"""
The providers' failures, told to whoever asked: pure functions.

Called by ``endpoint``. What a user can mend (a bad request, an unknown model)
is passed on in the provider's words, without the key; what only the operator
can mend, or nobody, is said in ours. Each says too what may be tried instead.
"""

import json
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.provider.sse import json_object
from caesarion_hub.gateway.provider.upstream import Upstream
from caesarion_hub.gateway.scrub import scrub

NO_RETRY = {"X-Should-Retry": "false"}
"""Asking again does not help, says this header to OpenAI's clients."""

_TOLD = 500
# OpenAI's word for a model that is not there, and Azure's.
_UNKNOWN = ("model_not_found", "DeploymentNotFound")


@dataclass
class UpstreamError(GatewayError):
    """
    A failure of one upstream.

    ``again`` says that the same request may be sent there again, ``elsewhere``
    that another upstream may do better, ``ill`` that the upstream is at fault.
    ``passed`` is the provider's own error, scrubbed, for the client instead of
    ``message``; it may quote what was asked, which a log must not.
    """

    again: bool = False
    elsewhere: bool = True
    ill: bool = True
    passed: bytes = b""

    def body(self) -> bytes:
        """Return the JSON that OpenAI's clients read."""
        return self.passed or super().body()

    @property
    def wait(self) -> float:
        """Seconds that the provider wants to be left alone, or 0."""
        return _seconds(self.headers)


def status_error(
    status: int, body: bytes, headers: Mapping[str, str], upstream: Upstream
) -> UpstreamError:
    """Return what becomes of an answer of 300 or more."""
    error = _said(status, json_object(body), headers, upstream)
    if headers.get("X-Should-Retry") == "false":
        error.again = False
    if error.passed and "X-Request-Id" in headers:
        error.headers = {**error.headers, "X-Request-Id": headers["X-Request-Id"]}
    return error


def _said(
    status: int, said: dict[str, Any] | None, headers: Mapping[str, str], upstream: Upstream
) -> UpstreamError:
    host = upstream.host
    address, key = upstream.settings
    match status:
        case 401 if upstream.key:
            return _error(
                *(502, "upstream_unauthorized"),
                f"The model provider at {host} does not accept this deployment's key. "
                f"The operator should check {key}.",
                NO_RETRY,
            )
        case 401:
            return _error(
                *(502, "upstream_unauthorized"),
                f"The model provider at {host} wants a key, and none is set. "
                f"The operator should set {key}.",
                NO_RETRY,
            )
        case 403:
            # Another model may be allowed, hence no illness.
            return _error(
                *(502, "upstream_forbidden"),
                f"The model provider at {host} does not allow this to the deployment's key. "
                "The operator should check which models and regions the key is for.",
                NO_RETRY,
                ill=False,
            )
        case 408 | 409:
            return _error(
                *(status, "upstream_error"),
                f"The model provider at {host} did not finish the request ({status}). "
                "Ask again in a moment.",
                _retry_after(headers),
                again=True,
                ill=False,
            )
        case 413:
            return _error(
                *(413, "request_too_large"),
                f"The model provider at {host} takes no request that is this long. "
                "Begin a new conversation, or send less.",
                NO_RETRY,
                elsewhere=False,
                ill=False,
            )
        case 429:
            return _rate_limit(said, headers, host)
        case _ if status < 400:
            return _error(
                *(502, "upstream_redirect"),
                f"The model provider at {host} redirects to another address. "
                f"The operator should set {address} to the final one.",
                NO_RETRY,
            )
        case _ if status >= 500:
            return _error(
                *(status if status <= 504 else 502, "upstream_error"),
                f"The model provider at {host} failed ({status}). Ask again in a moment.",
                _retry_after(headers),
                again=True,
            )
    return _refused(status, said, headers, upstream)


def _refused(
    status: int, said: dict[str, Any] | None, headers: Mapping[str, str], upstream: Upstream
) -> UpstreamError:
    host = upstream.host
    passed = passable(said, upstream.key)
    own = (said or {}).get("error")
    code = own.get("code") if isinstance(own, dict) else None
    reason = scrub(_reason(said or {}), upstream.key)
    address, _ = upstream.settings
    return UpstreamError(
        status,
        "model_not_found" if code in _UNKNOWN else "upstream_refused",
        f"The model provider at {host} answered {status}"
        + (f": {reason}" if reason else "." if passed else f". Check {address}."),
        headers=_retry_after(headers),
        elsewhere=status == 404,
        ill=False,
        passed=passed,
    )


def connection_error(error: Exception, upstream: Upstream, connect: float) -> UpstreamError:
    """Return what to say when no answer came: refused, unknown, broken, silent."""
    host = upstream.host
    address, _ = upstream.settings
    match error:
        case aiohttp.ConnectionTimeoutError():
            return _error(
                *(504, "upstream_timeout"),
                f"The model provider at {host} took no connection within {connect:g} seconds. "
                f"Ask again; if it stays so, the operator should check {address}.",
                again=True,
            )
        case TimeoutError():
            return silent(upstream, upstream.timeouts.first_byte)
        case aiohttp.ClientConnectorDNSError():
            return _error(
                *(502, "upstream_unreachable"),
                f"The model provider's name {host} is not known on this network. "
                f"The operator should check {address}.",
                again=True,
            )
        case aiohttp.ClientSSLError():
            return _error(
                *(502, "upstream_untrusted"),
                f"The model provider at {host} has no certificate that this deployment trusts. "
                f"The operator should check {address} and SSL_CERT_FILE.",
                NO_RETRY,
            )
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return _error(
                *(502, "upstream_unreachable"),
                f"The HTTP proxy on the way to the model provider at {host} does not let the "
                "request through. The operator should check HTTPS_PROXY and NO_PROXY.",
            )
        case aiohttp.ClientConnectorError():
            return _error(
                *(502, "upstream_unreachable"),
                f"The model provider at {host} cannot be reached. "
                f"The operator should check that it runs, and {address}.",
                again=True,
            )
        case _:
            return _error(
                *(502, "upstream_disconnected"),
                f"The model provider at {host} closed the connection without an answer. Ask again.",
                again=True,
            )


def broken(error: Exception, upstream: Upstream) -> UpstreamError:
    """Return what to say when an answer that had begun does not go on."""
    if isinstance(error, TimeoutError):
        return silent(upstream, upstream.timeouts.silence)
    return cut(upstream)


def cut(upstream: Upstream) -> UpstreamError:
    """Return what to say of an answer that stops before its end."""
    return _error(
        *(502, "upstream_disconnected"),
        f"The connection to the model provider at {upstream.host} broke before the answer was "
        "complete. Ask again.",
    )


def silent(upstream: Upstream, seconds: float) -> UpstreamError:
    """Return what to say when the provider sends nothing for too long."""
    # Not again: whoever asked has waited, and the request may still be worked on.
    return _error(
        *(504, "upstream_timeout"),
        f"The model provider at {upstream.host} was silent for {seconds:g} seconds. Ask again.",
    )


def garbled(upstream: Upstream) -> UpstreamError:
    """Return what to say of an answer that is something else than OpenAI's."""
    address, _ = upstream.settings
    return _error(
        *(502, "upstream_garbled"),
        f"The model provider at {upstream.host} sent something that is no answer of the OpenAI "
        f"protocol. Ask again; if it stays so, the operator should check {address}.",
    )


def told(said: dict[str, Any], upstream: Upstream) -> UpstreamError:
    """Return what becomes of an error that came with a status of 200, or within a stream."""
    return _error(
        *(502, "upstream_error"),
        f"The model provider at {upstream.host} gave up the answer. Ask again in a moment.",
        again=True,
        passed=passable(said, upstream.key),
    )


def left_alone(upstream: Upstream, failures: int, seconds: float, last: str) -> UpstreamError:
    """Return what to say while the upstream is not asked at all; ``last`` is its last failure."""
    wait = max(1, math.ceil(seconds))
    more = f"{wait} more seconds" if wait > 1 else "one more second"
    return _error(
        *(503, "upstream_unavailable"),
        f"The model provider at {upstream.host} failed {failures} times in a row and is left alone "
        f"for {more}; ask again then. The last time: {last}",
        {"Retry-After": str(wait), **NO_RETRY},
        ill=False,
    )


def passable(said: dict[str, Any] | None, key: str | None) -> bytes:
    """Return an error of OpenAI's shape without what it tells of the key, or nothing."""
    error = (said or {}).get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return b""
    return json.dumps(_scrubbed(said, key)).encode()


def _error(
    status: int,
    code: str,
    message: str,
    headers: Mapping[str, str] | None = None,
    **verdict: Any,
) -> UpstreamError:
    return UpstreamError(status, code, message, "upstream_error", headers or {}, **verdict)


def _rate_limit(
    said: dict[str, Any] | None, headers: Mapping[str, str], host: str
) -> UpstreamError:
    error = (said or {}).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if code == "insufficient_quota":
        message = f"The model provider at {host} says that this deployment's quota is used up."
        return _error(429, code, f"{message} The operator can raise it.", NO_RETRY)
    wait = _retry_after(headers)
    seconds = wait.get("Retry-After", "")
    when = f"in {seconds} seconds" if re.fullmatch(r"[\d.]+", seconds) else "in a moment"
    message = f"The model provider at {host} takes no more requests for now. Ask again {when}."
    return _error(429, "rate_limit_exceeded", message, wait, again=True, ill=False)


def _retry_after(headers: Mapping[str, str]) -> dict[str, str]:
    names = ("Retry-After", "Retry-After-Ms", "X-Should-Retry")
    return {name: headers[name] for name in names if name in headers}


def _seconds(headers: Mapping[str, str]) -> float:
    """Return the seconds that the headers ask to wait: a number of them, or a date."""
    for name, unit in (("Retry-After-Ms", 1000.0), ("Retry-After", 1.0)):
        if re.fullmatch(r"\d+(\.\d+)?", value := headers.get(name, "")):
            return float(value) / unit
    try:
        date = parsedate_to_datetime(headers.get("Retry-After", ""))
    except ValueError:
        return 0.0
    return max(0.0, date.timestamp() - time.time())


def _reason(said: Mapping[str, Any]) -> str:
    """Return the words of an error that is not in OpenAI's shape."""
    words = (said.get(name) for name in ("error", "message", "detail"))
    return next((word[:_TOLD] for word in words if isinstance(word, str)), "")


def _scrubbed(said: Any, key: str | None) -> Any:
    if isinstance(said, str):
        return scrub(said, key)
    if isinstance(said, list):
        return [_scrubbed(item, key) for item in said]
    if isinstance(said, dict):
        return {scrub(name, key): _scrubbed(value, key) for name, value in said.items()}
    return said
