"""
The model: an OpenAI-compatible endpoint, streamed as events.

Called by :mod:`caesarion.agent.loop`; alone imports openai, and that when a server has
nothing better to do (:meth:`Model.warm`), since it takes half a second of CPU and 38 MB.
"""

import asyncio
import contextlib
import importlib
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from caesarion.config import CaesarionModel
from caesarion.errors import ModelError
from caesarion.events import Text, ToolCall, Usage
from caesarion.text import clip, without_surrogates

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# Seconds until the endpoint is looked at again, when it answered and when it did not; and
# how long it has to answer. Made up: every page that is open asks, and it is one endpoint.
_LOOK_WELL = 60.0
_LOOK_ILL = 5.0
_LOOK_LIMIT = 5.0

_NO_MODEL = "No model is set up. Tell whoever runs this server."
_AWAY = "The gateway does not answer. Tell whoever runs this server if it stays so."
_NOT_LET_IN = (
    "The gateway does not let this server in. Stop the server and start it again; if it stays so, "
    "tell whoever runs it."
)
_BEHIND = (
    "The gateway answers, but the model behind it does not. Tell whoever runs this server if it "
    "stays so."
)

# Whose models answer under any name that is asked for: the gateway's demo.
_DEMO_OWNER = "caesarion"

# What the gateway says of itself is whole sentences for whoever asked: its types, its codes.
_GATEWAYS_OWN = frozenset(
    ("budget_error", "rate_limit_error", "upstream_error", "model_not_allowed")
)
_REQUEST_HEADER = "x-caesarion-request"

# Seconds that reports get when the server stops; made up.
_REPORT_LIMIT = 2.0

# Characters that an endpoint's own words about an error have at most.
_TOLD = 500


@dataclass(frozen=True)
class Finish:
    """The end of one answer; ``reason`` is OpenAI's finish_reason ("" if none came)."""

    reason: str


@dataclass(frozen=True)
class Source:
    """Which conversation a question belongs to, and which message asks it; for the gateway."""

    conversation: str = ""
    message: str = ""

    def headers(self) -> dict[str, str]:
        """Return it as headers, which are ASCII."""
        named = {
            "X-Caesarion-Conversation": self.conversation,
            "X-Caesarion-Message": self.message,
        }
        return {name: quote(value, safe="/ .:@_-") for name, value in named.items() if value}


@dataclass(frozen=True)
class Endpoint:
    """What is known of the endpoint: the model that answers, and what is wrong, if anything."""

    model: str
    problem: str = ""

    @property
    def reachable(self) -> bool:
        """Whether it answered."""
        return not self.problem


