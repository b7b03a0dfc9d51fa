"""
The model: one OpenAI-compatible endpoint, whose answers are streamed.

Called by :mod:`caesarion.agent.loop`. Sends with the SDK, which has the credentials, the
connections and the retries, and reads the raw stream with :mod:`caesarion_dialects`, as the
gateway does. The only module that imports openai, and lazily (:meth:`Model.warm`), since
that takes 0.6 s of CPU.
"""

import asyncio
import contextlib
import importlib
import json
import sys
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from caesarion_dialects import AnswerReader, Assembler, RequestForm, learned
from caesarion_dialects.adaptation import MAX_ADAPTATIONS
from caesarion_dialects.reader import END_LIMIT

from caesarion.agent import model_errors
from caesarion.agent.answer import Answer, Delta, read, whole
from caesarion.agent.endpoint import Endpoint
from caesarion.config import CaesarionModel
from caesarion.errors import ModelError
from caesarion.events import Approver
from caesarion.text import without_surrogates

if TYPE_CHECKING:
    from openai import AsyncOpenAI

# What a question imports of the SDK, with all below it.
_SDK = "openai.resources.chat.completions.completions"

# Seconds for a connection to the endpoint; made up.
_CONNECT_LIMIT = 10.0

# Seconds that pending reports get when the server stops; made up.
_REPORT_LIMIT = 2.0

# Cells whose latest change by a call is remembered; made up.
_MOST_CELLS = 10_000


@dataclass(frozen=True)
class Source:
    """
    The conversation and the message that a question is of; for the gateway's audit.

    ``traceparent`` names the trace and the span in it, as W3C's header does; empty for none.
    """

    conversation: str = ""
    message: str = ""
    traceparent: str = ""

    def headers(self) -> dict[str, str]:
        """Return it as headers, which are ASCII."""
        named = {
            "X-Caesarion-Conversation": self.conversation,
            "X-Caesarion-Message": self.message,
            "traceparent": self.traceparent,
        }
        return {name: quote(value, safe="/ .:@_-") for name, value in named.items() if value}


class _BrokenOff(ModelError):  # noqa: N818 - its base says Error
    """The connection ended, or fell silent, before the end of the response."""


