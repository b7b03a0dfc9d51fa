"""
The chat's door: a message comes in, a turn's events go out to the chat.

One instance for each open chat, made by Jupyter AI's persona manager; finds
the services in the server's settings, where :mod:`caesarion.extension`
puts them.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from jupyter_ai_persona_manager import BasePersona, PersonaDefaults
from jupyterlab_chat.models import ChatMessageAction, ChatMessageEvent, Message

from caesarion.agent import prompt
from caesarion.agent.model import Source
from caesarion.chat import context, history, transcript
from caesarion.errors import CaesarionError, SettingError
from caesarion.events import (
    AnswerEnd,
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallStart,
    Done,
    Event,
    Failure,
    Notice,
    Output,
    Reasoning,
    Refusal,
    Text,
    TextWasReasoning,
    ToolCall,
    Usage,
)
from caesarion.files.attachments import Attached
from caesarion.kernels.kernel import Kernel
from caesarion.services import Services

Result = TypeVar("Result")

_NOTEBOOK = re.compile(r"[^\s'\"`()\[\]<>]+\.ipynb\b")


class CaesarionPersona(BasePersona):
    """Caesarion in one chat."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn: asyncio.Task[None] | None = None
        self._answering = ""
        self._closed = ""
        # The kernel starts with the chat, so that the first question need not wait for it.
        self._warming = asyncio.ensure_future(self._warm())
        # Tasks that go on by themselves.
        self._tasks: set[asyncio.Task[Any]] = set()
        transcript.mend(self.chat, self.id)
        self._observer = self.chat.observe_messages(self._on_chat_message)

    @property
    def _shared(self) -> Services:
        extension: Any = self.parent.parent
        if extension is None:
            # Jupyter AI's own "api/ai/message", whose chats nobody closes.
            raise CaesarionError(
                "Caesarion does not answer here. Use the chat, or POST to caesarion/api/chat."
            )
        services: Services | None = extension.serverapp.web_app.settings.get("caesarion")
        if services is None:
            raise SettingError(
                "Caesarion did not start in this server, as one of its settings cannot be used. "
                "Tell whoever runs it; the server's log says which."
            )
        return services

    @property
    def defaults(self) -> PersonaDefaults:
        """Return name, description and avatar as the chat shows them."""
        return PersonaDefaults(
            name="Caesarion",
            description="An agent that works in your own kernel.",
            avatar_path=str(Path(__file__).with_name("avatar.svg")),
            system_prompt=prompt.SYSTEM,
        )

    async def process_message(self, message: Message) -> None:
        """Answer ``message`` in the chat; returns when the turn has ended or was stopped."""
        latest = self.chat.get_message(message.id)
        if latest and latest.deleted:
            return  # Taken back while another was being answered.
        if replaced := _replaced(message):
            history.take_back(self.chat, replaced)
        self._answering = message.id
        self._turn = asyncio.ensure_future(self._answer(message))
        try:
            await asyncio.wait({self._turn})
        except asyncio.CancelledError:
            await self.cancel_response()
            raise
        error = None if self._turn.cancelled() else self._turn.exception()
        if isinstance(error, CaesarionError):
            self.send_message(f"⚠️ {error}")
        elif error:
            raise error

    async def cancel_response(self) -> None:
        """Stop the turn: the model's stream ends, a running cell is interrupted."""
        if self._turn and not self._turn.done():
            self._turn.cancel()
            await asyncio.wait({self._turn})

    async def shutdown(self) -> None:
        """Stop what is under way; the chat is being closed."""
        self._closed = "The chat or its server was shut down."
        self.chat.unobserve_messages(self._observer)
        self._warming.cancel()
        await self.cancel_response()
        await super().shutdown()

    async def handle_uncaught_exception(self, exc: Exception) -> None:
        """Tell the user in a sentence; the traceback is in the server's log."""
        self.send_message(
            f"Something went wrong inside Caesarion ({type(exc).__name__}). Nothing of this chat "
            "was lost: ask again. The server's log has the details."
        )

    def _on_chat_message(self, event: ChatMessageEvent) -> None:
        """
        Take back what is replaced; answer what is addressed to nobody, if we are the default.

        The chat's box addresses a message only once it has heard of the personas;
        what is sent before would be dropped without a word.
        """
        if event.action is not ChatMessageAction.CLIENT_MSG_RECEIVED:
            return
        message = event.message
        if replaced := _replaced(message):
            self._begin(self._make_way(replaced))
        if (
            not (message.metadata or {}).get(self.parent.TO_PERSONA_METADATA_KEY)
            and not message.body.lstrip().startswith("/")
            and self.parent.default_persona is self
        ):
            self._begin(self.on_message(message))

    async def _make_way(self, replaced: str) -> None:
        """Take a question back, and stop its answer first; it may not have begun at all."""
        if self._answering == replaced:
            await self.cancel_response()
        history.take_back(self.chat, replaced)

    def _begin(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _uncut(self, start: Coroutine[Any, Any, Kernel]) -> Kernel:
        """Await a kernel's start; cut off by a Stop, it would leave a process nobody knows."""
        return await asyncio.shield(self._begin(start))

    async def _warm(self) -> None:
        with contextlib.suppress(CaesarionError):  # The first question will say it.
            kernel = await self._uncut(self._conversation_kernel())
            await kernel.connect()
        with contextlib.suppress(CaesarionError):
            await self._shared.model.warm()

    async def _answer(self, message: Message) -> None:
        shown = transcript.Transcript(self.chat, self.id, message)
        began = time.monotonic()
        self.set_status("is thinking...")
        try:
            turn = self._shared.activity.turn(await self._events(message))
            async with contextlib.aclosing(turn) as events:
                async for event in events:
                    self._show(event, shown)
        except asyncio.CancelledError as error:
            shown.interrupted(f"{self._closed or 'The user stopped this call.'} {error}".strip())
            shown.notice(" ".join(part for part in ("Stopped.", self._closed, str(error)) if part))
            # The tokens of an answer that was cut off are not known.
            shown.usage(Usage(seconds=round(time.monotonic() - began, 3)))
            raise
        finally:
            shown.close()
            self.clear_status()

    async def _events(self, message: Message) -> AsyncGenerator[Event, None]:
        """Return the events of a turn; one that only runs a cell again asks no model."""
        stamp = context.read(message.metadata)
        where = await self._place(stamp, message)
        wanted = (message.metadata or {}).get("approval")
        agent = self._shared.agent(lambda: self._uncut(where.find()), wanted)
        if again := (message.metadata or {}).get("run_again"):
            call = history.find_call(self.chat, self.id, str(again))
            if call is None:
                raise CaesarionError("That cell is not in this chat any more, so it was not run.")
            return agent.repeat(replace(call, id=f"again_{uuid4().hex}"))
        history.keep_context(self.chat, message, await context.sent_along(stamp, where))
        images = await self._read_attachments(message)
        root = Path(self.parent.root_dir)
        messages = history.read(self.chat, self.id, message, root, images)
        source = Source(self.chat.get_id(), message.id)
        return agent.run([prompt.system_message(where.told), *messages], source)

    async def _read_attachments(self, question: Message) -> dict[Attached, str]:
        """Remember what is in the files attached to ``question``; return the images to show."""
        attachments = self._shared.attachments
        if attached := history.just_attached(self.chat, question):
            self.set_status("is looking into the attached files...")
            digests = await asyncio.gather(
                *(attachments.read(one, history.cells(self.chat, one)) for one in attached)
            )
            for one, digest in zip(attached, digests, strict=True):
                history.remember(self.chat, one, attachments.path(one[1]), digest)
            self.set_status("is thinking...")
        return await attachments.images(reversed(history.attached(self.chat, question)))

    def _show(self, event: Event, shown: transcript.Transcript) -> None:
        match event:
            case Text():
                shown.text(event)
            case Reasoning():
                shown.reasoning(event)
            case TextWasReasoning():
                shown.text_was_reasoning()
            case Refusal():
                shown.refusal(event)
            case AnswerEnd():
                shown.answer_ended(event)
            case ToolCall():
                shown.call(event)
                self.set_status(_status_of(event.name))
            case CallStart(run=run):
                shown.call_started(run)
                self.set_status(_status_of("python_interpreter"))
            case ApprovalRequest():
                shown.approval_requested(event)
                self.set_status("is waiting for you...")
            case ApprovalDecision():
                shown.approval_decided(event)
                self.set_status("is thinking...")
            case Output():
                shown.output(event)
            case CallEnd():
                shown.call_ended(event)
                self.set_status("is thinking...")
            case Notice(text):
                self.set_status(f"{text}...")
            case Failure(sentence):
                shown.notice(f"⚠️ {sentence}")
            case Usage():
                shown.usage(event)
            case Done():
                pass

    async def _place(self, stamp: context.Stamp, message: Message) -> context.Place:
        """Return where the code of this turn runs."""
        kernels, chat_id = self._shared.kernels, self.chat.get_id()
        own = context.own_place(
            self._conversation_kernel, lambda: kernels.running_for_conversation(chat_id)
        )
        return await context.place(kernels, stamp, self._named_notebooks(message), own)

    def _named_notebooks(self, message: Message) -> list[str]:
        attachments = self.chat.get_attachments()
        attached = [attachments[name].value for name in message.attachments or ()]
        named = _NOTEBOOK.findall(message.body)
        return [*named, *(path for path in attached if path.endswith(".ipynb"))]

    async def _conversation_kernel(self) -> Kernel:
        path = self.chat.get_path()
        return await self._shared.kernels.for_conversation(
            self.chat.get_id(), path, Path(path).stem
        )


def _replaced(message: Message) -> str:
    """Return the id of the question that ``message`` is asked instead of, if there is one."""
    replaced = (message.metadata or {}).get("replaces")
    return replaced if isinstance(replaced, str) else ""


def _status_of(tool: str) -> str:
    return {
        "python_interpreter": "is running code...",
        "get_current_weather": "is looking at the weather...",
    }.get(tool, f"is using {tool}...")