class Model:
    """One model at one endpoint."""

    def __init__(self, settings: CaesarionModel) -> None:
        self._settings = settings
        self._opened: AsyncOpenAI | None = None
        # What was seen of the endpoint, and when. The lock is held during a look: however
        # many pages ask, the endpoint is asked once.
        self._seen: tuple[Endpoint, float | None] = (Endpoint(settings.name), None)
        self._looking = asyncio.Lock()
        self._is_gateway = False
        self._reports: set[asyncio.Task[None]] = set()

    async def warm(self) -> None:
        """Import the SDK in a thread, so that the first question does not wait for it."""
        await asyncio.to_thread(importlib.import_module, "openai")
        if self._settings.base_url:
            self._client()

    async def close(self) -> None:
        """Send what is still to be reported, for a moment; close the connections."""
        if self._reports:
            await asyncio.wait(self._reports, timeout=_REPORT_LIMIT)
        client, self._opened = self._opened, None
        if client:
            await client.close()

    async def look(self) -> Endpoint:
        """Return whether the endpoint answers, and as which model; asks it now and then."""
        async with self._looking:
            seen, at = self._seen
            pause = _LOOK_WELL if seen.reachable else _LOOK_ILL
            if at is None or time.monotonic() > at + pause:
                seen = await self._look()
                self._seen = (seen, time.monotonic())
        return seen

    async def _look(self) -> Endpoint:
        # Not by the SDK, whose import would hold up the server for a second.
        name = self._settings.name
        if not self._settings.base_url:
            return Endpoint(name, _NO_MODEL)
        try:
            answer = await AsyncHTTPClient().fetch(
                f"{self._settings.base_url.rstrip('/')}/models",
                headers={"Authorization": f"Bearer {self._settings.token}"},
                request_timeout=_LOOK_LIMIT,
                connect_timeout=_LOOK_LIMIT,
                raise_error=False,
            )
        except (OSError, ValueError, HTTPClientError):
            return Endpoint(name, _AWAY)
        if answer.code in (401, 403):
            return Endpoint(name, _NOT_LET_IN)
        if answer.code >= 500:
            return Endpoint(name, _BEHIND)
        return Endpoint(_answering(answer.body) or name)

    async def stream(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        *,
        may_call: bool = True,
        source: Source = Source(),
    ) -> AsyncGenerator[Text | ToolCall | Usage | Finish, None]:
        """
        Ask once and yield the answer as it comes; a :class:`Finish` is the last.

        ``messages`` and ``tools`` are in OpenAI's form. Tool calls are yielded
        when they are complete, with an id of ours where the provider sent
        none. Raises :class:`~caesarion.errors.ModelError` with a sentence for
        the user.
        """
        import openai

        # Typed for every field of OpenAI's own; what is sent here is plain JSON.
        create: Any = self._client().chat.completions.create
        extra: dict[str, Any] = {}
        if tools:
            extra = {"tools": tools, "tool_choice": "auto" if may_call else "none"}
        calls = Calls()
        reason = ""
        try:
            async with asyncio.timeout(self._settings.timeout):
                answer = await create(
                    model=self._settings.name,
                    messages=_sendable(messages),
                    stream=True,
                    stream_options={"include_usage": True},
                    extra_headers=source.headers(),
                    **extra,
                )
            self._is_gateway = _REQUEST_HEADER in answer.response.headers
            async with contextlib.aclosing(answer), contextlib.aclosing(_chunks(answer)) as chunks:
                while True:
                    async with asyncio.timeout(self._settings.timeout):
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        break
                    for part in _read(chunk, calls):
                        if isinstance(part, Finish):
                            reason = part.reason
                        else:
                            yield part
        except TimeoutError as error:
            raise ModelError(
                f"The model was silent for {self._settings.timeout:g} seconds. "
                "Ask again, or raise CaesarionModel.timeout."
            ) from error
        except openai.APIStatusError as error:
            raise ModelError(self._status_sentence(error, _has_images(messages))) from error
        except openai.APIConnectionError as error:
            raise ModelError(
                f"The model's endpoint {self._settings.base_url} could not be reached. "
                "Ask again in a moment; if it stays so, tell whoever runs this server."
            ) from error
        except openai.APIError as error:
            # An error event in the middle of a stream.
            raise ModelError(f"The model broke off: {_told(error)}") from error
        for call in calls.complete():
            yield call
        yield Finish(reason)

    def report(self, call_id: str, outcome: str, approval: str) -> None:
        """
        Tell the gateway what became of a call, for its audit, while the turn goes on.

        ``approval`` is who let it run. Other endpoints are told nothing.
        """
        if self._is_gateway:
            told = {"call": call_id, "outcome": outcome, "approval": approval}
            task = asyncio.create_task(self._report({"outcomes": [told]}))
            self._reports.add(task)
            task.add_done_callback(self._reports.discard)

    async def _report(self, told: dict[str, Any]) -> None:
        import openai

        # A gateway that is away has the call itself on record, from its own answer.
        with contextlib.suppress(openai.OpenAIError):
            await self._client().post("/audit/outcomes", cast_to=object, body=told)

    def _client(self) -> "AsyncOpenAI":
        import openai

        if not self._settings.base_url:
            raise ModelError(
                "No model is set: CaesarionModel.base_url is empty. "
                "Set it to an OpenAI-compatible endpoint."
            )
        if self._opened is None:
            self._opened = openai.AsyncOpenAI(
                base_url=self._settings.base_url,
                api_key=self._settings.token,
                max_retries=self._settings.retries,
                # Ours comes first and bounds the retries too.
                timeout=self._settings.timeout + 10,
            )
        return self._opened

    def _status_sentence(self, error: Any, with_images: bool) -> str:
        told = _told(error)
        if error.status_code == 401:
            # Some endpoints repeat the token that they refuse.
            told = told.replace(self._settings.token, "***")
            return f"The model's endpoint does not accept this server's token: {told}"
        if error.type in _GATEWAYS_OWN or error.code in _GATEWAYS_OWN:
            return told
        if error.status_code == 429:
            return f"The model is asked for too much at the moment: {told}"
        sentence = f"The model answered {error.status_code}: {told}"
        if with_images:
            sentence += (
                " The request shows images: if the model takes none, "
                "set CaesarionModel.max_images to 0."
            )
        return sentence


