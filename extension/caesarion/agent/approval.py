"""
Who decides whether a call runs: the modes, and the calls that wait for a person.

:mod:`caesarion.agent.loop` opens a call and waits; :mod:`caesarion.api.approvals`
brings the answer. Knows neither chat nor Jupyter; no I/O.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

from caesarion.config import MODES, CaesarionAgent, Mode
from caesarion.errors import CaesarionError
from caesarion.events import ApprovalDecision, Approver, Decision, ToolCall

TOLD_READ_ONLY = (
    "This call was not run: the user's mode is read-only, in which nothing that has effects runs. "
    "Answer without it, or tell the user what you would run and that they can choose another mode."
)


def tell_refused(decided: ApprovalDecision) -> str:
    """Return what the model is told of a refusal."""
    if decided.reason:
        return f"The user refused this call. Their reason: {decided.reason}"
    return "The user refused this call and gave no reason. Ask them how to go on."


def tell_edited(arguments: str, text: str) -> str:
    """Return what the model is told of a call that ran with other code than its own."""
    code = json.loads(arguments)["code"]
    return f"The user edited the code. This is what ran:\n```python\n{code}\n```\n{text}"


def approval_of(mode: Mode, decided: ApprovalDecision | None) -> tuple[str, Approver]:
    """Return what let a call run, or not, and what kind of decision that is, for the audit."""
    if decided is None:
        return mode, "rule"
    done = "edited" if decided.arguments else decided.decision
    return f"{done} by {decided.by}", "program" if decided.program else "person"


class NotWaiting(CaesarionError):  # noqa: N818 - it is an answer that comes too late
    """Nobody waits for this answer."""


def allowed(settings: CaesarionAgent) -> list[Mode]:
    """Return the modes that the server allows, the strictest first."""
    return list(MODES[: MODES.index(settings.max_approval) + 1])


def mode(settings: CaesarionAgent, wanted: object = None) -> Mode:
    """Return the mode ``wanted``, or the default for what is none, but not above the cap."""
    given: Mode = wanted if wanted in MODES else settings.approval
    return min(given, settings.max_approval, key=MODES.index)


class Pending:
    """A call that waits; ``id`` is what the answer names, and no other call ever has."""

    def __init__(self, call: ToolCall, edit: Callable[[str], str]) -> None:
        self.id = uuid4().hex
        self._call = call
        self._edit = edit
        self._answer: asyncio.Future[ApprovalDecision] = asyncio.get_running_loop().create_future()

    @property
    def waits(self) -> bool:
        """Whether there is still somebody to hear an answer."""
        return not self._answer.done()

    async def decided(self) -> ApprovalDecision:
        """Wait for the answer."""
        return await self._answer

    def settle(
        self,
        decision: Decision,
        by: str,
        code: str | None = None,
        reason: str = "",
        *,
        program: bool = False,
    ) -> None:
        """
        Give the answer.

        Raises ToolError if the call cannot be made with ``code``; it waits on.
        """
        arguments = self._call.arguments
        if code is not None and decision == "run":
            arguments = self._edit(code)
        self._answer.set_result(
            ApprovalDecision(
                self._call.id,
                decision,
                by,
                at=datetime.now(UTC).isoformat(timespec="seconds"),
                arguments=None if arguments == self._call.arguments else arguments,
                reason=reason,
                program=program,
            )
        )


class Approvals:
    """The calls of one server that wait for an answer."""

    def __init__(self) -> None:
        self._pending: dict[str, Pending] = {}

    @contextmanager
    def open(self, call: ToolCall, edit: Callable[[str], str]) -> Iterator[Pending]:
        """
        Let a call wait for as long as the block lasts.

        ``edit`` returns the call's arguments with other code in them, or raises ToolError.
        """
        pending = Pending(call, edit)
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
    ) -> None:
        """Answer a call; raises NotWaiting, or ToolError if ``code`` cannot be used."""
        pending = self._pending.get(pending_id)
        if pending is None or not pending.waits:
            raise NotWaiting(
                "This call does not wait any more: it was answered before, or its turn has ended."
            )
        pending.settle(decision, by, code, reason, program=program)
