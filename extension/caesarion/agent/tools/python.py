"""
The tool ``python_interpreter``: run code in the user's kernel.

Made by :mod:`caesarion.services` for each turn; :mod:`caesarion.kernels` runs the code.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from pydantic import BaseModel, ConfigDict, Field

from caesarion.agent.risk import classify
from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.errors import KernelError, NoScratchRun
from caesarion.events import ResultStatus, RiskClass
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.run import Late, RunEnd


class Code(BaseModel):
    """The arguments of a call."""

    model_config = ConfigDict(extra="forbid", strict=True)

    code: str = Field(min_length=1, description="Python; %magics and !commands work too.")
    scratch: bool = Field(
        False,
        description="Drop the names that it binds; changed objects and files stay changed.",
    )


class PythonInterpreter(Tool[Code]):
    """
    Python in one live kernel, found when the first call needs it.

    ``late`` takes outputs of tasks that go on after their call has ended.
    """

    name = "python_interpreter"
    description = (
        "Run Python in the user's live kernel, whose names persist and are shared with their "
        "notebook. They see code and outputs in the chat; you are told a digest. What a "
        "background task prints later they alone see. There is no input()."
    )
    kind = "run"
    arguments = Code

    def __init__(
        self, find_kernel: Callable[[], Awaitable[Kernel]], late: Late | None = None
    ) -> None:
        self._find_kernel = find_kernel
        self._late = late

    async def classes(self, arguments: Code) -> tuple[RiskClass, ...]:
        """Return what the code can do, as far as its text shows."""
        return classify(arguments.code)

    async def run(self, arguments: Code) -> AsyncGenerator[Step, None]:
        """Yield the outputs; the result of code that fails has its traceback."""
        try:
            kernel = await self._find_kernel()
            run = kernel.run(arguments.code, self._late, scratch=arguments.scratch)
            async with contextlib.aclosing(run) as steps:
                async for step in steps:
                    yield _result(step) if isinstance(step, RunEnd) else step
        except NoScratchRun as error:
            yield ToolResult("refused", str(error))
        except KernelError as error:
            # Any reason for which there is no kernel: shut down, not started in time, unknown, of
            # another language. Chat and audit have one status for all; the text says which.
            yield ToolResult("dead", str(error))


def _result(end: RunEnd) -> ToolResult:
    # The kernel refused here (a cell before it in the queue failed), not the user; the chat and
    # the audit have one status for code that was not run.
    status: ResultStatus = "refused" if end.status == "aborted" else end.status
    text = "\n".join(part for part in (end.digest, end.note) if part)
    return ToolResult(status, text or "The code ran and showed nothing.")