def _has_images(messages: list[dict[str, Any]]) -> bool:
    return any(isinstance(message.get("content"), list) for message in messages)


def _sendable(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return ``messages`` without halves of characters, which no request can carry."""
    text = json.dumps(messages, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return list(json.loads(without_surrogates(text)))
    return messages


async def _chunks(answer: Any) -> AsyncGenerator[Any, None]:
    """Yield the answer's chunks; translate what goes wrong once it has begun."""
    import openai

    try:
        async for chunk in answer:
            yield chunk
    except openai.APIConnectionError as error:
        raise ModelError(
            "The connection to the model was lost before its answer was complete. Ask again."
        ) from error
    except ValueError as error:  # Not JSON, or not UTF-8.
        raise ModelError(_NONSENSE) from error


_NONSENSE = (
    "The model's endpoint sent something that cannot be read. Ask again; if it stays so, "
    "CaesarionModel.base_url is not an OpenAI-compatible endpoint."
)


def _read(chunk: Any, calls: "Calls") -> list[Text | Usage | Finish]:
    """Return what a chunk says; what it says of calls goes to ``calls``."""
    said: list[Text | Usage | Finish] = []
    try:
        if chunk.usage:
            said.append(_usage(chunk.usage))
        if not chunk.choices:
            return said
        choice = chunk.choices[0]
        if choice.finish_reason:
            said.append(Finish(choice.finish_reason))
        if choice.delta is None:
            return said
        if choice.delta.content:
            said.append(Text(without_surrogates(choice.delta.content)))
        for delta in choice.delta.tool_calls or ():
            calls.add(delta)
    except (AttributeError, TypeError) as error:
        # The SDK passes on what has another shape than OpenAI's, as it came.
        raise ModelError(_NONSENSE) from error
    return said


class Calls:
    """
    Tool calls put together from deltas.

    A delta belongs to the call of its index. Some servers leave the index out
    or send every call as number 0; there another id, or without ids a name,
    begins a new call.
    """

    def __init__(self) -> None:
        self._parts: list[dict[str, str]] = []
        self._by_index: dict[int | None, dict[str, str]] = {}

    def add(self, delta: Any) -> None:
        """Take one of ``delta.tool_calls``; raise AttributeError or TypeError if it is none."""
        name = delta.function.name if delta.function else None
        part = self._by_index.get(delta.index)
        if part is None or _begins(delta.id, name if delta.index is None else None, part["id"]):
            part = {"id": "", "name": "", "arguments": ""}
            self._parts.append(part)
            self._by_index[delta.index] = part
        part["id"] = delta.id or part["id"]
        part["name"] = name or part["name"]
        if delta.function:
            part["arguments"] += delta.function.arguments or ""

    def complete(self) -> list[ToolCall]:
        """Return the calls in order, each with an id of its own, so that it can be answered."""
        calls: dict[str, ToolCall] = {}
        for part in self._parts:
            call_id = part["id"]
            if not call_id or call_id in calls:
                call_id = f"call_{uuid4().hex}"
            calls[call_id] = ToolCall(call_id, part["name"], without_surrogates(part["arguments"]))
        return list(calls.values())


def _begins(call_id: str | None, name: str | None, last_id: str) -> bool:
    """Whether a delta with these begins another call than the last one."""
    if call_id:
        return last_id not in ("", call_id)
    return bool(name)


def _usage(usage: Any) -> Usage:
    details = usage.prompt_tokens_details
    return Usage(
        prompt_tokens=usage.prompt_tokens or 0,
        completion_tokens=usage.completion_tokens or 0,
        total_tokens=usage.total_tokens or 0,
        cached_tokens=(details and details.cached_tokens) or 0,
    )


def _answering(body: bytes) -> str:
    """Return the name of the model that answers whatever is asked for, if the list has such."""
    try:
        models = json.loads(body)["data"]
        return next((str(one["id"]) for one in models if one.get("owned_by") == _DEMO_OWNER), "")
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return ""


def _told(error: Any) -> str:
    """Return the endpoint's own words about an error, else the SDK's."""
    body = error.body if isinstance(error.body, dict) else {}
    message = body.get("message")
    told = message if isinstance(message, str) and message else str(error.message)
    return clip(told, _TOLD)  # A proxy may answer with a page of HTML.
