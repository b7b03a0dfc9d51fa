"""
The interface of a tool: a name, a description, typed arguments, and a run.

The agent knows tools by it alone; a tool knows neither the agent nor the chat. A run is an
async generator of what it shows (nbformat outputs, notices, the start of code), whose last
item is a :class:`ToolResult`, which the model reads.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from caesarion.errors import ToolError
from caesarion.events import ResultStatus, RunStart, StatusChange


@dataclass(frozen=True)
class ToolResult:
    """The end of a run: its status, and the text that the model reads."""

    status: ResultStatus
    text: str


Step = dict[str, Any] | StatusChange | RunStart | ToolResult
Arguments = TypeVar("Arguments", bound=BaseModel)


class Tool(ABC, Generic[Arguments]):
    """A tool; subclasses set the class variables and write :meth:`run`."""

    name: ClassVar[str]
    description: ClassVar[str]
    effects: ClassVar[bool]
    """Whether a call can change anything, and so needs what the mode of the turn asks for."""
    arguments: type[Arguments]

    @abstractmethod
    def run(self, arguments: Arguments) -> AsyncGenerator[Step, None]:
        """
        Run with checked arguments; the last item is a :class:`ToolResult`.

        Raises :class:`~caesarion.errors.ToolError` for an error that the model can correct.
        """

    def definition(self) -> dict[str, Any]:
        """Return the tool as OpenAI's ``tools`` parameter describes one."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self.arguments.model_json_schema(),
            },
        }

    def parse(self, text: str) -> Arguments:
        """Return the arguments in the JSON ``text``; raise ToolError with what is wrong."""
        try:
            values = json.loads(text or "{}")
        except json.JSONDecodeError as error:
            raise ToolError(
                f"The arguments of {self.name} are not valid JSON ({error.msg}: character "
                f"{error.pos} of {len(text)}). Send them again, whole."
            ) from error
        except (ValueError, RecursionError) as error:
            # Numbers of thousands of digits, brackets a thousand deep.
            raise ToolError(
                f"The arguments of {self.name} cannot be read: {error}. Send simpler ones."
            ) from error
        try:
            return self.arguments.model_validate(values)
        except ValidationError as error:
            problems = "; ".join(_problem(problem) for problem in error.errors())
            raise ToolError(
                f"The arguments of {self.name} are not right: {problems}. Call it again with "
                "arguments as its description says."
            ) from error

    def edit(self, arguments: str, code: str) -> str:
        """
        Return the JSON text ``arguments``, which can be parsed, with other code in it.

        Raises ToolError if this tool runs no code, or not such code.
        """
        values = json.loads(arguments or "{}")
        if "code" not in values:
            raise ToolError(f"A call of {self.name} has no code to edit. Run it, or refuse it.")
        if values["code"] == code:
            return arguments
        edited = json.dumps({**values, "code": code})
        self.parse(edited)
        return edited


def _problem(problem: Mapping[str, Any]) -> str:
    """Return one of pydantic's findings, with the value where there is one."""
    where = ".".join(str(part) for part in problem["loc"]) or "arguments"
    match problem["type"]:
        case "missing":
            return f"{where}: {problem['msg']}"
        case "value_error":
            return f"{where}: {problem['ctx']['error']}"
        case _:
            return f"{where}: {problem['msg']}, not {str(problem['input'])[:80]!r}"
