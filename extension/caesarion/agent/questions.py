"""
Questions of the agent that wait for a person's answer.

:mod:`caesarion.agent.tools.ask_user` asks and waits; :mod:`caesarion.api.answers` brings the
answer. Knows neither chat nor Jupyter; no I/O.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

from caesarion.agent.approval import NotWaiting
from caesarion.events import UserAnswer, UserQuestion


class PendingQuestion:
    """A question that waits; its id is what the answer names, and no other question ever has."""

    def __init__(self, text: str, choices: Sequence[str]) -> None:
        self.question = UserQuestion(uuid4().hex, text, tuple(choices))
        self._answer: asyncio.Future[UserAnswer] = asyncio.get_running_loop().create_future()

    @property
    def waits(self) -> bool:
        """Whether there is still somebody to hear an answer."""
        return not self._answer.done()

    async def answered(self) -> UserAnswer:
        """Wait for the answer."""
        return await self._answer

    def answer(self, text: str, by: str) -> None:
        """Give the answer: one of the choices, or the person's own words."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        is_choice = text in self.question.choices
        self._answer.set_result(UserAnswer(text, is_choice=is_choice, by=by, at=at))


class Questions:
    """The questions of one server that wait for an answer."""

    def __init__(self) -> None:
        self._pending: dict[str, PendingQuestion] = {}

    @contextmanager
    def open(self, text: str, choices: Sequence[str]) -> Iterator[PendingQuestion]:
        """Let a question wait for as long as the block lasts."""
        pending = PendingQuestion(text, choices)
        self._pending[pending.question.id] = pending
        try:
            yield pending
        finally:
            del self._pending[pending.question.id]

    def answer(self, question_id: str, text: str, by: str) -> None:
        """Answer a question; raise NotWaiting if it does not wait any more."""
        pending = self._pending.get(question_id)
        if pending is None or not pending.waits:
            raise NotWaiting(
                "This question does not wait any more: it was answered before, or its turn has "
                "ended."
            )
        pending.answer(text, by)
