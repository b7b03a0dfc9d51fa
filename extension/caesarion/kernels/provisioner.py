"""
Starts the server's kernels, the first of them from the process that waits to become one.

Set by :mod:`caesarion.extension` as the default of jupyter_client, which runs it; takes the
process from :mod:`caesarion.kernels.waiting`. Kernels that the process cannot become are started
as by jupyter_client's own provisioner.
"""

import asyncio
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from caesarion.kernels import waiting
from caesarion.kernels.waiting import Waiting

_NAME = "caesarion-provisioner"
_USUAL = "local-provisioner"


class WaitingProvisioner(LocalProvisioner):
    """jupyter_client's provisioner of local kernels, with one process that is there already."""

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Let the process that waits become the kernel, or launch one."""
        options = self._scrub_kwargs(kwargs)
        if _can_wait(cmd, options):
            cwd = str(options.get("cwd") or Path.cwd())
            taken = waiting.take()
            if taken and await _becomes(taken, cmd, options["env"], cwd):
                self.process = taken.process
                self.pid = self.pgid = (
                    taken.process.pid
                )  # It leads a session, as any kernel's does.
                self.cwd = cwd
                return self.connection_info
        return await super().launch_kernel(cmd, **kwargs)


def _can_wait(cmd: list[str], options: dict[str, Any]) -> bool:
    """Return whether this is a kernel that a process can become after its start."""
    cwd = options.get("cwd")
    return (
        cmd[:3] == waiting.LAUNCHER
        and options.keys() <= {"env", "cwd"}
        and (not cwd or Path(cwd).is_dir())
    )


async def _becomes(taken: Waiting, cmd: list[str], env: dict[str, str], cwd: str) -> bool:
    try:
        return await asyncio.to_thread(taken.become, cmd, env, cwd)
    except asyncio.CancelledError:  # The caller's time is up, and nobody has the kernel.
        taken.process.kill()
        raise


def install(serverapp: Any) -> None:
    """Let the server start its kernels here, unless it is told to start them elsewhere."""
    factory = KernelProvisionerFactory.instance(parent=serverapp)
    if factory.default_provisioner_name == _USUAL:
        value = f"{__name__}:{WaitingProvisioner.__name__}"
        factory.provisioners[_NAME] = EntryPoint(_NAME, value, factory.GROUP_NAME)
        factory.default_provisioner_name = _NAME
