"""
Who decides whether a call runs: the modes, and the calls that wait for a person.

:mod:`caesarion.agent.loop` opens a call and waits; :mod:`caesarion.api.approvals`
brings the answer. Knows neither chat nor Jupyter; no I/O.
"""

import asyncio
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from caesarion.config import MODES, CaesarionAgent, Mode
from caesarion.errors import CaesarionError, ToolError
from caesarion.events import ApprovalDecision, Approver, CallKind, Decision, RiskClass, ToolCall

# The kinds of calls that wait for a person in each mode that lets calls have effects.
_ASKS: Mapping[Mode, tuple[CallKind, ...]] = {
    "ask": ("edit", "run"),
    "accept-edits": ("run",),
    "auto": (),
}

_TOLD = {
    "read-only": "Answer without it, or tell the user what you would run and that they can choose "
    "another mode.",
    "plan": "Make it a step of your plan: the user decides whether you go ahead with it.",
}


def offers(mode: Mode, kind: CallKind) -> bool:
    """Return whether calls of a kind can be made in a mode at all."""
    return kind == "read" or mode in _ASKS


def asks(mode: Mode, kind: CallKind) -> bool:
    """Return whether calls of a kind wait for a person in a mode."""
    return kind in _ASKS.get(mode, ())


def tell_not_offered(mode: Mode) -> str:
    """Return what the model is told of a call that its user's mode does not let it make."""
    return (
        f"This call was not run: the user's mode is {mode}, in which nothing that has effects "
        f"runs. {_TOLD[mode]}"
    )


def tell_refused(decided: ApprovalDecision) -> str:
    """Return what the model is told of a refusal."""
    if decided.reason:
        return f"The user refused this call. Their reason: {decided.reason}"
    return "The user refused this call and gave no reason. Ask them how to go on."


def tell_edited(arguments: str, name: str, text: str) -> str:
    """Return what the model is told of a call that ran with another argument ``name``."""
    edited = json.loads(arguments)[name]
    if name == "code":
        return f"The user edited the code. This is what ran:\n```python\n{edited}\n```\n{text}"
    return f"The user edited the {name}. This is what was used:\n```\n{edited}\n```\n{text}"


def approval_of(mode: Mode, decided: ApprovalDecision | None) -> tuple[str, Approver]:
    """Return what let a call run, or not, and what kind of decision that is, for the audit."""
    if decided is None:
        return mode, "rule"
    classes = ", ".join(decided.classes)
    if decided.rule:
        return f"allowed {classes} by {decided.by}", "rule"
    done = "edited" if decided.arguments else decided.decision
    also = f" and allowed {classes}" if classes else ""
    return f"{done}{also} by {decided.by}", "program" if decided.program else "person"


class NotWaiting(CaesarionError):  # noqa: N818 - it is an answer that comes too late
    """Nobody waits for this answer."""


class NotShown(CaesarionError):  # noqa: N818 - it is an answer to something else
    """What this answer is about is not what waits."""


def allowed(settings: CaesarionAgent) -> list[Mode]:
    """Return the modes that the server allows, the strictest first."""
    return list(MODES[: MODES.index(settings.max_approval) + 1])


def mode(settings: CaesarionAgent, wanted: object = None) -> Mode:
    """Return the mode ``wanted``, or the default for what is none, but not above the cap."""
    given: Mode = wanted if wanted in MODES else settings.approval
    return min(given, settings.max_approval, key=MODES.index)


class Pending:
    """
    A call that waits; ``id`` is what the answer names, and no other call ever has.

    ``shown`` is the hash of what is shown of it: :func:`caesarion.agent.shown.hash_of_shown`.
    """

    def __init__(
        self,
        call: ToolCall,
        edit: Callable[[str], str],
        classes: tuple[RiskClass, ...],
        conversation: str,
        shown: str,
    ) -> None:
        self.id = uuid4().hex
        self.call = call
        self.classes = classes
        self.conversation = conversation
        self.shown = shown
        self._edit = edit
        self._answer = self._new_answer()

    @staticmethod
    def _new_answer() -> "asyncio.Future[ApprovalDecision | None]":
        return asyncio.get_running_loop().create_future()

    @property
    def waits(self) -> bool:
        """Whether there is still somebody to hear an answer."""
        return not self._answer.done()

    async def decided(self) -> ApprovalDecision | None:
        """Wait for the answer; None if the call waits on and has to be shown again."""
        return await self._answer

    def show_again(self) -> None:
        """Let the call be shown again, as somebody was shown something else."""
        asked, self._answer = self._answer, self._new_answer()
        asked.set_result(None)

    def arguments_with(self, code: str | None) -> str | None:
        """
        Return the call's arguments with ``code`` instead of its own; None if nothing differs.

        Raises ToolError if the call cannot be made with ``code``.
        """
        arguments = self.call.arguments if code is None else self._edit(code)
        return None if arguments == self.call.arguments else arguments

    def settle(self, decided: ApprovalDecision) -> None:
        """Give the answer."""
        self._answer.set_result(decided)


