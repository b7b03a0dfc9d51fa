"""
What a provider says instead of an answer, told to whoever asked: pure functions.

Called by ``endpoint`` and ``wire``. What a user can mend (a bad request, an
unknown model) is passed on in the provider's words, without the key; what only
the operator can mend, or nobody, is said in ours.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.upstream.errors import NO_RETRY, UpstreamError, failure, is_plain
from caesarion_hub.gateway.upstream.redaction import scrub
from caesarion_hub.gateway.upstream.settings import Upstream
from caesarion_hub.gateway.upstream.sse import json_object

_TOLD = 500
# OpenAI's word for a model that is not there, and Azure's.
_UNKNOWN = ("model_not_found", "DeploymentNotFound")
_RETRYING = ("Retry-After", "Retry-After-Ms", "X-Should-Retry")


def status_error(
    status: int, body: bytes, headers: Mapping[str, str], upstream: Upstream
) -> UpstreamError:
    """Return what becomes of an answer of 300 or more."""
    error = _said(status, json_object(body), headers, upstream)
    if headers.get("X-Should-Retry") == "false":
        error.again = False
    if error.passed:
        error.headers = {**error.headers, **_kept(headers, "X-Request-Id")}
    return error


def _said(
    status: int, said: dict[str, Any] | None, headers: Mapping[str, str], upstream: Upstream
) -> UpstreamError:
    host = upstream.host
    address, key = upstream.settings
    match status:
        case 401 if upstream.key:
            return failure(
                *(502, "upstream_unauthorized"),
                f"The model provider at {host} does not accept this deployment's key. "
                f"The operator should check {key}.",
                NO_RETRY,
            )
        case 401:
            return failure(
                *(502, "upstream_unauthorized"),
                f"The model provider at {host} wants a key, and none is set. "
                f"The operator should set {key}.",
                NO_RETRY,
            )
        case 403:
            # Another model may be allowed, hence no illness.
            return failure(
                *(502, "upstream_forbidden"),
                f"The model provider at {host} does not allow this to the deployment's key. "
                "The operator should check which models and regions the key is for.",
                NO_RETRY,
                ill=False,
            )
        case 408 | 409:
            return failure(
                *(status, "upstream_error"),
                f"The model provider at {host} did not finish the request ({status}). "
                "Ask again in a moment.",
                _kept(headers, *_RETRYING),
                again=True,
                ill=False,
            )
        case 413:
            return failure(
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
            return failure(
                *(502, "upstream_redirect"),
                f"The model provider at {host} redirects to another address. "
                f"The operator should set {address} to the final one.",
                NO_RETRY,
            )
        case _ if status >= 500:
            return failure(
                *(status if status <= 504 else 502, "upstream_error"),
                f"The model provider at {host} failed ({status}). Ask again in a moment.",
                _kept(headers, *_RETRYING),
                again=True,
            )
    return _refused(status, said, headers, upstream)


def _refused(
    status: int, said: dict[str, Any] | None, headers: Mapping[str, str], upstream: Upstream
) -> UpstreamError:
    address, _ = upstream.settings
    message = f"The model provider at {upstream.host} answered {status}"
    error = UpstreamError(
        status,
        "upstream_refused",
        f"{message}.",
        headers=_kept(headers, *_RETRYING),
        elsewhere=status == 404,
        ill=False,
        passed=_passable(said, upstream.key),
    )
    if _code(said) in _UNKNOWN:
        error.code, error.elsewhere = "model_not_found", True
    elif not error.passed and (reason := _reason(said or {})):
        told = GatewayError(status, error.code, f"{message}: {scrub(reason, upstream.key)}")
        error.passed = told.body()
    elif not error.passed:
        error.message = f"{message}. Check {address}."
    return error


def told(said: dict[str, Any], upstream: Upstream) -> UpstreamError:
    """Return what becomes of an error that came with a status of 200, or within a stream."""
    return failure(
        *(502, "upstream_error"),
        f"The model provider at {upstream.host} gave up the answer. Ask again in a moment.",
        again=True,
        passed=_passable(said, upstream.key),
    )


def _passable(said: dict[str, Any] | None, key: str | None) -> bytes:
    """Return an error of OpenAI's shape without what it tells of the key, or nothing."""
    error = (said or {}).get("error")
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return b""

    def word(name: str) -> str | None:
        value = error.get(name)
        return scrub(str(value), key) if isinstance(value, str | int) else None

    shape = {"message": word("message"), "type": word("type") or "upstream_error"}
    shape |= {"param": word("param"), "code": word("code")}
    return json.dumps({"error": shape}).encode()


def _code(said: dict[str, Any] | None) -> Any:
    error = (said or {}).get("error")
    return error.get("code") if isinstance(error, dict) else None


def _rate_limit(
    said: dict[str, Any] | None, headers: Mapping[str, str], host: str
) -> UpstreamError:
    if _code(said) == "insufficient_quota":
        message = f"The model provider at {host} says that this deployment's quota is used up."
        return failure(429, "insufficient_quota", f"{message} The operator can raise it.", NO_RETRY)
    wait = _kept(headers, *_RETRYING)
    seconds = wait.get("Retry-After", "")
    when = f"in {seconds} seconds" if re.fullmatch(r"[\d.]+", seconds) else "in a moment"
    message = f"The model provider at {host} takes no more requests for now. Ask again {when}."
    return failure(429, "rate_limit_exceeded", message, wait, again=True, ill=False)


def _kept(headers: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return these of the headers, if they are plain text."""
    kept = {name: headers[name] for name in names if name in headers}
    return {name: value for name, value in kept.items() if is_plain(value)}


def _reason(said: Mapping[str, Any]) -> str:
    """Return the words of an error that is not in OpenAI's shape."""
    words = (said.get(name) for name in ("error", "message", "detail"))
    return next((word[:_TOLD] for word in words if isinstance(word, str)), "")
