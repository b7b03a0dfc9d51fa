"""
The parts of a user's server that chat and HTTP API share: one container for all of them.

Built once by :mod:`caesarion.extension`, which puts it into the server's settings; used by
:mod:`caesarion.chat.persona` and the handlers of :mod:`caesarion.api`. These are not services in
JupyterHub's sense.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caesarion.activity import Activity
from caesarion.agent.approval import Approvals, mode
from caesarion.agent.loop import Agent
from caesarion.agent.model import Model
from caesarion.agent.tools.python import PythonInterpreter
from caesarion.agent.tools.weather import CurrentWeather
from caesarion.config import CaesarionAgent, CaesarionWeather
from caesarion.files.attachments import Attachments
from caesarion.files.uploads import Uploads
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.registry import KernelRegistry
from caesarion.kernels.run import Late
from caesarion.notebooks.storage import NotebookStorage


@dataclass(frozen=True)
class Services:
    """
    The parts of one server's agent.

    ``read_chat`` returns the content of the chat at a path as it is now, or None;
    ``responses`` are those under way, in a stream or a chat, each with what cancels it when
    the server is stopped.
    """

    model: Model
    kernels: KernelRegistry
    uploads: Uploads
    attachments: Attachments
    agent_settings: CaesarionAgent
    approvals: Approvals
    weather_settings: CaesarionWeather
    notebooks: NotebookStorage
    activity: Activity
    read_chat: Callable[[Path], dict[str, Any] | None]
    responses: dict[asyncio.Task[Any], Callable[[], object]] = field(default_factory=dict)

    def agent(
        self,
        find_kernel: Callable[[], Awaitable[Kernel]],
        approval: object = None,
        late: Late | None = None,
    ) -> Agent:
        """
        Return an agent for one turn, whose code runs in what ``find_kernel`` gives.

        ``approval`` is the mode that was asked for; the settings clamp it. ``late`` takes outputs
        of tasks that go on after their call, or the turn, has ended.
        """
        weather = CurrentWeather(self.weather_settings)
        return Agent(
            self.agent_settings,
            self.model,
            [weather, PythonInterpreter(find_kernel, late)],
            self.approvals,
            mode(self.agent_settings, approval),
        )
