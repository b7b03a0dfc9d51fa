"""
Recovery: turns in a chat's file that the server did not live to end.

Called by :mod:`caesarion.chat.persona` when a chat is opened; changes what
:mod:`caesarion.chat.transcript` has written.
"""

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any

from jupyterlab_chat.models import BaseChatModel, Message, MimeModel, NewMessage

from caesarion.chat.bundles import call_bundle, reasoning_bundle, reasoning_of
from caesarion.message_metadata import KEY, record

_NEVER_RAN = "The server stopped while this call waited for the user's decision. It did not run."
_CUT_OFF = "⚠️ The server stopped before this answer was complete. "
_NEVER_ANSWERED = "The server stopped while this question waited for the user's answer."


def end_interrupted(chat: BaseChatModel, persona_id: str) -> None:
    """Mark calls and reasoning of ``chat`` as ended that were under way when the server died."""
    for message in chat.get_messages():
        ours = record(message)
        if message.sender != persona_id:
            continue
        if ours.get("kind") == "call" and "result" not in ours:
            if ours.pop("approval_id", None):
                ours |= {"result": _NEVER_RAN, "told": True}
            if ours.pop("asked", None):
                ours |= {"result": _NEVER_ANSWERED, "told": True}
            ours["status"] = "interrupted"
            message.mime_model = MimeModel(data=call_bundle(ours))
            chat.update_message(message)
        elif ours.get("kind") == "reasoning" and "seconds" not in ours:
            ours["seconds"] = None
            message.mime_model = MimeModel(data=reasoning_bundle(ours, reasoning_of(message)))
            chat.update_message(message)


def tell_cut_off(chat: BaseChatModel, persona_id: str, questions: Iterable[str]) -> None:
    """
    Say of each of ``questions`` that the server died in its answer, and what had been done.

    Each is told once, also after further restarts.
    """
    for question in questions:
        asked = chat.get_message(question)
        answer = [
            record(message)
            for message in chat.get_messages()
            if message.sender == persona_id and record(message).get("question") == question
        ]
        if asked is None or asked.deleted or any(ours.get("cut_off") for ours in answer):
            continue
        ours = {"kind": "notice", "question": question, "cut_off": True}
        body = f"{_CUT_OFF}{_what_was_done(answer)}"
        new = NewMessage(body=body, sender=persona_id)
        chat.add_message(new, trigger_actions=[functools.partial(_stamp, ours)])


def _stamp(ours: dict[str, Any], message: Message, _: BaseChatModel) -> None:
    message.metadata = {KEY: ours}


def _what_was_done(answer: list[dict[str, Any]]) -> str:
    calls = [ours for ours in answer if ours.get("kind") == "call"]
    cut_off = [ours for ours in calls if ours.get("status") == "interrupted"]
    waiting = [ours for ours in cut_off if ours.get("result") in (_NEVER_RAN, _NEVER_ANSWERED)]
    counts = {
        "ended": len(calls) - len(cut_off),
        "cut off": len(cut_off) - len(waiting),
        "waiting for you, and did not run": len(waiting),
    }
    told = [f"{count} {what}" for what, count in counts.items() if count]
    if not told:
        return "It had made no call: ask again."
    return f"Its calls: {', '.join(told)}. What they did is done: ask again to go on."


def mark_undoable(
    chat: BaseChatModel,
    persona_id: str,
    turns: Collection[str],
    can_be_undone: Callable[[str], bool],
) -> None:
    """
    Note with the last message of those of ``turns`` that can be undone that they can.

    A turn that its server did not live to end has not noted it itself.
    """
    last: dict[str, Message] = {}
    for message in sorted(chat.get_messages(), key=lambda message: message.time):
        question = str(record(message).get("question"))
        if message.sender == persona_id and not message.deleted and question in turns:
            last[question] = message
    for question, message in last.items():
        ours = record(message)
        if not ours.get("undo") and can_be_undone(question):
            ours["undo"] = True
            chat.update_message(message)
