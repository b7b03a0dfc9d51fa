"""
The parts of a user's server that chat and HTTP API share: one container for all of them.

Built once by :mod:`caesarion.extension`, which puts it into the server's settings; used by
:mod:`caesarion.chat.persona` and the handlers of :mod:`caesarion.api`. These are not services in
JupyterHub's sense.
"""

import asyncio
import platform
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from caesarion.activity import Activity
from caesarion.agent.approval import Approvals, mode
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model
from caesarion.agent.prompt import describe_environment
from caesarion.agent.questions import Questions
from caesarion.agent.tools.ask_user import AskUser
from caesarion.agent.tools.notebook import notebook_tools
from caesarion.agent.tools.python import PythonInterpreter
from caesarion.agent.tools.run_cell import RunCell
from caesarion.agent.tools.weather import CurrentWeather
from caesarion.agent.tracing import Traces
from caesarion.agent.undo import TurnUndo
from caesarion.commands import Commands
from caesarion.config import CaesarionAgent, CaesarionWeather
from caesarion.files.attachments import Attachments
from caesarion.files.uploads import Uploads
from caesarion.kernels.environment import Environments
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.registry import KernelRegistry
from caesarion.kernels.run import Late
from caesarion.notebooks.changes import Changes, Origin
from caesarion.notebooks.checkpoints import Checkpoints
from caesarion.notebooks.document import Documents
from caesarion.notebooks.pages import Pages
from caesarion.notebooks.storage import NotebookStorage
from caesarion.notebooks.turn import NotebookTurn
from caesarion.runs.store import Runs


@dataclass(frozen=True)
class Services:
    """
    The parts of one server's agent.

    ``read_chat`` returns the content of the chat at a path as it is now, or None;
    ``chat_problem`` says why the chat with an id is not saved, or "";
    ``responses`` are those under way, in a stream or a chat, each with what cancels it when
    the server is stopped.
    """

    model: Model
    kernels: KernelRegistry
    uploads: Uploads
    attachments: Attachments
    agent_settings: CaesarionAgent
    approvals: Approvals
    questions: Questions
    weather_settings: CaesarionWeather
    notebooks: NotebookStorage
    documents: Documents
    pages: Pages
    changes: Changes
    checkpoints: Checkpoints
    undo: TurnUndo
    traces: Traces
    runs: Runs
    activity: Activity
    commands: Commands
    read_chat: Callable[[Path], dict[str, Any] | None]
    chat_problem: Callable[[str], str]
    responses: dict[asyncio.Task[Any], Callable[[], object]] = field(default_factory=dict)
    environments: Environments = field(default_factory=Environments)

    async def environment(self, kernel: Kernel | None) -> str:
        """Return what the model is told of the day, the platform, and the kernel's packages."""
        versions = await self.environments.versions(kernel) if kernel else {}
        machine = f"{platform.system()} {platform.machine()}"
        return describe_environment(datetime.now().astimezone().date(), machine, versions)

    def agent(
        self,
        find_kernel: Callable[[], Awaitable[Kernel]],
        approval: object = None,
        late: Late | None = None,
        origin: Origin = Origin(),  # noqa: B008 - a frozen value
    ) -> Agent:
        """
        Return an agent for one turn, whose code runs in what ``find_kernel`` gives.

        ``approval`` is the mode that was asked for; the settings clamp it. ``late`` takes outputs
        of tasks that go on after their call, or the turn, has ended. ``origin`` is the chat, in
        which a person may allow classes of calls, and says which notebook is in front.
        """
        notebooks = NotebookTurn(self.documents, self.changes, self.checkpoints, origin)
        weather = CurrentWeather(self.weather_settings)
        return Agent(
            self.agent_settings,
            self.model,
            [
                weather,
                PythonInterpreter(find_kernel, late),
                *notebook_tools(notebooks),
                RunCell(notebooks, self.kernels.for_notebook),
                # A program's message has nobody behind it who could be asked.
                AskUser(self.questions if origin.message_id else None),
            ],
            self.approvals,
            mode(self.agent_settings, approval),
            origin.chat_id,
            self.traces,
        )
