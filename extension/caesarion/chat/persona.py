"""
The persona: a message comes in from the chat, a turn's events go out to it.

Jupyter AI's persona manager (:mod:`caesarion.chat.persona_manager`) makes one for each open
chat. The persona takes the services from the server's settings, where :mod:`caesarion.extension`
puts them; calls the agent, and writes with :mod:`caesarion.chat.transcript`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from jupyter_ai_persona_manager import BasePersona, PersonaDefaults
from jupyter_ai_router.router import matches_pattern
from jupyterlab_chat.models import ChatMessageAction, ChatMessageEvent, Message

from caesarion.agent import prompt
from caesarion.agent.model import Source
from caesarion.chat import context, history, questions, recovery, transcript
from caesarion.chat.recorded_turn import RecordedTurn
from caesarion.errors import CaesarionError, JournalFull, SettingError
from caesarion.events import (
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    CallStart,
    Event,
    ImagesNotTaken,
    QuestionAnswered,
    QuestionAsked,
    RunStart,
    StatusChange,
    ToolCall,
    Usage,
)
from caesarion.files.attachments import Attached
from caesarion.kernels.kernel import Kernel
from caesarion.message_metadata import is_persons
from caesarion.notebooks.changes import Origin
from caesarion.services import Services

Result = TypeVar("Result")

_CLOSED = "The chat or its server was shut down."

_WAITING = "is waiting for you..."

# The status line while a tool works; that of any other says its name.
_STATUS = {
    "python_interpreter": "is running code...",
    "get_current_weather": "is looking at the weather...",
    "read_notebook": "is reading the notebook...",
    "edit_cell": "is editing the notebook...",
    "insert_cell": "is editing the notebook...",
    "delete_cell": "is editing the notebook...",
    "move_cell": "is editing the notebook...",
    "run_cell": "is running a cell...",
}


class CaesarionPersona(BasePersona):
    """Caesarion in one chat."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn: asyncio.Task[None] | None = None
        self._question_id = ""
        self._closed = ""
        # Data URLs of the images that are at fault if the provider refuses the question.
        self._new_images: list[str] = []
        # The kernel starts with the chat, so that the first question need not wait for it.
        self._warming = asyncio.ensure_future(self._warm())
        # References to tasks that nobody awaits, which asyncio itself holds weakly.
        self._tasks: set[asyncio.Task[Any]] = set()
        recovery.end_interrupted(self.chat, self.id)
        with contextlib.suppress(CaesarionError):  # The first question will show it.
            checkpoints, chat_id = self._services.checkpoints, self.chat.get_id()
            turns = checkpoints.turns(chat_id)
            recovery.mark_undoable(
                self.chat, self.id, turns, lambda turn: checkpoints.exists(chat_id, turn)
            )
            self._start(self._tell_of_cut_off_turns())
        self._observer = self.chat.observe_messages(self._on_chat_message)

    @property
    def _settings(self) -> dict[str, Any]:
        extension: Any = self.parent.parent
        if extension is None:
            # The route "api/ai/message" of jupyter-ai-persona-manager 0.2, which opens chats and
            # never closes them.
            raise CaesarionError(
                "Caesarion does not answer here. Use the chat, or POST to caesarion/api/chat."
            )
        settings: dict[str, Any] = extension.serverapp.web_app.settings
        return settings

    @property
    def _services(self) -> Services:
        services: Services | None = self._settings.get("caesarion")
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
            return  # Deleted while another question was being answered.
        if not is_persons(message.sender):
            return  # Nobody who is connected has asked it.
        if replaced := _replaced(message):
            questions.delete_turn(self.chat, replaced)
        self._question_id = message.id
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

    async def _tell_of_cut_off_turns(self) -> None:
        runs, chat_id = self._services.runs, self.chat.get_id()
        await runs.load()
        recovery.tell_cut_off(self.chat, self.id, runs.cut_off_questions(chat_id))

    async def shutdown(self) -> None:
        """Stop the turn under way; the chat is being closed."""
        self._closed = _CLOSED
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
        Delete a replaced question; answer a message that names no persona, if this is the default.

        The chat's input names the persona only once the browser has the list of them. A message
        that was sent before is dropped by jupyter-ai-persona-manager 0.2
        (``PersonaManager.on_chat_message``). When it no longer is, users get two answers.
        """
        if event.action is not ChatMessageAction.CLIENT_MSG_RECEIVED:
            return
        message = event.message
        if not is_persons(message.sender):
            return
        if replaced := _replaced(message):
            self._start(self._delete_turn(replaced))
        if (
            not (message.metadata or {}).get(self.parent.TO_PERSONA_METADATA_KEY)
            and not self._is_command(message)
            and self.parent.default_persona is self
        ):
            self._start(self.on_message(message))

    def _is_command(self, message: Message) -> bool:
        """
        Whether Jupyter AI's router runs the message as a slash command.

        jupyter-ai-router 0.1 has no method that tells: ``slash_cmd_observers`` is what its own
        ``_notify_slash_cmd_observers`` goes through.
        """
        first = next(iter(message.body.split()), "")
        router = self._settings.get("jupyter-ai", {}).get("router")
        patterns = router.slash_cmd_observers.get(self.chat.get_id(), ()) if router else ()
        return first.startswith("/") and any(
            matches_pattern(first[1:], pattern) for pattern in patterns
        )

    async def _delete_turn(self, replaced: str) -> None:
        """Delete a question and its answer; the answer may be under way, or not have begun."""
        if self._question_id == replaced:
            await self.cancel_response()
        questions.delete_turn(self.chat, replaced)

    def _start(self, work: Coroutine[Any, Any, Result]) -> "asyncio.Task[Result]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _shielded(self, start: Coroutine[Any, Any, Kernel]) -> Kernel:
        """Await a kernel's start, which a Stop does not cancel: it would leave a lost process."""
        return await asyncio.shield(self._start(start))

    async def _warm(self) -> None:
        with contextlib.suppress(CaesarionError):  # The first question will show it.
            kernel = await self._shielded(self._conversation_kernel())
            await kernel.connect()
            await self._services.environments.versions(kernel)
        with contextlib.suppress(CaesarionError):
            await self._services.model.warm()

    async def _answer(self, message: Message) -> None:
        shown = transcript.Transcript(self.chat, self.id, message)
        began, current = time.monotonic(), asyncio.current_task()
        assert current is not None
        services = self._services
        recorded = RecordedTurn(services.runs, self.chat, message, current.cancel)

        def stop_with_server() -> None:
            self._closed = _CLOSED
            recorded.stop_with_server()

        services.responses[current] = stop_with_server
        self.set_status("is thinking...")
        try:
            await recorded.begin()
            turn = services.activity.turn(await self._events(message, shown), recorded.is_activity)
            async with contextlib.aclosing(turn) as events:
                async for event in events:
                    shown.write(event)
                    await recorded.event(event)
                    if isinstance(event, ImagesNotTaken):
                        self._services.attachments.refuse(self._new_images)
                    if status := _WAITING if shown.is_waiting else _status_after(event):
                        self.set_status(status)
        except asyncio.CancelledError as error:
            shown.interrupted(f"{self._closed or 'The user stopped this call.'} {error}".strip())
            shown.notice(" ".join(part for part in ("Stopped.", self._closed, str(error)) if part))
            # Providers count the tokens of whole answers only.
            shown.usage(Usage(seconds=round(time.monotonic() - began, 3)))
            await recorded.end_cancelled(str(error))
            raise
        except JournalFull as error:
            shown.interrupted(str(error))
            shown.notice(f"⚠️ {error}")
            await recorded.end_full(error)
        except Exception as error:
            shown.interrupted("An error inside Caesarion cut this call off.")
            known = isinstance(error, CaesarionError)
            await recorded.end_failed(str(error) if known else type(error).__name__)
            raise
        finally:
            services.responses.pop(current, None)
            if services.checkpoints.exists(self.chat.get_id(), message.id):
                shown.can_be_undone()
            shown.close()
            self.clear_status()

    async def _events(
        self, message: Message, shown: transcript.Transcript
    ) -> AsyncGenerator[Event, None]:
        """Return the events of a turn; one that only runs a cell again asks no model."""
        stamp = context.read_stamp(message.metadata)
        where = await self._target_kernel(stamp, message)
        wanted = (message.metadata or {}).get("approval")

        def show_late(run: RunStart, output: dict[str, Any]) -> None:
            if not self._closed:
                shown.late_output(run, output)

        origin = Origin(
            self.chat.get_id(),
            self.chat.get_path(),
            message.id,
            stamp.notebook_page,
            stamp.notebook_path,
        )
        agent = self._services.agent(
            lambda: self._shielded(where.find()), wanted, show_late, origin
        )
        if again := (message.metadata or {}).get("run_again"):
            return agent.repeat(self._call_again(again))
        questions.store_context(self.chat, message, await self._context(stamp, where))
        images = await self._read_attachments(message)
        root = Path(self.parent.root_dir)
        messages = history.read(self.chat, self.id, message, root, images)
        source = Source(self.chat.get_id(), message.id, stamp.traceparent)
        environment = await self._services.environment(await self._running(where))
        system = prompt.system_message(where.prompt_sentence, environment)
        return agent.run([system, *messages], source)

    async def _running(self, where: context.TargetKernel) -> Kernel | None:
        with contextlib.suppress(CaesarionError):
            return await where.running()
        return None

    async def _context(self, stamp: context.Stamp, where: context.TargetKernel) -> str:
        call = stamp.call
        failed = (
            questions.find_failed_call(self.chat, self.id, call.id, call.shown) if call else None
        )
        return await context.describe(stamp, where, failed)

    def _call_again(self, again: Any) -> ToolCall:
        """Return the call that is asked for once more, by its id and what is shown of it."""
        cell = again if isinstance(again, dict) else {}
        id, shown = str(cell.get("id")), str(cell.get("shown"))
        call = questions.find_call(self.chat, self.id, id, shown)
        if call is None:
            raise CaesarionError(
                "That cell is not in this chat any more, or not as it was shown, so nothing was "
                "run. Reload the page."
            )
        return replace(call, id=f"again_{uuid4().hex}")

    async def _read_attachments(self, question: Message) -> dict[Attached, str]:
        """Store the digests of the files attached to ``question``; return the images to show."""
        attachments = self._services.attachments
        if questions.attachments_of(self.chat, question):
            self.set_status("is looking into the attached files...")
            await questions.store_digests(self.chat, question, attachments)
            self.set_status("is thinking...")
        images = await attachments.images(reversed(questions.attached(self.chat, question)))
        # The provider took the others in earlier turns, unless the model has changed.
        new = [url for (message_id, _), url in images.items() if message_id == question.id]
        self._new_images = new or list(images.values())
        return images

    async def _target_kernel(self, stamp: context.Stamp, message: Message) -> context.TargetKernel:
        """Return where the code of this turn runs."""
        kernels, chat_id = self._services.kernels, self.chat.get_id()
        own = context.own_target(
            self._conversation_kernel, lambda: kernels.running_for_conversation(chat_id)
        )
        attached = questions.paths_of(self.chat, message)
        named = context.named_notebooks(message.body, attached)
        return await context.target_kernel(kernels, stamp, named, own)

    async def _conversation_kernel(self) -> Kernel:
        path = self.chat.get_path()
        return await self._services.kernels.for_conversation(
            self.chat.get_id(), path, Path(path).stem
        )


def _replaced(message: Message) -> str:
    """Return the id of the question that ``message`` is asked instead of, if there is one."""
    replaced = (message.metadata or {}).get("replaces")
    return replaced if isinstance(replaced, str) else ""


def _status_after(event: Event) -> str:
    """Return the status line that ``event`` begins; empty if it goes on."""
    match event:
        case ToolCall(name=name):
            return _STATUS.get(name, f"is using {name}...")
        case CallStart():
            return _STATUS["python_interpreter"]
        case ApprovalRequest() | QuestionAsked():
            return _WAITING
        case ApprovalDecision() | QuestionAnswered() | CallEnd():
            return "is thinking..."
        case StatusChange(text):
            return f"{text}..."
        case _:
            return ""
