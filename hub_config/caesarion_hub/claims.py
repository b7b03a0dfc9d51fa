"""
Claims of warm servers: give a server that waits unclaimed the identity of its user, once.

Called by ``local_spawner`` and ``pods``. A warm server is ``caesarion-singleuser --warm``: it has
imported everything, listens, and becomes the server of the user whose environment it is sent
(``caesarion.warm``, whose names and statuses stand here again: the hub and the extension share no
code). The nonce that the hub made for it is all that lets a claim in, and is worth nothing after
the first.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import HTTPRequest, HTTPResponse
from tornado.simple_httpclient import SimpleAsyncHTTPClient

WARM_ARGUMENT = "--warm"
"""Tells ``caesarion-singleuser`` to wait for a claim."""

NONCE_VARIABLE = "CAESARION_CLAIM_NONCE"
"""The nonce, in the environment of a server that is started warm."""

REFUSED_STATUS = 77
"""Exit status of a warm server that has been sent another nonce than its own."""

_WAITING_HEADER, _WAITING = "X-Caesarion-Warm", "unclaimed"
_MAX_RESPONSE = 64 * 1024


class ClaimError(Exception):
    """
    The claim was not taken; ``str`` of it is one sentence without a secret.

    The server has to be ended then: when only the response got lost, it may have the identity.
    """


class InvalidClaimError(ClaimError):
    """The server refused what the claim says, as any other would."""


def new_nonce() -> str:
    """Return a new nonce, which nobody can guess."""
    return secrets.token_urlsafe(32)


async def claim(
    url: str,
    nonce: str,
    environment: Mapping[str, str],
    cwd: str | None = None,
    *,
    seconds: float = 5.0,
) -> None:
    """
    Turn the warm server at ``url`` into the server that ``environment`` describes.

    The server lays ``environment`` over its own, changes to the folder ``cwd`` if there is one,
    and listens again on the same port within some 0.2 s. Raises :class:`ClaimError` unless it
    says within ``seconds`` that it does so; :class:`InvalidClaimError` if no server would.
    """
    base = _base(url)
    try:
        response = await _fetch(
            f"{base}/claim",
            seconds,
            method="POST",
            headers={"Authorization": f"Bearer {nonce}", "Content-Type": "application/json"},
            body=json.dumps({"environment": dict(environment), "cwd": cwd}),
        )
    except Exception as error:  # Whatever it is, of sockets or of HTTP, there was no answer.
        raise ClaimError(
            f"The warm server at {base} did not answer the claim: {error}. Start another."
        ) from error
    if response.code == 403:
        raise ClaimError(
            f"The warm server at {base} has another nonce, or a user already. Start another."
        )
    if response.code == 400:
        raise InvalidClaimError(
            f"The warm server at {base} refused the environment. Start another without a claim."
        )
    if response.code != 200 or response.body != b'{"claimed": true}':
        raise ClaimError(
            f"The server at {base} answered the claim with status {response.code}, not as a warm "
            "server that waits. Its log may say why. Start another."
        )


async def is_waiting(url: str, *, seconds: float = 2.0) -> bool:
    """Return whether a warm server at ``url`` is ready for its claim, asking it once."""
    try:
        response = await _fetch(f"{_base(url)}/", seconds)
    except Exception:  # It does not listen yet, or is no HTTP server.
        return False
    return response.code == 503 and response.headers.get(_WAITING_HEADER) == _WAITING


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


async def _fetch(url: str, seconds: float, **options: Any) -> HTTPResponse:
    # Its own client: JupyterHub's is shared by all checks of servers, and has few connections.
    client = SimpleAsyncHTTPClient(force_instance=True, max_body_size=_MAX_RESPONSE)
    request = HTTPRequest(
        url,
        connect_timeout=seconds,
        request_timeout=seconds,
        follow_redirects=False,
        **options,
    )
    try:
        return await client.fetch(request, raise_error=False)
    finally:
        client.close()
