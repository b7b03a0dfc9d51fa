"""
The routes of OpenAI's protocol: chat completions and the list of models.

Routed by ``application``; calls ``request`` for the body and ``metering`` for the answer.
"""

from caesarion_hub.gateway.api.handler import UserHandler
from caesarion_hub.gateway.api.request import ChatRequest, checked_body

CONVERSATION_HEADER = "X-Caesarion-Conversation"
MESSAGE_HEADER = "X-Caesarion-Message"
"""Name the conversation and the message of a request, for the ledger and the audit."""


class ModelsHandler(UserHandler):
    """``GET v1/models``: the models that the caller may use."""

    async def get(self) -> None:
        """Answer with the list."""
        self.check()
        await self.send_answer(self.application.backend.models(self.caller))


class CompletionsHandler(UserHandler):
    """``POST v1/chat/completions``."""

    async def post(self) -> None:
        """Answer, as a stream if the request asks for one."""
        self.check()
        raw = bytes(self.body)
        headers = self.request.headers
        request = ChatRequest(
            *(self.id, self.caller, raw, checked_body(raw)),
            headers.get(CONVERSATION_HEADER, ""),
            headers.get(MESSAGE_HEADER, ""),
        )
        await self.send_answer(self.application.backend.complete(request))
