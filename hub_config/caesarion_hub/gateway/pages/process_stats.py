"""
What users' servers take of this machine, where they run on it: memory and CPU time.

Called by ``views`` in a thread. A server and its kernels are the processes whose
environment names its user; in a cluster there are none here, and nothing is known.
"""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Load:
    """Bytes of memory, and seconds of CPU since the start, of a server with its kernels."""

    memory: int = 0
    seconds: float = 0.0


def loads() -> dict[tuple[str, str], Load]:
    """Return the load of each server that runs here, by user and server."""
    found: dict[tuple[str, str], Load] = {}
    for process in psutil.process_iter():
        try:
            variables = process.environ()
            if "JUPYTERHUB_USER" not in variables:
                continue
            memory, times = process.memory_info().rss, process.cpu_times()
        except psutil.Error:
            continue  # It has ended, or it is somebody else's.
        key = (variables["JUPYTERHUB_USER"], variables.get("JUPYTERHUB_SERVER_NAME", ""))
        before = found.get(key, Load())
        seconds = before.seconds + times.user + times.system
        found[key] = Load(before.memory + memory, seconds)
    return found
