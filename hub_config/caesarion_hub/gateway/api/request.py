"""
The body of a chat completion request: read and checked. Pure.

Called by ``completions``.
"""

import json
from dataclasses import dataclass
from typing import Any

from caesarion_hub.gateway.authentication import Caller
from caesarion_hub.gateway.errors import GatewayError

MAX_BODY = 10 * 2**20
"""Bytes of a request's body; what follows is discarded."""


@dataclass(frozen=True)
class ChatRequest:
    """A request for a chat completion: its body as bytes and as a table, and where it is from."""

    id: str
    caller: Caller
    raw: bytes
    body: dict[str, Any]
    conversation: str = ""
    message: str = ""


def checked_body(raw: bytes) -> dict[str, Any]:
    """Return the table that ``raw`` holds; raise GatewayError if it is no request."""
    try:
        body = json.loads(raw, object_pairs_hook=_said_once)
    except (ValueError, RecursionError) as error:
        raise bad_request("The request is not JSON.") from error
    if not isinstance(body, dict):
        raise bad_request("The request is not a JSON object.")
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise bad_request("The request names no model: 'model' must be a text.")
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise bad_request("The request holds no messages: 'messages' must be a list.")
    return body


def bad_request(message: str) -> GatewayError:
    """Return the error for a request that cannot be used as it is."""
    return GatewayError(400, "invalid_request", message)


def _said_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a table; of two models a provider may take the one that was not checked here."""
    table = dict(pairs)
    if len(table) < len(pairs):
        twice = next(key for key in table if [name for name, _ in pairs].count(key) > 1)
        raise bad_request(f"The request says {twice[:80]!r} twice in one object.")
    return table
