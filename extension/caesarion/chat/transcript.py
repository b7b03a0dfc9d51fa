"""
The chat as a transcript of turns: a turn's events are written into it.

Used by :mod:`caesarion.chat.persona`; what it writes is read back by
:mod:`caesarion.chat.history`. A turn is a run of chat messages under one header:
words are Markdown, a call and each of its outputs are MIME bundles, which the
labextension draws as cells and which can be read without it. What the model
must hear of it again stands in the messages' metadata, with the question that
it answers.
"""

import asyncio
import time
from typing import Any

from jupyterlab_chat.models import BaseChatModel, Message, MimeModel, NewMessage

from caesarion.events import (
    ApprovalDecision,
    ApprovalRequest,
    CallEnd,
    Output,
    RunStart,
    Text,
    ToolCall,
    Usage,
)
from caesarion.kernels.plain_text import describe_error
from caesarion.kernels.terminal import Terminal
from caesarion.message_metadata import (
    CALL_MIME,
    KEY,
    OUTPUT_MIME,
    call_of,
    code_of,
    describe_call,
    label_of,
)
from caesarion.message_metadata import record as _ours
from caesarion.text import clip, without_commands

_NEVER_RAN = "The server stopped while this call waited for the user's decision. It did not run."

# What of a call's record the labextension is told as it is.
_SHOWN = (
    *("id", "name", "status", "approval_id", "decided"),
    *("execution_count", "kernel_id", "place", "started", "seconds"),
)

# Characters of a failed call's result that its cell shows.
_TOLD = 600

# Seconds between two updates of one message. Every update sends and stores the
# message whole, so a long one waits longer: at most 50,000 characters a second.
_EVERY = 0.06
_RATE = 50_000


def mend(chat: BaseChatModel, persona_id: str) -> None:
    """Mark calls of ``chat`` as stopped that were under way when their server ended."""
    for message in chat.get_messages():
        ours = _ours(message)
        if message.sender == persona_id and ours.get("kind") == "call" and "result" not in ours:
            if ours.pop("approval_id", None):
                ours |= {"result": _NEVER_RAN, "told": True}
            ours["status"] = "interrupted"
            message.mime_model = MimeModel(data=call_bundle(ours))
            chat.update_message(message)