class Model:
    """One model at one endpoint."""

    def __init__(self, settings: CaesarionModel) -> None:
        self.endpoint = Endpoint(settings)
        self._settings = settings
        self._client: AsyncOpenAI | None = None
        # The form in which the model takes requests, as its refusals and answers have shown.
        self._form = RequestForm()
        self._reports: set[asyncio.Task[None]] = set()
        # Names the call that changed a cell last, by path and cell. In memory alone: code in a
        # kernel reads every file.
        self._changed: OrderedDict[tuple[str, str], dict[str, str]] = OrderedDict()

    @property
    def name(self) -> str:
        """The model's name, as it is requested."""
        return self._settings.name

    @property
    def is_imported(self) -> bool:
        """Whether the SDK is imported, as in a server that has waited for its user."""
        return _SDK in sys.modules

    async def warm(self) -> None:
        """Import the SDK in a thread, so that the first question does not wait for it."""
        await asyncio.to_thread(importlib.import_module, _SDK)
        if self._settings.base_url:
            self._open_client()
            await self.endpoint.status()

    async def close(self) -> None:
        """Send the pending reports, within a time limit; close the connections."""
        if self._reports:
            await asyncio.wait(self._reports, timeout=_REPORT_LIMIT)
        client, self._client = self._client, None
        if client:
            await client.close()

    async def stream(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]],
        *,
        may_call: bool = True,
        source: Source = Source(),
    ) -> AsyncGenerator[Delta | Answer, None]:
        """
        Ask once, yield the answer's pieces as they come, and the whole :class:`Answer` last.

        ``messages`` and ``tools`` are in OpenAI's form. Raises
        :class:`~caesarion.errors.ModelError` with a sentence for the user.
        """
        body = {"model": self._settings.name, "messages": _sendable(messages), "stream": True}
        if tools:
            body |= {"tools": tools, "tool_choice": "auto" if may_call else "none"}
        receipt = ""

        def take(given: str) -> None:
            nonlocal receipt
            receipt = given

        reader = AnswerReader(model=self._settings.name, is_thinking=self._form.is_thinking)
        assembler = Assembler()

        def limit() -> float:
            silence = self.endpoint.silence
            return min(silence, END_LIMIT) if reader.is_finished else silence

        try:
            async with contextlib.aclosing(self._request(body, source, limit, take)) as response:
                async for data in response:
                    for chunk in reader.feed(data).chunks:
                        for delta in read(chunk, assembler):
                            yield delta
                    if reader.failure or reader.is_done:
                        break
        except _BrokenOff:
            # Behind the finish reason some servers send no [DONE]: they cut the connection, or
            # leave it open.
            if not reader.is_finished:
                raise
        for chunk in reader.end().chunks:
            for delta in read(chunk, assembler):
                yield delta
        if reader.failure:
            raise ModelError(model_errors.broken(reader.failure))
        self._form = replace(
            self._form,
            is_thinking=reader.canonicaliser.thinks,
            reasoning_field=reader.canonicaliser.reasoning_field or self._form.reasoning_field,
        )
        yield replace(whole(assembler), receipt=receipt)

    def report_outcome(
        self,
        call_id: str,
        outcome: str,
        approval: str,
        approver: Approver | Literal[""] = "",
        change: Mapping[str, str] | None = None,
        receipt: str = "",
    ) -> None:
        """
        Report a call's outcome to the gateway, for its audit, while the turn goes on.

        ``approval`` says what let the call run, and ``approver`` whether that was a
        person, a program or the mode; both are empty if nothing did. ``change`` is what the
        call did to a cell of a notebook; ``receipt`` came with the answer that has the call.
        Other endpoints get no reports.
        """
        named = {"call": call_id, "receipt": receipt}
        if change:
            cell = change["path"], change["cell"]
            self._changed[cell] = named
            self._changed.move_to_end(cell)
            while len(self._changed) > _MOST_CELLS:
                self._changed.popitem(last=False)
        report: dict[str, Any] = {
            **named,
            "outcome": outcome,
            "approval": approval,
            "approver": approver,
        }
        self._send_report({"outcomes": [report | ({"change": change} if change else {})]})

    def report_decisions(self, conversation: str, changes: Sequence[Mapping[str, str]]) -> None:
        """Report decisions about changes of notebooks that were applied before."""
        decisions = [
            {
                "conversation": conversation,
                "change": change,
                **self._changed.get((change["path"], change["cell"]), {}),
            }
            for change in changes
        ]
        if decisions:
            self._send_report({"outcomes": [], "decisions": decisions})

    def _send_report(self, body: dict[str, Any]) -> None:
        if self.endpoint.is_gateway:
            task = asyncio.create_task(self._report(body))
            self._reports.add(task)
            task.add_done_callback(self._reports.discard)

    async def _report(self, body: dict[str, Any]) -> None:
        import openai

        # A gateway that is away has the call itself on record, from its own answer.
        with contextlib.suppress(openai.OpenAIError):
            await self._open_client().post("/audit/outcomes", cast_to=object, body=body)

    async def _request(
        self,
        body: dict[str, Any],
        source: Source,
        limit: Callable[[], float],
        take: Callable[[str], None],
    ) -> AsyncGenerator[bytes, None]:
        """
        Send ``body`` in the model's form, and yield the response's bytes.

        ``limit`` returns the seconds of silence that are waited for; ``take`` gets the receipt
        before the first bytes. Raises ModelError, which is
        :class:`_BrokenOff` once the response has begun.
        """
        import httpx2
        import openai

        try:
            for left in reversed(range(MAX_ADAPTATIONS + 1)):
                sent = self._form.apply(body)
                try:
                    async with self._respond(sent, source) as response:
                        take(self.endpoint.read_headers(response.headers))
                        async for data in _within(limit, response.iter_bytes()):
                            yield data
                    return
                except openai.APIStatusError as error:
                    form = learned(self._form, sent, error.status_code, error.response.content)
                    if not left or form is None:
                        raise
                    self._form = form
        except TimeoutError as error:
            raise _BrokenOff(model_errors.silence(self.endpoint)) from error
        except openai.APIStatusError as error:
            raise model_errors.refused(
                error.status_code,
                error.response.content,
                self._settings,
                with_images=_has_images(body["messages"]),
            ) from error
        except openai.APIConnectionError as error:
            raise ModelError(model_errors.unreachable(self._settings)) from error
        except httpx2.HTTPError as error:
            raise _BrokenOff(model_errors.LOST) from error

    @contextlib.asynccontextmanager
    async def _respond(self, body: dict[str, Any], source: Source) -> AsyncIterator[Any]:
        """Provide the response to ``body``; raises the SDK's errors and TimeoutError."""
        # Typed for every field of OpenAI's own; what is sent here is plain JSON.
        create: Any = self._open_client().chat.completions.with_streaming_response.create
        async with contextlib.AsyncExitStack() as stack:
            async with asyncio.timeout(self.endpoint.silence):
                response = await stack.enter_async_context(
                    create(**body, extra_headers=source.headers())
                )
            yield response

    def _open_client(self) -> "AsyncOpenAI":
        import httpx2
        import openai

        if not self._settings.base_url:
            raise ModelError(
                "No model is set: CaesarionModel.base_url is empty. "
                "Set it to an OpenAI-compatible endpoint."
            )
        if self._client is None:
            self._client = openai.AsyncOpenAI(
                base_url=self._settings.base_url,
                api_key=self._settings.token,
                max_retries=self._settings.retries,
                # Silence is limited here, where comments count, and with the retries.
                timeout=httpx2.Timeout(None, connect=_CONNECT_LIMIT),
            )
        return self._client


async def _within(
    limit: Callable[[], float], response: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """Yield from ``response``; raise TimeoutError after a silence. Keep-alive comments end one."""
    while True:
        async with asyncio.timeout(limit()):
            data = await anext(response, None)
        if data is None:
            return
        yield data


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
