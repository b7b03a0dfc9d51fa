"""
Memory and CPU time of users' servers that run on the gateway's own machine.

Called by ``overview`` in a thread. A server and its kernels are the processes whose
environment names its user; in a cluster none of them is here, and nothing is known.
"""

from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class ServerStats:
    """Bytes of memory, and seconds of CPU since the start, of a server with its kernels."""

    memory: int = 0
    seconds: float = 0.0


def of_servers() -> dict[tuple[str, str], ServerStats]:
    """Return the stats of each server that runs here, by user and server."""
    found: dict[tuple[str, str], ServerStats] = {}
    for process in psutil.process_iter():
        try:
            variables = process.environ()
            if "JUPYTERHUB_USER" not in variables:
                continue
            memory, times = process.memory_info().rss, process.cpu_times()
        except psutil.Error:
            continue  # It has ended, or it is another operating-system user's.
        key = (variables["JUPYTERHUB_USER"], variables.get("JUPYTERHUB_SERVER_NAME", ""))
        before = found.get(key, ServerStats())
        seconds = before.seconds + times.user + times.system
        found[key] = ServerStats(before.memory + memory, seconds)
    return found
