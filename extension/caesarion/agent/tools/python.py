"""
The tool ``python_interpreter``: run code in the user's kernel.

Made by :mod:`caesarion.services` for each turn; :mod:`caesarion.kernels` runs the code.
"""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from pydantic import BaseModel, ConfigDict, Field

from caesarion.agent.tools.tool import Step, Tool, ToolResult
from caesarion.errors import KernelError
from caesarion.events import ResultStatus
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.run import Late, RunEnd


class Code(BaseModel):
    """The arguments of a call."""

    model_config = ConfigDict(extra="forbid", strict=True)

    code: str = Field(
        min_length=1, description="Python source; IPython's %magics and !commands work too."
    )


class PythonInterpreter(Tool[Code]):
    """
    Python in one live kernel, found when the first call needs it.

    ``late`` takes outputs of tasks that go on after their call has ended.
    """

    name = "python_interpreter"
    description = (
        "Run Python in the user's live Jupyter kernel. Variables, imports and files persist from "
        "call to call and are shared with the user's notebook. The user sees the code and its "
        "outputs (text, tables, plots) as they appear; you are told a digest. Print what you "
        "need to know; what a background task prints after its call is shown to the user alone. "
        "input() is not available."
    )
    effects = True
    arguments = Code

    def __init__(
        self, find_kernel: Callable[[], Awaitable[Kernel]], late: Late | None = None
    ) -> None:
        self._find_kernel = find_kernel
        self._late = late

    async def run(self, arguments: Code) -> AsyncGenerator[Step, None]:
        """Yield the outputs; the result of code that fails has its traceback."""
        try:
            kernel = await self._find_kernel()
            async with contextlib.aclosing(kernel.run(arguments.code, self._late)) as steps:
                async for step in steps:
                    yield _result(step) if isinstance(step, RunEnd) else step
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
