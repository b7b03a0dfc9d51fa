"""A kernel whose replies arrive before its outputs do, as on a machine with too much to do."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from caesarion.config import CaesarionKernel
from caesarion.kernels.kernel import Kernel
from caesarion.kernels.run import RunEnd


class Channel:
    """One way from the kernel."""

    def __init__(self, send: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.socket = SimpleNamespace(get=lambda _: 0)
        self.send = send
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def get_msg(self) -> dict[str, Any]:
        return await self._messages.get()

    def put(self, kind: str, parent: tuple[str, str], **content: Any) -> None:
        kind_of_parent, number = parent
        header = {"msg_id": number, "msg_type": kind_of_parent}
        self._messages.put_nowait(
            {
                "msg_type": kind,
                "header": {"msg_type": kind},
                "parent_header": header,
                "metadata": {},
                "content": content,
            }
        )


def _message(kind: str, content: dict[str, Any], metadata: Any = None) -> dict[str, Any]:
    header = {"msg_id": uuid4().hex, "msg_type": kind}
    return {"header": header, "content": content, "metadata": metadata}


class LateKernel:
    """Its manager and its client in one: it answers at once, and is not heard for a while."""

    execution_state = "idle"
    shutting_down = False
    provisioner = SimpleNamespace(pid=1)

    def __init__(self, folder: Path, silent: float) -> None:
        self.connection_file = str(folder / "kernel-late.json")
        self.session = SimpleNamespace(session="", msg=_message)
        self.shell_channel, self.iopub_channel = Channel(self._run), Channel()
        self._clock = asyncio.get_running_loop().time
        self._heard_from = self._clock() + silent

    def client(self) -> "LateKernel":
        return self

    def start_channels(self, **_: bool) -> None:
        """Nothing is to be started."""

    def stop_channels(self) -> None:
        """Nor stopped."""

    def add_restart_callback(self, _: Any) -> None:
        """It is never restarted."""

    def remove_restart_callback(self, _: Any) -> None:
        """Nor was it."""

    async def is_alive(self) -> bool:
        return True

    def kernel_info(self) -> str:
        call = ("kernel_info_request", uuid4().hex)
        self._tell("status", call, execution_state="idle")
        self.shell_channel.put("kernel_info_reply", call)
        return call[1]

    def execute(self, code: str, **_: Any) -> str:
        return uuid4().hex  # It does not note what it executes.

    def _run(self, message: dict[str, Any]) -> None:
        call = ("execute_request", message["header"]["msg_id"])
        self._tell("status", call, execution_state="busy")
        self._tell("execute_input", call, code=message["content"]["code"], execution_count=1)
        self._tell("execute_result", call, data={"text/plain": "2"}, metadata={}, execution_count=1)
        self._tell("status", call, execution_state="idle")
        self.shell_channel.put("execute_reply", call, status="ok")

    def _tell(self, kind: str, parent: tuple[str, str], **content: Any) -> None:
        """Send to who listens: what is sent before is lost."""
        if self._clock() > self._heard_from:
            self.iopub_channel.put(kind, parent, **content)


async def test_code_waits_until_its_outputs_are_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("caesarion.kernels.kernel._BUSY_AFTER", 0.05)
    late = LateKernel(tmp_path, silent=0.3)
    kernel_manager = type("KernelManager", (dict,), {"get_kernel": dict.__getitem__})(late=late)
    kernel = Kernel(CaesarionKernel(), kernel_manager, "late")
    steps = [step async for step in kernel.run("1+1")]
    await kernel.close()
    [result] = [step for step in steps if isinstance(step, dict)]
    assert result["data"] == {"text/plain": "2"}
    end = steps[-1]
    assert isinstance(end, RunEnd)
    assert (end.status, end.execution_count) == ("ok", 1)
