"""
The client's errors for a provider's refusals: pure functions.

Called by ``client``. An error that a user can fix (a bad request, an unknown model) keeps the
provider's words, which :mod:`caesarion_dialects.errors` finds; the key is redacted. An error that
only the operator can fix, or nobody, has words of ours.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from caesarion_dialects import errors

from caesarion_hub.gateway.upstream.errors import NO_RETRY, UpstreamError, failure, is_plain
from caesarion_hub.gateway.upstream.redaction import redact
from caesarion_hub.gateway.upstream.settings import Upstream

# OpenAI's and Azure's code for an unknown model.
_UNKNOWN = ("model_not_found", "DeploymentNotFound")
# OpenAI's code for an account without credit; others answer 402.
_QUOTA = "insufficient_quota"
_RETRYING = ("Retry-After", "Retry-After-Ms", "X-Should-Retry")


def status_error(
    status: int, body: bytes, headers: Mapping[str, str], upstream: Upstream
) -> UpstreamError:
    """Return the error for an answer with a status of 300 or more."""
    error = _status_error(status, errors.parse(body), headers, upstream)
    if headers.get("X-Should-Retry") == "false":
        error.retryable = False
    if error.client_body:
        ids = _kept(headers, "X-Request-Id")
        redacted = {name: redact(value, upstream.key) for name, value in ids.items()}
        error.headers = {**error.headers, **redacted}
    error.raw = body
    return error


def _status_error(
    status: int, said: Any, headers: Mapping[str, str], upstream: Upstream
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
        case 402:
            return _quota(host)
        case 403:
            # Another model may be allowed, so the upstream is not at fault.
            return failure(
                *(502, "upstream_forbidden"),
                f"The model provider at {host} does not allow this to the deployment's key. "
                "The operator should check which models and regions the key is for.",
                NO_RETRY,
                is_fault=False,
            )
        case 408 | 409:
            return failure(
                *(status, "upstream_error"),
                f"The model provider at {host} did not finish the request ({status}). "
                "Ask again in a moment.",
                _kept(headers, *_RETRYING),
                retryable=True,
                is_fault=False,
            )
        case 413:
            return failure(
                *(413, "request_too_large"),
                f"The model provider at {host} takes no request that is this long. "
                "Begin a new conversation, or send less.",
                NO_RETRY,
                may_fail_over=False,
                is_fault=False,
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
            return _server_error(status, said, headers, upstream)
    return _refused(status, said, headers, upstream)


def _server_error(
    status: int, said: Any, headers: Mapping[str, str], upstream: Upstream
) -> UpstreamError:
    message = f"The model provider at {upstream.host} failed ({status})"
    error = failure(
        *(status if status <= 504 else 502, "upstream_error"),
        f"{message}. Ask again in a moment.",
        _kept(headers, *_RETRYING),
        retryable=True,
    )
    if words := _words(said, upstream):
        error.quote(f"{message}: {_sentence(words)} Ask again in a moment.")
    return error


def _refused(
    status: int, said: Any, headers: Mapping[str, str], upstream: Upstream
) -> UpstreamError:
    address, _ = upstream.settings
    message = f"The model provider at {upstream.host} answered {status}"
    error = UpstreamError(
        status,
        "upstream_refused",
        f"{message}.",
        headers=_kept(headers, *_RETRYING),
        may_fail_over=status == 404,
        is_fault=False,
    )
    if errors.field(said, "code") in _UNKNOWN:
        error.code, error.may_fail_over = "model_not_found", True
    words = _words(said, upstream)
    is_page = isinstance(said, str) and said[:1] == "<"
    # The address is likely to be wrong only where no endpoint of the protocol answers.
    advice = f" Check {address}." if status in (404, 405) and (is_page or not words) else ""
    if _is_openais(said):
        error.client_body = _own_body(said, words, upstream)
    elif words:
        error.quote(f"{message}: {_sentence(words) if advice else words}{advice}")
    else:
        error.message = f"{message}.{advice}"
    return error


def answer_error(said: Any, upstream: Upstream) -> UpstreamError:
    """Return the error for one that came with the status 200, or within a stream."""
    message = f"The model provider at {upstream.host} gave up the answer"
    error = failure(502, "upstream_error", f"{message}. Ask again in a moment.", retryable=True)
    words = _words(said, upstream)
    if isinstance(said, dict) and words:
        error.client_body = _own_body(said, words, upstream)
    elif words:
        error.quote(f"{message}: {words}")
    return error


def _is_openais(said: Any) -> bool:
    error = said.get("error") if isinstance(said, dict) else None
    return isinstance(error, dict) and isinstance(error.get("message"), str)


def _own_body(said: Any, words: str, upstream: Upstream) -> bytes:
    """Return the provider's own error in OpenAI's shape, redacted."""

    def field(name: str) -> str | None:
        return redact(errors.field(said, name), upstream.key) or None

    shape = {"message": words, "type": field("type") or "upstream_error"}
    return json.dumps({"error": shape | {"param": field("param"), "code": field("code")}}).encode()


def _words(said: Any, upstream: Upstream) -> str:
    return redact(errors.words(said), upstream.key)


def _sentence(words: str) -> str:
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."


def _rate_limit(said: Any, headers: Mapping[str, str], host: str) -> UpstreamError:
    if errors.field(said, "code") == _QUOTA:
        return _quota(host)
    wait = _kept(headers, *_RETRYING)
    seconds = wait.get("Retry-After", "")
    when = f"in {seconds} seconds" if re.fullmatch(r"[\d.]+", seconds) else "in a moment"
    # Not the provider's own words, which name the account.
    message = f"The model provider at {host} takes no more requests for now. Ask again {when}."
    return failure(429, "rate_limit_exceeded", message, wait, retryable=True, is_fault=False)


def _quota(host: str) -> UpstreamError:
    message = f"The model provider at {host} says that this deployment's quota is used up."
    return failure(429, _QUOTA, f"{message} The operator can raise it.", NO_RETRY)


def _kept(headers: Mapping[str, str], *names: str) -> dict[str, str]:
    """Return these of the headers, if they are plain text."""
    kept = {name: headers[name] for name in names if name in headers}
    return {name: value for name, value in kept.items() if is_plain(value)}
