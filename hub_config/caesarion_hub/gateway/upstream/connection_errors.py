"""
What to say of an upstream that does not answer, or not to the end: pure functions.

Called by ``endpoint`` and ``wire``. Each is a sentence for whoever asked.
"""

import math

import aiohttp

from caesarion_hub.gateway.upstream.errors import NO_RETRY, UpstreamError, failure
from caesarion_hub.gateway.upstream.settings import Upstream

# Characters of what came instead of an answer that a sentence quotes.
_QUOTED = 100

LEFT_ALONE = "upstream_unavailable"
"""The code of a request that was not sent at all."""


def connection_error(error: Exception, upstream: Upstream, connect: float) -> UpstreamError:
    """Return what to say when no answer came: refused, unknown, broken, silent."""
    host = upstream.host
    address, _ = upstream.settings
    match error:
        case aiohttp.ConnectionTimeoutError():
            return failure(
                *(504, "upstream_timeout"),
                f"The model provider at {host} took no connection within {connect:g} seconds. "
                f"Ask again; if it stays so, the operator should check {address}.",
                again=True,
            )
        case TimeoutError():
            return silent(upstream, upstream.options.timeouts.first_byte)
        case aiohttp.ClientConnectorDNSError():
            return failure(
                *(502, "upstream_unreachable"),
                f"The model provider's name {host} is not known on this network. "
                f"The operator should check {address}.",
                again=True,
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
                f"The operator should check that it runs, and {address}.",
                again=True,
            )
        case _:
            return failure(
                *(502, "upstream_disconnected"),
                f"The model provider at {host} closed the connection without an answer. Ask again.",
                again=True,
            )


def broken(error: Exception, upstream: Upstream) -> UpstreamError:
    """Return what to say when an answer that had begun does not go on."""
    if isinstance(error, TimeoutError):
        return silent(upstream, upstream.options.timeouts.silence)
    return cut(upstream)


def cut(upstream: Upstream) -> UpstreamError:
    """Return what to say of an answer that stops before its end."""
    return failure(
        *(502, "upstream_disconnected"),
        f"The connection to the model provider at {upstream.host} broke before the answer was "
        "complete. Ask again.",
    )


def silent(upstream: Upstream, seconds: float) -> UpstreamError:
    """Return what to say when the provider sends nothing for too long."""
    # Not again: whoever asked has waited, and the request may still be worked on.
    return failure(
        *(504, "upstream_timeout"),
        f"The model provider at {upstream.host} was silent for {seconds:g} seconds. Ask again.",
    )


def garbled(upstream: Upstream, words: str = "") -> UpstreamError:
    """Return the error for an answer that is not of the protocol; ``words`` are its own."""
    address, _ = upstream.settings
    message = f"The model provider at {upstream.host} sent something that is no answer of the "
    message += "OpenAI protocol"
    advice = f"Ask again; if it stays so, the operator should check {address}."
    error = failure(502, "upstream_garbled", f"{message}. {advice}")
    if words:
        error.tell(f'{message} ("{words[:_QUOTED]}"). {advice}')
    return error


def left_alone(upstream: Upstream, failures: int, seconds: float, last: str) -> UpstreamError:
    """Return what to say while the upstream is not asked at all; ``last`` is its last failure."""
    wait = max(1, math.ceil(seconds))
    more = f"{wait} more seconds" if wait > 1 else "one more second"
    return failure(
        *(503, LEFT_ALONE),
        f"The model provider at {upstream.host} failed {failures} times in a row and is left alone "
        f"for {more}; ask again then. The last time: {last}",
        {"Retry-After": str(wait), **NO_RETRY},
        ill=False,
    )
