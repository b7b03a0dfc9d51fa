"""What both doors share, built once by :mod:`caesarion.extension`."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from caesarion.agent import Agent
from caesarion.approval import Approvals, mode
from caesarion.attachments import Attachments
from caesarion.config import CaesarionAgent, CaesarionWeather
from caesarion.kernel import Kernel
from caesarion.kernels import Kernels
from caesarion.model import Model
from caesarion.tools.python import PythonInterpreter
from caesarion.tools.weather import CurrentWeather
from caesarion.uploads import Uploads


@dataclass(frozen=True)
class Shared:
    """The parts of one server's agent."""

    model: Model
    kernels: Kernels
    uploads: Uploads
    attachments: Attachments
    agent_settings: CaesarionAgent
    approvals: Approvals
    weather_settings: CaesarionWeather

    def agent(self, find_kernel: Callable[[], Awaitable[Kernel]], approval: object = None) -> Agent:
        """
        Return an agent for one turn, whose code runs in what ``find_kernel`` gives.

        ``approval`` is the mode that was asked for; the settings clamp it.
        """
        weather = CurrentWeather(self.weather_settings)
        return Agent(
            self.agent_settings,
            self.model,
            [weather, PythonInterpreter(find_kernel)],
            self.approvals,
            mode(self.agent_settings, approval),
        )
