"""
The routes of OpenAI's protocol: chat completions and the list of models.

Routed by ``application``; calls ``request`` for the body and ``metering`` for the answer.
"""

from caesarion_hub.gateway.api.handler import UserHandler
from caesarion_hub.gateway.api.request import MAX_BODY, THREAD_THRESHOLD, ChatRequest, parse
from caesarion_hub.gateway.policy import fields

CONVERSATION_HEADER = "X-Caesarion-Conversation"
MESSAGE_HEADER = "X-Caesarion-Message"
"""Name the conversation and the message of a request, for the ledger and the audit."""


class ModelsHandler(UserHandler):
    """``GET v1/models``: the models that the caller may use."""

    async def get(self) -> None:
        """Answer with the list."""
        self.read_body()
        await self.send_response(self.application.metering.models(self.caller))


class CompletionsHandler(UserHandler):
    """``POST v1/chat/completions``."""

    max_body_bytes = MAX_BODY

    async def check_before_body(self) -> None:
        """Look at the caller's limits and budgets before a long body is received."""
        length = self.request.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) >= THREAD_THRESHOLD:
            await self.application.metering.check_limits(self.caller)

    async def post(self) -> None:
        """Answer, as a stream if the request asks for one."""
        raw = self.read_body()
        body = await parse(raw)
        fields.check_types(body)
        headers = self.request.headers
        request = ChatRequest(
            *(self.id, self.caller, raw, body),
            headers.get(CONVERSATION_HEADER, ""),
            headers.get(MESSAGE_HEADER, ""),
        )
        await self.send_response(self.application.metering.complete(request))
