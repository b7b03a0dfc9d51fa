"""
The interface of what answers behind the gateway: the upstreams, or the demo model.

Called by ``api.metering``; implemented by ``router`` and ``demo``.
"""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from caesarion_dialects import Piece

State = Literal["closed", "open", "half-open"]
"""Of a circuit breaker: requests pass, none passes, or one passes to test the upstream."""


@dataclass(frozen=True)
class Response:
    """
    A response: its status, its headers, and its body as it arrives.

    Each piece of a stream is whole events, and ``content`` raises
    :class:`~caesarion_hub.gateway.errors.GatewayError` when the stream breaks off. Any
    other body is one piece. ``upstream`` is the name of the upstream that answered; a list of
    models has none, and no chunks.
    """

    status: int
    headers: Mapping[str, str]
    content: AsyncIterator[Piece]
    upstream: str = ""

    @property
    def is_stream(self) -> bool:
        """Whether the body is server-sent events."""
        return self.headers.get("Content-Type", "").startswith("text/event-stream")


def json_response(body: Any) -> Response:
    """Return a response with the status 200 and ``body`` as JSON."""

    async def content() -> AsyncIterator[Piece]:
        yield Piece(json.dumps(body, ensure_ascii=False).encode(), [])

    return Response(200, {"Content-Type": "application/json"}, content())


@dataclass(frozen=True)
class Condition:
    """
    The health of one upstream.

    ``state`` is that of its circuit breaker. ``failures`` counts consecutive failures, and
    ``problem`` is the message of the last one. ``outcomes`` counts requests by result: ``ok``,
    ``given_up`` (the client disconnected), or the failure's code.
    """

    name: str
    state: State
    failures: int
    problem: str
    outcomes: Mapping[str, int]


class Backend(Protocol):
    """
    A model behind the OpenAI protocol.

    ``complete`` and ``models`` raise GatewayError until the answer has begun. Leaving their
    context cancels what is still in progress.
    """

    def complete(self, raw: bytes, body: dict[str, Any]) -> AbstractAsyncContextManager[Response]:
        """Answer ``/chat/completions``; ``raw`` is the request's body, ``body`` the parsed one."""

    def models(self) -> AbstractAsyncContextManager[Response]:
        """Answer ``/models``."""

    def model_name(self, model: str) -> str:
        """Return the name of the model that answers a request for ``model``."""

    def extra_fields(self, model: str) -> Collection[str]:
        """Return the fields that a request for ``model`` may have beside OpenAI's."""

    @property
    def silence(self) -> float:
        """Seconds for which an answer may be silent before it is given up."""

    def problem(self) -> str:
        """Return why no request can be answered now, as a sentence, or ""."""

    def conditions(self) -> Iterable[Condition]:
        """Return the health of each upstream."""
