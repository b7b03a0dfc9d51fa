"""The gateway's providers in this process, with time and luck that a test decides."""

import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from caesarion_hub.gateway.upstream.backend import Response
from caesarion_hub.gateway.upstream.router import Router
from caesarion_hub.gateway.upstream.settings import Upstream
from caesarion_hub.values.gateway import UpstreamOptions

from tests.fakes.openai_server import OpenAIServer

BODY: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}]}


class Time:
    """A clock that stands until somebody pauses; ``pauses`` are how long they did."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


def upstream(server: OpenAIServer | str, **changes: Any) -> Upstream:
    """Return an upstream that is asked once, in the server's name or at an address."""
    base_url = server if isinstance(server, str) else server.base_url
    own = {name: changes.pop(name) for name in ("key", "proxy", "name") if name in changes}
    return Upstream(base_url, options=UpstreamOptions(**{"retries": 0, **changes}), **own)


@asynccontextmanager
async def providers(*upstreams: Upstream, time: Time | None = None) -> AsyncIterator[Router]:
    """Run the upstreams; those without a name of their own are called a, b, c."""
    time = time or Time()
    named = [
        made if made.name != "provider" else dataclasses.replace(made, name=letter)
        for made, letter in zip(upstreams, "abc", strict=False)
    ]
    async with Router(
        named, "gpt-4.1", clock=time, pause=time.pause, chance=lambda: 0.5
    ) as backend:
        yield backend


async def ask(backend: Router, *, streamed: bool = True, **changes: Any) -> str:
    """Return the words of an answer, read to its end."""
    body = BODY | {"stream": streamed} | changes
    async with backend.complete(json.dumps(body).encode(), body) as answer:
        return words(await content(answer), answer)


async def content(answer: Response) -> bytes:
    """Return the body of an answer."""
    return b"".join([piece.data async for piece in answer.content])


def words(content: bytes, answer: Response) -> str:
    """Return what an answer's body says."""
    if not answer.is_stream:
        said: str = json.loads(content)["choices"][0]["message"]["content"]
        return said
    events = [line[6:] for line in content.decode().split("\n\n") if line]
    assert events[-1] == "[DONE]"
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
