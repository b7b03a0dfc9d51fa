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
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

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
        answer = await _fetch(
            "POST",
            f"{base}/claim",
            seconds,
            headers={"Authorization": f"Bearer {nonce}", "Content-Type": "application/json"},
            data=json.dumps({"environment": dict(environment), "cwd": cwd}),
        )
    except Exception as error:  # Whatever it is, of sockets or of HTTP, there was no answer.
        problem = str(error) or type(error).__name__
        raise ClaimError(
            f"The warm server at {base} did not answer the claim: {problem}. Start another."
        ) from error
    if answer.status == 403:
        raise ClaimError(
            f"The warm server at {base} has another nonce, or a user already. Start another."
        )
    if answer.status == 400:
        raise InvalidClaimError(
            f"The warm server at {base} refused the environment. Start another without a claim."
        )
    if answer.status != 200 or answer.body != b'{"claimed": true}':
        raise ClaimError(
            f"The server at {base} answered the claim with status {answer.status}, not as a warm "
            "server that waits. Its log may say why. Start another."
        )


async def is_waiting(url: str, *, seconds: float = 2.0) -> bool:
    """Return whether a warm server at ``url`` is ready for its claim, asking it once."""
    try:
        answer = await _fetch("GET", f"{_base(url)}/", seconds)
    except Exception:  # It does not listen yet, or is no HTTP server.
        return False
    return answer.status == 503 and answer.headers.get(_WAITING_HEADER) == _WAITING


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes
    """No more than the first bytes of what is too long for any answer of a warm server."""


async def _fetch(method: str, url: str, seconds: float, **options: Any) -> _Answer:
    # A client of its own: no connection outlives its question, also where that is given up.
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with (
        aiohttp.ClientSession(timeout=timeout) as http,
        http.request(method, url, allow_redirects=False, **options) as response,
    ):
        body = b""
        async for some in response.content.iter_any():
            body += some
            if len(body) > _MAX_RESPONSE:
                break
        return _Answer(response.status, response.headers, body)
