"""
Errors for an upstream that gives no answer, or no complete one: pure functions.

Called by ``endpoint`` and ``client``. Each message is for the user, and names the setting
that the operator should check.
"""

import math

import aiohttp

from caesarion_hub.gateway.upstream.errors import NO_RETRY, UpstreamError, failure
from caesarion_hub.gateway.upstream.settings import Upstream

# Characters that a message quotes of what came instead of an answer.
_QUOTED = 100

CIRCUIT_OPEN = "upstream_unavailable"
"""The code of a request that was not sent, since the circuit breaker is open."""


def connection_error(error: Exception, upstream: Upstream, connect: float) -> UpstreamError:
    """Return the error for a connection that was refused, failed, or stayed silent."""
    host = upstream.host
    address, _ = upstream.settings
    match error:
        case aiohttp.ConnectionTimeoutError():
            return failure(
                *(504, "upstream_timeout"),
                f"The model provider at {host} did not accept a connection within {connect:g} "
                f"seconds. Ask again; if it stays so, the operator should check {address} and, "
                "on Kubernetes, gateway.networkPolicy.egress.",
            )
        case TimeoutError():
            return silent(upstream, upstream.options.timeouts.first_byte)
        case aiohttp.ClientConnectorDNSError():
            return failure(
                *(502, "upstream_unreachable"),
                f"The model provider's name {host} is not known on this network. "
                f"The operator should check {address}.",
                retryable=True,
            )
        case aiohttp.ClientSSLError():
            return failure(
                *(502, "upstream_untrusted"),
                f"The model provider at {host} has no certificate that this deployment trusts. "
                f"The operator should check {address} and SSL_CERT_FILE.",
                NO_RETRY,
            )
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return failure(
                *(502, "upstream_unreachable"),
                f"The HTTP proxy on the way to the model provider at {host} does not let the "
                "request through. The operator should check HTTPS_PROXY and NO_PROXY.",
            )
        case aiohttp.ClientConnectorError():
            return failure(
                *(502, "upstream_unreachable"),
                f"The model provider at {host} cannot be reached. "
                f"The operator should check that it runs, {address} and, on Kubernetes, "
                "gateway.networkPolicy.egress.",
                retryable=True,
            )
        case _:
            return failure(
                *(502, "upstream_disconnected"),
                f"The model provider at {host} closed the connection without an answer. Ask again.",
                retryable=True,
            )


def broken(error: Exception, upstream: Upstream) -> UpstreamError:
    """Return the error for an answer that had begun and does not continue."""
    if isinstance(error, TimeoutError):
        return silent(upstream, upstream.options.timeouts.silence)
    return cut(upstream)


def cut(upstream: Upstream) -> UpstreamError:
    """Return the error for an answer that ends before it is complete."""
    return failure(
        *(502, "upstream_disconnected"),
        f"The connection to the model provider at {upstream.host} broke before the answer was "
        "complete. Ask again.",
    )


def silent(upstream: Upstream, seconds: float) -> UpstreamError:
    """Return the error for an upstream that sent nothing for too long."""
    # Not retryable: the user has waited, and the upstream may still work on the request.
    return failure(
        *(504, "upstream_timeout"),
        f"The model provider at {upstream.host} was silent for {seconds:g} seconds. Ask again.",
    )


def garbled(upstream: Upstream, words: str = "") -> UpstreamError:
    """Return the error for a response of another protocol; ``words`` are the response's own."""
    address, _ = upstream.settings
    message = f"The model provider at {upstream.host} sent something that is no answer of the "
    message += "OpenAI protocol"
    advice = f"Ask again; if it stays so, the operator should check {address}."
    error = failure(502, "upstream_garbled", f"{message}. {advice}")
    if words:
        error.quote(f'{message} ("{words[:_QUOTED]}"). {advice}')
    return error


def circuit_open(upstream: Upstream, failures: int, seconds: float, last: str) -> UpstreamError:
    """Return the error while the circuit breaker is open; ``last`` is the last message."""
    wait = max(1, math.ceil(seconds))
    more = f"{wait} more seconds" if wait > 1 else "one more second"
    return failure(
        *(503, CIRCUIT_OPEN),
        f"The model provider at {upstream.host} failed {failures} times in a row and is not asked "
        f"for {more}; ask again then. The last failure: {last}",
        {"Retry-After": str(wait), **NO_RETRY},
        is_fault=False,
    )
