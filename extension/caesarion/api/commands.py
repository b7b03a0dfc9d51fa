"""
The HTTP API of commands: start one, listen to it, write to it, signal it.

Called by programs, through the api service; :mod:`caesarion.commands` runs them.
"""

import asyncio
import base64
import contextlib
import json
import signal
from typing import Annotated, Literal

from jupyter_server.auth.decorator import authorized
from pydantic import ConfigDict, FailFast, Field, StringConstraints
from tornado import web

from caesarion.api.streaming import StreamHandler
from caesarion.bodies import Bounded, few
from caesarion.commands import Command, CommandError, Step, Written

MAX_WORDS = 10_000
"""Arguments of a command; a made-up number."""

MAX_VARIABLES = 256
"""Variables of a command; a made-up number, that of a sandbox."""

Word = Annotated[str, StringConstraints(max_length=1_048_576, pattern="^[^\\x00]*$")]
Variable = Annotated[str, StringConstraints(max_length=32_768, pattern="^[^\\x00=]+$")]


class NewCommand(Bounded):
    """The body of ``POST caesarion/api/commands``; ``timeout`` is in seconds, null for none."""

    model_config = ConfigDict(extra="forbid")

    cmd: Word = Field(min_length=1)
    args: Annotated[list[Word], FailFast()] = Field([], max_length=MAX_WORDS)
    envs: Annotated[dict[Variable, Word], few(MAX_VARIABLES)] = Field({})
    cwd: Word = ""
    tag: str | None = Field(None, max_length=256)
    stdin: bool = False
    timeout: float | None = Field(None, gt=0, allow_inf_nan=False)


class Input(Bounded):
    """The body of ``POST caesarion/api/commands/PID``: a signal, or input in base64."""

    model_config = ConfigDict(extra="forbid")

    signal: Literal["SIGKILL", "SIGTERM", "SIGINT"] | None = None
    stdin: str | None = Field(None, max_length=1_048_576)
    close_stdin: bool = False


class _Listening(StreamHandler):
    def last_words(self, sentence: str, *, stopped: bool) -> str:
        """Return the line that ends the stream of a command that goes on, or has ended."""
        return json.dumps({"error": sentence}) + "\n"

    async def listen(self, command: Command, queue: "asyncio.Queue[Step]") -> None:
        """Stream a command: its id, what it writes, its end."""
        async with contextlib.aclosing(command.steps(queue)) as steps:
            self.begin_stream("application/x-ndjson")
            await self.send(json.dumps({"pid": command.pid}) + "\n")
            async with self.heartbeat(lambda: json.dumps({"alive": True}) + "\n"):
                async for step in steps:
                    await self.send(_line(step))
        await self.finish()


class CommandsHandler(_Listening):
    """``GET`` and ``POST caesarion/api/commands``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """List the commands that run."""
        self.finish(json.dumps([_described(one) for one in self.services.commands.all()]))

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Start a command and stream it; it goes on when its client leaves."""
        asked = self.body(NewCommand)
        try:
            command, queue = await self.services.commands.start(
                asked.cmd,
                asked.args,
                asked.envs,
                asked.cwd,
                tag=asked.tag,
                stdin=asked.stdin,
                limit=asked.timeout,
            )
        except CommandError as error:
            self.refuse(error.status, str(error))
            return
        await self.stream(self.listen(command, queue))


class CommandHandler(_Listening):
    """``GET`` and ``POST caesarion/api/commands/PID``."""

    @web.authenticated
    @authorized
    async def get(self, pid: str) -> None:
        """Stream what a command writes from now on."""
        try:
            command = self.services.commands.get(int(pid))
        except CommandError as error:
            self.refuse(error.status, str(error))
            return
        await self.stream(self.listen(command, command.listen()))

    @web.authenticated
    @authorized
    async def post(self, pid: str) -> None:
        """Signal a command, or write to it; answer 204."""
        asked = self.body(Input)
        try:
            command = self.services.commands.get(int(pid))
            if asked.signal:
                command.signal(signal.Signals[asked.signal])
            if asked.stdin is not None:
                await command.write(base64.b64decode(asked.stdin, validate=True))
            if asked.close_stdin:
                command.close_input()
        except CommandError as error:
            self.refuse(error.status, str(error))
        except ValueError:
            self.refuse(400, "stdin is not base64.")
        else:
            self.set_status(204)
            self.finish()


def _described(command: Command) -> dict[str, object]:
    return {
        "pid": command.pid,
        "cmd": command.cmd,
        "args": command.args,
        "envs": command.envs,
        "cwd": command.cwd,
        "tag": command.tag,
    }


def _line(step: Step) -> str:
    if isinstance(step, Written):
        data = {step.stream: base64.b64encode(step.data).decode()}
    else:
        data = {"exit_code": step.exit_code, "timed_out": step.timed_out}  # type: ignore[dict-item]
    return json.dumps(data) + "\n"
