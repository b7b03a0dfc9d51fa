"""
Finds and ends what one start of ``make up`` brought into being, and nothing else.

Called by ``launcher`` and ``hub``. The hub puts its proxy, its services and the
users' servers into sessions of their own, and a killed hub leaves them behind;
so each carries the start's mark in its environment, and so do their children.
"""

import os

import psutil

from caesarion_hub.names import RUN_VARIABLE


def of_run(run: str) -> set[psutil.Process]:
    """Return the live processes that carry the mark, and all below them; never this one."""
    everything = list(psutil.process_iter())
    found = {process for process in everything if _mark(process) == run}
    for process in list(found):
        try:
            found.update(process.children(recursive=True))
        except psutil.NoSuchProcess:
            continue
    return {process for process in found if process.pid != os.getpid()}


def end(processes: set[psutil.Process], grace: float) -> None:
    """Ask them to stop, wait up to ``grace`` seconds, then kill the rest."""
    for signal_all in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            try:
                signal_all(process)
            except psutil.NoSuchProcess:
                continue
        _, alive = psutil.wait_procs(processes, timeout=grace)
        processes = set(alive)


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(RUN_VARIABLE)
    except (psutil.Error, OSError):  # another user's, or gone meanwhile
        return None
