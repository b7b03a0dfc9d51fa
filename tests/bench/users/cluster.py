"""This checkout's chart on the fake cluster, where the servers of simulated users are stand-ins."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.users.stand_ins import SCHEDULER
from tests.cluster.harness import PATIENT, RELEASE, Installation, Json
from tests.fakes.kubernetes.cluster import Cluster, running_cluster
from tests.fakes.kubernetes.node.sandbox import die_with_parent

_CORE: Json = {"resources": {"requests": {"cpu": 1}}}
"""What a part is guaranteed; with the chart's tenths it would yield to all else on this machine."""

_METRICS, _PORT = "proxy-metrics", 8002
"""Where the proxy's metrics can be read from outside of the cluster."""

VALUES: Json = {
    "gateway": _CORE,
    "proxy": {
        "chp": {
            **_CORE,
            "extraCommandLineFlags": ["--metrics-ip=", f"--metrics-port={_PORT}"],
        }
    },
    "hub": {
        **_CORE,
        "concurrentSpawnLimit": 0,
        "livenessProbe": PATIENT,
        "readinessProbe": PATIENT,
        "config": {"KubeSpawner": {"scheduler_name": SCHEDULER}},
    },
    "singleuser": {"storage": {"type": "none"}},
}


@dataclass(frozen=True)
class Target:
    """The hub that is simulated on: its address, a token, and its proxy's metrics if known."""

    url: str
    token: str
    proxy: str
    is_temporary: bool = False


@contextmanager
def running_target(folder: Path) -> Iterator[Target]:
    """Run a cluster in ``folder`` with the chart on it, and the stand-ins."""
    with (
        running_cluster(folder) as cluster,
        Installation.installed(cluster, "simulation", VALUES) as chart,
        _stand_ins(cluster),
    ):
        here = ("--namespace", chart.namespace)
        names = (f"--name={_METRICS}", f"--port={_PORT}")
        cluster.kubectl("expose", "deployment", f"{RELEASE}-proxy", *here, *names)
        proxy = f"{cluster.url_of(chart.namespace, _METRICS)}/metrics"
        yield Target(chart.url, chart.login("admin").token(), proxy, is_temporary=True)


@contextmanager
def _stand_ins(cluster: Cluster) -> Iterator[None]:
    command = [sys.executable, "-m", f"{__package__}.stand_ins", str(cluster.kubeconfig)]
    node = str(cluster.processes["node"].pid)
    with subprocess.Popen(
        [*command, node], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent
    ) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield
        finally:
            process.terminate()
