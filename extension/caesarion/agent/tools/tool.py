"""
The interface of a tool: a name, a description, typed arguments, and a run.

The agent knows tools by it alone; a tool knows neither the agent nor the chat. A run is an
async generator of what it shows (nbformat outputs, notices, the start of code), whose last
item is a :class:`ToolResult`, which the model reads.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from caesarion.errors import ToolError
from caesarion.events import (
    CallKind,
    ResultStatus,
    RiskClass,
    RunStart,
    StatusChange,
    UserAnswer,
    UserQuestion,
)


@dataclass(frozen=True)
class ToolResult:
    """The end of a run: its status, and the text that the model reads."""

    status: ResultStatus
    text: str


Step = dict[str, Any] | StatusChange | RunStart | UserQuestion | UserAnswer | ToolResult
# Code that nobody has looked into may do anything.
_CLASSES: Mapping[CallKind, RiskClass] = {
    "read": "reads",
    "edit": "edits the notebook",
    "run": "processes",
}
MAX_ARGUMENTS = 100
"""Arguments of one call, known or not; a made-up number."""

Arguments = TypeVar("Arguments", bound=BaseModel)


class Tool(ABC, Generic[Arguments]):
    """A tool; subclasses set the class variables and write :meth:`run`."""

    name: ClassVar[str]
    description: ClassVar[str]
    kind: ClassVar[CallKind]
    """
    What a call does: ``read`` changes nothing, ``edit`` changes a notebook, ``run`` runs code.

    The mode of the turn says for each kind whether it is offered, and whether it waits for a
    person: :mod:`caesarion.agent.approval`.
    """
    batches: ClassVar[bool] = False
    """Whether consecutive calls of one answer wait for their decisions together."""
    edited: ClassVar[str] = "code"
    """The argument that a person may edit before the call runs."""
    arguments: type[Arguments]

    @abstractmethod
    def run(self, arguments: Arguments) -> AsyncGenerator[Step, None]:
        """
        Run with checked arguments; the last item is a :class:`ToolResult`.

        Raises :class:`~caesarion.errors.ToolError` for an error that the model can correct.
        """

    async def classes(self, arguments: Arguments) -> tuple[RiskClass, ...]:
        """Return what a call can do, for the person who decides whether it is made."""
        return (_CLASSES[self.kind],)

    def begin_answer(self) -> None:
        """Note that the calls that follow are of another answer of the model."""

    async def preview(self, arguments: Arguments) -> Mapping[str, Any] | None:
        """
        Return the change of a notebook that a call would make, for the chat; None for no such.

        Raises ToolError if the call cannot be done, so that nobody is asked about it.
        """
        return None

    def waiting(self, arguments: Arguments, approval_id: str) -> AbstractContextManager[None]:
        """Show what a call would do, outside the chat, for as long as it waits for a decision."""
        return nullcontext()

    def revise(self, arguments: Arguments, text: str) -> Arguments:
        """Return arguments that a person has edited, as JSON ``text``, in place of the model's."""
        return self.parse(text)

    def definition(self) -> dict[str, Any]:
        """Return the tool as OpenAI's ``tools`` parameter describes one."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": _without_noise(self.arguments.model_json_schema()),
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
        if isinstance(values, dict) and len(values) > MAX_ARGUMENTS:
            # pydantic would collect an error for each.
            raise ToolError(
                f"{self.name} was called with {len(values):,} arguments. Call it again with "
                "arguments as its description says."
            )
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
        if self.edited not in values:
            raise ToolError(f"A call of {self.name} has no code to edit. Run it, or refuse it.")
        if values[self.edited] == code:
            return arguments
        edited = json.dumps({**values, self.edited: code})
        self.parse(edited)
        return edited


_NOISE = (
    *("title", "additionalProperties", "default", "minimum", "maximum"),
    *("minLength", "maxLength", "minItems", "maxItems"),
)


def _without_noise(schema: Any) -> Any:
    """
    Return a JSON schema of pydantic's without what tells the model nothing, but costs tokens.

    That is titles, the docstrings of the arguments, null and the default for what may be left
    out, and bounds: a call that breaks one is told so.
    """
    if isinstance(schema, list):
        return [_without_noise(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    is_null_default = schema.get("default", "") is None
    lean = {key: value for key, value in schema.items() if key not in _NOISE}
    if "properties" in lean:
        lean.pop("description", None)
        lean["properties"] = {
            name: _without_noise(one) for name, one in lean.pop("properties").items()
        }
        return lean
    if is_null_default:
        kinds = [one for one in lean.get("anyOf", ()) if one != {"type": "null"}]
        if len(kinds) == 1:
            lean |= kinds[0]
            del lean["anyOf"]
        elif kinds:
            lean["anyOf"] = kinds
    return {key: _without_noise(value) for key, value in lean.items()}


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
