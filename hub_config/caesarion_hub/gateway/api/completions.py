"""
The routes of OpenAI's protocol: chat completions and the list of models.

Routed by ``application``; calls ``request`` for the body and ``metering`` for the answer.
"""

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import Any

from aiohttp import web

from caesarion_hub.gateway.api.handler import Handler, send, warn
from caesarion_hub.gateway.api.metering import Metering, Send
from caesarion_hub.gateway.api.request import MAX_BODY, THREAD_THRESHOLD, ChatRequest, parse
from caesarion_hub.gateway.api.server import Request
from caesarion_hub.gateway.errors import GatewayError
from caesarion_hub.gateway.policy import fields

CONVERSATION_HEADER = "X-Caesarion-Conversation"
MESSAGE_HEADER = "X-Caesarion-Message"
"""Name the conversation and the message of a request, for the ledger and the audit."""


class Answers:
    """What the model answers, and the tasks that send it: ``in_progress``."""

    def __init__(self, metering: Metering) -> None:
        self.metering = metering
        self.in_progress: set[asyncio.Task[Any]] = set()

    def sender(self, request: Request) -> Send:
        """Return what sends an answer to ``request``."""
        return partial(send, request, silence=self.metering.silence)

    async def track(
        self, request: Request, response: Coroutine[Any, Any, None]
    ) -> web.StreamResponse:
        """Await ``response``, which sends an answer, and return that."""
        task = asyncio.current_task()
        assert task is not None
        self.in_progress.add(task)
        try:
            await response
        except GatewayError as error:
            warn(request, error)
            raise
        finally:
            self.in_progress.discard(task)
        assert request.answer is not None
        return request.answer

    async def stop(self, grace: float) -> None:
        """Let the answers in progress end within ``grace`` seconds, and cancel the rest."""
        if self.in_progress:
            await asyncio.wait(self.in_progress, timeout=grace)
        self.metering.stopping = True
        for task in self.in_progress:
            task.cancel()
        if self.in_progress:
            await asyncio.wait(self.in_progress)


class ModelsHandler(Handler):
    """``GET v1/models``: the models that the caller may use."""

    is_for_users = True

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def answer(self, request: Request, body: bytes) -> web.StreamResponse:
        """Answer with the list."""
        sender = self._answers.sender(request)
        models = self._answers.metering.models(request.caller, sender)
        return await self._answers.track(request, models)


class CompletionsHandler(Handler):
    """``POST v1/chat/completions``."""

    method = "POST"
    is_for_users = True
    max_body_bytes = MAX_BODY

    def __init__(self, answers: Answers) -> None:
        self._answers = answers

    async def check_before_body(self, request: Request) -> None:
        """Look at the caller's limits and budgets before a long body is received."""
        length = request.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) >= THREAD_THRESHOLD:
            await self._answers.metering.check_limits(request.caller)

    async def answer(self, request: Request, body: bytes) -> web.StreamResponse:
        """Answer, as a stream if the request asks for one."""
        asked = await parse(body)
        fields.check_types(asked)
        headers = request.headers
        chat = ChatRequest(
            *(request.id, request.caller, body, asked),
            headers.get(CONVERSATION_HEADER, ""),
            headers.get(MESSAGE_HEADER, ""),
            headers.get("traceparent", ""),
            request.receipt,
        )
        sender = self._answers.sender(request)
        return await self._answers.track(request, self._answers.metering.complete(chat, sender))
