"""
Finds and ends the processes of one start of ``make up``, and no others.

Called by ``launcher`` and ``hub``. The hub starts its proxy, its services and
users' servers in sessions of their own, so they survive if it is killed. Each
carries the mark of the start in its environment, which its children inherit.
"""

import os

import psutil

from caesarion_hub.values import RUN_VARIABLE


def of_run(run: str) -> set[psutil.Process]:
    """Return the running processes that carry the mark, and their descendants, without this one."""
    everything = list(psutil.process_iter())
    found = {process for process in everything if _mark(process) == run}
    for process in list(found):
        try:
            found.update(process.children(recursive=True))
        except psutil.NoSuchProcess:
            continue
    return {process for process in found if process.pid != os.getpid()}


def end(processes: set[psutil.Process], grace: float) -> None:
    """Terminate the processes, wait up to ``grace`` seconds, then kill the rest."""
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
