"""
What answers behind the gateway: the provider, or the demo model.

``handlers`` calls it; ``provider`` and ``demo`` are it.
"""

import json
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from caesarion_dialects import Piece

State = Literal["closed", "open", "half-open"]
"""A circuit's: whether an upstream is asked, is left alone, or is being tried again."""


@dataclass(frozen=True)
class Answer:
    """
    A status, headers, and a body as it comes.

    Of a stream each piece is whole events, and ``content`` raises
    :class:`~caesarion_hub.gateway.errors.GatewayError` when it breaks off; any
    other body is one piece. The chunks of a piece are what its bytes say, and
    empty for a list. ``upstream`` is the name of the upstream that answered, and
    ``model`` its own name for the model; empty for a list.
    """

    status: int
    headers: Mapping[str, str]
    content: AsyncIterator[Piece]
    upstream: str = ""
    model: str = ""

    @property
    def is_stream(self) -> bool:
        """Whether the body is server-sent events."""
        return self.headers.get("Content-Type", "").startswith("text/event-stream")


def json_answer(body: Any) -> Answer:
    """Return ``body`` as an answer of 200."""

    async def content() -> AsyncIterator[Piece]:
        yield Piece(json.dumps(body, ensure_ascii=False).encode(), [])

    return Answer(200, {"Content-Type": "application/json"}, content())


@dataclass(frozen=True)
class Condition:
    """
    How one upstream is doing.

    ``state`` is its circuit's: "closed" is well. ``failures`` are those since
    the last whole answer, ``problem`` is the last one's sentence. ``outcomes``
    counts all attempts: ``ok``, ``given_up`` (the client went away), or the failure's code.
    """

    name: str
    state: State
    failures: int
    problem: str
    outcomes: Mapping[str, int]


class Backend(Protocol):
    """
    A model behind the OpenAI protocol.

    Both calls raise GatewayError as long as nothing is answered; leaving the
    context gives up what is still under way.
    """

    def complete(self, raw: bytes, body: dict[str, Any]) -> AbstractAsyncContextManager[Answer]:
        """Answer ``/chat/completions``; ``raw`` is the request's body, ``body`` what it says."""

    def models(self) -> AbstractAsyncContextManager[Answer]:
        """Answer ``/models``."""

    def model_name(self, model: str) -> str:
        """Return the model that answers who asks for ``model``."""

    def extra_fields(self, model: str) -> Collection[str]:
        """Return the fields that a request for ``model`` may have beside OpenAI's."""

    @property
    def silence(self) -> float:
        """Seconds for which an answer may be silent before it is given up."""

    def problem(self) -> str:
        """Return why nothing can be asked of it now, as a sentence, or nothing."""

    def conditions(self) -> Iterable[Condition]:
        """Return how each upstream is doing."""