@dataclass(frozen=True)
class Allowance:
    """
    A class of calls that does not wait any more in one chat: by whom, and since when.

    ``at`` is UTC, ISO 8601; ``program`` says that a token allowed it.
    """

    risk_class: RiskClass
    by: str
    at: str
    program: bool = False


class Approvals:
    """
    The calls of one server that wait for an answer, and the classes that need not wait.

    Classes are allowed by conversation, in memory alone: a server that starts asks again.
    """

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}
        self._allowed: dict[str, dict[RiskClass, Allowance]] = {}

    @contextmanager
    def open(
        self,
        call: ToolCall,
        edit: Callable[[str], str],
        classes: tuple[RiskClass, ...] = (),
        conversation: str = "",
        shown: str = "",
    ) -> Iterator[Pending]:
        """
        Let a call wait for as long as the block lasts.

        ``edit`` returns the call's arguments with other code in them, or raises ToolError.
        ``classes`` may be allowed in ``conversation`` by the answer; in none without a name.
        ``shown`` is the hash of what is shown of it.
        """
        pending = Pending(call, edit, classes, conversation, shown)
        self._pending[pending.id] = pending
        try:
            yield pending
        finally:
            self._pending.pop(pending.id, None)

    def settle(
        self,
        pending_id: str,
        decision: Decision,
        by: str,
        code: str | None = None,
        reason: str = "",
        *,
        program: bool = False,
        classes: Collection[RiskClass] = (),
        shown: str | None = None,
    ) -> None:
        """
        Answer a call, and allow ``classes`` of it in its conversation from now on.

        ``shown`` is the hash of what the answer is about; None is any. Raises NotWaiting; NotShown
        if another call was shown, ToolError if ``code`` or ``classes`` cannot be used: it waits on.
        """
        pending = self._pending.get(pending_id)
        if pending is None or not pending.waits:
            raise NotWaiting(
                "This call does not wait any more: it was answered before, or its turn has ended."
            )
        if shown not in (None, pending.shown):
            pending.show_again()
            raise NotShown(
                "What was shown is not what waits, so nothing was decided. Look at the call as it "
                'is now; a program sends the SHA-256 of what it shows as "shown".'
            )
        _check_classes(pending, decision, classes)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        decided = ApprovalDecision(
            pending.call.id,
            decision,
            by,
            at=now,
            arguments=pending.arguments_with(code) if decision == "run" else None,
            reason=reason,
            program=program,
            classes=tuple(one for one in pending.classes if one in classes),
        )
        pending.settle(decided)
        if classes:
            self._allow(pending.conversation, [Allowance(one, by, now, program) for one in classes])

    def decide_by_rule(
        self, call: ToolCall, classes: tuple[RiskClass, ...], conversation: str
    ) -> ApprovalDecision | None:
        """
        Return the decision about a call whose classes are all allowed in ``conversation``.

        None if one of them is not, or if it has none: then a person decides.
        """
        allowed = self._allowed.get(conversation, {})
        if not classes or not set(classes) <= allowed.keys():
            return None
        latest = max((allowed[one] for one in classes), key=lambda one: one.at)
        by = ", ".join(dict.fromkeys(allowed[one].by for one in classes))
        return ApprovalDecision(
            call.id,
            "run",
            by,
            at=latest.at,
            program=any(allowed[one].program for one in classes),
            classes=classes,
            rule=True,
        )

    def allowed_in(self, conversation: str) -> list[Allowance]:
        """Return the classes that need not wait in ``conversation``, the first allowed first."""
        return list(self._allowed.get(conversation, {}).values())

    def revoke(self, conversation: str, risk_class: str) -> bool:
        """Let calls of a class wait again; return whether they did not."""
        allowed = self._allowed.get(conversation, {})
        for one in list(allowed):
            if one == risk_class:
                del allowed[one]
                return True
        return False

    def forget(self, conversation: str) -> None:
        """Let calls of all classes wait again: the conversation was deleted."""
        self._allowed.pop(conversation, None)

    def _allow(self, conversation: str, allowances: Iterable[Allowance]) -> None:
        """Allow classes, also of the calls that wait already."""
        allowed = self._allowed.setdefault(conversation, {})
        for allowance in allowances:
            allowed.setdefault(allowance.risk_class, allowance)
        for other in list(self._pending.values()):
            if other.conversation == conversation and other.waits:
                decided = self.decide_by_rule(other.call, other.classes, conversation)
                if decided:
                    other.settle(decided)


def _check_classes(pending: Pending, decision: Decision, classes: Collection[RiskClass]) -> None:
    """Raise ToolError unless ``classes`` can be allowed with this decision."""
    if not classes:
        return
    if decision == "refuse":
        raise ToolError("A refusal allows no class of calls. Run the call, or leave the class out.")
    if not pending.conversation:
        raise ToolError(
            "This call belongs to no chat in which a class could be allowed. Run it without one."
        )
    if other := [one for one in classes if one not in pending.classes]:
        raise ToolError(
            f"This call is not of the class {other[0]!r}. Its classes: "
            f"{', '.join(pending.classes) or 'none'}."
        )