class Transcript:
    """Writes one turn, the answer to ``question``, into a chat as it happens."""

    def __init__(self, chat: BaseChatModel, persona_id: str, question: Message) -> None:
        self._chat = chat
        self._persona_id = persona_id
        self._question_id = question.id
        self._text: _Live | None = None
        self._call: tuple[ToolCall, _Live] | None = None
        self._outputs: list[_Live] = []
        # Where the next output goes: below the end, unless outputs were cleared.
        self._next = 0
        self._displays: dict[str, list[_Live]] = {}
        self._last: _Live | None = None

    def text(self, event: Text) -> None:
        """Append to the words of this round; the first piece is shown at once."""
        if self._text is None:
            self._text = self._add({"kind": "text"}, body=event.delta)
        else:
            self._text.body += event.delta
            self._text.touch()

    def call(self, event: ToolCall) -> None:
        """Show what is about to run."""
        self._finish_text()
        live = self._make(
            {
                "kind": "call",
                "id": event.id,
                "name": event.name,
                "arguments": event.arguments,
                "status": "queued",
            }
        )
        live.show(call_bundle(live.record))
        self._call = (event, live)
        self._outputs, self._next = [], 0

    def call_started(self, run: RunStart) -> None:
        """Show that the call under way runs now, and where."""
        if self._call:
            _, live = self._call
            live.record |= {
                "status": "running",
                "execution_count": run.execution_count,
                "kernel_id": run.kernel_id,
                "place": run.place,
                "started": round(time.time(), 3),
            }
            live.show(call_bundle(live.record))

    def approval_requested(self, event: ApprovalRequest) -> None:
        """Show that the call under way waits for a person."""
        if self._call:
            _, live = self._call
            live.record |= {"status": "waiting", "approval_id": event.approval_id}
            live.show(call_bundle(live.record))

    def approval_decided(self, event: ApprovalDecision) -> None:
        """Record what a person decided about the call under way; show the code that will run."""
        if self._call:
            _, live = self._call
            del live.record["approval_id"]
            live.record |= {
                "status": "queued",
                "decided": {
                    "decision": event.decision,
                    "by": event.by,
                    "at": event.at,
                    "edited": event.arguments is not None,
                },
            }
            if event.arguments is not None:
                live.record |= {
                    "written": live.record["arguments"],
                    "arguments": event.arguments,
                }
            live.show(call_bundle(live.record))

    def output(self, event: Output) -> None:
        """Show an output, or change those that an update or a clearing means."""
        output = event.output
        kind = output["output_type"]
        display_id = output.get("transient", {}).get("display_id")
        if kind == "clear_output":
            self._next = 0
            for shown in self._displays.values():
                shown[:] = [live for live in shown if live not in self._outputs]
        elif kind == "update_display_data":
            for live in self._displays.get(display_id, ()):
                live.show({**output["data"], OUTPUT_MIME: live.data[OUTPUT_MIME]})
        elif kind == "stream":
            self._stream(output["name"], output["text"])
        else:
            live = self._place(f"{kind} {self._next}")
            if kind == "error":
                told = describe_error(output)
                self._show_output(live, {"application/vnd.jupyter.stderr": told}, kind)
            else:
                self._show_output(live, output["data"], kind, output.get("execution_count"))
            if display_id:
                self._displays.setdefault(display_id, []).append(live)

    def call_ended(self, event: CallEnd) -> None:
        """Record what the model is told, and take away outputs that were cleared for good."""
        for live in self._outputs[self._next :]:
            self._show_output(live, {"text/plain": ""}, "stream")
        self._close_outputs()
        if self._call is None:
            return
        _, live = self._call
        self._call = None
        live.record |= {"status": event.status, "result": event.text}
        if started := live.record.get("started"):
            live.record["seconds"] = round(time.time() - started, 2)
        if not self._outputs and event.status != "ok":
            # What the model was told is all that there is to see.
            live.record["told"] = True
        live.show(call_bundle(live.record))
        live.flush()

    def interrupted(self, told: str) -> None:
        """Record that the call under way, if any, was stopped; ``told`` is for the model."""
        if self._call:
            call, live = self._call
            if live.record.get("status") == "waiting":
                told = f"{told} It had not run, as it waited for the user's decision."
            self.call_ended(CallEnd(call.id, "interrupted", told))

    def notice(self, sentence: str) -> None:
        """Show a sentence to the user that the model is not told."""
        self._finish_text()
        # Between two amounts of money would otherwise be a formula.
        self._add({"kind": "notice"}, body=sentence.replace("$", "\\$"))

    def usage(self, event: Usage) -> None:
        """Keep what the turn took with its last message; the labextension shows it there."""
        if self._last:
            self._last.record["usage"] = {
                "prompt_tokens": event.prompt_tokens,
                "completion_tokens": event.completion_tokens,
                "seconds": event.seconds,
            }
            self._last.show_now()

    def close(self) -> None:
        """Show all that still waits."""
        self._finish_text()
        self._close_outputs()

    def _finish_text(self) -> None:
        if self._text:
            self._text.flush()
            self._text = None

    def _close_outputs(self) -> None:
        for live in self._outputs:
            live.flush()

    def _stream(self, name: str, text: str) -> None:
        mime = "text/plain" if name == "stdout" else "application/vnd.jupyter.stderr"
        last = self._outputs[self._next - 1] if self._next else None
        if last is None or last.kind != name:
            last = self._place(name)
            last.terminal, last.settled = Terminal(), ""
        last.terminal.write(text)
        last.settled += "".join(last.terminal.settled())
        self._show_output(last, {mime: last.settled + last.terminal.text()}, "stream")

    def _show_output(
        self, live: "_Live", data: dict[str, Any], kind: str, count: int | None = None
    ) -> None:
        mark: dict[str, Any] = {
            "call": self._call[0].id if self._call else "",
            "number": self._outputs.index(live),
            "output_type": kind,
        }
        if count is not None:
            mark["execution_count"] = count
        live.show({**data, OUTPUT_MIME: mark})

    def _place(self, kind: str) -> "_Live":
        """Return the message for the next output: a cleared one, or a new one."""
        if self._next < len(self._outputs):
            live = self._outputs[self._next]
        else:
            live = self._make({"kind": "output"})
            self._outputs.append(live)
        live.kind = kind
        self._next += 1
        return live

    def _add(self, record: dict[str, Any], body: str) -> "_Live":
        live = self._make(record, body)
        live.touch()
        return live

    def _make(self, record: dict[str, Any], body: str = "") -> "_Live":
        record["question"] = self._question_id
        self._last = _Live(self._chat, self._persona_id, record, body)
        return self._last


