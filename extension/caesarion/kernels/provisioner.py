"""
Starts a kernel from the process that waits to become one.

Used by :mod:`caesarion.kernels.prewarm`, which sets it as the provisioner of its kernel; that is
jupyter_client's own way to say how a kernel's process comes to be. A kernel that the process
cannot become, and each restart, is launched as any other.
"""

import asyncio
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.factory import KernelProvisionerFactory
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from caesarion.kernels.waiting import LAUNCHER, Waiting


class WaitingProvisioner(LocalProvisioner):
    """jupyter_client's provisioner of local kernels, with one process that is there already."""

    waiting: Waiting | None = None

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Let the process that waits become the kernel, or launch one."""
        waiting, self.waiting = self.waiting, None
        if waiting is None:
            return await super().launch_kernel(cmd, **kwargs)
        options = self._scrub_kwargs(kwargs)
        cwd = str(options.get("cwd") or Path.cwd())
        if _can_become(cmd, options) and await _becomes(waiting, cmd, options["env"], cwd):
            self.process = waiting.process
            self.pid = self.pgid = waiting.process.pid  # It leads a session, as kernels do.
            self.cwd = cwd
            return self.connection_info
        waiting.end()
        return await super().launch_kernel(cmd, **kwargs)


def provide(manager: Any, kernel_id: str, waiting: Waiting) -> None:
    """Let the kernel that ``manager`` is about to start be ``waiting``, if it is a local one."""
    factory = KernelProvisionerFactory.instance(parent=manager.parent)
    usual = factory.create_provisioner_instance(kernel_id, manager.kernel_spec, parent=manager)
    if type(usual) is not LocalProvisioner:
        waiting.end()
        return
    manager.provisioner = WaitingProvisioner(
        kernel_id=kernel_id, kernel_spec=manager.kernel_spec, parent=manager
    )
    manager.provisioner.waiting = waiting


def _can_become(cmd: list[str], options: dict[str, Any]) -> bool:
    """Return whether this is a kernel that a process can become after its start."""
    cwd = options.get("cwd")
    is_usual = cmd[:3] == LAUNCHER and options.keys() <= {"env", "cwd"}
    return is_usual and (not cwd or Path(cwd).is_dir())


async def _becomes(waiting: Waiting, cmd: list[str], env: dict[str, str], cwd: str) -> bool:
    try:
        return await asyncio.to_thread(waiting.become, cmd, env, cwd)
    except asyncio.CancelledError:  # The caller's time is up, and nobody has the kernel.
        waiting.process.kill()
        raise
