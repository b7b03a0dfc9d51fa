"""
The provider's failures, told to whoever asked: pure functions.

Called by ``provider``. What a user can mend (a bad request, an unknown model)
is passed on in the provider's words, without the key; what only the operator
can mend, or nobody, is said in ours.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import aiohttp

from caesarion_hub.gateway.config import Upstream
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.scrub import scrub

# Asking again does not help, says this header to OpenAI's clients.
_NO_RETRY = {"X-Should-Retry": "false"}


def status_error(
    status: int, body: bytes, headers: Mapping[str, str], upstream: Upstream
) -> GatewayError | bytes:
    """
    Return what becomes of an answer of 300 or more.

    That is an error of ours, or the provider's own ``body``, scrubbed, which
    then goes with the provider's status.
    """
    host = upstream.host
    said = _json_object(body)
    match status:
        case 401 if upstream.key:
            return _error(
                *(502, "upstream_unauthorized"),
                f"The model provider at {host} does not accept this deployment's key. "
                "The operator should check OPENAI_API_KEY.",
                _NO_RETRY,
            )
        case 401:
            return _error(
                *(502, "upstream_unauthorized"),
                f"The model provider at {host} wants a key, and none is set. "
                "The operator should set OPENAI_API_KEY.",
                _NO_RETRY,
            )
        case 403:
            return _error(
                *(502, "upstream_forbidden"),
                f"The model provider at {host} does not allow this to the deployment's key. "
                "The operator should check which models and regions the key is for.",
                _NO_RETRY,
            )
        case 429:
            return _rate_limit(said, headers, host)
        case _ if status < 400:
            return _error(
                *(502, "upstream_redirect"),
                f"The model provider at {host} redirects to another address. "
                "The operator should set OPENAI_BASE_URL to the final one.",
                _NO_RETRY,
            )
        case _ if status >= 500:
            return _error(
                *(status if status <= 504 else 502, "upstream_error"),
                f"The model provider at {host} failed ({status}). Ask again in a moment.",
                _retry_after(headers),
            )
    if said and isinstance(said.get("error"), dict):
        clean = _scrubbed(said, upstream.key)
        return body if clean == said else json.dumps(clean).encode()
    reason = _reason(said or {})
    return GatewayError(
        status,
        "upstream_refused",
        f"The model provider at {host} answered {status}"
        + (f": {scrub(reason, upstream.key)}" if reason else ". Check OPENAI_BASE_URL."),
        headers=_retry_after(headers),
    )


def connection_error(error: Exception, upstream: Upstream, connect: float) -> GatewayError:
    """Return what to say when no answer came: refused, unknown, broken, silent."""
    host = upstream.host
    match error:
        case aiohttp.ConnectionTimeoutError():
            return _error(
                *(504, "upstream_timeout"),
                f"The model provider at {host} took no connection within {connect:g} seconds. "
                "Ask again; if it stays so, the operator should check OPENAI_BASE_URL.",
            )
        case TimeoutError():
            return silent(upstream)
        case aiohttp.ClientConnectorDNSError():
            return _error(
                *(502, "upstream_unreachable"),
                f"The model provider's name {host} is not known on this network. "
                "The operator should check OPENAI_BASE_URL.",
            )
        case aiohttp.ClientSSLError():
            return _error(
                *(502, "upstream_untrusted"),
                f"The model provider at {host} has no certificate that this deployment trusts. "
                "The operator should check OPENAI_BASE_URL and SSL_CERT_FILE.",
                _NO_RETRY,
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
                "The operator should check that it runs, and OPENAI_BASE_URL.",
            )
        case _:
            return _error(
                *(502, "upstream_disconnected"),
                f"The model provider at {host} closed the connection without an answer. Ask again.",
            )


def broken(error: Exception, upstream: Upstream) -> GatewayError:
    """Return what to say when an answer that had begun does not go on."""
    if isinstance(error, TimeoutError):
        return silent(upstream)
    return _error(
        *(502, "upstream_disconnected"),
        f"The connection to the model provider at {upstream.host} broke before the answer was "
        "complete. Ask again.",
    )


def silent(upstream: Upstream) -> GatewayError:
    """Return what to say when the provider sends nothing for too long."""
    return _error(
        *(504, "upstream_timeout"),
        f"The model provider at {upstream.host} was silent for {upstream.silence:g} seconds. "
        "Ask again.",
    )


def _error(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> GatewayError:
    return GatewayError(status, code, message, "upstream_error", headers or {})


def _rate_limit(said: dict[str, Any] | None, headers: Mapping[str, str], host: str) -> GatewayError:
    error = (said or {}).get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if code == "insufficient_quota":
        message = f"The model provider at {host} says that this deployment's quota is used up."
        return _error(429, code, f"{message} The operator can raise it.", _NO_RETRY)
    wait = _retry_after(headers)
    seconds = wait.get("Retry-After", "")
    when = f"in {seconds} seconds" if re.fullmatch(r"[\d.]+", seconds) else "in a moment"
    message = f"The model provider at {host} takes no more requests for now. Ask again {when}."
    return _error(429, "rate_limit_exceeded", message, wait)


def _retry_after(headers: Mapping[str, str]) -> dict[str, str]:
    names = ("Retry-After", "Retry-After-Ms", "X-Should-Retry")
    return {name: headers[name] for name in names if name in headers}


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def _reason(said: Mapping[str, Any]) -> str:
    """Return the words of an error that is not in OpenAI's shape."""
    words = (said.get(name) for name in ("error", "message", "detail"))
    return next((word[:500] for word in words if isinstance(word, str)), "")


def _scrubbed(said: Any, key: str | None) -> Any:
    if isinstance(said, str):
        return scrub(said, key)
    if isinstance(said, list):
        return [_scrubbed(item, key) for item in said]
    if isinstance(said, dict):
        return {scrub(name, key): _scrubbed(value, key) for name, value in said.items()}
    return said
