"""
``POST caesarion/api/chat``: the agent answers a message, as server-sent events.

Called by programs; :mod:`caesarion.agent.loop` yields the events. A conversation is the
client's own: it sends the whole history each time, and no chat file is written.
"""

import contextlib
import functools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated, Any, Literal

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, FailFast, Field, field_validator
from tornado import web

from caesarion.agent import prompt
from caesarion.agent.model import Source
from caesarion.api import background
from caesarion.api.base import BaseHandler
from caesarion.api.kernel_choice import KernelName, check_kernel, chosen_kernel
from caesarion.api.streaming import StreamHandler
from caesarion.bodies import Bounded
from caesarion.config import Mode
from caesarion.events import CallStart, Done, Event, Failure, Output, RunStart, StatusChange
from caesarion.notebooks.changes import Origin
from caesarion.runs.recording import Recording
from caesarion.runs.run import Subject, title_of
from caesarion.runs.store import Work
from caesarion.runs.wire import named
from caesarion.services import Services

MAX_MESSAGES = 1_000
"""Messages of a question's history."""


class ChatMessage(Bounded):
    """One message of the history."""

    model_config = ConfigDict(extra="forbid")

    role: Literal["user", "assistant"]
    content: str = Field(min_length=1, max_length=1_048_576)


class Question(KernelName, background.Keyed):
    """A question with its history."""

    messages: Annotated[list[ChatMessage], FailFast()] = Field(
        min_length=1, max_length=MAX_MESSAGES
    )
    approval: Mode | None = None

    @field_validator("messages")
    @classmethod
    def _the_last_is_the_users(cls, messages: list[ChatMessage]) -> list[ChatMessage]:
        if messages[-1].role != "user":
            raise ValueError("The last message is the assistant's. Send one of the user's last.")
        return messages


class ChatRequest(Question, background.MayStream):
    """The body of ``POST caesarion/api/chat``."""


class ChatHandler(StreamHandler):
    """``POST caesarion/api/chat``."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """
        Stream the turn; 400, 404, 409 or 413 with a sentence before it begins.

        With ``background``, answer 202 and the run.
        """
        question = self.body(ChatRequest)
        if question.background:
            await begin(self, question)
        else:
            await self.stream(self._answer(question))

    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """Return the events that end a turn which could not go on."""
        done = Done("cancelled" if stopped else "error")
        return server_sent(Failure(sentence)) + server_sent(done)

    async def _answer(self, question: Question) -> None:
        traceparent = self.request.headers.get("traceparent", "")
        async with turn(self.services, question, traceparent, self._send_late) as events:
            self.begin_events()
            await self.flush()
            counted = self.services.activity.turn(events)
            async with (
                self.heartbeat(lambda: server_sent(StatusChange("still at work"))),
                contextlib.aclosing(counted),
            ):
                async for event in counted:
                    if sent := server_sent(event):
                        await self.send(sent)

    def _send_late(self, call_id: str, output: dict[str, Any]) -> None:
        self.send_late(server_sent(Output(call_id, output)))


async def begin(handler: BaseHandler, question: Question) -> None:
    """Begin a run in the background that answers ``question``."""
    services = handler.services
    subject = Subject(
        "chat",
        title=title_of(question.messages[-1].content),
        session_id=question.session_id or "",
        kernel_id=question.kernel_id or "",
        notebook_path=(question.notebook_path or "").lstrip("/"),
    )
    work = background_turn(services, question, handler.request.headers.get("traceparent", ""))
    check = functools.partial(check_kernel, services.kernels, question)
    await background.begin(handler, subject, question, work, check)


def background_turn(services: Services, question: Question, traceparent: str) -> Work:
    """Return the work of a run that answers ``question``."""

    async def work(recording: Recording) -> None:
        async with turn(services, question, traceparent, recording.late_output) as events:
            await recording.begin()
            counted = services.activity.turn(events, recording.is_activity)
            async with contextlib.aclosing(counted):
                async for event in counted:
                    await recording.event(event)

    return work


@contextlib.asynccontextmanager
async def turn(
    services: Services,
    question: Question,
    traceparent: str,
    late: Callable[[str, dict[str, Any]], object],
) -> AsyncIterator[AsyncGenerator[Event, None]]:
    """
    Provide the events of a turn that answers ``question``.

    ``late`` takes outputs of tasks that go on after their call, with the call's id. Raises
    UnknownKernel or KernelError if the kernel that was named cannot be used.
    """
    async with chosen_kernel(services.kernels, question) as find:
        environment = await services.environment(await find() if question.is_given else None)
        history = [
            prompt.system_message(environment),
            *(said.model_dump() for said in question.messages[:-1]),
            _asked(services, question),
        ]
        calls: list[CallStart] = []

        def take_late(run: RunStart, output: dict[str, Any]) -> None:
            for call in calls:
                if call.run is run:
                    late(call.call_id, output)

        session = f"session {question.session_id}" if question.session_id else ""
        origin = Origin(chat_id=session, front=(question.notebook_path or "").lstrip("/"))
        agent = services.agent(find, question.approval, take_late, origin)
        events = agent.run(history, Source(session, traceparent=traceparent))

        async def noted() -> AsyncGenerator[Event, None]:
            async with contextlib.aclosing(events):
                async for event in events:
                    if isinstance(event, CallStart):
                        calls.append(event)
                    yield event

        yield noted()


def _asked(services: Services, question: Question) -> dict[str, Any]:
    """Return the question, with what its session's new uploads are."""
    told = services.uploads.take_noted(question.session_id) if question.session_id else []
    return prompt.user_message(question.messages[-1].content, told)


def server_sent(event: Event) -> str:
    """
    Return ``event`` in the form of a server-sent event (WHATWG HTML, section 9.2).

    It is empty for an event that programs are not told of.
    """
    if isinstance(event, StatusChange):
        return f": {event.text}\n\n"
    found = named(event)
    return f"event: {found[0]}\ndata: {json.dumps(found[1])}\n\n" if found else ""
