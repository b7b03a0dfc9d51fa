"""
The tool ``ask_user``: ask the person a question, and wait for the answer.

Made by :mod:`caesarion.services` for each turn; :mod:`caesarion.agent.questions` brings the
answer, which a person gives in the chat.
"""

from collections.abc import AsyncGenerator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from caesarion.agent.questions import Questions
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.events import UserAnswer

_NOBODY = (
    "Nobody can be asked here: a program has sent the message. Go on with what you know and say "
    "what you assumed, or end your answer with the question."
)


class Question(BaseModel):
    """The arguments of a call."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: str = Field(min_length=1, max_length=2_000)
    choices: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(
        default_factory=list,
        max_length=9,
        description="Short answers, shown as buttons; they may also write another.",
    )

    @field_validator("choices")
    @classmethod
    def _differ(cls, choices: list[str]) -> list[str]:
        if len(set(choices)) < len(choices):
            raise ValueError("the choices are not all different")
        return choices


class AskUser(Tool[Question]):
    """A question in the chat; ``questions`` is None where there is nobody to answer."""

    name = "ask_user"
    description = "Ask the user one question and wait for the answer."
    kind = "read"
    arguments = Question

    def __init__(self, questions: Questions | None) -> None:
        self._questions = questions

    async def run(self, arguments: Question) -> AsyncGenerator[Step, None]:
        """Yield the question, then the person's answer, and what the model is told of it."""
        if self._questions is None:
            yield ToolResult("refused", _NOBODY)
            return
        with self._questions.open(arguments.question, arguments.choices) as pending:
            yield pending.question
            answer = await pending.answered()
        yield answer
        yield ToolResult("ok", _tell(answer))


def _tell(answer: UserAnswer) -> str:
    if answer.is_choice:
        return f"The user chose: {answer.text}"
    return f"The user answered in their own words: {answer.text}"
