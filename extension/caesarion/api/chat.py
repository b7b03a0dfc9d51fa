"""
``POST caesarion/api/chat``: the agent answers a message, as server-sent events.

Called by programs; :mod:`caesarion.agent.loop` yields the events. A conversation is the
client's own: it sends the whole history each time, and no chat file is written.
"""

import contextlib
import json
from dataclasses import asdict
from typing import Any, Literal

from jupyter_server.auth.decorator import authorized
from pydantic import BaseModel, ConfigDict, Field
from tornado import web

from caesarion.agent import prompt
from caesarion.agent.model import Source
from caesarion.api.base import KernelName
from caesarion.api.streaming import StreamHandler
from caesarion.config import Mode
from caesarion.events import (
    AnswerEnd,
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallStart,
    Done,
    Event,
    Failure,
    Output,
    Reasoning,
    Refusal,
    RunStart,
    StatusChange,
    Text,
    TextWasReasoning,
    ToolCall,
    Usage,
)


class ChatMessage(BaseModel):
    """One message of the history."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1)


class Question(KernelName):
    """The body of ``POST caesarion/api/chat``."""

    messages: list[ChatMessage] = Field(min_length=1)
    approval: Mode | None = None


class ChatHandler(StreamHandler):
    """``POST caesarion/api/chat``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Stream the turn; 400, 404, 409 or 413 with a sentence before it begins."""
        question = self.body(Question)
        if question.messages[-1].role != "user":
            self.refuse(400, "The last message is the assistant's. Send one of the user's last.")
            return
        await self.stream(self._answer(question))

    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """Return the events that end a turn which could not go on."""
        done = Done("cancelled" if stopped else "error")
        return server_sent(Failure(sentence)) + server_sent(done)

    async def _answer(self, question: Question) -> None:
        history = [prompt.system_message(), *(said.model_dump() for said in question.messages)]
        async with self.kernel(question) as find:
            self.begin_stream("text/event-stream")
            self.set_header("Cache-Control", "no-cache")
            # nginx would collect the events before it passes them on.
            self.set_header("X-Accel-Buffering", "no")
            await self.flush()
            calls: list[CallStart] = []

            def send_late(run: RunStart, output: dict[str, Any]) -> None:
                for call in calls:
                    if call.run is run:
                        self.send_late(server_sent(Output(call.call_id, output)))

            agent = self.services.agent(find, question.approval, send_late)
            source = Source(f"session {question.session_id}" if question.session_id else "")
            turn = self.services.activity.turn(agent.run(history, source))
            async with (
                self.heartbeat(lambda: server_sent(StatusChange("still at work"))),
                contextlib.aclosing(turn) as events,
            ):
                async for event in events:
                    if isinstance(event, CallStart):
                        calls.append(event)
                    if not isinstance(event, AnswerEnd):
                        await self.send(server_sent(event))


def server_sent(event: Event) -> str:
    """Return ``event`` in the form of a server-sent event (WHATWG HTML, section 9.2)."""
    data = asdict(event)
    match event:
        case StatusChange(text):
            return f": {text}\n\n"
        case Text():
            name = "text"
        case Reasoning():
            name = "reasoning"
        case TextWasReasoning():
            name = "text_was_reasoning"
        case Refusal():
            name = "refusal"
        case ToolCall():
            name = "tool_call"
            del data["fields"]
        case CallStart():
            name = "running"
            data |= data.pop("run")
        case ApprovalRequest():
            name = "waiting"
        case ApprovalDecision():
            name = "decided"
        case Output():
            name = event.output["output_type"]
            name = name if name in ("clear_output", "update_display_data") else "output"
        case CallEnd():
            name = "tool_result"
        case Usage():
            name = "usage"
            data["total_tokens"] = event.total_tokens
            data["prompt_tokens_details"] = {"cached_tokens": data.pop("cached_tokens")}
            data["completion_tokens_details"] = {"reasoning_tokens": data.pop("reasoning_tokens")}
        case Failure():
            name = "error"
        case Done():
            name = "done"
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"