class _Live:
    """A chat message that changes often: shown at once, then once per pause."""

    def __init__(
        self, chat: BaseChatModel, persona_id: str, record: dict[str, Any], body: str = ""
    ) -> None:
        self.kind = ""
        self.body = body
        self.terminal = Terminal()
        # The text of a stream that the terminal no longer changes.
        self.settled = ""
        self.record = record
        self._chat = chat
        self._persona_id = persona_id
        self.data: dict[str, Any] = {}
        self._message: Message | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._shown_at = 0.0
        self._size = 0

    def show(self, data: dict[str, Any]) -> None:
        """Let the message be the MIME bundle ``data``."""
        self.data = data
        self.touch()

    def touch(self) -> None:
        """Show the message as it is now, at once or when its pause is over."""
        if self._timer:
            return
        loop = asyncio.get_running_loop()
        due = self._shown_at + max(_EVERY, self._size / _RATE)
        if loop.time() >= due:
            self.show_now()
        else:
            self._timer = loop.call_at(due, self.show_now)

    def flush(self) -> None:
        """Show what waits."""
        if self._timer:
            self.show_now()

    def show_now(self) -> None:
        """Show the message as it is, without a pause."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
        body = without_commands(self.body)
        mime = MimeModel(data=_harmless(self.data)) if self.data else None
        if self._message is None:
            new = NewMessage(body=body, sender=self._persona_id, mime_model=mime)
            self._chat.add_message(new, trigger_actions=[self._stamp])
        else:
            # All but content and metadata stays, above all the time it is sorted by.
            self._message.body, self._message.mime_model = body, mime
            self._chat.update_message(self._message)
        self._shown_at = asyncio.get_running_loop().time()
        self._size = len(self.body) + sum(len(str(value)) for value in self.data.values())

    def _stamp(self, message: Message, _: BaseChatModel) -> None:
        message.metadata = {KEY: self.record}
        self._message = message


def _harmless(data: dict[str, Any]) -> dict[str, Any]:
    return {
        mime: without_commands(value) if mime in ("text/html", "text/markdown") else value
        for mime, value in data.items()
    }


def call_bundle(record: dict[str, Any]) -> dict[str, Any]:
    """
    Return a call's record as the chat shows it: as JSON for the labextension, and as Markdown.

    The JSON has ``id``, ``name`` and ``status``, which is queued, running or a result's;
    ``code``, or of another tool than Python its ``label``; once it ran ``execution_count``,
    ``kernel_id``, ``place`` (a notebook's path, or empty), ``started`` (seconds since the epoch)
    and ``seconds``; ``told``, what the model was told, where there is nothing else to see;
    ``approval_id`` while it waits for a person, and what they ``decided``.
    """
    call = call_of(record)
    code = code_of(call)
    shown: dict[str, Any] = {"label": label_of(call)} if code is None else {"code": code}
    shown |= {key: record[key] for key in _SHOWN if key in record}
    if record.get("told"):
        shown["told"] = clip(record["result"], _TOLD)
    return {CALL_MIME: shown, "text/markdown": describe_call(call)}
